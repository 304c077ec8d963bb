"""Diffusion U-Nets as a task: batches, losses, figures and previews (see `task.Task`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from diffusers import DDPMScheduler
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from ..checkpoint.pipeline import load_scheduler
from ..checkpoint.sources import find_checkpoint, find_ddpm
from ..common.devices import no_tf32
from ..common.files import replaced_file
from ..common.modules import eval_mode
from ..data.augmentation import augment, normalize, shrink
from ..data.source import Split
from ..diffusion.sampling import sample, to_grid
from ..networks.schedule import noise_scheduler
from ..networks.zoo import DDPM
from .objective import forward_both
from .task import Problem
from .teacher_trial import answers_to_noise

if TYPE_CHECKING:
    from .config import DistillConfig

PREVIEW_SEEDS = range(8)
PREVIEW_STEPS = 20
JUDGING_ROUNDS = 8  # noises and times drawn for each image when a network is judged
JUDGED = 1000  # images that validation uses; from so many on, one noise and time each will do
JUDGING_BATCH = 64  # images at once
LARGE = 5_000_000  # parameters, from which on a U-Net on the CPU is
# Images that pass the network in one call of `write_preview`, those of each step.
PREVIEW_PASSES = len(PREVIEW_SEEDS) * PREVIEW_STEPS


def example_inputs(image_size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Two noisy images and their times."""
    return torch.zeros(2, 3, image_size, image_size, device=device), torch.zeros(2, dtype=torch.long, device=device)


def validation_limit(config: DistillConfig) -> int | None:
    """A judgement's noises make up for few pictures."""
    return JUDGED


def set_up(problem: Problem) -> None:
    """Add the noise schedule, and train in channels_last where that is faster."""
    problem.noise_scheduler = teaching_schedule(problem.config)
    for network in problem.networks:
        if prefers_channels_last(network, problem.device):
            network.to(memory_format=torch.channels_last)


def check_networks(problem: Problem) -> None:
    """ValueError for a teacher whose answers are no numbers."""
    if problem.teacher is not None:
        answers_to_noise(problem, torch.zeros(2, dtype=torch.long, device=problem.device))


def prefers_channels_last(unet: nn.Module, device: torch.device) -> bool:
    """Whether a U-Net trains faster in channels_last: on a GPU, and a large one on the CPU, by 10 %."""
    return device.type == "cuda" or sum(parameter.numel() for parameter in unet.parameters()) > LARGE


def teaching_schedule(config: DistillConfig) -> DDPMScheduler:
    """The forward process of a run: its teacher's, `noise_scheduler` without one.

    A student of a DDPM from elsewhere was taught on that network's schedule, and hands it on to its own students.
    """
    source = config.teacher_checkpoint
    if source is None:
        return noise_scheduler(config.prediction_type)
    folder = find_ddpm(source.removeprefix(DDPM)) if source.startswith(DDPM) else find_checkpoint(source)
    return DDPMScheduler.from_config(load_scheduler(folder).config)


def images_a_step(problem: Problem) -> int:
    """A batch, however few pictures there are: each is drawn by itself."""
    return problem.config.batch_size


def losses(problem: Problem, step: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Named loss parts of one training step, unweighted scalars."""
    config = problem.config
    rows = torch.randint(len(problem.train), (images_a_step(problem),), generator=generator, device=problem.device)
    kind = config.augmentation or problem.augmentation
    images = _augmented(problem, problem.train.take(rows, problem.device).images, generator, kind)
    # Every process draws for the whole batch, so that its share is the same however many there are.
    noisy, times, target = map(problem.processes.share, _noised(problem, images, generator))
    with_kd = problem.teacher is not None and config.kd_weight > 0
    output, teacher_output, compared = forward_both(
        problem.model, problem.teacher, (noisy, times), problem.objective.comparisons, with_kd, config.precision
    )
    predicted = output.sample.float()  # bf16 under mixed precision, as is the teacher's
    parts = {"task_loss": F.mse_loss(predicted, target), **compared}
    if with_kd:
        parts["kd_loss"] = F.mse_loss(predicted, teacher_output.sample.float())
    return parts


@torch.no_grad()
def judge(problem: Problem, model: nn.Module, split: Split) -> dict[str, float]:
    """Mean squared error of the prediction on the pictures of a split, at noises and times that never change."""
    error = 0.0
    rounds = _rounds(len(split))
    with eval_mode(model), no_tf32():
        for number in range(rounds):
            generator = torch.Generator().manual_seed(number)  # on the CPU: the same noise on every device
            for batch in split.images.split(JUDGING_BATCH):
                images = _augmented(problem, batch.to(problem.device), generator, problem.augmentation)
                noisy, times, target = _noised(problem, images, generator)
                error += F.mse_loss(model(noisy, times).sample, target).item() * len(batch)
    return {"prediction_loss": error / (rounds * len(split))}


def judging_passes(count: int) -> int:
    """How many images pass the network when a split of `count` is judged."""
    return count * _rounds(count)


def _rounds(count: int) -> int:
    return JUDGING_ROUNDS if count < JUDGED else 1


def score(figures: Mapping[str, float]) -> float:
    """What the best model is chosen by; higher is better."""
    return -figures["prediction_loss"]


def settle(problem: Problem, model: nn.Module) -> None:
    """What was best is kept as it is."""


def write_preview(problem: Problem, model: nn.Module, folder: Path, step: int) -> None:
    """Write `step-000123.png`: images of the same seeds at every step, so that one can watch them come."""
    settings = {"steps": PREVIEW_STEPS, "preview_every": 0, "measure": False}
    *_, last = sample(model, PREVIEW_SEEDS, noise_scheduler=problem.noise_scheduler, **settings)
    folder.mkdir(exist_ok=True)
    grid = Image.fromarray(to_grid(last.images, columns=4).permute(1, 2, 0).numpy())
    with replaced_file(folder / f"step-{step:06d}.png") as part:
        grid.save(part)


def _augmented(problem: Problem, images: Tensor, generator: torch.Generator, kind: str) -> Tensor:
    size = problem.config.student.image_size
    images = images if kind == "affine" else shrink(images, size)  # which affine changes do themselves
    return normalize(augment(images, generator, kind, size))


def _noised(problem: Problem, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy images, their times, and what the network is to predict from them."""
    scheduler = problem.noise_scheduler
    noise = torch.randn(images.shape, generator=generator, device=generator.device).to(images.device)
    steps = scheduler.config.num_train_timesteps
    times = torch.randint(steps, (len(images),), generator=generator, device=generator.device).to(images.device)
    noisy = scheduler.add_noise(images, noise, times)
    if problem.config.prediction_type == "v_prediction":
        return noisy, times, scheduler.get_velocity(images, noise, times)
    return noisy, times, noise
