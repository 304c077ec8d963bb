"""A run's network as one zip file to take home: weights, settings, card, and the code that opens it. No gradio."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.graph import GRAPH
from redistill.checkpoint.metadata import Metadata, read_metadata
from redistill.checkpoint.sources import CONFIG
from redistill.common.files import copy_folder, read_json
from redistill.training.resuming import save_student

from ..words.places import hide_places
from . import jobs, run_list

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
    """Write what `write_student` writes as a zip file into `folder`, and return it."""
    file = folder / f"{run_list.read_run(name).name}-student.zip"
    with tempfile.TemporaryDirectory(prefix="redistill-") as made, zipfile.ZipFile(file, "w") as archive:
        student = write_student(name, Path(made))
        for path in sorted(student.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(made))
    return file


def write_student(name: str, place: Path) -> Path:
    """Write the network of a run into a new folder in `place`, and return it: of one that was stopped or has failed its
    best so far. It has all that is written into checkpoints now, and names no place of this machine.

    ValueError for a run that goes or has saved nothing yet.
    """
    run = run_list.read_run(name)
    if run.state not in ("finished", *jobs.RESUMABLE):
        raise ValueError(f"Run “{run.title}” is {run.state}; its network can be saved once it has ended.")
    student = run.path / "student" if run.state == "finished" else save_student(run.path)
    folder, metadata = place / INSIDE, read_metadata(student)
    is_whole = (student / GRAPH).is_file() and read_json(student / CONFIG).get("class_names")
    if is_whole or metadata.student.task == "diffusion":
        copy_folder(student, folder)
    else:
        checkpoint.save(checkpoint.load(student), metadata, folder)
    for path in folder.rglob("*"):
        if path.suffix in TEXTS:  # settings name the teacher's folder
            path.write_text(hide_places(path.read_text(encoding="utf-8")), encoding="utf-8")
    return folder


def opening_lines(metadata: Metadata, folder: Path) -> str:
    """The lines of Python that open the unpacked network; those of `TORCH_ALONE` need nothing but torch."""
    student = metadata.student
    if student.task == "diffusion":
        return WITH_DIFFUSERS
    if not (folder / GRAPH).is_file():
        return WITH_US
    return TORCH_ALONE.format(size=student.image_size, channels=student.in_channels)
