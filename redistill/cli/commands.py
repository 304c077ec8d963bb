"""`python -m redistill`: train, distil, estimate, evaluate, sample and count memory from the shell."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..checkpoint.imported import Weights, import_teacher, imported_folder, read_class_names
from ..checkpoint.metadata import add_metrics
from ..checkpoint.pipeline import load_scheduler, load_unet
from ..checkpoint.sources import find_pipeline, with_unets
from ..common.devices import check_device, explain_out_of_memory, keep_freed_memory
from ..common.files import read_json
from ..common.units import parse_bytes
from ..data.datasets import check_name, find_dataset
from ..diffusion.images import sample_settings, to_png
from ..diffusion.quality import LEAST, judge_checkpoint, load_features
from ..diffusion.sampling import sample, to_grid
from ..memory.comparison import compare, network_tape
from ..memory.search import Candidate, search_strides
from ..networks.red import REDConfig
from ..networks.student import StudentConfig
from ..networks.zoo import DDPM
from ..training.config import DistillConfig
from ..training.estimation import estimate
from ..training.evaluation import evaluate
from ..training.loop import distill
from ..training.prediction import predict
from ..training.resuming import CHANGEABLE, change_run, save_student
from ..training.run import CONFIG
from ..training.shared_weights import best_within, extract, full_strides, measure_all, open_shared, save_beside
from ..training.stride_store import key_of
from .options import add_setting_options, check_out, parse_numbers, parse_size, parse_strides, run_config

NETWORK = "name of a network: resnet18, torchvision:NAME, timm:NAME, hf-hub:timm/NAME, file:PATH.py:FUNCTION, PATH.pt2"
ELSEWHERE = "end what else takes its memory, or choose another --device"  # where a device's memory ended
MOST_SEEDS = 10_000  # images of one PNG
SIGNALS = (signal.SIGINT, signal.SIGTERM)  # Ctrl-C, and a stop by the system or another program


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it worked, 1 after one sentence on stderr when the input or the disk did not allow it."""
    options = _parser().parse_args(arguments)
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler)
    try:
        options.run(options)
    except (ValueError, OSError) as error:
        with contextlib.suppress(OSError):  # a full disk may hold the log too
            print(f"redistill: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("redistill: stopped; the same command continues the run.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="redistill", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], None], told: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=told)
        command.set_defaults(run=run)
        return command

    _run_options(add("train", _train, "train a teacher, or a student without distillation"), "teacher")
    _run_options(add("distill", _train, "distil a student from a trained teacher"), "default")
    told = "train one network for every memory budget: its strides can be chosen afterwards"
    _run_options(add("train-any", _train, told), "any-strides")
    resuming = add("resume", _resume, "go on with a run, longer or otherwise than it began; what changes is told")
    resuming.add_argument("folder", type=Path, help="folder of the run")
    add_setting_options(resuming, CHANGEABLE)
    keeping = add("keep", _keep, "write the checkpoint of a run that has not come to its end: its best network so far")
    keeping.add_argument("folder", type=Path, help="folder of the run")
    estimating = add("estimate", _estimate, "time and peak memory of a run, measured by a few of its steps")
    _run_options(estimating, "default", has_folder=False)

    evaluating = add("evaluate", _evaluate, "figures of a checkpoint on its test split, and its memory")
    evaluating.add_argument("checkpoint", help="folder, or name of a shipped checkpoint")
    evaluating.add_argument("--dataset", help="pictures to test it on (default: those that it was trained on)")
    evaluating.add_argument("--pictures", type=int, help="draw so many with a diffusion network and judge them too")
    _option(evaluating, "--features", "emoji", "to judge by: emoji or inception")
    _drawing_options(evaluating, steps=40)
    evaluating.add_argument(
        "--save", action="store_true", help="write these figures of the pictures, or strides, into the checkpoint"
    )

    told = "also measure a network of train-any at every choice of strides, on validation pictures"
    evaluating.add_argument("--all-strides", action="store_true", help=told)

    extracting = add("extract", _extract, "a fixed student, at one choice of strides, of a network of train-any")
    extracting.add_argument("checkpoint", help="folder, or name of a shipped checkpoint, of train-any")
    extracting.add_argument("--strides", help="such as conv1=4,maxpool=1; others stay the network's own")
    told = "such as 64KiB, in place of strides: the best measured accuracy that fits (see evaluate --all-strides)"
    extracting.add_argument("--budget", help=told)
    extracting.add_argument("--out", type=Path, help="folder to write (default: runs/CHECKPOINT-STRIDES/student)")

    predicting = add("predict", _predict, "what a classifier says of picture files")
    predicting.add_argument("checkpoint", help="folder, or name of a shipped checkpoint")
    predicting.add_argument("files", nargs="+", help="picture files, or folders of them")
    _option(predicting, "--top", 3, "likeliest classes to name", type=int)
    _option(predicting, "--device", "cpu", "cpu, cuda, cuda:1, ...")

    sampling = add("sample", _sample, "draw images with a diffusion checkpoint")
    sampling.add_argument("checkpoint", help="folder, name of a shipped checkpoint, or Hub id of a diffusers DDPM")
    _option(sampling, "--seeds", "0-15", "such as 0-15 or 3,7,9")
    sampling.add_argument("--image-size", type=int, help="pixels a side (default: the network's own)")
    _drawing_options(sampling, steps=50)
    _option(sampling, "--out", Path("samples.png"), "PNG to write", type=Path)

    counting = add("memory", _memory, "activation memory of a network at other pooling strides")
    counting.add_argument("network", help=NETWORK)
    counting.add_argument("--strides", default="", help="such as conv1=8,maxpool=1,layer4.0=1")
    _counting_options(counting)

    searching = add("search", _search, "every choice of pooling strides of a network, and what fits a budget")
    searching.add_argument("network", metavar="teacher", help=NETWORK)
    searching.add_argument(
        "--budget", help="such as 512KiB; 1 KiB is 1,024 bytes, 1 KB 1,000 (default: the teacher's peak)"
    )
    _option(searching, "--reduction", "same", "total reduction: same or any")
    _counting_options(searching)
    _import_options(add("import", _import, "a teacher's checkpoint of a network and weights trained elsewhere"))
    return parser


def _import_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("network", help=NETWORK)
    command.add_argument("--weights", type=Path, required=True, help=".safetensors, or .pth of a state_dict")
    command.add_argument("--classes", type=Path, help="file of class names, one a line, in the order of the outputs")
    for name in ("mean", "std"):
        told = f"{name} of the images that it was trained on, from 0 to 1, a number for each channel"
        command.add_argument(f"--{name}", nargs="+", help=f"{told} (default: 0.5, that is images from -1 to 1)")
    command.add_argument("--image-size", help="pixels a side, or HEIGHTxWIDTH (default: the network's usual)")
    command.add_argument("--in-channels", type=int, default=3, help="channels of an image (default: 3)")
    command.add_argument("--dataset", default="", help='what it was trained on, such as "folder:PATH", if that is here')
    command.add_argument("--partial", action="store_true", help="take the weights that fit where some do not")
    command.add_argument("--out", type=Path, help="folder of the checkpoint (default: known by the file's name)")


def _option(command: argparse.ArgumentParser, name: str, default: Any, told: str, **reading: Any) -> None:
    command.add_argument(name, default=default, help=f"{told} (default: %(default)s)", **reading)


def _run_options(command: argparse.ArgumentParser, preset: str, has_folder: bool = True) -> None:
    _option(command, "--preset", preset, "settings to start from")
    command.add_argument("--config", type=Path, help="all settings from a run's config.json instead of a preset")
    if has_folder:
        command.add_argument("--run-dir", type=Path, help="folder of the run (default: runs/PRESET-SEED)")
    add_setting_options(command)


def _drawing_options(command: argparse.ArgumentParser, steps: int) -> None:
    _option(command, "--scheduler", "ddim", "ddim, ddpm or dpm-solver++")
    _option(command, "--steps", steps, "denoising steps", type=int)
    _option(command, "--device", "cpu", "cpu, cuda, cuda:1, ...")


def _counting_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--image-size", help="pixels a side, or HEIGHTxWIDTH (default: the network's usual)")
    _option(command, "--batch", 1, "images at a time", type=int)
    _option(command, "--in-channels", 3, "channels of an image", type=int)
    _option(command, "--dtype", "fp32", "of all numbers: fp32, fp16, bf16 or int8")
    _option(command, "--accounting", "fused", "fused or eager")
    fused = "fused: let a convolution do the addition after it, in the other operand's buffer"
    command.add_argument("--fuse-add", action="store_true", help=fused)
    command.add_argument("--no-red", action="store_true", help="leave RED blocks out")


def _tell_pictures(name: str) -> None:
    """Say on stderr what of a data set is not taken, or taken in one of two senses."""
    if int(os.environ.get("RANK", 0)) == 0:
        for note in find_dataset(name).notes:
            print(f"{name}: {note}", file=sys.stderr)


def _train(options: argparse.Namespace) -> None:
    keep_freed_memory()
    config = run_config(options)
    _tell_pictures(config.dataset)
    _follow(config, options.run_dir or Path("runs") / f"{options.preset}-{config.seed}")


def _resume(options: argparse.Namespace) -> None:
    keep_freed_memory()
    given = {name: value for name in CHANGEABLE if (value := getattr(options, f"set_{name}")) is not None}
    if given.get("dataset", "").startswith("folder:"):
        given["dataset"] = "folder:" + str(Path(given["dataset"].removeprefix("folder:")).expanduser().resolve())
    for sentence in change_run(options.folder, given):
        tqdm.write(sentence)
    _follow(DistillConfig.from_dict(read_json(options.folder / CONFIG)), options.folder)


def _keep(options: argparse.Namespace) -> None:
    print(f"{save_student(options.folder)} holds the checkpoint; evaluate and sample take it.")


def _follow(config: DistillConfig, run_dir: Path) -> None:
    """Train, and tell how it goes."""
    quiet = int(os.environ.get("RANK", 0)) > 0  # of several processes the first one reports
    tell = (lambda text: None) if quiet else tqdm.write
    tell(f"Run folder: {run_dir}")
    asked_to_stop: list[int] = []
    last: dict[str, Any] = {}
    records = distill(config, run_dir)
    with tqdm(total=config.steps, unit="step", dynamic_ncols=True, disable=quiet) as bar, _ended_with(records):
        for record in records:
            if not last:
                asked_to_stop = _stop_on_signals()
            last = record
            if "teacher" in record:
                tell(json.dumps({"teacher": record["teacher"]}))
            if record["kind"] == "step":
                bar.update(record["step"] - bar.n)
                parts = {name: f"{value:.4f}" for name, value in record.items() if name.endswith("loss")}
                bar.set_postfix(parts, refresh=False)
            else:
                tell(json.dumps(record))
            if asked_to_stop and record["kind"] != "final":
                raise KeyboardInterrupt
    if last.get("kind") == "final":
        tell(f"Finished: {run_dir / 'student'} holds the checkpoint.")
    elif last:
        tell(f"Stopped at step {last['step']} of {config.steps}; the same command continues the run.")
    else:
        tell(
            "This run had finished before; give another --run-dir to run it again, or `redistill resume` more --steps."
        )


@contextlib.contextmanager
def _ended_with(records: Iterator[dict[str, Any]]) -> Iterator[None]:
    """Let a run know of what cannot be told in the block, as on a full disk with the log: it fails, and notes why."""
    try:
        yield
    except OSError as error:
        records.throw(error)


def _stop_on_signals() -> list[int]:
    """Let Ctrl-C and SIGTERM end the run after the step that is going; a second one ends it at once.

    Returns a list that holds the signal as soon as one came.
    """
    came: list[int] = []

    def note(number: int, frame: object) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    for number in SIGNALS:
        signal.signal(number, note)
    return came


def _estimate(options: argparse.Namespace) -> None:
    keep_freed_memory()  # as the run will
    config = run_config(options)
    _tell_pictures(config.dataset)
    print(json.dumps(estimate(config).to_dict(), indent=2))


def parse_seeds(text: str) -> list[int]:
    """ "0-3,7" as [0, 1, 2, 3, 7]; ValueError for anything else, and for more than `MOST_SEEDS`."""
    seeds: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"([0-9]{1,19})(?:-([0-9]{1,19}))?", part.strip())
        low, high = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if low > high:
            raise ValueError(f"Seeds hold {part!r}; expected whole numbers and rising ranges such as 0-15 or 3,7,9.")
        if len(seeds) + high - low >= MOST_SEEDS:
            raise ValueError(f"Seeds {text!r} are too many; expected at most {MOST_SEEDS:,} images.")
        seeds += range(low, high + 1)
    return seeds


def _evaluate(options: argparse.Namespace) -> None:
    if options.save and options.pictures is None and not options.all_strides:
        raise ValueError(
            "--save keeps the figures of pictures, or of strides; give --pictures, such as --pictures 1000, or "
            "--all-strides."
        )
    if options.all_strides:
        _measure_strides(options)
        return
    if options.pictures is not None and options.pictures < LEAST:
        raise ValueError(f"--pictures is {options.pictures}; expected at least {LEAST}, fewer tell nothing.")
    device = check_device(options.device)
    with explain_out_of_memory(device, f"Judging {options.checkpoint}", ELSEWHERE):
        figures = evaluate(options.checkpoint, device, options.dataset)
        quality = {} if options.pictures is None else {"quality": _quality(options)}
    print(json.dumps(figures | quality, indent=2))
    if options.save:
        add_metrics(options.checkpoint, quality)


def _measure_strides(options: argparse.Namespace) -> None:
    """A line for every choice of strides, the least memory first."""
    shared = open_shared(options.checkpoint)
    for candidate, found in zip(shared.space.candidates, measure_all(shared), strict=True):
        low, high = found.interval
        print(
            f"{key_of(found.strides):<14}{candidate.peak_bytes:>11,} bytes  {100 * found.accuracy:.1f} % of "
            f"{found.count:,} validation pictures (95 %: {100 * low:.1f} to {100 * high:.1f})"
        )
    if options.save:
        save_beside(shared)


def _extract(options: argparse.Namespace) -> None:
    if (options.strides is None) == (options.budget is None):
        raise ValueError("Give either --strides, such as conv1=4,maxpool=1, or --budget, such as 64KiB.")
    shared = open_shared(options.checkpoint)
    if options.budget is None:
        strides = full_strides(shared, parse_strides(options.strides))
    else:
        strides = best_within(shared, parse_bytes(options.budget)).strides
    out = extract(shared, strides, options.out or Path("runs") / f"{shared.name}-{key_of(strides)}" / "student")
    print(f"{out}: {shared.name} at strides {', '.join(f'{layer} {stride}' for layer, stride in strides.items())}.")


def _predict(options: argparse.Namespace) -> None:
    """One line of JSON a picture; those that cannot be read are told on stderr, and at the end."""
    device, unread = check_device(options.device), 0
    with explain_out_of_memory(device, f"Looking with {options.checkpoint}", ELSEWHERE):
        for answer in predict(options.checkpoint, options.files, options.top, device):
            if "error" in answer:
                unread += 1
                print(f"redistill: {answer['error']}", file=sys.stderr)
            else:
                print(json.dumps(answer))
    if unread:
        raise ValueError(f"{unread:,} of the pictures could not be read; the others are told above.")


def _quality(options: argparse.Namespace) -> dict[str, Any]:
    judged = judge_checkpoint(
        options.checkpoint,
        options.pictures,
        features=load_features(options.features, options.device),
        scheduler=options.scheduler,
        steps=options.steps,
        device=options.device,
    )
    return judged.to_dict()


def _sample(options: argparse.Namespace) -> None:
    check_out(options.out)
    device, folder = check_device(options.device), find_pipeline(options.checkpoint)
    model, base, seeds = load_unet(folder), load_scheduler(folder), parse_seeds(options.seeds)
    with (
        explain_out_of_memory(device, f"Drawing with {options.checkpoint}", ELSEWHERE),
        tqdm(total=options.steps, unit="step", dynamic_ncols=True) as bar,
    ):
        model.to(device)
        how = {"scheduler": options.scheduler, "steps": options.steps, "image_size": options.image_size}
        for record in sample(model, seeds, noise_scheduler=base, **how):
            bar.update(record.step - bar.n)
    settings = sample_settings(options.checkpoint, folder, model, base, seeds, **how)
    options.out.write_bytes(to_png(to_grid(record.images), settings.to_dict()))
    print(
        f"{len(record.images)} images in {record.seconds:.1f} s ({record.images_per_second:.2g} images/s, peak of "
        f"activations {record.peak_bytes / 2**20:.2f} MiB): {options.out}"
    )


def _memory(options: argparse.Namespace) -> None:
    strides = parse_strides(options.strides)
    config = _counted(options, strides=strides, red=_red(options))
    found = compare(config, options.accounting, options.dtype, options.fuse_add, options.batch)
    for title, profile in (("teacher", found.teacher), ("student", found.student)):
        print(f"{title}: {_in_bytes(profile.peak_bytes)} at {profile.peak_layer}")
    print(f"ratio: {found.teacher.peak_bytes / found.student.peak_bytes:.2f}")
    if found.refusal:
        print(f"No student can be built from it: {found.refusal}")


def _counted(options: argparse.Namespace, **settings: Any) -> StudentConfig:
    """The network that is counted, at the image size that is asked for, or else its usual one."""
    size = None if options.image_size is None else parse_size(options.image_size)
    bare = {"image_size": size or 1, "in_channels": options.in_channels}  # of a DDPM only its settings tell the size
    unets = with_unets(StudentConfig(options.network, **bare)).unets if options.network.startswith(DDPM) else {}
    return StudentConfig(options.network, size, in_channels=options.in_channels, unets=unets, **settings)


def _tell_search(done: int, count: int, captured: int) -> None:
    """How far a search is that has to capture networks, on a terminal that shows it."""
    if captured and sys.stderr.isatty():
        end = "\n" if done == count else ""
        print(f"\r{done:,} of {count:,} choices, {captured:,} captured anew", end=end, file=sys.stderr, flush=True)


def _search(options: argparse.Namespace) -> None:
    budget = None if options.budget is None else parse_bytes(options.budget)
    config = _counted(options)
    result = search_strides(
        network_tape(config.teacher, None, config.unets, config.image_size, config.in_channels),
        config.image_size,
        reduction=options.reduction,
        red=_red(options),
        accounting=options.accounting,
        dtype=options.dtype,
        batch=options.batch,
        fuse_add=options.fuse_add,
        progress=_tell_search,
    )
    budget = result.teacher.peak_bytes if budget is None else budget
    fitting = sum(candidate.peak_bytes <= budget for candidate in result.candidates)
    tried = f"{result.tried} choices of strides in {result.seconds:.1f} s: {result.refused} refused"
    tried += f", {result.captured} captured anew" if result.captured else ""
    print(f"{tried}, {fitting} fit {_in_bytes(budget)}.")
    print(f"The most computation kept in each amount of memory, by strides of {', '.join(result.teacher.strides)}:")
    print(f"{'':<10}{'strides':<14}{'peak bytes':>13}{'without RED':>13}{'GMACs':>9}{'without RED':>13}  peak at")
    print(_search_row("teacher", result.teacher))
    for candidate in result.front:
        if candidate.peak_bytes <= budget:
            print(_search_row("", candidate))
    if not fitting:
        print(f"Nothing fits; the least memory is:\n{_search_row('', result.candidates[0])}")


def _import(options: argparse.Namespace) -> None:
    config = StudentConfig(
        options.network,
        None if options.image_size is None else parse_size(options.image_size),
        in_channels=options.in_channels,
        red=None,
    )
    mean, std = (parse_numbers(getattr(options, name) or ["0.5"], f"--{name}") for name in ("mean", "std"))
    if (options.mean is None) != (options.std is None):
        raise ValueError("--mean and --std belong together; give both, or neither for images from -1 to 1.")
    names = read_class_names(options.classes) if options.classes else ()
    if options.dataset:
        check_name(options.dataset)
    weights = Weights(options.weights, mean, std, names, options.dataset, options.partial)
    folder, left_out = import_teacher(config, weights, options.out or imported_folder(options.weights.stem))
    if left_out:
        print(f"Taken in part: {left_out}.")
    if options.mean is None:
        print("Taken to be trained on images from -1 to 1; give --mean and --std where it was not.")
    called = folder if options.out else folder.name
    print(f"{folder} holds the teacher; other commands know it as {called}.")


def _red(options: argparse.Namespace) -> REDConfig | None:
    return None if options.no_red else REDConfig()


def _in_bytes(count: int) -> str:
    return f"{count:,} bytes ({count / 2**20:.3f} MiB)"


def _search_row(title: str, candidate: Candidate) -> str:
    strides = ",".join(map(str, candidate.strides.values()))
    peaks = f"{candidate.peak_bytes:>13,}{candidate.bare_peak_bytes:>13,}"
    macs = f"{candidate.macs / 1e9:>9.3f}{candidate.bare_macs / 1e9:>13.3f}"
    return f"{title:<10}{strides:<14}{peaks}{macs}  {candidate.peak_layer}"
