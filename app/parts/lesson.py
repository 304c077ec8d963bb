"""A guided lesson of seven steps, each a question with its answer: on the page, where a step's link moves the controls,
and as a sheet to print. Both are made from STEPS; tests hold the answers' figures to the library's."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from html import escape

ROOM = "<div class=line></div>" * 3  # to write an answer on
RESNET = "?teacher=resnet18&size=224"


@dataclass(frozen=True)
class Step:
    """One step: what the page shows, what is asked, and the answer. Texts are plain."""

    title: str
    question: str
    answer: str
    tab: str  # that it opens
    query: str = ""  # what Explore's controls are set to; empty: nothing is moved
    fold: str = ""  # id of an accordion that it opens


STEPS = (
    Step(
        "Where the memory goes",
        "This is ResNet-18 at its own strides. At which layer does it need most memory, and why not at the end, where "
        "it has eight times as many channels?",
        "At maxpool: its input of 64 maps of 112×112 and its output of 64 maps of 56×56 live at the same time, 3.83 "
        "MiB together. Channels double from stage to stage while the maps fall to a quarter, so every stage needs half "
        "of the one before.",
        "explore",
        f"{RESNET}&strides=2,2,2,2,2&red=off",
        "alive",
    ),
    Step(
        "Shrink the maps earlier",
        "Now conv1 has stride 8, while maxpool and layer4 keep the size: in all 32 as before. How far does the peak "
        "fall, and where does it stand now?",
        "To 0.77 MiB, 5.0 times less. It stands at conv1: the picture itself is most of it, which no stride "
        "can shrink.",
        "explore",
        f"{RESNET}&strides=8,1,2,2,1&red=off",
    ),
    Step(  # the reader ticks the box
        "What RED blocks cost",
        "With stride 4 at conv1 the student needs 1.34 MiB. Tick “RED blocks at the aligned layers”: why does the peak "
        "rise to 2.30 MiB, when at stride 8 it stays?",
        "A block holds its input, its gate and its residual at the same time. At stride 4 its maps have 56×56 pixels, "
        "and three of them are more than the old peak; at stride 8 they have a quarter of that.",
        "explore",
        f"{RESNET}&strides=4,2,2,2,1&red=off",
    ),
    Step(
        "Fit a chip",
        "MobileNetV2 with numbers of one byte (int8) needs 1,470 KiB. A microcontroller has 512. Which strides fit "
        "that compute the most? Search them under “Find strides that fit”.",
        "8,1,1,2,2 need 441 KiB. The more a network computes in the same memory, the better it can be; that is why the "
        "search puts the most computation first.",
        "explore",
        "?teacher=mobilenet_v2&size=224&dtype=int8&red=off&budget=524288",
        "search",
    ),
    Step(
        "See what pooling destroys",
        "Press Look. What do the student’s maps keep of the bicycle, what is lost, and at how much memory does the "
        "network that serves every budget take it for something else?",
        "They keep where it is and lose its lines: 16×16 values are left of 64×64. At 64 KiB the answer is still "
        "right, at 52 KiB the bicycle becomes a turtle.",
        "explore",
        "?teacher=narrow_resnet&size=64&strides=4,1,2,2,1&red=on",
        "pooled",
    ),
    Step(
        "Let the original teach",
        "A student with a fifth of the memory reaches 86.7 % from scratch, its teacher 98.2 %. Choose emoji-clutter: "
        "what brings back most of that, the teacher’s weights, RED blocks, their loss, or KD?",
        "Starting from the teacher’s weights brings 4.1 points. KD adds 0.2, RED blocks as layers 1.5, both together "
        "with the RED loss 1.7: the blocks help more than any loss. More of them and small batches reach 95.3 %.",
        "compare",
    ),
    Step(
        "What a small network forgets",
        "Teacher and student start from the same noise. Are the student’s faces worse, or fewer kinds of faces? "
        "Compare the variety (recall) of both.",
        "Both: they are rougher, further from real pictures (19.4 after 8.3, lower is better), and less varied: they "
        "cover 59 % of the real pictures, the teacher’s 82 %, with a quarter of the memory.",
        "generate",
    ),
)


def address(number: int) -> str:
    """The link to a step, from 1."""
    return f"{STEPS[number - 1].query}#lesson-{number}"


def lesson_panel() -> str:
    """All steps as HTML, hidden; the page's JavaScript shows the one that the address names."""
    steps = "".join(map(_step, range(1, len(STEPS) + 1)))
    link = f'<a download="redistill-lesson.html" href="{_sheet_link()}">Save the sheet to print</a>'
    return f'<section id="lesson" aria-label="Lesson" hidden>{steps}<p>{link}</p></section>'


def _step(number: int) -> str:
    step = STEPS[number - 1]
    dots = "".join(
        f'<a href="{address(other)}" aria-label="Step {other}: {escape(one.title)}"'
        f"{' aria-current=step' if other == number else ''}>{other}</a>"
        for other, one in enumerate(STEPS, 1)
    )
    onward = ""
    if number < len(STEPS):
        onward = f'<p class="lesson-onward"><a href="{address(number + 1)}">Next: {escape(STEPS[number].title)}</a></p>'
    return (
        f'<div class="lesson-step" data-step="{number}" data-tab="{step.tab}" data-fold="{step.fold}" '
        f'data-query="{escape(step.query)}" hidden>'
        f'<div class="lesson-head"><h2>{number}. {escape(step.title)}</h2><nav aria-label="Lesson’s steps">{dots}</nav>'
        f'<a href="#{step.tab}">Close</a></div><p>{escape(step.question)}</p>'
        f"<details><summary>Answer</summary><p>{escape(step.answer)}</p></details>{onward}</div>"
    )


def sheet() -> str:
    """The lesson as an HTML page of its own, to print: questions with room to write, answers on a page behind them."""
    asked = "".join(f"<li><h2>{escape(step.title)}</h2><p>{escape(step.question)}</p>{ROOM}</li>" for step in STEPS)
    told = "".join(f"<li><h2>{escape(step.title)}</h2><p>{escape(step.answer)}</p></li>" for step in STEPS)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>ReDistill Studio: a lesson</title><style>'
        "body{font:11pt/1.45 system-ui,sans-serif;max-width:17cm;margin:1.5cm auto;color:#111}h1{font-size:18pt}"
        "h2{font-size:12pt;margin:0}p{margin:.2em 0}li{margin:0 0 .9em;break-inside:avoid}"
        ".line{height:1cm;border-bottom:1px solid #999}.answers{break-before:page}@page{size:A4;margin:1.5cm}"
        "@media print{body{margin:0}}</style></head><body><h1>A small network learns from a large one</h1>"
        "<p>Seven questions to ReDistill Studio; the page’s lesson sets its controls for each.</p>"
        f'<ol>{asked}</ol><div class="answers"><h1>Answers</h1><ol>{told}</ol></div></body></html>\n'
    )


def _sheet_link() -> str:
    return "data:text/html;base64," + base64.b64encode(sheet().encode()).decode()
