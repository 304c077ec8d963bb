"""A run's network as one zip file to take home: weights, settings, card, and the code that opens it. No gradio."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.graph import GRAPH
from redistill.checkpoint.metadata import Metadata, read_metadata
from redistill.checkpoint.sources import CONFIG
from redistill.common.files import read_json
from redistill.training.resuming import save_student

from ..words.places import hide_places, is_shared
from . import jobs

TEXTS = (".json", ".md")
INSIDE = "student"  # the folder in the zip
# What opens it, below the folder that the zip was unpacked in; {size} are pixels a side.
TORCH_ALONE = """\
import sys; sys.path.insert(0, "student")  # the folder that was in the zip
import torch, network
model, names = network.load(), network.class_names()
images = torch.randint(256, (20, {channels}, {size}, {size}))  # put your pictures here: RGB, from 0 to 255
print([names[place] for place in model(images / 127.5 - 1).argmax(1)])"""
WITH_DIFFUSERS = """\
from diffusers import DiffusionPipeline
pipeline = DiffusionPipeline.from_pretrained("student", trust_remote_code=True)  # its code lies in the folder
images = pipeline(batch_size=4, num_inference_steps=50).images
images[0].save("drawn.png")"""
WITH_US = """\
import redistill
model = redistill.load("student")  # images from -1 to 1 to logits"""


def zip_student(name: str, folder: Path) -> Path:
    """Write the network of a run as a zip file into `folder`, and return it: of one that was stopped or has failed its
    best so far. ValueError for a run that goes or has saved nothing yet."""
    run = jobs.read_run(name)
    if run.state not in ("finished", *jobs.RESUMABLE):
        raise ValueError(f"Run “{run.title}” is {run.state}; its network can be saved once it has ended.")
    student = run.path / "student" if run.state == "finished" else save_student(run.path)
    file = folder / f"{run.name}-student.zip"
    with tempfile.TemporaryDirectory(prefix="redistill-") as made, zipfile.ZipFile(file, "w") as archive:
        student = _as_saved_now(student, Path(made) / INSIDE)
        for path in sorted(student.rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                place = str(Path(INSIDE) / path.relative_to(student))
                if is_shared() and path.suffix in TEXTS:  # settings name the teacher's folder
                    archive.writestr(place, hide_places(path.read_text(encoding="utf-8")))
                else:
                    archive.write(path, place)
    return file


def _as_saved_now(student: Path, copy: Path) -> Path:
    """The checkpoint's folder, or a `copy` with what was not written into checkpoints when it was made."""
    metadata = read_metadata(student)
    is_whole = (student / GRAPH).is_file() and read_json(student / CONFIG).get("class_names")
    if is_whole or metadata.student.task == "diffusion":
        return student
    return checkpoint.save(checkpoint.load(student), metadata, copy)


def opening_lines(metadata: Metadata, folder: Path) -> str:
    """The lines of Python that open the unpacked network; those of `TORCH_ALONE` need nothing but torch."""
    student = metadata.student
    if student.task == "diffusion":
        return WITH_DIFFUSERS
    if not (folder / GRAPH).is_file():
        return WITH_US
    return TORCH_ALONE.format(size=student.image_size, channels=student.in_channels)
