"""One set of weights for every budget against students trained for one choice of strides each, on test pictures.

    python -m benchmarks.any_strides [CHECKPOINT ...] [--data NAME] [--alone FILE ...] [--all] [--quick] [--json FILE]

A checkpoint is of `redistill train-any` (default: those that ship whose pictures can be had: emoji-clutter's are drawn,
Imagenette's are a zip file at ../shared/data/imagenette.zip, or what --data names). Its accuracy is measured at the
stride vectors of which a FILE has students trained alone (default: checkpoints/photographs.json, those off its curve
and the trials, or for emoji-clutter checkpoints/scenes.json and the accuracy study; rows of `benchmarks.tradeoff`, of
`benchmarks.trials` and of `benchmarks.accuracy`) and at those that no other one beats on validation pictures, or at all
with --all. Of students alone stand here those from the same teacher's weights without distillation, with KD, and beside
a network with RED blocks those with RED + KD, aligned by size and (method "best") by place, as its own are.

The last line has, over the vectors that have students that learnt: how many, the mean and the largest number of points
by which those that learnt most as the network did are ahead of it, on the front of the choices there are and off it,
and Spearman's coefficient of the two orders. --quick takes 200 test pictures. With --json a table follows of all
checkpoints in FILE by how they were trained, with the same figures as means over their seeds.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from redistill.checkpoint.sources import SHIPPED
from redistill.common.files import write_text
from redistill.data.classes import match_classes
from redistill.data.datasets import find_dataset, load_split
from redistill.data.source import Split
from redistill.memory.search import Candidate
from redistill.training.classification import accuracy
from redistill.training.evaluation import relabelled
from redistill.training.shared_weights import SharedWeights, front_of, measured, network_at, open_shared, points_of
from redistill.training.stride_store import key_of

from .helpers.spread import mean_and_spread, percent
from .helpers.tradeoff_table import OFF, ON_CURVE
from .tradeoff import CURVE

PHOTOGRAPHS = Path("../shared/data/imagenette.zip")
CHECKPOINTS = {  # what ships: the files with students trained alone, those first that count where several have them
    "emoji-clutter-any": (SHIPPED / "scenes.json", SHIPPED / "study.json"),
    "imagenette-any": tuple(SHIPPED / f"{rows}.json" for rows in ("photographs", "photographs-off-curve", "trials")),
}
STUDENTS = (ON_CURVE, OFF)  # of rows of `benchmarks.tradeoff`: neither other networks nor students in patches
# The later the more like a network with RED blocks; those that have none are like students with KD.
METHODS = {"none": "no distillation", "kd": "KD", "red+kd": "RED + KD", "best": "RED + KD at all places"}
OF_TRIALS = {"stage-wise-batch-64": "best"}  # what `benchmarks.trials` calls it
RECIPE = ("dataset", "red", "steps", "batch_size", "stride_vectors", "stride_sampling")  # in which networks differ
OLDER = {"red": False, "stride_sampling": "even"}  # of networks and rows that are older than a setting
FIGURES = {"on_mean": 1, "on_largest": 1, "off_mean": 1, "spearman": 3}  # decimals in their table
DRAWN = {"even": "all", "front": "the front"}
QUICK_PICTURES = 200
Alone = Mapping[tuple[str, str], Sequence[float]]  # test accuracies by strides such as "4-1-2-2-1", and method


def main() -> None:
    """Print a table a checkpoint, and a last line of `any_strides key=value ...`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="*", metavar="CHECKPOINT")
    parser.add_argument(
        "--data", help="data set with the test pictures, such as folder:PATH (default: the checkpoint's)"
    )
    parser.add_argument("--alone", type=Path, action="append", help="rows of students trained alone")
    parser.add_argument("--all", action="store_true", help="measure all vectors of the network's space")
    parser.add_argument("--quick", action="store_true", help=f"on {QUICK_PICTURES} test pictures")
    parser.add_argument("--json", type=Path, help="rows by checkpoint; those of others in it stay")
    options = parser.parse_args()
    parts = ["any_strides"]
    for name in options.checkpoints or [name for name in CHECKPOINTS if (SHIPPED / name).is_dir()]:
        try:
            shared = open_shared(name)
            test = test_pictures(shared, options.data, QUICK_PICTURES if options.quick else None)
        except ValueError as error:
            if options.checkpoints:
                parser.error(str(error))
            print(f"{name} is left out: {error}")
            continue
        files = options.alone or CHECKPOINTS.get(shared.name, ())
        rows = measure(shared, test, read_alone(files, shared), options.all)
        print(render(shared, rows, len(test)))
        parts += [f"{shared.name}:{part}" for part in summary(rows)]
        if options.json:
            held = json.loads(options.json.read_text()) if options.json.exists() else {}
            held |= {shared.name: {"training": recipe(shared), "rows": rows}}
            write_text(options.json, json.dumps(held, indent=1) + "\n")
    if options.json and options.json.exists():
        print(render_recipes(json.loads(options.json.read_text())))
    print(" ".join(parts))


def test_pictures(shared: SharedWeights, data: str | None, limit: int | None) -> Split:
    """The test split, labels as the network's outputs; ValueError where the pictures are not here."""
    metadata = shared.metadata
    local = f"folder:{PHOTOGRAPHS}" if metadata.dataset == "imagenette" and PHOTOGRAPHS.exists() else metadata.dataset
    name = data or local
    test = load_split(name, "test", metadata.student.image_size, limit, metadata.split_seed)
    names = find_dataset(name, metadata.split_seed).class_names
    return relabelled(test, match_classes(names, metadata.class_names, f"the pictures of {name}", shared.name))


def read_alone(files: Sequence[Path], shared: SharedWeights) -> Alone:
    """Test accuracies of students trained alone, one a seed; what several files have is the first one's."""
    together: dict[tuple[str, str], list[float]] = {}
    for file in files:
        found: dict[tuple[str, str], list[float]] = defaultdict(list)
        for row in json.loads(file.read_text()) if file.exists() else []:
            method = OF_TRIALS.get(row["method"], row["method"])
            if method not in METHODS:
                continue
            if "runs" in row:  # of benchmarks.accuracy
                strides = {**shared.tape.strides, **row["runs"][0]["config"]["student"]["strides"]}
                found[key_of(strides), method] += [run["final"]["test_accuracy"] for run in row["runs"]]
            elif row.get("state") == "finished" and row["part"] in STUDENTS:
                found["-".join(map(str, row["strides"])), method].append(row["test_accuracy"])
        together = found | together
    return together


def measure(shared: SharedWeights, test: Split, alone: Alone, is_all: bool) -> list[dict[str, Any]]:
    """A row a stride vector, the least memory first. Bytes are of one picture in fp32, counted as deployed."""
    trained = {key for key, _ in alone}
    space = shared.space
    front = [one for one, _ in front_of(points_of(shared, space.candidates))]
    named = [*front, space.largest]
    chosen = [one for one in space.candidates if is_all or key_of(one.strides) in trained or one in named]
    return [row(shared, one, test, alone) for one in chosen]


def row(shared: SharedWeights, candidate: Candidate, test: Split, alone: Alone) -> dict[str, Any]:
    """What is known of one vector."""
    key = key_of(candidate.strides)
    model = network_at(shared, candidate.strides).to(memory_format=torch.channels_last)
    known = measured(shared).get(key)
    return {
        "strides": list(candidate.strides.values()),
        "on_curve": tuple(candidate.strides.values()) in CURVE,
        "peak_bytes": candidate.peak_bytes,
        "macs": candidate.macs,
        "test_accuracy": accuracy(model, test),
        "test_count": len(test),
        "validation_accuracy": known.accuracy if known else None,
        **{f"alone_{method}": list(alone.get((key, method), ())) for method in methods_of(shared)},
    }


def methods_of(shared: SharedWeights) -> Sequence[str]:
    """Of which methods students alone stand beside a network."""
    return tuple(METHODS) if shared.metadata.student.red else ("none", "kd")


def alike(row: Mapping[str, Any]) -> Sequence[float]:
    """Accuracies of the students alone in a row that learnt most as its network did, empty without any."""
    learnt = [row.get(f"alone_{method}", ()) for method in METHODS if method != "none"]
    return next(filter(None, reversed(learnt)), ())


def render(shared: SharedWeights, rows: Sequence[Mapping[str, Any]], count: int) -> str:
    """A line a vector."""
    training, methods = shared.metadata.training, methods_of(shared)
    seen = training["steps"] * training["batch_size"]
    lines = [
        f"{shared.name}: {training['steps']:,} steps of {training['batch_size']} pictures ({seen:,}), "
        f"{training['stride_vectors']} vectors a step, seed {training['seed']}; {count:,} test pictures.",
        f"| strides | peak, KiB | shared weights | {' | '.join(f'alone, {METHODS[method]}' for method in methods)} |",
        "| --- " * (3 + len(methods)) + "|",
    ]
    for one in rows:
        cells = [",".join(map(str, one["strides"])), f"{one['peak_bytes'] / 1024:.0f}"]
        cells += [f"{100 * one['test_accuracy']:.1f}", *(percent(one[f"alone_{method}"]) for method in methods)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def recipe(shared: SharedWeights) -> dict[str, Any]:
    """How a network was trained, as far as rows differ in it, its seed, and on what device."""
    has_red = {"red": shared.metadata.student.red is not None}
    settings = OLDER | shared.metadata.training | {"dataset": shared.metadata.dataset} | has_red
    return {name: settings[name] for name in (*RECIPE, "seed")} | {"device": shared.metadata.metrics["device"]}


def render_recipes(held: Mapping[str, Mapping[str, Any]]) -> str:
    """A line for each way to train that a file's networks differ in: means over its seeds, with half their range."""
    by_recipe = defaultdict(list)
    for one in held.values():
        by_recipe[tuple((OLDER | one["training"])[name] for name in RECIPE)].append(one)
    told = ("pictures", "RED blocks", "steps", "batch", "vectors", "drawn from", "seeds")
    heads = (*told, "behind", "at most", "off it", "order")
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for settings, found in sorted(by_recipe.items()):
        seeds = ", ".join(map(str, sorted(one["training"]["seed"] for one in found)))
        dataset, has_red, steps, *others, sampling = settings
        cells = [dataset, "yes" if has_red else "no", f"{steps:,}", *map(str, others), DRAWN[sampling], seeds]
        known = [gaps(one["rows"]) for one in found]
        for name, digits in FIGURES.items():
            values = [one[name] for one in known if name in one]
            cells.append("–" if not values else " ± ".join(f"{one:.{digits}f}" for one in _spread(values)))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> Sequence[float]:
    """Their mean, and of more than one half their range."""
    return mean_and_spread(values)[: len(values)]


def summary(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The figures of the last line, of the vectors that have students alone which learnt alike."""
    parts = [f"vectors={len(rows)}", f"compared={sum(bool(alike(one)) for one in rows)}"]
    return parts + [f"{name}={value:.{3 if name == 'spearman' else 2}f}" for name, value in gaps(rows).items()]


def gaps(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """By how many points students alone that learnt alike are ahead, in the mean and at most, on the curve and off it,
    and Spearman's coefficient of the two orders; what too few vectors tell is left out."""
    both = [(one["test_accuracy"], statistics.mean(alike(one)), one["on_curve"]) for one in rows if alike(one)]
    found = {}
    for name, place in (("on", True), ("off", False)):
        ahead = [100 * (alone - shared) for shared, alone, on_curve in both if on_curve is place]
        if ahead:
            found |= {f"{name}_mean": statistics.mean(ahead), f"{name}_largest": max(ahead)}
    if len(both) > 2:
        shared, alone, _ = zip(*both, strict=True)
        found["spearman"] = statistics.correlation(ranks(shared), ranks(alone))
    return found


def ranks(values: Sequence[float]) -> list[float]:
    """The place of each value in their order; equal ones share the mean of theirs."""
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) - 1) / 2 for value in values]


if __name__ == "__main__":
    main()
