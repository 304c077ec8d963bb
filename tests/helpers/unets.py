"""Tiny diffusion U-Nets, and what tests feed them."""

from __future__ import annotations

from pathlib import Path

import torch

from redistill.checkpoint.pipeline import Scheduler, write_pipeline
from redistill.diffusion.images import SampleSettings
from redistill.diffusion.sampling import sample
from redistill.networks.red import REDConfig
from redistill.networks.unet import UNet

TINY = {
    "sample_size": 16,
    "block_out_channels": (8, 16, 16, 24),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": 8,
    "norm_num_groups": 4,
}
TEACHER = (1, 2, 2, 2)
STUDENT = (2, 2, 2, 1)
# The pairs that the paper publishes for TEACHER → STUDENT: ten blocks.
SITES = {
    "conv_in": ["out"],
    "down_blocks.0.downsamplers.0": ["in", "out"],
    "down_blocks.1.downsamplers.0": ["in", "out"],
    "up_blocks.1.upsamplers.0": ["in", "out"],
    "up_blocks.2.upsamplers.0": ["in", "out"],
    "conv_norm_out": ["in"],
}


def tiny(strides=TEACHER, red: bool = False, seed: int = 0, **changes) -> UNet:
    torch.manual_seed(seed)
    settings = {"red": REDConfig().to_dict(), "red_sites": SITES} if red else {}
    return UNet(**{**TINY, **changes}, pooling_strides=strides, **settings).eval()


def noisy(size: int = 16, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 3, size, size, generator=generator), torch.tensor([7, 640][:batch])


@torch.no_grad()
def predict(model, size: int = 16) -> torch.Tensor:
    return model(*noisy(size)).sample


def same(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Equal up to the rounding that threads and memory alignment leave."""
    return first.shape == second.shape and bool((first - second).abs().max() < 1e-5)


def sample_again(settings: SampleSettings, model, noise_scheduler) -> torch.Tensor:
    """The images that the settings of a PNG file give: uint8 (N, 3, height, width)."""
    records = sample(
        model,
        settings.seeds,
        scheduler=settings.scheduler,
        steps=settings.steps,
        noise_scheduler=noise_scheduler,
        prediction_type=settings.prediction_type,
        image_size=settings.image_size,
    )
    return next(record.images for record in records if record.done or record.step == settings.stopped_at)


def written(model: UNet, scheduler: Scheduler, folder: Path) -> Path:
    """A new folder with the pipeline of these two."""
    folder.mkdir(parents=True)
    write_pipeline(model, scheduler, folder)
    return folder
