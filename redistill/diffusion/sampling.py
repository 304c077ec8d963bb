"""Sampling images from a diffusion U-Net: an iterator of previews, reproducible image by image.

All images go through a denoising step before any goes through the next one, so previews show the whole set and
work can be stopped after every step by closing the iterator.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler
from diffusers.models.attention_processor import Attention
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor, nn

from ..common.devices import available_memory, no_tf32
from ..common.modules import eval_mode
from ..common.values import is_whole
from ..memory import capture_images
from ..memory.measure import MEASURABLE, measure_peak

SCHEDULERS = ("ddim", "ddpm", "dpm-solver++")
PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")
MAX_SEED = 2**63 - 1

# From the model's output, its predicted x0, the noisy images and the step's index to less noisy images.
Update = Callable[[Tensor, Tensor, Tensor, int], Tensor]


@dataclass(frozen=True)
class SampleStep:
    """What `sample` yields: the images as they stand after a denoising step."""

    step: int  # steps taken, from 1
    total: int  # steps in all
    images: Tensor  # uint8 (N, 3, height, width) on the CPU, one a seed: the predicted x0, at the end the results
    done: bool  # the images are the results
    seconds: float  # spent computing so far, waiting for the reader left out
    peak_bytes: int | None  # measured, see `sample`; None without, and on devices that do not say

    @property
    def images_per_second(self) -> float:
        """Finished images a second; before the end, what it comes to at the speed so far."""
        return len(self.images) * self.step / self.total / self.seconds


def sample(
    model: nn.Module,
    seeds: Sequence[int],
    *,
    scheduler: str = "ddim",  # "ddim", "ddpm" or "dpm-solver++"
    steps: int = 50,  # denoising steps, at most the noise schedule's training steps
    noise_scheduler: SchedulerMixin | None = None,  # the one the model was trained with; None: diffusers' DDPM defaults
    prediction_type: str | None = None,  # "epsilon", "v_prediction" or "sample"; None: noise_scheduler's
    image_size: int | Sequence[int] | None = None,  # pixels a side or (height, width); None: the model's sample_size
    batch_size: int = 32,  # images in one forward; changes time and memory, not the images
    preview_every: int = 1,  # steps between records; 0: the last one only
    measure: bool = True,  # measure the memory too, which takes one forward more
) -> Iterator[SampleStep]:
    """Sample one image a seed with a U-Net of diffusers' calling convention; yields a record every few steps.

    The same seed gives the same image, up to rounding, whatever the other seeds and the batch size: starting noise
    and DDPM's noise come from one CPU generator an image. The model computes on its own device, in its own dtype, in
    eval mode and without gradients; between records its mode and the caller's gradient mode are as they were. The
    last record has `done` set. With `measure`, `peak_bytes` of every record are the activations at the peak of one
    forward over one batch, as `measure.measure_peak` counts them; what that takes is no part of `seconds`. Arguments
    are checked at once: ValueError with the value and the choices.
    """
    _check(scheduler in SCHEDULERS, "scheduler", scheduler, f"one of {list(SCHEDULERS)}")
    base = noise_scheduler if noise_scheduler is not None else DDPMScheduler()
    prediction_type = base.config.prediction_type if prediction_type is None else prediction_type
    _check(prediction_type in PREDICTION_TYPES, "prediction_type", prediction_type, f"one of {list(PREDICTION_TYPES)}")
    train_steps = base.config.num_train_timesteps
    _check(is_whole(steps, 1, train_steps), "steps", steps, f"a whole number from 1 to {train_steps}")
    _check(is_whole(batch_size, 1), "batch_size", batch_size, "a whole number of at least 1")
    _check(is_whole(preview_every, 0), "preview_every", preview_every, "a whole number of at least 0")
    seeds = list(seeds)
    _check(
        bool(seeds) and all(is_whole(seed, 0, MAX_SEED) for seed in seeds),
        "seeds",
        seeds,
        f"at least one whole number from 0 to {MAX_SEED}",
    )
    channels = model.config.in_channels
    if model.config.out_channels != channels:
        raise ValueError(f"The model makes {model.config.out_channels} channels from {channels}; expected as many.")
    shape = (channels, *_checked_size(model, image_size))
    base = DDPMScheduler.from_config(base.config, prediction_type=prediction_type)
    return _denoise(model, shape, seeds, base, scheduler, steps, batch_size, preview_every, measure)


def fitting_batch(model: nn.Module, image_size: int | Sequence[int] | None = None, most: int = 32) -> int:
    """How many images, up to `most`, go through the model at once in half of the memory that its device has free.

    Counted, before any is drawn: a system ends a process that takes more than there is, without a word. ValueError
    where not even one image fits, and as `sample` for its size.
    """
    sides = _checked_size(model, image_size)
    device = next(model.parameters()).device
    available = available_memory(device)
    if available is None:
        return most
    one = capture_images(model, sides).profile(accounting="eager").peak_bytes
    if one > available:
        raise ValueError(
            f"An image of {sides[0]}×{sides[1]} px takes {one / 2**30:,.1f} GiB to draw, and {available / 2**30:,.1f} "
            "GiB are free; choose a smaller image_size, or a device with more memory."
        )
    return max(1, min(most, available // (2 * one)))


def _denoise(
    model: nn.Module,
    shape: tuple[int, int, int],
    seeds: list[int],
    base: DDPMScheduler,
    scheduler: str,
    steps: int,
    batch_size: int,
    preview_every: int,
    measure: bool,
) -> Iterator[SampleStep]:
    parameter = next(model.parameters())
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    x = _first_noise(shape, generators).to(parameter.device)
    timesteps = spaced_timesteps(base.config.num_train_timesteps, steps)
    update = _UPDATES[scheduler](base, timesteps, generators)
    seconds, peak = 0.0, None
    if measure and parameter.device.type in MEASURABLE:
        with one_layout(model):
            peak = measure_peak(model, (x[:batch_size].to(parameter.dtype, copy=True), timesteps[0]))
    for index, t in enumerate(timesteps):
        start = time.perf_counter()
        with eval_mode(model), one_layout(model), no_tf32(), torch.no_grad():
            batches = x.to(parameter.dtype).split(batch_size)
            output = torch.cat([model(batch, t, return_dict=False)[0] for batch in batches]).float()
            x0 = predict_original(base, output, t, x)
            step, done = index + 1, index + 1 == steps
            # Where no noise is to be left, the next image is the predicted one, whichever the scheduler.
            x = x0 if done else update(output, x0, x, index)
            images = to_uint8(x0) if done or (preview_every and step % preview_every == 0) else None
            if images is not None and not torch.isfinite(x).all():  # which would be black
                raise ValueError(
                    f"The network draws values that are no numbers at step {step} of {steps}; its weights or settings "
                    "are damaged, copy its folder again."
                )
        seconds += time.perf_counter() - start
        if images is not None:
            yield SampleStep(step, steps, images, done, seconds, peak)


def first_noise(model: nn.Module, seeds: Sequence[int]) -> Tensor:
    """What `sample` starts from: noise of unit variance, float32 (N, channels, height, width), of each seed its own."""
    shape = (model.config.in_channels, *_checked_size(model, None))
    return _first_noise(shape, [torch.Generator().manual_seed(seed) for seed in seeds])


def _first_noise(shape: tuple[int, int, int], generators: Sequence[torch.Generator]) -> Tensor:
    return torch.stack([torch.randn(shape, generator=generator) for generator in generators])


@contextmanager
def one_layout(model: nn.Module) -> Iterator[None]:
    """On the CPU, keep the maps of a diffusers U-Net contiguous inside the block; outputs stay the same.

    diffusers' attention returns a transposed view. That is the channels_last layout, and all layers after it would
    compute in it: every convolution would first copy its weights into that layout, at each call, and group norms of
    few channels are slow there. A network whose weights are in channels_last already is left alone.
    """
    parameters = list(model.parameters())
    contiguous = all(parameter.device.type == "cpu" and parameter.is_contiguous() for parameter in parameters)
    attentions = [module for module in model.modules() if isinstance(module, Attention)] if contiguous else []
    hooks = [attention.register_forward_hook(_contiguous_output) for attention in attentions]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _contiguous_output(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
    return output.contiguous()


def spaced_timesteps(train_steps: int, steps: int) -> list[int]:
    """`steps` training timesteps, evenly spaced and descending from the noisiest ("trailing" spacing)."""
    return [train_steps * (steps - index) // steps - 1 for index in range(steps)]


def predict_original(base: DDPMScheduler, output: Tensor, t: int, x: Tensor) -> Tensor:
    """The noise-free images that the model's output implies, clipped or thresholded as the scheduler's config says."""
    alpha, sigma = _alpha_sigma(base, t)
    if base.config.prediction_type == "epsilon":
        x0 = (x - sigma * output) / alpha
    elif base.config.prediction_type == "v_prediction":
        x0 = alpha * x - sigma * output
    else:
        x0 = output
    if base.config.thresholding:
        return base._threshold_sample(x0)
    reach = base.config.clip_sample_range
    return x0.clamp(-reach, reach) if base.config.clip_sample else x0


def to_uint8(images: Tensor) -> Tensor:
    """Floats in [-1, 1], clamped to it, to uint8 in [0, 255] on the CPU; any shape. A grey batch (N, 1, height, width)
    becomes RGB."""
    pixels = ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()
    return pixels.expand(-1, 3, -1, -1).contiguous() if pixels.ndim == 4 and pixels.shape[1] == 1 else pixels


def to_grid(images: Tensor, columns: int | None = None, gap: int = 2, background: int = 255) -> Tensor:
    """Lay uint8 images (N, C, height, width) out row by row as one image (C, H, W) with `gap` pixels between them.

    `columns` defaults to the most nearly square layout; places that stay empty are `background`.
    """
    _check(
        images.ndim == 4 and len(images) > 0, "shape of the images", tuple(images.shape), "(N, C, height, width), N > 0"
    )
    count, channels, height, width = images.shape
    columns = math.ceil(math.sqrt(count)) if columns is None else columns
    _check(is_whole(columns, 1), "columns", columns, "a whole number of at least 1")
    _check(is_whole(gap, 0), "gap", gap, "a whole number of at least 0")
    columns = min(columns, count)
    rows = -(-count // columns)
    grid = images.new_full((channels, rows * (height + gap) - gap, columns * (width + gap) - gap), background)
    for index, image in enumerate(images):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        grid[:, top : top + height, left : left + width] = image
    return grid


def _ddim(base: DDPMScheduler, timesteps: list[int], generators: list[torch.Generator]) -> Update:
    """Deterministic DDIM. Written out, since diffusers' step assumes that the number of steps divides the schedule."""
    kind = base.config.prediction_type

    def update(output: Tensor, x0: Tensor, x: Tensor, step: int) -> Tensor:
        alpha, sigma = _alpha_sigma(base, timesteps[step])
        if kind == "epsilon":
            noise = output
        elif kind == "v_prediction":
            noise = alpha * output + sigma * x
        else:
            noise = (x - alpha * x0) / sigma
        alpha, sigma = _alpha_sigma(base, timesteps[step + 1])
        return alpha * x0 + sigma * noise

    return update


def _ddpm(base: DDPMScheduler, timesteps: list[int], generators: list[torch.Generator]) -> Update:
    """Ancestral sampling; the noise of each image comes from its own generator."""
    stepper = DDPMScheduler.from_config(base.config, **_TAKES_X0)
    stepper.set_timesteps(timesteps=timesteps)
    return lambda output, x0, x, step: stepper.step(x0, timesteps[step], x, generator=generators).prev_sample


def _dpm_solver(base: DDPMScheduler, timesteps: list[int], generators: list[torch.Generator]) -> Update:
    """Second-order multistep DPM-Solver++."""
    stepper = DPMSolverMultistepScheduler.from_config(base.config, **_TAKES_X0, algorithm_type="dpmsolver++")
    stepper.set_timesteps(timesteps=timesteps)
    return lambda output, x0, x, step: stepper.step(x0, timesteps[step], x).prev_sample


# x0 is computed, and clipped, once for all schedulers; diffusers' steps take it as it is.
_TAKES_X0 = {"prediction_type": "sample", "thresholding": False, "clip_sample": False}
_UPDATES: dict[str, Callable[[DDPMScheduler, list[int], list[torch.Generator]], Update]] = {
    "ddim": _ddim,
    "ddpm": _ddpm,
    "dpm-solver++": _dpm_solver,
}


def _alpha_sigma(base: DDPMScheduler, t: int) -> tuple[float, float]:
    """Weights of image and noise in a noisy image of timestep t."""
    kept = float(base.alphas_cumprod[t])
    return kept**0.5, (1 - kept) ** 0.5


def _checked_size(model: nn.Module, image_size: int | Sequence[int] | None) -> tuple[int, int]:
    size = model.config.sample_size if image_size is None else image_size
    if size is None:
        raise ValueError("The model names no sample_size; pass image_size, in pixels a side.")
    sides = (size, size) if is_whole(size, 1) else size
    fits = isinstance(sides, Sequence) and len(sides) == 2 and all(is_whole(side, 1) for side in sides)
    _check(fits, "image_size", image_size, "pixels a side, a whole number of at least 1, or two of them")
    return model.check_image_size(sides) if hasattr(model, "check_image_size") else tuple(sides)


def _check(holds: bool, name: str, value: Any, expected: str) -> None:
    if not holds:
        raise ValueError(f"{name} is {value!r}; expected {expected}.")
