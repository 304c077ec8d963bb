"""The card of a student on the Hub: memory before and after, accuracy as `model-index`, and how it was made."""

from __future__ import annotations

from typing import Any

from huggingface_hub.utils import yaml_dump

from ..checkpoint.metadata import model_card
from ..common.values import is_number
from ..data.datasets import credit
from ..memory.comparison import Comparison
from .memory_facts import memory_rows, weight_rows
from .opened import Opened, tested_on

CHARTS = {"teacher": "memory-teacher.png", "student": "memory-student.png"}


def card_text(opened: Opened, found: Comparison, files: tuple[str, ...] = ()) -> str:
    """The card in Markdown, with the front matter that the Hub reads.

    found: the student and its teacher, fused in fp32; files: those of runtimes that lie beside it.
    """
    body = model_card(opened.metadata, opened.folder).split("---\n", 2)[2]
    title, made = body.split("\n", 1)
    charts = "\n".join(f"![Bytes alive at each operator of the {who}]({name})" for who, name in CHARTS.items())
    runtimes = "".join(f"- `{name}`\n" for name in files)
    exports = f"Files of runtimes, which have run there:\n\n{runtimes}\n" if files else ""
    front = yaml_dump(_front(opened), sort_keys=False)
    memory = f"## Memory\n\n{_memory(opened, found)}\n{charts}\n\n"
    return f"---\n{front}---\n{title}\n\n{memory}{exports}## How it was made\n{made}"


def _front(opened: Opened) -> dict[str, Any]:
    metadata, student = opened.metadata, opened.metadata.student
    is_classifier = student.task == "classification"
    told: dict[str, Any] = {
        "library_name": "redistill" if is_classifier else "diffusers",
        "license": credit(metadata.dataset)[1] if metadata.dataset else "other",
        "pipeline_tag": "image-classification" if is_classifier else "unconditional-image-generation",
        "tags": ["redistill", "knowledge-distillation", "peak-memory", "arxiv:2406.03744"],
    }
    if metadata.dataset.startswith("hub:"):
        told["datasets"] = [metadata.dataset.removeprefix("hub:")]
    return told | ({"model-index": [_index(opened)]} if _results(opened) else {})


def _index(opened: Opened) -> dict[str, Any]:
    """What leaderboards read: the figures, on which pictures, of which seed."""
    metadata = opened.metadata
    count, training = tested_on(metadata), metadata.training
    data = {"type": metadata.dataset or "own", "name": metadata.dataset or "own pictures", "split": "test"}
    data |= {"args": {"pictures": count, "seed": training.get("seed"), "image_size": metadata.student.image_size}}
    task = {"type": "image-classification" if metadata.student.task == "classification" else "image-generation"}
    return {"name": opened.name, "results": [{"task": task, "dataset": data, "metrics": _results(opened)}]}


def _results(opened: Opened) -> list[dict[str, Any]]:
    named = {"test_accuracy": "accuracy", "test_prediction_loss": "loss"}
    metrics = opened.metadata.metrics
    kept = [name for name in named if is_number(metrics.get(name))]
    return [{"type": named[name], "name": name.replace("_", " "), "value": metrics[name]} for name in kept]


def _memory(opened: Opened, found: Comparison) -> str:
    """Peaks before and after as a table, in whole bytes."""
    rows = [*memory_rows(opened.metadata.student), *weight_rows(found)]
    lines = [f"| {row.title} | {row.teacher:,} | {row.student:,} | {row.ratio:.2f}× |" for row in rows]
    head = "Bytes of activations, batch 1, RED blocks included:\n\n| counted as | teacher | student | less |\n"
    return head + "| --- | --- | --- | --- |\n" + "\n".join(lines) + "\n"
