"""What tab Distill answers: what fills the form, and what its buttons do. Values come from the page, whatever they are.

Each handler returns values of the tab's components by name, see `page.build`; what does not fit is a notice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from redistill.checkpoint.metadata import Metadata
from redistill.checkpoint.sources import ON_HUB, ddpm_settings, with_unets
from redistill.memory.usual_strides import early_strides, own_strides
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig
from redistill.networks.zoo import DDPM
from redistill.training.checks import check_teacher
from redistill.training.config import DistillConfig
from redistill.training.presets import find_preset

from ..parts.events import refused_in
from ..parts.fragments import notice
from ..runs import brought, choices, from_hub, run_list
from ..visitors.uploaded import taken
from ..visitors.who import token_of_request
from ..words.numbers import format_pixels
from ..words.settings import dataset_title, network_title, run_title
from . import data_panel, own_weights, run_form, student_form
from .carried import say_carried
from .finished import shown_run
from .student_form import read_student


@refused_in("refusal")
def take_preset(picked: Any, marked: Any) -> dict[str, Any]:
    """Fill the form with the preset that is marked, which stays so: a second click may have come meanwhile. Pictures
    that a person has `picked` stay, or are said not to suit."""
    preset = find_preset(str(marked))
    config, wanted = preset.config, preset.config.dataset
    if not isinstance(picked, str) or picked == wanted:
        return {**_filled(config, preset.description), "own": gr.Button(visible=False)}
    own = gr.Button(f"Take its own pictures, {dataset_title(wanted)}", visible=True)
    try:
        size = (
            config.student.image_size if config.student.image_size in data_panel.look_up(picked).image_sizes else None
        )
        student = data_panel.fit(config.student, picked, size)
        config = dataclasses.replace(config, student=student, dataset=picked)
    except ValueError as error:
        words = f"“{preset.title}” does not suit the pictures that you chose. {error}"
        return {"refusal": notice("", words), "own": own}
    words = f"Your pictures stay: {dataset_title(picked)}. Those of “{preset.title}” are {dataset_title(wanted)}."
    return {**_filled(config, preset.description, _hint(words)), "own": own}


def take_own_pictures(marked: Any) -> dict[str, Any]:
    """Fill the form with the preset that is marked, its pictures too."""
    return {**take_preset(None, marked), "picked": None}


@refused_in("refusal")
def take_student(
    values: Any,
    lent: Any = False,
    before: Any = None,
    dataset: Any = None,
    teacher: Any = None,
    picked: Any = None,
    *looked: Any,
) -> dict[str, Any]:
    """Fill the form for a student that was chosen in Explore; all other settings are those of its task's preset.

    Where Explore was opened with the form's own student (`lent`), which is `before` here, only the student changes: the
    rest of the form stays, `dataset` and `teacher` among it where they suit. Pictures that a person has `picked` stay;
    what Explore `looked` at it with, see `say_carried`, is said.
    """
    student = StudentConfig.from_dict(values if isinstance(values, Mapping) else {})
    base = _config_for(student, "default", "faces")
    if lent and read_student(before).task == student.task:
        return _changed(student, read_student(before), base, dataset or base.dataset, teacher)
    pictures = base.dataset if picked is None else picked
    student, note = _adapt(student, pictures)
    carried = say_carried(student, *looked) if looked else ""
    weight = base.red_weight if student.red else 0.0
    config = dataclasses.replace(base, student=student, dataset=pictures, red_weight=weight)
    return _unmarked() | _filled(config, "Chosen in Explore.", _hint(" ".join(filter(None, (note, carried)))))


def _changed(
    student: StudentConfig, before: StudentConfig, base: DistillConfig, dataset: Any, teacher: Any
) -> dict[str, Any]:
    """The form as it is with another student; ValueError where its pictures do not suit. The RED loss goes with the
    blocks, and comes with the weight of the preset `base`."""
    student, note = _adapt(student, dataset)
    weight = {}
    if (student.red is None) != (before.red is None):
        weight = {"red_weight": base.red_weight if student.red else 0.0}
        told = f"RED blocks were switched {'on' if student.red else 'off'} in Explore: the weight of the RED loss is"
        note = f"{note} {told} {weight['red_weight']:g} now.".lstrip()
    return {
        **_student_shown(student),
        **student_form.filled(student),
        **weight,
        "alignment": student.alignment,
        "refusal": _hint(note),
        "image_size": student.image_size,
        "teacher_checkpoint": run_form.teacher_choice(student, dataset, teacher),
    }


def _adapt(student: StudentConfig, dataset: Any) -> tuple[StudentConfig, str]:
    """The student on a data set that suits it, and a sentence where that lacks the size asked for."""
    adapted = data_panel.fit(student, dataset)
    if adapted.image_size == student.image_size:
        return adapted, ""
    return adapted, (
        f"{dataset_title(dataset)} has no pictures of {format_pixels(student.image_size)}, so the student is distilled "
        f"at {format_pixels(adapted.image_size)}."
    )


@refused_in("refusal")
def take_config(values: Any) -> dict[str, Any]:
    """Fill the form with all settings of a result that was chosen in Compare."""
    config = DistillConfig.from_dict(values if isinstance(values, Mapping) else {})
    choices.check_opens_no_file(config.student)
    return _unmarked() | _filled(config, f"Settings of a result in Compare: {run_title(config)}.")


@refused_in("refusal", "This does not fit.")
def take_edit(student: Any, dataset: Any, teacher_checkpoint: Any, **given: Any) -> dict[str, Any]:
    """The student that its controls are set to, with the teachers it can have and its strides."""
    chosen = student_form.read(student, given)
    shown = student_form.filled(chosen)
    return {
        **_student_shown(chosen),
        "strides": shown["strides"],
        "teacher_strides": shown["teacher_strides"],
        "refusal": "",
        "teacher_checkpoint": run_form.teacher_choice(chosen, str(dataset), teacher_checkpoint),
    }


@refused_in("said")
def take_data(student: Any, dataset: Any, image_size: Any = None) -> dict[str, Any]:
    """Fit the student to pictures that were chosen, and offer the teachers that have learnt from them."""
    fitted = data_panel.fit(read_student(student), dataset, image_size)
    return {
        **_student_shown(fitted),
        "picked": dataset,
        "said": data_panel.said_of(dataset),
        "dataset": gr.Radio(choices=data_panel.offered(fitted, also=dataset), value=dataset),
        "image_size": fitted.image_size,
        "teacher_checkpoint": run_form.teacher_choice(fitted, dataset),
    }


def take_size(student: Any, dataset: Any, image_size: Any) -> dict[str, Any]:
    """The same at a size that was chosen: no pictures were."""
    return {name: value for name, value in take_data(student, dataset, image_size).items() if name != "picked"}


def take_brought(student: Any, dataset: Any) -> dict[str, Any]:
    """Choose the pictures that were brought in; without any, what was said about that stays."""
    return {} if dataset is None else take_data(student, dataset)


@refused_in("said")
def remove_data(student: Any, dataset: Any) -> dict[str, Any]:
    """Remove the upload that is chosen, and choose other pictures for its student."""
    data_panel.remove(dataset)
    task = read_student(student).task
    return {**take_data(student, find_preset("faces" if task == "diffusion" else "default").config.dataset),
            "picked": None, "confirm": gr.Button(visible=False)}  # fmt: skip


def offer_data(student: Any, dataset: Any) -> Any:
    """The pictures there are by now, for a page that opens: other pages may have brought some in."""
    try:
        also = dataset if isinstance(dataset, str) else None
        return gr.Radio(choices=data_panel.offered(read_student(student), also=also))
    except ValueError:
        return gr.skip()


@refused_in("said")
def take_teacher(student: Any, dataset: Any, image_size: Any) -> dict[str, Any]:
    """Fill the form with a teacher of the student, to be trained on the pictures that are chosen, or say why not."""
    taught = read_student(student)
    teacher = data_panel.fit(run_form.teacher_network(taught), dataset, image_size)
    base = _config_for(teacher, "teacher", "faces-teacher")
    config = dataclasses.replace(base, student=teacher, dataset=dataset)
    said = (
        "A teacher at its network’s own strides. Once its run has finished, students of these pictures can choose it."
    )
    return {"said": "", **_unmarked(), **_filled(config, said)}


@refused_in("refusal")
def take_run(drawn: Any) -> dict[str, Any]:
    """Fill the form with a student of the network of the run that is shown, at strides that pool early."""
    run = run_list.read_run(shown_run(drawn))
    if run.state != "finished":
        raise ValueError(f"Run “{run.title}” is {run.state}; its network can teach once it has finished.")
    learnt = DistillConfig.from_dict(run.config)
    choices.check_opens_no_file(learnt.student)
    if why := _why_not(learnt.student, learnt.stride_vectors):
        raise ValueError(f"The network of “{run.title}” {why}, so it teaches none here; choose a run of a teacher.")
    kept = {name: getattr(learnt, name) for name in ("split_seed", "prediction_type", "device")}
    about = f"A student of “{run.title}”."
    return _student_of(learnt.student, learnt.dataset, run.path / "student", about, **kept)


def _why_not(own: StudentConfig, stride_vectors: Any) -> str:
    """Why a trained network teaches none; empty where it may."""
    if stride_vectors:
        return "was trained for all strides at once"
    return "has RED blocks" if own.red is not None else ""


def _student_of(own: StudentConfig, dataset: Any, teacher: Path, about: str, **kept: Any) -> dict[str, Any]:
    """Fill the form with a student of the network `own` that lies in the folder `teacher`, at strides that pool early.

    kept: settings of its run that the student's has too.
    """
    name = own.student_architecture
    taught = {"teacher": name, "architecture": None, "teacher_strides": own.strides, "red": REDConfig()}
    early = early_strides(name, own.unets, own.image_size)
    student = data_panel.fit(dataclasses.replace(own, strides=early, **taught), dataset, own.image_size)
    base = _config_for(student, "default", "faces")
    config = dataclasses.replace(base, student=student, dataset=dataset, teacher_checkpoint=str(teacher), **kept)
    same = dict(student.strides) == (dict(own.strides) or own_strides(name, own.unets, own.image_size))
    hint = "The student has its teacher’s strides; choose larger ones early to need less memory." if same else ""
    return {**_unmarked(), **_filled(config, about, _hint(hint))}


@refused_in("said")
def take_elsewhere(source: Any, dataset: Any) -> dict[str, Any]:
    """Fill the form with a student of a network from elsewhere, at strides that pool early, or say why not.

    That is "hub:owner/name", which was pushed from here, or else a DDPM.
    """
    source = choices.read_source(source)
    if source.startswith(ON_HUB):
        return {"said": "", **_take_pushed(source, dataset)}
    return _take_ddpm(source, dataset)


def _take_pushed(source: str, dataset: Any) -> dict[str, Any]:
    """Its student learns from the pictures that it has learnt from, or where these are not here, those chosen."""

    def check(card: Metadata) -> None:
        if why := _why_not(card.student, card.training.get("stride_vectors")):
            raise ValueError(
                f"{source} {why}, so it teaches none here; Explore shows it by the same name, and Generate draws with "
                "it where it is a diffusion network."
            )

    choice = from_hub.take(source, token_of_request(), check)
    card = choice.metadata
    kept = {"split_seed": card.split_seed, "prediction_type": card.prediction_type}
    about = f"A student of {choice.title}."
    return _student_of(card.student, card.dataset or dataset, choices.folder(choice), about, **kept)


def _take_ddpm(source: str, dataset: Any) -> dict[str, Any]:
    """It learns from the pictures that are chosen where it can draw such, and else from those of emoji-faces."""
    size, kind = ddpm_settings(source, choices.folders_open())
    name = DDPM + source
    base = find_preset("faces").config
    student = with_unets(StudentConfig(name, size or base.student.image_size), choices.folders_open())
    student = dataclasses.replace(student, strides=early_strides(name, student.unets))
    if "generation" not in data_panel.look_up(dataset).tasks:
        dataset = base.dataset
    student = data_panel.fit(student, dataset, student.image_size)
    config = dataclasses.replace(base, student=student, dataset=dataset, teacher_checkpoint=name, prediction_type=kind)
    check_teacher(config)
    return {"said": "", **_unmarked(), **_filled(config, f"A student of {source}, on its noise schedule.")}


@refused_in("said")
def take_weights(file: Any, names: Any, mean: Any, std: Any, student: Any, dataset: Any, size: Any) -> dict[str, Any]:
    """Make a teacher of a file of weights of the student's teacher's network, and choose it, or say why not."""
    with taken(file):
        student = data_panel.fit(read_student(student), dataset, size)
        name = own_weights.take(student, own_weights.read_weights(file, names, mean, std))
    teacher = run_form.teacher_choice(student, dataset, choices.IMPORTED + name)
    said = f"{name} is a teacher now; students of a {network_title(student)} can choose it."
    return {"said": _hint(said), **_student_shown(student), "teacher_checkpoint": teacher, **own_weights.offer()}


@refused_in("said")
def remove_weights(mine: Any, student: Any, dataset: Any, teacher: Any) -> dict[str, Any]:
    """Remove weights that were brought in, and offer the teachers that are left; the one that is chosen stays so."""
    brought.remove(mine)
    left = run_form.teacher_choice(read_student(student), str(dataset), teacher)
    return {"said": "", "teacher_checkpoint": left, **own_weights.none_chosen()}


def show_teacher_steps(teacher: Any) -> Any:
    """How long the teacher is trained is asked where one is to be trained first."""
    return gr.Number(visible=teacher == run_form.TRAIN_FIRST)


def show_alignment(student: Any, rule: Any) -> str:
    """The student's card with another alignment, which puts RED blocks elsewhere."""
    try:
        values = student if isinstance(student, Mapping) else {}
        return student_form.card(StudentConfig.from_dict({**values, "alignment": rule}))
    except ValueError as error:
        return notice("", str(error))


def _config_for(student: StudentConfig, classifier: str, drawing: str) -> DistillConfig:
    """The settings of one of two presets, the one for the student's task."""
    return find_preset(drawing if student.task == "diffusion" else classifier).config


def _filled(config: DistillConfig, about: str, refusal: str = "") -> dict[str, Any]:
    """The student, every setting and every control of the student, and what stands above them."""
    settings = run_form.filled(config) | student_form.filled(config.student)
    return {"about": subline(about), "refusal": refusal, **_student_shown(config.student), **settings}


def _student_shown(student: StudentConfig) -> dict[str, Any]:
    return {"student": student.to_dict(), "card": student_form.card(student)}


def _unmarked() -> dict[str, Any]:
    """No preset is marked: the form holds something else."""
    return {"preset": None}


def _hint(text: str) -> str:
    return notice("", text, kind="hint") if text else ""


def subline(text: str) -> str:
    """A sentence below a headline, as HTML."""
    return f"<p class='subline'>{escape(text)}</p>"
