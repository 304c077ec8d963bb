"""Runs an exported .pte with ExecuTorch's Python runtime; a file to copy beside it, or to learn from.

    python executorch_runner.py NETWORK.pte PICTURES.npy ANSWERS.npz

PICTURES.npy holds uint8 RGB pictures (N, channels, height, width) of the network's size. ANSWERS.npz gets `outputs`
(N, classes) as float32, `latency_ms` (the median of up to 50 passes within five seconds, one thread) and the version of
ExecuTorch. A diffusion U-Net takes noisy images, float32 of that shape, in PICTURES.npy, and answers for timestep 500.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version

import numpy as np
import torch
from executorch.runtime import Runtime

TIMED, SECONDS = 50, 5
TIMESTEP = 500
UINT8 = 0  # ExecuTorch's number for it


def main(file: str, pictures: str, out: str) -> None:
    """As the first lines of this file say."""
    torch.set_num_threads(1)
    program = Runtime.get().load_program(file)
    forward, told = program.load_method("forward"), json.loads(program.load_method("description").execute([])[0])
    images = torch.from_numpy(np.load(pictures))
    if images.dtype == torch.uint8 and forward.metadata.input_tensor_meta(0).dtype() != UINT8:
        mean, std = (torch.tensor(told[name]).reshape(-1, 1, 1) for name in ("mean", "std"))
        images = (images.float() / 255 - mean) / std
    further = [torch.tensor([TIMESTEP])] * (forward.metadata.num_inputs() - 1)
    outputs = [forward.execute([image, *further])[0].float().numpy().copy() for image in images.split(1)]
    times: list[float] = []
    while len(times) < TIMED and sum(times) < SECONDS:
        start = time.perf_counter()
        forward.execute([images[:1], *further])
        times.append(time.perf_counter() - start)
    np.savez(
        out,
        outputs=np.concatenate(outputs),
        latency_ms=1000 * float(np.median(times)),
        version=version("executorch"),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
