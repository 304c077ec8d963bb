"""What a finished run has learnt, in words and pictures. Whatever comes from outside is escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from redistill.training.intervals import wilson

from ..parts.fragments import notice
from ..parts.plots import AXIS, STUDENT, base_layout
from ..runs.answers import Answer
from ..runs.by_class import ByClass
from ..words.numbers import format_percent

MOST_CLASSES = 60  # in a matrix that can still be read
MISTAKES = 10  # that are listed
HELD = (  # words where nothing is known class by class
    "This run was made before runs counted their answers class by class; testing its network once more does."
)


def class_table(found: ByClass | None) -> str:
    """The share of each class that is told right, the worst first, and the most frequent mistakes."""
    if found is None:
        return f'<p class="subline">{HELD}</p>'
    rows = [
        (right / count, name, right, count)
        for name, right, count in zip(found.names, found.right, found.pictures, strict=True)
        if count
    ]
    body = "".join(
        f"<tr><td>{escape(name)}</td><td>{right:,} of {count:,}</td><td>{format_percent(share)}</td>"
        f"<td>{_interval(share, count)}</td></tr>"
        for share, name, right, count in sorted(rows)
    )
    head = "".join(f'<th scope="col">{words}</th>' for words in ("Class", "Right", "Share", "95 % interval"))
    table = f'<table class="facts numbers"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="table-box" tabindex="0" aria-label="accuracy by class">{table}</div>{_mistakes(found)}'


def _interval(share: float, count: int) -> str:
    low, high = wilson(share, count)
    return f"{100 * low:.0f} to {100 * high:.0f} %"


def _mistakes(found: ByClass) -> str:
    worst = found.mistakes(MISTAKES)
    if not worst:
        return '<p class="subline">No picture is taken for another class.</p>'
    told = ", ".join(f"{escape(true)} for {escape(answer)} ({count:,})" for count, true, answer in worst)
    return f'<p class="subline">Taken most often: {told}.</p>'


def confusion_figure(found: ByClass | None) -> dict[str, Any] | None:
    """The confusion matrix as a heatmap, by true class and answer; None without one, and of too many classes."""
    if found is None or len(found.names) > MOST_CLASSES:
        return None
    shares = [[count / (sum(row) or 1) for count in row] for row in found.rows]
    names, short = [escape(name) for name in found.names], [escape(_short(name)) for name in found.names]
    places = list(range(len(names)))
    heatmap = {
        "type": "heatmap",
        "x": places,
        "y": places,
        "z": shares,
        "customdata": [
            [f"{count:,} of {names[true]} taken for {names[answer]}" for answer, count in enumerate(row)]
            for true, row in enumerate(found.rows)
        ],
        "hovertemplate": "%{customdata}<extra></extra>",
        "colorscale": [[0, "rgba(138,148,163,0.08)"], [1, STUDENT]],
        "zmin": 0,
        "zmax": 1,
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
    }
    if len(names) <= 12:
        heatmap |= {"text": [[str(count) if count else "" for count in row] for row in found.rows]}
        heatmap |= {"texttemplate": "%{text}"}
    step = max(1, len(names) // 20)
    ticks = {"tickvals": places[::step], "ticktext": short[::step], "showgrid": False, "zeroline": False}
    left = 12 + 7 * max(map(len, short[::step]))
    layout = base_layout(
        margin={"l": left, "r": 10, "t": 8, "b": 44},
        xaxis={**AXIS, **ticks, "range": [-0.5, len(names) - 0.5], "title": {"text": "answer"}},
        yaxis={**AXIS, **ticks, "autorange": "reversed", "title": {"text": "true class"}},
    )
    return {"data": [heatmap], "layout": layout}


def _short(name: str) -> str:
    return name if len(name) <= 14 else f"{name[:13]}…"


def answers(found: Sequence[Answer], title: str, truth: str | None = None) -> str:
    """What each network takes a picture for, beside each other."""
    sides = "".join(_answer(answer) for answer in found)
    told = f'<p class="subline">A test picture of: <strong>{escape(truth)}</strong>.</p>' if truth is not None else ""
    return f'{told}<div class="answers">{sides}</div><p class="subline">{escape(title)}</p>'


def _answer(answer: Answer) -> str:
    head = f"<h4>{escape(answer.who.capitalize())}</h4>"
    if answer.why_not:
        return f"<section>{head}{notice('', answer.why_not, kind='hint')}</section>"
    rows = "".join(
        f"<li><span>{escape(name)}</span><span>{format_percent(share)}</span>"
        f'<div class="share"><div style="width:{100 * share:.1f}%"></div></div></li>'
        for name, share in answer.classes
    )
    return f"<section>{head}<ol>{rows}</ol></section>"


def pushed(address: str, repo: str) -> str:
    """Where a network is now, and how it is loaded from there."""
    link = f'<a href="{escape(address)}" target="_blank" rel="noopener">{escape(address)}</a>'
    return f'<p class="subline">Pushed to {link}. It is loaded by its name, <code>hub:{escape(repo)}</code>.</p>'


def opening(lines: str) -> str:
    """Lines of code that open what was saved."""
    return (
        '<p class="subline">Unpacked, it opens by these lines; a classifier’s need nothing but torch.</p>'
        f'<pre class="code" tabindex="0" aria-label="code that opens the network"><code>{escape(lines)}</code></pre>'
    )
