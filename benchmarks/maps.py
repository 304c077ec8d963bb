"""How near students' feature maps are to their teacher's, which is all that RED's loss asks for.

    python -m benchmarks.maps [CHECKPOINT ...] [--quick] [--split test] [--pictures 1000] [--distance cosine]
                              [--data NAME] [--json FILE]

Checkpoints are folders of classifiers, such as `runs/accuracy/4-red-0/student`, or names of those that ship (default:
the students of emoji-clutter among them). A row is one student on pictures of its data set: its accuracy, its
cross entropy, and the RED loss between its maps and those of the teacher, for each aligned map and on average, whether
it was trained with that loss or not. Beside it stands the same between the teacher's maps of two different pictures,
which have nothing to do with each other. `--teacher` names the teacher of students that had none.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import read_metadata
from redistill.checkpoint.sources import list_shipped
from redistill.common.files import write_text
from redistill.common.modules import eval_mode
from redistill.data.augmentation import normalize
from redistill.data.classes import match_classes
from redistill.data.datasets import find_dataset, load_split
from redistill.data.source import SPLITS, Split
from redistill.networks.features import forward_with_features
from redistill.training.evaluation import relabelled
from redistill.training.losses import DISTANCES, channel_mean, pool_to_smaller, red_loss
from redistill.training.objective import FeaturePairs, aligned_features
from redistill.training.presets import CLUTTER_TEACHER

BATCH = 250  # pictures of a forward
PICTURES, QUICK = 1000, 100  # of a split, usually and with --quick


@dataclass(frozen=True)
class Nearness:
    """A student on the first pictures of a split, held against its teacher there."""

    accuracy: float
    cross_entropy: float  # nats
    distances: dict[str, float]  # RED loss by the student's layer and side, such as "conv1 out"
    unrelated: dict[str, float]  # the same of the teacher's maps, to those of another picture

    @property
    def mean_distance(self) -> float:
        """What the RED loss of a run is: the mean over the maps."""
        return statistics.mean(self.distances.values())


def main() -> None:
    """Load, compare, print the table and a last line of `maps NAME=mean distance ...`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="*", metavar="CHECKPOINT", help="folder, or name of one that ships")
    parser.add_argument("--teacher", default=CLUTTER_TEACHER, help="default: %(default)s")
    parser.add_argument("--split", default="test", choices=SPLITS, help="default: %(default)s")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} pictures: shows that it works, nothing more")
    parser.add_argument("--pictures", type=int, help=f"of the split (default: {PICTURES})")
    parser.add_argument("--data", help="data set with the pictures, such as folder:PATH (default: the checkpoint's)")
    parser.add_argument("--distance", default="cosine", choices=DISTANCES, help="default: %(default)s")
    parser.add_argument("--json", type=Path, help="also write the rows")
    options = parser.parse_args()
    pictures = options.pictures or (QUICK if options.quick else PICTURES)
    names = options.checkpoints or _shipped_students(options.teacher)
    rows = {}
    for name in names:
        metadata = read_metadata(name)
        student = checkpoint.load(name)
        teacher = checkpoint.load(metadata.training.get("teacher_checkpoint") or options.teacher)
        data = options.data or metadata.dataset
        split = load_split(data, options.split, metadata.student.image_size, pictures, metadata.split_seed)
        classes = find_dataset(data, metadata.split_seed).class_names
        split = relabelled(split, match_classes(classes, metadata.class_names, f"the pictures of {data}", name))
        features = aligned_features(metadata.student, student, teacher)
        rows[name] = nearness(student, teacher, split, features, options.distance)
    print(_table(rows))
    if options.json:
        write_text(options.json, json.dumps({name: asdict(row) for name, row in rows.items()}, indent=1) + "\n")
    figures = " ".join(f"{name}={row.mean_distance:.4f}" for name, row in rows.items())
    print(f"maps distance={options.distance} {figures}")


def _shipped_students(teacher: str) -> list[str]:
    found = {name: read_metadata(name) for name in list_shipped()}
    settings = {name: metadata.training for name, metadata in found.items()}
    taught = [name for name, used in settings.items() if used.get("teacher_checkpoint") == teacher]
    return [name for name in taught if not settings[name].get("stride_vectors")]  # those have the teacher's own strides


@torch.no_grad()
def nearness(
    student: nn.Module, teacher: nn.Module, split: Split, features: FeaturePairs, distance: str = "cosine"
) -> Nearness:
    """Run both on every picture of `split`. `features` are pairs of aligned maps, the student's and the teacher's."""
    sums = torch.zeros(2 + 2 * len(features))
    with eval_mode(student), eval_mode(teacher):
        for start in range(0, len(split.labels), BATCH):
            images = normalize(split.images[start : start + BATCH])
            labels = split.labels[start : start + BATCH]
            logits, mine = forward_with_features(student, (images,), [(pair[0], channel_mean) for pair in features])
            _, theirs = forward_with_features(
                teacher, (images,), [(pair[1], channel_mean) for pair in features], stop_after_last=True
            )
            apart = [red_loss(*pool_to_smaller(s, t), distance) for s, t in zip(mine, theirs, strict=True)]
            correct = (logits.argmax(1) == labels).float().mean()
            apart += [red_loss(maps.roll(1, dims=0), maps, distance) for maps in theirs]  # the next picture's
            sums += len(labels) * torch.stack([correct, F.cross_entropy(logits, labels), *apart])
    accuracy, cross_entropy, *apart = (sums / len(split.labels)).tolist()
    titles = [" ".join(pair[0][:2]) for pair in features]
    own, other = (dict(zip(titles, part, strict=True)) for part in (apart[: len(titles)], apart[len(titles) :]))
    return Nearness(accuracy, cross_entropy, own, other)


def _table(rows: dict[str, Nearness]) -> str:
    maps: Sequence[str] = list(dict.fromkeys(title for row in rows.values() for title in row.distances))
    lines = [f"| student | accuracy | cross entropy | mean distance | of other pictures | {' | '.join(maps)} |"]
    lines.append("| --- " * (5 + len(maps)) + "|")
    for name, row in rows.items():
        apart = " | ".join(f"{row.distances[title]:.3f}" if title in row.distances else "" for title in maps)
        figures = [f"{100 * row.accuracy:.1f} %", f"{row.cross_entropy:.3f}", f"{row.mean_distance:.3f}"]
        figures.append(f"{statistics.mean(row.unrelated.values()):.3f}")
        lines.append(f"| {name} | {' | '.join(figures)} | {apart} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
