"""Drawing images: schedulers, seeds, previews, refusals."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, UNet2DModel
from torch import nn

from redistill.diffusion import sampling
from redistill.diffusion.sampling import (
    SCHEDULERS,
    first_noise,
    fitting_batch,
    sample,
    spaced_timesteps,
    to_grid,
    to_uint8,
)
from redistill.memory import capture
from redistill.networks.red import REDConfig
from redistill.networks.unet import UNet

TINY = {
    "sample_size": 16,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D"),
    "attention_head_dim": 8,
    "norm_num_groups": 4,
}


@pytest.fixture(scope="module")
def model() -> UNet:
    torch.manual_seed(0)
    return (
        UNet(**TINY, pooling_strides=(2, 1)).add_red(REDConfig(), {"conv_in": ["out"], "conv_norm_out": ["in"]}).eval()
    )


def results(model, seeds, **settings) -> torch.Tensor:
    return list(sample(model, seeds, steps=settings.pop("steps", 5), preview_every=0, **settings))[-1].images


def close(first: torch.Tensor, second: torch.Tensor, by: int = 1) -> bool:
    """uint8 images that differ by rounding only."""
    return first.shape == second.shape and bool((first.int() - second.int()).abs().max() <= by)


class Oracle(nn.Module):
    """Knows the one image there is, and says so in the language of `kind`; a perfect diffusion model."""

    def __init__(self, truth: torch.Tensor, base: DDPMScheduler) -> None:
        super().__init__()
        self.truth, self.base = nn.Parameter(truth), base
        self.config = UNet2DModel(**TINY).config

    def forward(self, x, t, return_dict=True):
        kept = self.base.alphas_cumprod[t]
        alpha, sigma = kept.sqrt(), (1 - kept).sqrt()
        noise = (x - alpha * self.truth) / sigma
        kinds = {
            "epsilon": noise,
            "v_prediction": alpha * noise - sigma * self.truth,
            "sample": self.truth.expand_as(x),
        }
        return (kinds[self.base.config.prediction_type],)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("steps", [1, 7, 50])
def test_a_perfect_model_gives_its_image_back(scheduler, kind, steps):
    truth = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(3)) * 1.6 - 0.8
    base = DDPMScheduler(num_train_timesteps=50, prediction_type=kind, beta_schedule="squaredcos_cap_v2")
    records = list(sample(Oracle(truth, base), [0, 1], scheduler=scheduler, steps=steps, noise_scheduler=base))
    for record in records:
        assert close(record.images, to_uint8(truth).expand(2, -1, -1, -1)), record.step


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_ddim_equals_diffusers_where_steps_divide(model, kind):
    base = DDPMScheduler(num_train_timesteps=100, prediction_type=kind)
    theirs = DDIMScheduler.from_config(base.config, timestep_spacing="trailing")
    theirs.set_timesteps(10)
    x = torch.stack([torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(seed)) for seed in (4, 9)])
    with torch.no_grad():
        for t in theirs.timesteps:
            x = theirs.step(model(x, t).sample, int(t), x).prev_sample
    ours = results(model, [4, 9], scheduler="ddim", steps=10, noise_scheduler=base)
    assert close(ours, to_uint8(x))


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_ddpm_equals_diffusers_with_the_same_noise(model, kind):
    base = DDPMScheduler(num_train_timesteps=12, prediction_type=kind)
    generators = [torch.Generator().manual_seed(seed) for seed in (4, 9)]
    x = torch.stack([torch.randn(3, 16, 16, generator=generator) for generator in generators])
    base.set_timesteps(12)
    with torch.no_grad():
        for t in base.timesteps:
            x = base.step(model(x, t).sample, t, x, generator=generators).prev_sample
    ours = results(model, [4, 9], scheduler="ddpm", steps=12, noise_scheduler=base)
    assert close(ours, to_uint8(x))


def test_dpm_solver_equals_diffusers_where_nothing_is_clipped(model):
    base = DDPMScheduler(num_train_timesteps=100, prediction_type="v_prediction", clip_sample=False)
    theirs = DPMSolverMultistepScheduler.from_config(base.config)
    theirs.set_timesteps(timesteps=spaced_timesteps(100, 8))
    x = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(4))[None]
    with torch.no_grad():
        for t in theirs.timesteps:
            x = theirs.step(model(x, t).sample, t, x).prev_sample
    ours = results(model, [4], scheduler="dpm-solver++", steps=8, noise_scheduler=base)
    assert close(ours, to_uint8(x))


def test_schedulers_and_prediction_types_differ(model):
    images = [results(model, [1], scheduler=name) for name in SCHEDULERS]
    images.append(results(model, [1], prediction_type="v_prediction"))
    for first in range(len(images)):
        for second in range(first):
            assert not torch.equal(images[first], images[second])


def test_prediction_type_comes_from_the_noise_scheduler(model):
    base = DDPMScheduler(prediction_type="v_prediction")
    assert close(results(model, [1], noise_scheduler=base), results(model, [1], prediction_type="v_prediction"))
    assert close(results(model, [1], noise_scheduler=base, prediction_type="epsilon"), results(model, [1]))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_an_image_depends_on_its_seed_alone(model, scheduler):
    seeds = [5, 0, 12, 5, 7]
    whole = results(model, seeds, scheduler=scheduler)
    assert whole.shape == (5, 3, 16, 16) and whole.dtype == torch.uint8
    assert close(whole[0], whole[3])
    assert (whole[0].int() - whole[1].int()).abs().max() > 10
    for batch_size in (1, 2, 64):
        again = results(model, seeds, scheduler=scheduler, batch_size=batch_size)
        assert close(again, whole, by=2)
    alone = results(model, [12], scheduler=scheduler)
    assert close(alone[0], whole[2], by=2)
    torch.manual_seed(99)  # the global generator plays no part
    assert close(results(model, seeds, scheduler=scheduler), whole)


@pytest.mark.parametrize(("every", "expected"), [(1, [1, 2, 3, 4, 5, 6, 7]), (3, [3, 6, 7]), (7, [7]), (0, [7])])
def test_previews(model, every, expected):
    records = list(sample(model, [1, 2, 3], steps=7, preview_every=every))
    assert [record.step for record in records] == expected
    assert [record.done for record in records] == [False] * (len(expected) - 1) + [True]
    assert {record.total for record in records} == {7}
    assert all(record.images.shape == (3, 3, 16, 16) and record.images.dtype == torch.uint8 for record in records)
    assert [record.seconds for record in records] == sorted(record.seconds for record in records)
    assert records[0].seconds > 0


def test_every_record_names_the_peak_of_one_batch_and_the_speed(model):
    records = list(sample(model, [1, 2, 3], steps=4, batch_size=2))
    tape = capture(model, (2, 3, 16, 16))
    assert {record.peak_bytes for record in records} == {tape.profile(accounting="eager").peak_bytes}
    assert records[-1].images_per_second == 3 / records[-1].seconds
    assert records[0].images_per_second == 3 / (4 * records[0].seconds)


def test_the_first_noise_is_what_the_model_is_given_first(model):
    given = []
    handle = model.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0].clone()))
    next(sample(model, [5, 3], steps=2, measure=False))
    handle.remove()
    assert torch.equal(given[0], first_noise(model, [5, 3])) and not torch.equal(*given[0])


def test_images_take_the_size_asked_for(model):
    assert results(model, [1], image_size=24).shape == (1, 3, 24, 24)
    assert results(model, [1], image_size=(16, 32)).shape == (1, 3, 16, 32)


def test_modes_are_as_they_were_between_records_and_after(model):
    model.train()
    model.mid_block.eval()
    modes = [module.training for module in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    work = sample(model, [1], steps=4)
    next(work)
    assert torch.is_grad_enabled() and [module.training for module in model.modules()] == modes
    work.close()  # stopped midway
    list(sample(model, [1], steps=2))
    assert torch.is_grad_enabled() and [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    trained = results(model, [1])
    assert close(trained, results(model.eval(), [1]))


def test_a_failing_model_is_left_in_its_mode(model):
    def fail(module, args):
        raise RuntimeError("out of memory")

    model.train()
    hook = model.mid_block.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        list(sample(model, [1], steps=2))
    hook.remove()
    assert model.training and model.mid_block.training and torch.is_grad_enabled()
    model.eval()


def test_half_precision_models_are_fed_their_dtype(model):
    half = copy.deepcopy(model).to(torch.bfloat16)
    exact, rough = (results(network, [1, 2], prediction_type="v_prediction") for network in (model, half))
    assert (exact.int() - rough.int()).abs().float().mean() < 3


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"scheduler": "euler"}, r"scheduler is 'euler'; expected one of \['ddim', 'ddpm', 'dpm-solver\+\+'\]"),
        ({"prediction_type": "score"}, "prediction_type is 'score'; expected one of"),
        ({"steps": 0}, "steps is 0; expected a whole number from 1 to 1000"),
        ({"steps": 1001}, "steps is 1001"),
        ({"steps": 2.5}, r"steps is 2\.5"),
        ({"steps": None}, "steps is None"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"preview_every": -1}, "preview_every is -1"),
        ({"image_size": 15}, "15x15 does not fit .* multiples of 2"),
        ({"image_size": "32"}, "image_size is '32'"),
        ({"image_size": -16}, "image_size is -16"),
        ({"seeds": []}, "seeds is"),
        ({"seeds": [-1]}, "seeds is"),
        ({"seeds": ["7"]}, "seeds is"),
        ({"seeds": [True]}, "seeds is"),
        ({"seeds": [2**63]}, "seeds is"),
    ],
)
def test_bad_arguments_are_refused_at_once(model, settings, words):
    seeds = settings.pop("seeds", [0])
    with pytest.raises(ValueError, match=words):
        sample(model, seeds, **settings)  # not iterated


def test_models_that_cannot_be_sampled_are_refused():
    with pytest.raises(ValueError, match="6 channels from 3"):
        sample(UNet(**TINY, out_channels=6), [0])
    with pytest.raises(ValueError, match="names no sample_size"):
        sample(UNet(**{**TINY, "sample_size": None}), [0])


def test_timesteps_are_trailing_and_distinct():
    assert spaced_timesteps(1000, 4) == [999, 749, 499, 249]
    assert spaced_timesteps(10, 10) == list(range(9, -1, -1))
    for steps in (1, 3, 30, 49, 600, 999):
        spaced = spaced_timesteps(1000, steps)
        assert len(set(spaced)) == steps and spaced == sorted(spaced, reverse=True)
        assert spaced[0] == 999 and spaced[-1] >= 0


def test_to_uint8_covers_the_range():
    values = to_uint8(torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]))
    assert values.tolist() == [0, 0, 128, 255, 255]


def test_to_grid_places_images_row_by_row():
    images = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 3, 4, 6).contiguous()
    grid = to_grid(images, columns=2, gap=1, background=9)
    assert grid.shape == (3, 3 * 4 + 2, 2 * 6 + 1)
    assert grid[0, 0, 0] == 0 and grid[0, 0, 7] == 1 and grid[0, 5, 0] == 2 and grid[0, 10, 0] == 4
    assert (grid[:, 10:, 7:] == 9).all() and (grid[:, 4] == 9).all() and (grid[:, :, 6] == 9).all()
    assert to_grid(images).shape == (3, 2 * 4 + 2, 3 * 6 + 4)
    assert torch.equal(to_grid(images[:1], columns=8), images[0])
    with pytest.raises(ValueError, match="columns is 0"):
        to_grid(images, columns=0)
    with pytest.raises(ValueError, match="shape of the images"):
        to_grid(images[0])


def test_without_measuring_no_forward_is_added(model):
    passes = []
    hook = model.register_forward_hook(lambda *args: passes.append(1))
    for measure, expected in ((False, 3), (True, 4)):
        passes.clear()
        *_, last = sample(model, [0], steps=3, measure=measure)
        assert len(passes) == expected and (last.peak_bytes is None) == (not measure)
    hook.remove()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_maps_keep_the_layout_of_the_weights(layout, monkeypatch):
    torch.manual_seed(0)
    blocks = {"down_block_types": ("AttnDownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "AttnUpBlock2D")}
    attentive = UNet(**TINY | blocks).eval().to(memory_format=layout)
    seen = []

    def note(module, inputs):
        seen.append(inputs[0].is_contiguous(memory_format=layout))

    attentive.down_blocks[0].downsamplers[0].conv.register_forward_pre_hook(note)
    images = results(attentive, [0, 1])
    assert seen and all(seen)
    assert not any(module._forward_hooks for module in attentive.modules())
    seen.clear()
    monkeypatch.setattr(sampling, "one_layout", nullcontext)
    assert close(images, results(attentive, [0, 1]))
    assert all(seen) == (layout == torch.channels_last)  # diffusers' attention alone changes the layout


@pytest.mark.parametrize(("free", "batch"), [(None, 32), (10**12, 32), (9.0, 4), (2.0, 1), (1.0, 1), (0.99, None)])
@pytest.mark.parametrize("size", [None, 32, (16, 64)])
def test_so_many_images_are_drawn_at_once_as_memory_holds(model, monkeypatch, free, batch, size):
    """`free` in images; a system ends a process that takes more than there is."""
    sides = (16, 16) if size is None else (size, size) if isinstance(size, int) else size
    one = capture(model, (1, 3, *sides)).profile(accounting="eager").peak_bytes
    monkeypatch.setattr(sampling, "available_memory", lambda device: None if free is None else int(free * one))
    if batch is not None:
        assert fitting_batch(model, size) == batch
        return
    with pytest.raises(ValueError, match=rf"^An image of {sides[0]}×{sides[1]} px takes .* GiB to draw, and .* free;"):
        fitting_batch(model, size)


@pytest.mark.parametrize("place", [0, 9, -1])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("preview_every", [0, 1])
def test_pictures_that_are_no_numbers_are_none(model, place, value, preview_every):
    """They would be black."""
    broken = copy.deepcopy(model)
    list(broken.parameters())[place].data.view(-1)[0] = value
    with pytest.raises(ValueError, match=rf"no numbers at step {1 if preview_every else 3} of 3; its weights"):
        list(sample(broken, [0], steps=3, preview_every=preview_every, measure=False))
