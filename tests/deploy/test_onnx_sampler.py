"""Pictures drawn from an exported U-Net by numpy alone are those that PyTorch draws."""

import numpy as np
import pytest
import torch
from helpers.made import saved_ddpm

from redistill.checkpoint.metadata import Metadata
from redistill.checkpoint.pipeline import load_scheduler, load_unet
from redistill.deploy.onnx_export import export_onnx
from redistill.deploy.onnx_sampler import draw, first_noise
from redistill.deploy.opened import Opened
from redistill.diffusion.sampling import sample
from redistill.networks.student import StudentConfig


@pytest.mark.parametrize("seed", [0, 3, 2**32 + 3, 2**63 - 1])
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 4, 4), (3, 33, 31), (1, 5, 5)])
def test_the_first_noise_is_torch_s(shape, seed):
    expected = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    assert np.abs(first_noise(seed, shape) - expected.numpy()).max() < 1e-6


@pytest.mark.process
def test_the_same_seed_draws_the_same_picture(tmp_path):
    student = StudentConfig("unet_small", 32, red=None)
    for kind in ("v_prediction",):  # that of the networks that ship; an export takes seconds
        folder = saved_ddpm(tmp_path / kind, {"num_train_timesteps": 200, "prediction_type": kind})
        opened = Opened("tiny", folder, load_unet(folder), Metadata(student, "emoji-faces"))
        export_onnx(opened, tmp_path / f"{kind}.onnx")
        *_, last = sample(opened.model, [5], steps=7, noise_scheduler=load_scheduler(folder))
        drawn = draw(str(tmp_path / f"{kind}.onnx"), 5, 7)
        assert np.abs(last.images[0].numpy().astype(int) - drawn.astype(int)).max() <= 1 and drawn.std() > 1
