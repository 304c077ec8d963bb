"""Draws with an exported diffusion U-Net by numpy and onnxruntime alone; a file to copy beside it, or to learn from.

    python onnx_sampler.py NETWORK.onnx PICTURE.npy [SEED] [STEPS]

PICTURE.npy gets uint8 (channels, height, width): what `redistill sample` draws with DDIM for that seed and these steps.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import onnxruntime


def first_noise(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """`torch.randn(shape, generator=torch.Generator().manual_seed(seed))`, for 16 numbers or more."""
    source = np.random.RandomState(seed & 0xFFFFFFFF)  # the same Mersenne Twister
    size = int(np.prod(shape))
    tail = size % 16  # torch draws the last 16 anew where blocks of 16 do not come out even
    bits = source.randint(0, 2**32, size + (16 if tail else 0), dtype=np.uint32)
    uniform = ((bits & 0xFFFFFF) / 2.0**24).astype(np.float32)
    blocks = np.concatenate([uniform[: size - tail], uniform[size:]]).reshape(-1, 2, 8)
    radius = np.sqrt(-2 * np.log(1 - blocks[:, 0]))  # Box and Muller, in blocks of 8 and 8
    angle = np.float32(2 * np.pi) * blocks[:, 1]
    drawn = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).ravel()
    return np.concatenate([drawn[: size - 16], drawn[-16:]]).reshape(shape) if tail else drawn.reshape(shape)


def draw(file: str, seed: int = 0, steps: int = 50) -> np.ndarray:
    """One picture, uint8 (channels, height, width), by deterministic DDIM."""
    return drawn(onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]), seed, steps)


def drawn(session: onnxruntime.InferenceSession, seed: int, steps: int) -> np.ndarray:
    """The same with a file that is open already."""
    told = {name: json.loads(value) for name, value in session.get_modelmeta().custom_metadata_map.items()
            if name in ("alphas_cumprod", "prediction_type", "clip")}  # fmt: skip
    kept = np.array(told["alphas_cumprod"])
    times = [len(kept) * (steps - index) // steps - 1 for index in range(steps)]
    x = first_noise(seed, tuple(session.get_inputs()[0].shape[1:]))[None]
    for t, after in zip(times, [*times[1:], None], strict=True):
        output = session.run(None, {"images": x.astype(np.float32), "timestep": np.array([t])})[0]
        alpha, sigma = kept[t] ** 0.5, (1 - kept[t]) ** 0.5
        kind = told["prediction_type"]
        x0 = {"epsilon": (x - sigma * output) / alpha, "v_prediction": alpha * x - sigma * output, "sample": output}[
            kind
        ]
        x0 = np.clip(x0, -told["clip"], told["clip"]) if told["clip"] else x0
        noise = {"epsilon": output, "v_prediction": alpha * output + sigma * x, "sample": (x - alpha * x0) / sigma}[
            kind
        ]
        x = x0 if after is None else kept[after] ** 0.5 * x0 + (1 - kept[after]) ** 0.5 * noise
    return np.rint((np.clip(x[0], -1, 1) + 1) * 127.5).astype(np.uint8)


if __name__ == "__main__":
    np.save(sys.argv[2], draw(sys.argv[1], *map(int, sys.argv[3:5])))
