"""The noise schedule of diffusion networks that begin here."""

from __future__ import annotations

from diffusers import DDPMScheduler


def noise_scheduler(prediction_type: str) -> DDPMScheduler:
    """The forward process of networks that begin here: 1,000 steps, cosine schedule (Nichol and Dhariwal, 2021)."""
    return DDPMScheduler(
        num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2", prediction_type=prediction_type, clip_sample=True
    )
