"""Commands of checkpoints: evaluate, extract, predict, sample, import."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..checkpoint.imported import Weights, import_teacher, imported_folder, read_class_names
from ..checkpoint.metadata import add_metrics, read_metadata
from ..checkpoint.pipeline import load_scheduler, load_unet
from ..checkpoint.sources import find_checkpoint, find_pipeline
from ..common.devices import check_device, explain_out_of_memory
from ..common.disk import writing
from ..common.files import replaced_file
from ..common.units import parse_bytes
from ..data.datasets import check_name
from ..diffusion.images import sample_settings, to_png
from ..diffusion.quality import FEATURES, LEAST, features_for, judge_checkpoint, load_features
from ..diffusion.sampling import fitting_batch, sample, to_grid
from ..networks.student import StudentConfig
from ..networks.weights import NotAllFitError
from ..training.evaluation import evaluate
from ..training.prediction import predict
from ..training.shared_weights import best_within, extract, full_strides, measure_all, open_shared, save_beside
from ..training.stride_store import key_of
from .options import NETWORK, AddCommand, add_option, check_out, parse_numbers, parse_seeds, parse_size, parse_strides

ELSEWHERE = "end what else takes its memory, or choose another --device"  # where a device's memory ended


def add_commands(add: AddCommand) -> None:
    """Those of this module."""
    evaluating = add("evaluate", _evaluate, "figures of a checkpoint on its test split, and its memory")
    evaluating.add_argument("checkpoint", help="folder, or name of a shipped checkpoint")
    evaluating.add_argument("--dataset", help="pictures to test it on (default: those that it was trained on)")
    evaluating.add_argument("--pictures", type=int, help="draw so many with a diffusion network and judge them too")
    evaluating.add_argument("--features", help=f"to judge by: {', '.join(FEATURES)} (default: what fits the pictures)")
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
    add_option(predicting, "--top", 3, "likeliest classes to name", type=int)
    add_option(predicting, "--device", "cpu", "cpu, cuda, cuda:1, ...")

    sampling = add("sample", _sample, "draw images with a diffusion checkpoint")
    sampling.add_argument("checkpoint", help="folder, name of a shipped checkpoint, or Hub id of a diffusers DDPM")
    add_option(sampling, "--seeds", "0-15", "such as 0-15 or 3,7,9")
    sampling.add_argument("--image-size", type=int, help="pixels a side (default: the network's own)")
    _drawing_options(sampling, steps=50)
    add_option(sampling, "--out", Path("samples.png"), "PNG to write", type=Path)
    _import_options(add("import", _import, "a teacher's checkpoint of a network and weights trained elsewhere"))


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


def _drawing_options(command: argparse.ArgumentParser, steps: int) -> None:
    add_option(command, "--scheduler", "ddim", "ddim, ddpm or dpm-solver++")
    add_option(command, "--steps", steps, "denoising steps", type=int)
    add_option(command, "--device", "cpu", "cpu, cuda, cuda:1, ...")


def _evaluate(options: argparse.Namespace) -> None:
    if options.save and options.pictures is None and not options.all_strides:
        raise ValueError(
            "--save keeps the figures of pictures, or of strides; give --pictures, such as --pictures 1000, or "
            "--all-strides."
        )
    if options.all_strides:
        if options.pictures is not None or options.features is not None:
            raise ValueError("--all-strides measures a classifier; leave out --pictures and --features.")
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
    shared = open_shared(options.checkpoint, options.dataset)
    for candidate, found in zip(shared.space.candidates, measure_all(shared), strict=True):
        low, high = found.interval
        print(
            f"{key_of(found.strides):<14}{candidate.peak_bytes:>11,} bytes  {100 * found.accuracy:.1f} % of "
            f"{found.count:,} validation pictures (95 %: {100 * low:.1f} to {100 * high:.1f})"
        )
    if options.save:
        save_beside(shared)


def _quality(options: argparse.Namespace) -> dict[str, Any]:
    features = options.features or features_for(read_metadata(find_checkpoint(options.checkpoint)).dataset)
    judged = judge_checkpoint(
        options.checkpoint,
        options.pictures,
        features=load_features(features, options.device),
        scheduler=options.scheduler,
        steps=options.steps,
        device=options.device,
        dataset=options.dataset,
    )
    return judged.to_dict()


def _extract(options: argparse.Namespace) -> None:
    if (options.strides is None) == (options.budget is None):
        raise ValueError("Give either --strides, such as conv1=4,maxpool=1, or --budget, such as 64KiB.")
    shared = open_shared(options.checkpoint)
    if options.budget is None:
        strides = full_strides(shared, parse_strides(options.strides))
    else:
        strides = best_within(shared, parse_bytes(options.budget)).strides
    out = options.out or Path("runs") / f"{shared.name}-{key_of(strides)}" / "student"
    with writing(out):
        extract(shared, strides, out)
    print(f"{out}: {shared.name} at strides {', '.join(f'{layer} {stride}' for layer, stride in strides.items())}.")
    figures = read_metadata(out).metrics
    for split in ("test", "validation"):
        if f"{split}_accuracy" in figures:
            print(f"It tells {100 * figures[f'{split}_accuracy']:.1f} % of the {split} pictures right.")
            break
    if shared.space.find(strides) is None:
        print("It was never trained at these strides.")


def _predict(options: argparse.Namespace) -> None:
    """One line of JSON a picture; those that cannot be read are told on stderr, and at the end."""
    device, unread, told = check_device(options.device), 0, 0
    with explain_out_of_memory(device, f"Looking with {options.checkpoint}", ELSEWHERE):
        for answer in predict(options.checkpoint, options.files, options.top, device):
            if "error" in answer:
                unread += 1
                print(f"redistill: {answer['error']}", file=sys.stderr)
            else:
                told += 1
                print(json.dumps(answer))
    if unread:
        if not told:
            raise ValueError("No picture could be read.")
        raise ValueError(f"{unread:,} of the pictures could not be read; the others are told above.")


def _sample(options: argparse.Namespace) -> None:
    check_out(options.out, ".png")
    device, folder = check_device(options.device), find_pipeline(options.checkpoint)
    model, base, seeds = load_unet(folder), load_scheduler(folder), parse_seeds(options.seeds)
    with (
        explain_out_of_memory(device, f"Drawing with {options.checkpoint}", ELSEWHERE),
        tqdm(total=options.steps, unit="step", dynamic_ncols=True, delay=0.2) as bar,  # none of what is refused
    ):
        model.to(device)
        how = {"scheduler": options.scheduler, "steps": options.steps, "image_size": options.image_size}
        batch_size = fitting_batch(model, options.image_size)
        for record in sample(model, seeds, noise_scheduler=base, batch_size=batch_size, **how):
            bar.update(record.step - bar.n)
    settings = sample_settings(options.checkpoint, folder, model, base, seeds, **how)
    with writing(options.out), replaced_file(options.out) as part:
        part.write_bytes(to_png(to_grid(record.images), settings.to_dict()))
    print(
        f"{len(record.images)} images in {record.seconds:.1f} s ({record.images_per_second:.2g} images/s, peak of "
        f"activations {record.peak_bytes / 2**20:.2f} MiB): {options.out}"
    )


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
    folder = options.out or imported_folder(options.weights.stem)
    try:
        with writing(folder):
            folder, left_out = import_teacher(config, weights, folder)
    except NotAllFitError as error:
        if not error.some_do or options.partial:
            raise
        raise ValueError(f"{error} Or say --partial to take those that fit.") from error
    if left_out:
        print(f"Taken in part: {left_out}.")
    if options.mean is None:
        print("Taken to be trained on images from -1 to 1; give --mean and --std where it was not.")
    called = folder if options.out else folder.name
    print(f"{folder} holds the teacher; other commands know it as {called}.")
