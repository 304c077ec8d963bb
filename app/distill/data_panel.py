"""The pictures of tab Distill: choose a set, bring one of your own, and see what it holds."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from html import escape
from typing import Any

import gradio as gr

from redistill.common.hub import hub_id
from redistill.common.modules import weightless
from redistill.data.augmentation import shrink
from redistill.data.datasets import find_dataset, load_split, usual_size
from redistill.data.drawn import DRAWN
from redistill.data.hub_sets import check_hub_id
from redistill.data.table import DATASETS, DatasetSpec
from redistill.data.torchvision_sets import is_here
from redistill.data.uploads import left_out, list_uploads, remove_upload, say_left_out, unpack_zip, upload_folder
from redistill.networks.student import StudentConfig, build_student
from redistill.training.config import DistillConfig

from ..parts.fields import LiveRadio, NumberField
from ..parts.fragments import notice, picture_strip
from ..parts.scripted import FolderButton
from ..runs import jobs, run_list
from ..visitors import access
from ..visitors.limits import check_brought, limits_here
from ..visitors.uploaded import taken
from ..words.numbers import format_time
from ..words.settings import dataset_title, on_page

SAMPLES = 8  # pictures shown of a data set
ZIP_FILE = "Upload a zip file"
NAMES = 20  # classes named on the card
BRING = "One folder of pictures for each class. Folders train, val and test above them are used as they are."


class DataPanel:
    """Its components; build it inside the Blocks context where it should stand."""

    def __init__(self, config: DistillConfig) -> None:
        self.dataset = LiveRadio(
            offered(config.student), value=config.dataset, label="Pictures", show_label=False, elem_classes="list",
            elem_id="dataset",
        )  # fmt: skip
        with gr.Accordion("Use other pictures", open=False, elem_classes="fold"):
            gr.HTML(f'<p class="subline">{BRING}</p>')
            self.upload = gr.UploadButton(ZIP_FILE, file_types=[".zip"], size="sm", elem_id="upload")
            FolderButton("Upload a folder", f'input[data-testid="{ZIP_FILE}-upload-button"]', elem_id="folder")
            self.hub = gr.Textbox(label="Or a data set of the Hugging Face Hub", placeholder="owner/name")
            self.fetch = gr.Button("Use this data set", size="sm", elem_id="fetch")
        with gr.Row(elem_classes="quiet-buttons"):
            self.remove = gr.Button("Remove these pictures", size="sm", visible=False, elem_id="remove-upload")
            self.confirm = gr.Button(
                "Remove them for good", size="sm", variant="stop", visible=False, elem_id="remove-confirm"
            )
        self.said = gr.HTML(elem_id="data-said")
        self.image_size = NumberField(
            config.student.image_size, label="Image size, px", minimum=8, elem_id="field-image_size"
        )


def take_upload(file: Any) -> tuple[str | None, str]:
    """The data set of an uploaded zip file, and what to say about it: one of the two is empty."""
    try:
        if not isinstance(file, str):
            raise ValueError("Nothing was uploaded; expected a zip file.")
        most = limits_here()
        with taken(file):
            check_brought()
            upload = unpack_zip(file, most_files=most.upload_pictures, most_bytes=most.unpacked_bytes)
        access.claim("upload", upload)
        return _known(f"upload:{upload}"), ""
    except (ValueError, OSError) as error:
        return None, notice("", str(error))


def take_hub_id(text: Any) -> tuple[str | None, str]:
    """The data set of a Hub id, downloaded where it is not yet, and what to say about it: one of the two is empty."""
    try:
        name = hub_id(text) if isinstance(text, str) else str(text)[:80]
        check_hub_id(name)
        return _known(f"hub:{name}"), ""
    except (ValueError, OSError) as error:
        return None, notice("", str(error))


def offered(student: StudentConfig, also: str | None = None) -> list[tuple[str, str]]:
    """Data sets that a student can learn from as (title, value): named ones, uploads, and those of one's own runs."""
    task = "classification" if student.task == "classification" else "generation"
    own = [name for name in _uploads() if _suits(name, task)]
    own += sorted(name for name in _of_runs() if not name.startswith("upload:"))
    names = [spec.name for spec in DATASETS.values() if task in spec.tasks]
    names += [name for name in dict.fromkeys([*own, *filter(None, [also])]) if name not in DATASETS]
    return [(_listed(name), name) for name in names]


def _listed(name: str) -> str:
    """A data set in the list: of an upload also how many pictures, and since when."""
    kind, _, upload = name.partition(":")
    title = dataset_title(name)
    if kind != "upload":
        return title
    try:
        count = sum(_look_into(name).split_sizes.values())
        came = format_time(upload_folder(upload).stat().st_ctime)
    except (ValueError, OSError):
        return title
    return f"{title}, {count:,} pictures, {came}"


def ask_to_remove(name: Any) -> dict[str, Any]:
    """Whether the pictures that are chosen are to be removed: nothing happens yet."""
    users = _users(name)
    told = (
        f" {len(users)} run{'s' if len(users) > 1 else ''} learnt from them, and can then not go on." if users else ""
    )
    words = f"Remove “{dataset_title(str(name))}” from this machine?{told}"
    return {"said": notice("", words, kind="hint"), "confirm": gr.Button(visible=True)}


def remove(name: Any) -> None:
    """Remove an upload; ValueError for other pictures, and while a run learns from them."""
    look_up(name)
    kind, _, upload = name.partition(":")
    if kind != "upload":
        raise ValueError(f"{dataset_title(name)} was not uploaded; only uploads are removed here.")
    going = [run for run in _users(name) if run.state in jobs.ALIVE]
    if going:
        raise ValueError(f"{len(going)} run{'s learn' if len(going) > 1 else ' learns'} from them now; stop first.")
    if access.disown("upload", upload):
        remove_upload(upload)
        access.forget("upload", upload)
    _look_into.cache_clear()
    _card.cache_clear()


def _users(name: Any) -> list[jobs.Run]:
    return [run for run in run_list.list_runs() if run.config.get("dataset") == name]


def can_remove(name: Any) -> list[Any]:
    """The button that removes pictures, for those that are chosen, and that which does it, before it is asked for."""
    return [gr.Button(visible=isinstance(name, str) and name.startswith("upload:")), gr.Button(visible=False)]


def look_up(name: Any) -> DatasetSpec:
    """The data set of that name. ValueError for a text that names none, and for any folder of this machine that no
    run of one's own has learnt from: a visitor's wish opens no path."""
    if not isinstance(name, str):
        raise ValueError(f"Data set is {str(name)[:80]!r}; expected the name of one.")
    if name.startswith("folder:") and name not in _of_runs():
        raise ValueError("Folders are read from the command line only; upload the folder here.")
    access.check_dataset(name)
    return DATASETS[name] if name in DATASETS else _look_into(name)


def fit(student: StudentConfig, name: Any, image_size: Any = None) -> StudentConfig:
    """The student for the classes of a data set, at `image_size` or else at its own size where the set has that.

    Raises ValueError when the set is for another task, has no such size, or is too small for the strides.
    """
    spec = look_up(name)
    _check_task(student, spec)
    size = usual_size(spec, student.image_size) if image_size is None else image_size
    if not isinstance(size, int) or size not in spec.image_sizes:
        sizes = spec.image_sizes
        sides = f"{sizes[0]} to {sizes[-1]}" if isinstance(sizes, range) else f"one of {list(sizes)}"
        raise ValueError(f"{dataset_title(spec.name)} has no pictures of {str(size)[:20]} px; expected {sides}.")
    classes = None if student.task == "diffusion" else spec.num_classes
    fitted = dataclasses.replace(student, image_size=size, num_classes=classes)
    with weightless():
        build_student(fitted)  # strides that do not fit are said here, not in the run's log
    return fitted


def _check_task(student: StudentConfig, spec: DatasetSpec) -> None:
    called = dataset_title(spec.name)
    if student.task == "classification" and "classification" not in spec.tasks:
        lack = "one class only; put the pictures of each class, at least two, into a folder of its own"
        if spec.name in DATASETS:
            lack = "no classes to tell apart; choose other pictures"
        raise ValueError(f"{called} has {lack}, or choose the preset of a diffusion student.")
    if student.task == "diffusion" and "generation" not in spec.tasks:
        raise ValueError(
            f"{called} is there to tell its classes apart, not to draw such pictures; choose other pictures "
            "for a diffusion network."
        )


def show_pictures(name: Any) -> str:
    """What a data set holds, and a few of its pictures, as a card."""
    try:
        spec = look_up(name)
        return _absent(spec) if spec.name in DATASETS and not is_present(spec.name) else _card(spec.name)
    except (ValueError, OSError) as error:
        return notice("", str(error))


def said_of(name: str) -> str:
    """What there is to say about pictures that were chosen, as HTML: what of them is left out."""
    kind, _, upload = name.partition(":")
    sentences = [say_left_out(left_out(upload))] if kind == "upload" else []
    if name not in DATASETS:
        sentences += map(on_page, look_up(name).notes)
    words = " ".join(filter(None, sentences))
    return notice("", words, kind="hint") if words else ""


def is_present(name: str) -> bool:
    """Whether a named data set needs no download: it is drawn here, or its files lie in the data folder."""
    return name in DRAWN or is_here(name)


def _of_runs() -> set[str]:
    """What one's own runs have learnt from, beside the named sets and what is gone."""
    names, uploads = {str(run.config.get("dataset")) for run in run_list.list_runs()}, _uploads()
    return {name for name in names if name.startswith(("hub:", "folder:")) or name in uploads}


def _uploads() -> list[str]:
    return [f"upload:{name}" for name in list_uploads() if access.has_claimed("upload", name)]


def _suits(upload: str, task: str) -> bool:
    """Whether an upload is for a task; one that cannot be read, from an earlier version, is for none."""
    try:
        return task in _look_into(upload).tasks
    except (ValueError, OSError):
        return False


def _known(name: str) -> str:
    look_up(name)
    return name


@lru_cache(maxsize=256)
def _look_into(name: str) -> DatasetSpec:
    """Uploads never change, and sets of the Hub hardly ever while the app runs."""
    return find_dataset(name)


@lru_cache(maxsize=8)
def _card(name: str) -> str:
    spec = look_up(name)
    split = load_split(name, "train", spec.default_size, limit=SAMPLES)
    images = shrink(split.images, spec.default_size)
    names = [spec.class_names[label] for label in split.labels.tolist()]
    strip = picture_strip(list(images), names, dataset_title(name), spec.attribution, _facts(spec))
    return strip + (notice("", split.left_out, kind="hint") if split.left_out else "")


def _absent(spec: DatasetSpec) -> str:
    """The card of a set that is still to be downloaded."""
    words = f"{escape(spec.description)} It is not on this machine yet: a run downloads it when it starts."
    return picture_strip([], [], dataset_title(spec.name), spec.attribution, f"{_facts(spec)}<br>{words}")


def _facts(spec: DatasetSpec) -> str:
    """Images and classes in words, as HTML."""
    train, validation, test = (f"{spec.split_sizes[name]:,}" for name in ("train", "validation", "test"))
    images = f"{train} pictures to train on, {validation} to validate, {test} to test."
    if "classification" not in spec.tasks:
        return images
    named = ", ".join(spec.class_names[:NAMES])
    more = f" and {spec.num_classes - NAMES} more" if spec.num_classes > NAMES else ""
    return f"{images} {spec.num_classes} classes: {escape(named)}{more}."
