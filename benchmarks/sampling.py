"""What a denoising step costs: teacher, students without and with RED blocks, and diffusers' own pipeline.

    python -m benchmarks.sampling [--quick] [--json FILE] [--device cuda]

The networks are the paper's DDPM U-Net (strides 1,2,2,2 → 2,2,2,1 at 32 px) and the small one that ships, untrained:
time does not depend on the weights. They take turns in one process; a row gives medians over the turns, of CPU time
and of wall time a step, and the ratio of CPU time to the teacher's in the same turn (on CUDA, of wall time). Peak is
that of one forward pass for one image, measured. On CUDA the networks are in bf16, and each runs compiled as well.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel
from torch import nn

from redistill.common.devices import describe_device
from redistill.diffusion.sampling import sample
from redistill.memory.measure import measure_peak
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig, build_reference, build_student
from redistill.training.presets import FACES_STRIDES

NETWORKS = ("unet_paper", "unet_small")
AIMS = {("unet_paper", "student"): 0.31, ("unet_paper", "student + RED"): 0.40}  # of the teacher's CPU time a step

# Steps before the first turn: they load libraries' kernels and compile, at the first time for that time alone, at the
# second for all times.
WARM_UP = 2

Backend = str | Callable[..., Any]  # of torch.compile


@dataclass(frozen=True)
class Contender:
    """Something that draws: `run(steps)` takes so many denoising steps for all images."""

    title: str
    network: nn.Module
    run: Callable[[int], object]


def contenders(
    name: str, images: int, device: torch.device, dtype: torch.dtype = torch.float32, backend: Backend | None = None
) -> list[Contender]:
    """Teacher, students and diffusers' pipeline, all of one architecture; compiled too where a backend is given."""
    torch.manual_seed(0)
    config = StudentConfig(name, 32, strides=FACES_STRIDES, red=None)
    teacher = build_reference(config)
    networks = {
        "teacher": teacher,
        "student": build_student(config),
        "student + RED": build_student(dataclasses.replace(config, red=REDConfig())),
    }
    networks = {title: network.to(device, dtype).eval() for title, network in networks.items()}
    found = [Contender(title, network, _ours(network, images)) for title, network in networks.items()]
    if backend is not None:
        for title, network in networks.items():
            compiled = torch.compile(network, backend=backend)
            found.append(Contender(f"{title}, compiled", network, _ours(compiled, images)))
    plain = UNet2DModel.from_config(dict(teacher.config))
    plain.load_state_dict(teacher.state_dict())
    pipeline = DDIMPipeline(plain.to(device, dtype).eval(), DDIMScheduler())
    pipeline.set_progress_bar_config(disable=True)

    def theirs(steps: int) -> object:
        generator = torch.Generator(device).manual_seed(0)
        return pipeline(batch_size=images, num_inference_steps=steps, generator=generator, output_type="pt")

    return [*found, Contender("diffusers' pipeline, teacher", plain, theirs)]


def _ours(network: nn.Module, images: int) -> Callable[[int], object]:
    def run(steps: int) -> object:
        *_, last = sample(network, range(images), steps=steps, batch_size=images, preview_every=0, measure=False)
        return last

    return run


def compare(
    name: str, images: int, steps: int, turns: int, device: torch.device, compiled: bool = True
) -> list[dict[str, Any]]:
    """One row a contender; `compiled`: whether there are compiled ones on CUDA, which take a minute each to make."""
    fast: dict[str, Any] = {"dtype": torch.bfloat16} if device.type == "cuda" else {}
    if fast and compiled:
        fast["backend"] = "inductor"
    rivals = contenders(name, images, device, **fast)
    for rival in rivals:
        rival.run(WARM_UP)
    times: dict[str, list[tuple[float, float]]] = {rival.title: [] for rival in rivals}
    for _ in range(turns):
        for rival in rivals:
            times[rival.title].append(_step_seconds(rival, steps, device))
    place = 1 if device.type == "cuda" else 0
    rows = []
    for rival in rivals:
        ratios = [own[place] / base[place] for own, base in zip(times[rival.title], times["teacher"], strict=True)]
        rows.append(
            {
                "network": name,
                "who": rival.title,
                "cpu_ms": 1000 * statistics.median(cpu for cpu, _ in times[rival.title]),
                "wall_ms": 1000 * statistics.median(wall for _, wall in times[rival.title]),
                "ratio": statistics.median(ratios),
                "aim": AIMS.get((name, rival.title)),
                "peak_bytes": _peak(rival.network, device),
            }
        )
    return rows


def _step_seconds(rival: Contender, steps: int, device: torch.device) -> tuple[float, float]:
    """CPU time of this process and wall time of one denoising step of all images."""
    cpu, wall = time.process_time(), time.perf_counter()
    rival.run(steps)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.process_time() - cpu) / steps, (time.perf_counter() - wall) / steps


def _peak(network: nn.Module, device: torch.device) -> int:
    """Measured peak of one forward pass for one image, in bytes."""
    size, parameter = network.config.sample_size, next(network.parameters())
    image = torch.zeros(1, network.config.in_channels, size, size, device=device, dtype=parameter.dtype)
    return measure_peak(network, (image, 10))


def print_rows(rows: list[dict[str, Any]]) -> None:
    """The rows of one network."""
    for row in rows:
        aim = "" if row["aim"] is None else f"{row['aim']:.2f}"
        print(
            f"{row['network']:<12}{row['who']:<30}{row['cpu_ms']:>9.1f}{row['wall_ms']:>9.1f}{row['ratio']:>8.2f}"
            f"{aim:>6}{row['peak_bytes'] / 2**20:>10.3f}",
            flush=True,
        )


def summary(rows: list[dict[str, Any]]) -> str:
    """The last line, for machines."""
    key = {
        row["who"]: row["who"].replace("'", "").replace(", ", "_").replace(" + ", "_").replace(" ", "_") for row in rows
    }
    return "sampling " + " ".join(f"{row['network']}_{key[row['who']]}={row['ratio']:.3f}" for row in rows)


def main() -> None:
    """Print the table, and write the rows to a file when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one turn each; ends within 45 s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    options = parser.parse_args()
    diffusers.utils.logging.set_verbosity_error()  # its pipelines warn at every move of a network
    device = torch.device(options.device)
    images, steps, turns = (64, 10, 9) if device.type == "cuda" else (8, 1, 7)
    said = f"{describe_device(device)}; DDIM, {images} images at once"
    print(f"torch {torch.__version__}, {said}; milliseconds a step, peak MiB of one image")
    print(f"{'network':<12}{'':<30}{'CPU':>9}{'wall':>9}{'ratio':>8}{'aim':>6}{'peak':>10}")
    rows = []
    for name in NETWORKS:
        rows += (found := compare(name, images, steps, 1 if options.quick else turns, device))
        print_rows(found)
    if options.json:
        options.json.write_text(json.dumps({"device": said, "figures": rows}, indent=1) + "\n")
    print(summary(rows))


if __name__ == "__main__":
    main()
