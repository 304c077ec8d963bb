"""Picture data sets by name: their table, their splits, and augmentation by the batch.

A name says all that is needed to find the pictures again: one of `DATASETS`, or `folder:PATH` (class subfolders, or a
zip file of them), `upload:NAME` (a zip file that `unpack_zip` has taken in), `hub:OWNER/NAME` (the Hugging Face Hub).
Images are uint8 (N, 3, height, width) in RGB until `normalize`; everything random takes an explicit generator.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..common.cache import cache_dir, cached_array, fingerprint
from ..common.devices import has_room
from . import emoji, scenes
from .decode import decoded
from .folder import open_folder
from .hub_sets import check_hub_id, open_hub
from .source import SPLITS, Source
from .table import DATASETS, IMAGE_SIZES, DatasetSpec
from .torchvision_sets import open_torchvision
from .uploads import left_out, say_left_out, unpack_zip, upload_folder

AUGMENTATIONS = ("flip-shift", "affine", "flip", "none")

CHUNK = 500  # scenes of emoji-clutter in one cached file
DEFAULT_SIZE = 64  # pixels a side for data sets that are not in the table
EMOJI_TABLES = {"emoji-faces": emoji.FACES, "emoji-food": emoji.FOOD}  # sets whose pictures are one drawing each
EMOJI_DRAWING = "1"  # version of the code that draws them: change it when their pictures change
EMOJI_MARGIN = 3  # units cut off a drawing's frame of 72: a plain smiley then fills 73 % of the picture
EMOJI_SPLIT_SEED = 2024

SHIFT = 1 / 16  # "flip-shift": furthest shift, as a part of the side (4 pixels of 64)
ROTATION = 15.0  # "affine": largest rotation, in degrees
SCALE = (0.85, 1.05)  # "affine": size of the drawing
TEXTURE = 32.0  # "emoji-identity": strongest texture over a spoilt picture, in each channel, of 255
TRANSLATION = 0.05  # "affine": furthest shift, as a part of the side


@dataclass(frozen=True)
class Split:
    """Images of one split at render size: a data set's `render_scale` times the image size asked for."""

    images: Tensor  # uint8 (N, 3, S, S); `augment` or `shrink` brings them to the image size
    labels: Tensor  # int64 (N,), an index into the data set's class_names

    def __len__(self) -> int:
        return len(self.labels)

    def to_device_if_room(self, device: torch.device) -> Split:
        """The split on the device, where it leaves that more than half of its free memory; else where it is now."""
        if not has_room(device, self.images.nbytes + self.labels.nbytes):
            return self
        return Split(self.images.to(device), self.labels.to(device))

    def take(self, rows: Tensor, device: torch.device) -> Split:
        """The images and labels of `rows`, an int64 vector, on the device; picked out where the split is."""
        rows = rows.to(self.images.device)
        tensors = (self.images[rows], self.labels[rows])
        if device.type == "cuda" and not self.images.is_cuda:
            tensors = tuple(tensor.pin_memory() for tensor in tensors)  # the GPU fetches them while Python goes on
        return Split(*(tensor.to(device, non_blocking=True) for tensor in tensors))


PREFIXES = ("folder:", "upload:", "hub:")


def load_split(
    name: str, split: str, image_size: int | None = None, limit: int | None = None, split_seed: int = 0
) -> Split:
    """The images of one split of a data set, or its first `limit`, on the CPU.

    `image_size` is one of the data set's sides (default: its default size). `split_seed` draws validation and test
    pictures from train where the set has none of its own (see `Source.split`). A limited split is the beginning of the
    whole one, and costs no more than it holds. Downloads what is not on this machine yet.
    Raises ValueError, in one sentence, for a name, split, size or limit that does not exist, for pictures that are
    neither here nor can be downloaded, and for damaged ones.
    """
    check_name(name)
    if split not in SPLITS:
        raise ValueError(f"Data set split is {split!r}; expected one of: {', '.join(SPLITS)}.")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ValueError(f"Limit is {limit!r}; expected a whole number of images from 1 up, or None for all.")
    spec = DATASETS.get(name)
    size = (spec.default_size if spec else DEFAULT_SIZE) if image_size is None else image_size
    _check_size(name, size, spec.image_sizes if spec else IMAGE_SIZES)
    if name in EMBEDDED:
        count = spec.split_sizes[split] if limit is None else min(limit, spec.split_sizes[split])
        return _LOADERS[name](split, size, count)
    listing = _open(name).split(split, split_seed)
    images = decoded(listing, size, limit)
    return Split(images, torch.from_numpy(listing.labels[: len(images)]))


def drawn_from(name: str) -> str | None:
    """What changes when a data set's splits are drawn from other pictures, see `Source.drawn_from`.

    None where nothing is drawn. Raises ValueError as `load_split` does.
    """
    check_name(name)
    return None if name in EMBEDDED else _open(name).drawn_from()


def check_name(name: str) -> None:
    """ValueError, with the choices, for a text that names no data set. Whether its pictures are here is not asked."""
    if not isinstance(name, str) or not (name in DATASETS or name.startswith(PREFIXES)):
        choices = (*DATASETS, "folder:PATH", "upload:NAME", "hub:OWNER/NAME")
        raise ValueError(f"Unknown data set {name!r}; expected one of: {', '.join(choices)}.")
    if name.startswith("hub:"):
        check_hub_id(name[4:])


def find_dataset(name: str, split_seed: int = 0) -> DatasetSpec:
    """The data set of that name. One that is not in the table is looked into, and downloaded where need be.

    Raises ValueError as `load_split` does.
    """
    check_name(name)
    if name in DATASETS:
        return DATASETS[name]
    source = _open(name)
    sizes = {split: len(source.split(split, split_seed)) for split in SPLITS}
    return DatasetSpec(
        name=name,
        tasks=("classification", "generation") if len(source.class_names) > 1 else ("generation",),
        class_names=source.class_names,
        default_size=DEFAULT_SIZE,
        split_sizes=sizes,
        description=f"Pictures of {source.title}.",
        attribution=credit(name)[0],
    )


def credit(name: str) -> tuple[str, str]:
    """Whom the pictures of a data set are owed to, and their license as model cards write it; nothing is looked up."""
    if name in DATASETS:
        return DATASETS[name].attribution, DATASETS[name].license
    kind, _, rest = name.partition(":")
    if kind == "hub":
        return f"huggingface.co/datasets/{rest.partition('#')[0]}", "other"
    return f"own pictures ({rest.rpartition('-')[0] if kind == 'upload' else Path(rest).name})", "other"


def _check_size(name: str, size: int, sizes: Sequence[int]) -> None:
    if isinstance(size, bool) or not isinstance(size, int) or size not in sizes:
        sides = f"{sizes[0]} to {sizes[-1]}" if isinstance(sizes, range) else ", ".join(map(str, sizes))
        raise ValueError(f"{name} has no images of size {size!r}; expected one of: {sides}.")


def _open(name: str) -> Source:
    kind, _, rest = name.partition(":")
    if kind == "hub":
        return open_hub(rest)
    if kind == "folder":
        path = Path(rest).expanduser()
        return open_folder(_unpacked(path) if path.is_file() else path, rest)
    if kind == "upload":
        return open_folder(upload_folder(rest), rest)
    return open_torchvision(name, DATASETS[name].class_names)


def _unpacked(file: Path) -> Path:
    """The folder of a zip file's pictures; a warning names those that could not be read."""
    upload = unpack_zip(file)
    if broken := left_out(upload):
        warnings.warn(f"{file.name}: {say_left_out(broken)}", stacklevel=2)
    return upload_folder(upload)


def _load_clutter(split: str, size: int, count: int) -> Split:
    images = np.empty((count, 3, size, size), np.uint8)
    for start in range(0, count, CHUNK):
        stop = min(start + CHUNK, count)
        images[start:stop] = shrink(torch.from_numpy(_clutter_chunk(split, start, stop)), size).numpy()
    return Split(torch.from_numpy(images), torch.from_numpy(scenes.scene_labels(split, count)))


def _clutter_chunk(split: str, start: int, stop: int) -> np.ndarray:
    """Scenes start .. stop - 1 at 64 pixels, of which `start` begins a cached chunk; a short chunk is not stored."""
    file = cache_dir() / "emoji-clutter" / scenes.cache_key() / f"{split}-{start:05d}.npz"
    if stop - start < CHUNK and not os.path.exists(file):
        return scenes.draw_scenes(split, start, stop)
    shape = (CHUNK, 3, scenes.SIDE, scenes.SIDE)
    chunk = cached_array(file, shape, lambda: scenes.draw_scenes(split, start, start + CHUNK))
    return chunk[: stop - start]


def _load_drawings(name: str, split: str, size: int, count: int) -> Split:
    labels = torch.from_numpy(_drawing_order(name)[split][:count])
    return Split(_draw_emoji(name, 2 * size)[labels], labels)


def _load_identity(split: str, size: int, count: int) -> Split:
    """In each 258 pictures in a row all faces twice, changed anew as for emoji-faces: as drawn, then spoilt."""
    faces = _draw_emoji("emoji-faces", 2 * size)
    rounds = []
    for number in range(math.ceil(count / (2 * len(faces)))):
        generator = torch.Generator().manual_seed(len(SPLITS) * number + SPLITS.index(split))
        clean, others = (augment(faces, generator, "affine", size) for _ in range(2))
        rounds += [clean, _spoil(others, generator)]
    images = torch.cat(rounds)
    return Split(images[:count], (torch.arange(len(images)) % (2 * len(faces)))[:count])


_LOADERS = {
    "emoji-clutter": _load_clutter,
    **{name: partial(_load_drawings, name) for name in EMOJI_TABLES},
    "emoji-identity": _load_identity,
}
EMBEDDED = tuple(_LOADERS)  # the sets that are drawn here and need no files


def _spoil(images: Tensor, generator: torch.Generator) -> Tensor:
    """Faint texture over each uint8 picture: noise, or stripes or chequers of one or two pixels, of some colour.

    On half of them it lies on the drawing only, or a network would look at nothing but the white around it.
    """
    random = torch.rand(len(images), 6, 1, 1, generator=generator)
    places = torch.arange(images.shape[-1])
    noise = torch.randn(len(images), 1, *images.shape[-2:], generator=generator)
    cells = places // (1 + (random[:, :1] < 0.5).long())  # (B, 1, 1, S)
    stripes = (cells % 2 * 2 - 1).expand(-1, 1, images.shape[-2], -1).float()
    patterns = torch.cat([noise, stripes, stripes.mT, stripes * stripes.mT], dim=1)
    kinds = (4 * random[:, 1]).long().flatten()
    covered = (random[:, 5:] < 0.5) | (images.amin(dim=1, keepdim=True) < 250)
    pattern = patterns[torch.arange(len(images)), kinds][:, None] * covered
    return (images + TEXTURE * random[:, 2:5] * pattern).round().clamp(0, 255).to(torch.uint8)


def _draw_emoji(name: str, size: int) -> Tensor:
    """All drawings of a set of EMOJI_TABLES on white, kept in the cache: uint8 (drawings, 3, size, size)."""
    table = EMOJI_TABLES[name]
    codes = emoji.parse_table(table)
    pictures = cached_array(
        cache_dir() / name / f"{size}-{fingerprint(EMOJI_DRAWING, size, EMOJI_MARGIN, table)}.npz",
        (len(codes), 3, size, size),
        lambda: np.stack([emoji.render_on_white(code, size, EMOJI_MARGIN) for code in codes]),
    )
    return torch.from_numpy(pictures)


def _drawing_order(name: str) -> dict[str, np.ndarray]:
    """Which drawings stand in which split, shuffled once with a fixed seed."""
    spec = DATASETS[name]
    order = np.random.default_rng(EMOJI_SPLIT_SEED).permutation(spec.num_classes)
    ends = np.cumsum([spec.split_sizes[split] for split in SPLITS])
    return dict(zip(SPLITS, np.split(order, ends[:-1]), strict=True))


def shrink(images: Tensor, image_size: int) -> Tensor:
    """uint8 images of a Split averaged down to `image_size`, a divisor of their side, without augmentation."""
    side = images.shape[-1]
    if image_size < 1 or side % image_size:
        raise ValueError(f"Image size is {image_size!r} for images of side {side}; expected a divisor of it.")
    if side == image_size:
        return images
    return F.avg_pool2d(images.float(), side // image_size).round().to(torch.uint8)


def normalize(images: Tensor) -> Tensor:
    """uint8 images as float32 from -1 to 1: what every model of this project takes."""
    if images.dtype != torch.uint8:
        raise ValueError(f"Images to normalize are {images.dtype}; expected torch.uint8 values from 0 to 255.")
    return images.to(torch.float32) / 127.5 - 1


def augment(images: Tensor, generator: torch.Generator, kind: str, image_size: int | None = None) -> Tensor:
    """Each image of a batch changed at random, on the images' own device; dtype stays.

    images: (B, 3, S, S), uint8 from 0 to 255, or floating point from -1 to 1. Such as `Split.images`.
    generator: all randomness, drawn on the generator's device: one on the CPU gives the same changes on any device.
    kind: "flip-shift" mirrors every second image and shifts by up to a sixteenth of the side, reflecting the border;
        "affine" mirrors, rotates, scales and shifts a little, on a white background; "flip" mirrors alone; "none" does
        nothing.
    image_size: side of the result (default: S). "affine" may shrink: S a multiple of it; the others keep S.
    """
    if images.ndim != 4 or images.shape[2] != images.shape[3]:
        raise ValueError(f"Images to augment have shape {tuple(images.shape)}; expected (batch, 3, size, size).")
    if kind not in AUGMENTATIONS:
        raise ValueError(f"Augmentation is {kind!r}; expected one of: {', '.join(AUGMENTATIONS)}.")
    side = images.shape[-1]
    size = side if image_size is None else image_size
    if size < 1 or side % size or (kind != "affine" and size != side):
        expected = "a divisor" if kind == "affine" else f"exactly that: {kind} keeps the size"
        raise ValueError(f"Augmented size is {size} for images of side {side}; expected {expected}.")
    if kind == "none":
        return images
    random = torch.rand(len(images), 5, generator=generator, device=generator.device).to(images.device)
    if kind == "affine":
        return _affine(images, random, size)
    return _flip_shift(images, random, round(side * SHIFT) if kind == "flip-shift" else 0)


def _flip_shift(images: Tensor, random: Tensor, reach: int) -> Tensor:
    side = images.shape[-1]
    shifts = (random[:, :2] * (2 * reach + 1)).long().clamp_(max=2 * reach) - reach  # (B, 2)
    line = torch.arange(side, device=images.device)
    places = _reflect(line + shifts[:, :, None], side)  # (B, 2, side): rows and columns to take
    columns = torch.where(random[:, 2, None] < 0.5, places[:, 1].flip(-1), places[:, 1])
    rows = places[:, 0, None, :, None].expand(-1, images.shape[1], -1, side)
    return images.gather(2, rows).gather(3, columns[:, None, None, :].expand(images.shape))


def _reflect(places: Tensor, side: int) -> Tensor:
    """Places outside 0 .. side - 1 mirrored back into it at the border pixels."""
    return (side - 1) - ((side - 1) - places.abs()).abs()


def _affine(images: Tensor, random: Tensor, size: int) -> Tensor:
    flip = torch.where(random[:, 0] < 0.5, -1.0, 1.0)
    angle = (2 * random[:, 1] - 1) * math.radians(ROTATION)
    scale = SCALE[0] + (SCALE[1] - SCALE[0]) * random[:, 2]
    shift = (2 * random[:, 3:] - 1) * 2 * TRANSLATION  # grid coordinates run from -1 to 1
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    # For each pixel of the result, the place it comes from: shift back, rotate and scale back, mirror.
    matrix = torch.stack([flip * cos, flip * sin, -sin, cos], dim=1).view(-1, 2, 2)
    theta = torch.cat([matrix, -matrix @ shift[:, :, None]], dim=2)
    white = 255.0 if images.dtype == torch.uint8 else 1.0
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    ink = F.grid_sample(white - images.float(), grid, padding_mode="zeros", align_corners=False)  # outside: no ink
    result = white - F.avg_pool2d(ink, images.shape[-1] // size)
    return result.round().clamp(0, 255).to(torch.uint8) if images.dtype == torch.uint8 else result.to(images.dtype)
