"""What can be chosen on the page: checkpoints that ship and those of one's own runs. No gradio."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from redistill.checkpoint.metadata import Metadata, read_metadata
from redistill.checkpoint.sources import ON_HUB, find_checkpoint, imported_dir, list_imported, list_shipped
from redistill.common.hub import hub_id
from redistill.networks.names import is_own
from redistill.networks.student import StudentConfig

from ..visitors import access
from ..words import numbers
from . import run_list
from .titles import distinct_titles

MAX_SOURCE = 1000  # characters of a folder or Hub id
RUN, IMPORTED = "run:", "imported:"  # before the names of checkpoints that do not ship
SPELLED = {"cifar10": "CIFAR-10", "kd": "KD", "unet": "U-Net"}  # in titles of those that do


@dataclass(frozen=True)
class Choice:
    """A checkpoint that can be chosen: `value` finds it again (`folder` turns it into a place), `title` is shown."""

    value: str  # name of a shipped checkpoint, "run:NAME" or "imported:NAME"
    title: str
    metadata: Metadata

    @property
    def is_own(self) -> bool:
        """Whether it comes from a run of the person's own, or from weights that they brought."""
        return self.value.startswith((RUN, IMPORTED))

    @property
    def is_student(self) -> bool:
        """Whether its strides are other than its network's own."""
        return bool(self.metadata.student.strides)


def checkpoints(accept: Callable[[Metadata], bool]) -> list[Choice]:
    """Readable checkpoints that `accept` takes: those that ship, of finished runs, the newest first, and imported."""
    places = [(name, shipped_title(name)) for name in list_shipped()]
    runs = [run for run in run_list.list_runs() if run.state == "finished"]
    places += [(f"{RUN}{name}", f"{title} (own run)") for name, title in distinct_titles(runs).items()]
    places += [(f"{IMPORTED}{name}", f"{name} (own weights)") for name in list_imported() if _brought(name)]
    found = []
    for value, title in places:
        try:
            metadata = read_metadata(_place(value))
        except (ValueError, OSError):
            continue  # a damaged folder is no choice; naming it directly says what is wrong with it
        if hub := metadata.imported.get("hub"):
            title = f"{hub} (from the Hub)"
        if accept(metadata):
            found.append(Choice(value, title, metadata))
    return found


def find(value: object, accept: Callable[[Metadata], bool]) -> Choice:
    """The choice of that value; ValueError when it is gone or never was one, so that no path from outside is opened."""
    offered = checkpoints(accept)
    for choice in offered:
        if choice.value == value:
            return choice
    if not offered:
        raise ValueError("There is no trained checkpoint for this yet; train one first on the Distill tab.")
    raise ValueError(f"No checkpoint {str(value)[:80]!r}; expected one of {[choice.value for choice in offered]}.")


def _brought(name: str) -> bool:
    return access.has_claimed("teacher", name)


def folder(choice: Choice) -> Path:
    """Where a choice lies."""
    return find_checkpoint(_place(choice.value))


def folders_open() -> bool:
    """Whether people may name folders of this machine: not on a Space, where anybody may be at the page."""
    return not access.is_shared()


def source_label() -> str:
    """What people may name in a field for a checkpoint from elsewhere."""
    return "Folder or Hub id" if folders_open() else "Hub id"


def read_source(typed: object) -> str:
    """What was typed in such a field, an address on the Hub as its id, and "" for nothing; ValueError for no text."""
    if typed is None:  # the field was never opened
        return ""
    if not isinstance(typed, str) or len(typed) > MAX_SOURCE:
        raise ValueError(f"{source_label()} is {str(typed)[:40]!r}; expected a text such as google/ddpm-cifar10-32.")
    typed = typed.strip()
    return typed if typed.startswith(ON_HUB) else hub_id(typed)


def value_of(folder: str) -> str:
    """The value of the choice that a run's config calls by its folder; a shipped checkpoint's name stays as it is."""
    path = Path(folder)
    if path.parent == imported_dir():
        return f"{IMPORTED}{path.name}"
    is_own = path.name == "student" and path.parent.parent == run_list.runs_dir()
    return f"{RUN}{path.parent.name}" if is_own else folder


def is_diffusion(metadata: Metadata) -> bool:
    """Whether a checkpoint draws images."""
    return metadata.student.task == "diffusion"


def teaches(student: StudentConfig, dataset: str) -> Callable[[Metadata], bool]:
    """Accepts trained teachers of `student`: its teacher's network, at its own strides, on the same pictures.

    Of weights from elsewhere nobody may know the pictures; those are taken at their word.
    """

    def accept(metadata: Metadata) -> bool:
        own = metadata.student
        return (
            own.student_architecture == student.teacher
            and dict(own.strides) == dict(student.teacher_strides)
            and own.red is None
            and own.image_size == student.image_size
            and (metadata.dataset == dataset or (metadata.imported and not metadata.dataset))
            and not metadata.training.get("stride_vectors")  # a compromise between all strides is no teacher of one
        )

    return accept


def score_text(metadata: Metadata) -> str | None:
    """What a checkpoint reached on the test pictures, in words."""
    figures = metadata.metrics
    if "test_accuracy" in figures:
        return f"{numbers.format_percent(figures['test_accuracy'])} test accuracy"
    if "test_prediction_loss" in figures:
        return f"test loss {numbers.format_number(figures['test_prediction_loss'])}"
    return None


def shipped_title(name: str) -> str:
    """ "Emoji faces student with KD" of "emoji-faces-student-with-kd"; "-any" stands for any strides."""
    if name.endswith("-any"):
        return f"{shipped_title(name.removesuffix('-any'))}, any strides"
    title = " ".join(SPELLED.get(word, word) for word in name.split("-"))
    return title[0].upper() + title[1:]


def check_opens_no_file(student: StudentConfig) -> None:
    """ValueError for a network of one's own file: built, it would run code or open paths that the page was handed."""
    for name in (student.teacher, student.student_architecture):
        if is_own(name):
            raise ValueError(
                f"{name} is a file of one's own, which the page never opens; use the shell or the library."
            )


def _place(value: str) -> str | Path:
    if value.startswith(IMPORTED):
        return imported_dir() / value.removeprefix(IMPORTED)
    return run_list.runs_dir() / value.removeprefix(RUN) / "student" if value.startswith(RUN) else value
