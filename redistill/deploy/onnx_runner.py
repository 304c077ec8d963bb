"""Runs an exported .onnx with onnxruntime and numpy alone; a file to copy beside it, or to learn from.

    python onnx_runner.py NETWORK.onnx PICTURES.npy ANSWERS.npz

PICTURES.npy holds uint8 RGB pictures (N, channels, height, width) of the network's size. ANSWERS.npz gets `outputs`
(N, classes) as float32, `latency_ms` (the median of 50 passes, one thread) and the version of onnxruntime. A diffusion
U-Net takes noisy images, float32 of that shape, in PICTURES.npy, and answers for timestep 500. `heap_bytes` is the peak
of the tensors that one pass allocates, input included, where the counter of `heap.py` is preloaded; else it is absent.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time

import numpy as np
import onnxruntime

TIMED, WARM = 50, 5
TIMESTEP = 500


def open_session(file: str | bytes, arena: bool = True, optimized: bool = True) -> onnxruntime.InferenceSession:
    """Of a file, or of its content; one thread. Without `arena` every tensor is allocated and freed as its life begins
    and ends; without `optimized` the operators run as they stand in the file."""
    options = onnxruntime.SessionOptions()
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = options.enable_mem_pattern = arena
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def prepared(session: onnxruntime.InferenceSession, pictures: np.ndarray) -> np.ndarray:
    """Pictures as the network takes them: uint8 as they are, or as float32 by the mean and std in its metadata."""
    if pictures.dtype != np.uint8 or session.get_inputs()[0].type == "tensor(uint8)":
        return pictures
    told = session.get_modelmeta().custom_metadata_map
    mean, std = (np.array(json.loads(told[name]), np.float32).reshape(-1, 1, 1) for name in ("mean", "std"))
    return (pictures.astype(np.float32) / np.float32(255) - mean) / std


def feeds(session: onnxruntime.InferenceSession, batch: np.ndarray) -> dict[str, np.ndarray]:
    """What the network takes: a batch of images, and for a U-Net a timestep."""
    names = [taken.name for taken in session.get_inputs()]
    return {names[0]: batch} | {name: np.array([TIMESTEP], np.int64) for name in names[1:]}


def answers(session: onnxruntime.InferenceSession, images: np.ndarray) -> np.ndarray:
    """The outputs for all images, which pass in batches of the size that the file was made for."""
    size = session.get_inputs()[0].shape[0]
    found = []
    for start in range(0, len(images), size):
        batch = images[start : start + size]
        padded = np.concatenate([batch, np.repeat(batch[-1:], size - len(batch), axis=0)])
        found.append(session.run(None, feeds(session, padded))[0][: len(batch)])
    return np.concatenate(found)


def latency(session: onnxruntime.InferenceSession, batch: np.ndarray) -> float:
    """Milliseconds of a pass, the median of TIMED."""
    times = []
    for _ in range(WARM + TIMED):
        start = time.perf_counter()
        session.run(None, feeds(session, batch))
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times[WARM:]))


def heap_peak(file: str, batch: np.ndarray) -> dict[str, np.ndarray]:
    """Peak bytes of tensors in one pass, and the sizes of those alive then; nothing where no counter is loaded."""
    counter = ctypes.CDLL(None)
    if not hasattr(counter, "heap_start"):
        return {}
    counter.heap_stop.restype = ctypes.c_longlong
    session = open_session(file, arena=False)
    taken = feeds(session, batch)
    for _ in range(2):  # what is made once, on the first pass, is not counted
        counter.heap_start()
        session.run(None, taken)
        peak = counter.heap_stop()
    sizes = (ctypes.c_longlong * 256)()
    count = counter.heap_at_peak(sizes, len(sizes))
    given = sum(part.nbytes for part in taken.values())
    return {"heap_bytes": np.array(peak + given), "heap_sizes": np.array([given, *sizes[:count]])}


def main(file: str, pictures: str, out: str) -> None:
    """As the first lines of this file say."""
    session = open_session(file)
    images = prepared(session, np.load(pictures))
    size = session.get_inputs()[0].shape[0]
    batch = np.ascontiguousarray(np.resize(images, (size, *images.shape[1:])))
    np.savez(
        out,
        outputs=answers(session, images),
        latency_ms=latency(session, batch),
        version=onnxruntime.__version__,
        **heap_peak(file, batch),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
