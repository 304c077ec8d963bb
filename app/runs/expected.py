"""What a preset is expected to give, from results that ship, and what it takes here. No gradio."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from redistill.memory.comparison import Comparison, compare
from redistill.networks.student import StudentConfig, build_student
from redistill.networks.trace import example_inputs
from redistill.training.config import DistillConfig
from redistill.training.presets import PRESETS
from redistill.training.stride_vectors import vector_space

from .results import READY, Result, all_results

# Settings that leave what a run gives as it is, but for chance.
FREE = {"seed": 0, "device": "cpu", "precision": "fp32", "save_every": 1, "validate_every": 1}
TRIALS = {"narrow_resnet": 64, "mobilenet_v2": 64, "unet_small": 32, "resnet18": 64}  # pixels a side, by network
TRIAL_IMAGES, TRIAL_STEPS = 16, 2


@dataclass(frozen=True)
class Expected:
    """Of one preset."""

    memory: Comparison  # of its student and its teacher
    result: Result | None  # what its settings gave, of the most seeds; None: nobody has measured it
    seconds: float | None  # of training here on the CPU, roughly, without validations


def expect(name: str) -> Expected:
    """What a preset gives and takes; ValueError for a network that cannot be counted."""
    config = PRESETS[name].config
    memory = compare(config.student)
    return Expected(memory, _measured(config), _seconds(config, memory))


def _measured(config: DistillConfig) -> Result | None:
    wanted = dataclasses.replace(config, **FREE)
    same = [result for result in _shipped() if dataclasses.replace(result.config, **FREE) == wanted]
    return max(same, key=lambda result: len(result.seeds), default=None)


@lru_cache(maxsize=1)
def _shipped() -> Sequence[Result]:
    return [result for result in all_results() if result.origin == READY and result.is_tested]


def _seconds(config: DistillConfig, memory: Comparison) -> float | None:
    """Forward and backward of the student, and the teacher's forward, at the speed of a trial here."""
    student = config.student.student_architecture
    if student not in TRIALS:
        return None
    forward: float = memory.student.macs
    if config.stride_vectors:
        forward = vector_space(config.student).mean_macs(config.stride_vectors, config.stride_sampling == "front")
    macs = 3 * forward
    macs += memory.teacher.macs if config.teacher_checkpoint else 0
    return config.steps * config.batch_size * macs / macs_per_second(student)


@lru_cache(maxsize=8)
def macs_per_second(architecture: str) -> float:
    """Multiply-accumulates a second in training a network of `TRIALS` here, on a few images; measured once."""
    network = StudentConfig(architecture, TRIALS[architecture], red=None)
    size = (TRIAL_IMAGES, 3, network.image_size, network.image_size)
    with torch.random.fork_rng(devices=[]):
        model = build_student(network).train().to(memory_format=torch.channels_last)  # as a run does
        images, *others = example_inputs(model, size, torch.device("cpu"))
    inputs = (images.contiguous(memory_format=torch.channels_last), *others)
    took = []
    for _ in range(1 + TRIAL_STEPS):  # the first one chooses kernels
        began = time.process_time()  # of a clock on the wall, a busy machine would make hours of minutes
        answer = model(*inputs)
        getattr(answer, "sample", answer).square().mean().backward()
        took.append((time.process_time() - began) / torch.get_num_threads())
    return 3 * compare(network).student.macs * TRIAL_IMAGES / min(took[1:])
