"""The results in sight as files: CSV with every setting, and the table for LaTeX and Markdown. No gradio."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

from ..parts.sortable_table import shown_text
from ..runs.result import Result
from ..words.settings import SETTINGS, row_label, setting_rows
from .drawn import QUALITY, quality_of
from .result_table import MEANS, cells_of, columns_of

FORMATS = {"csv": "CSV", "tex": "LaTeX", "md": "Markdown"}  # ending → words
# Of a final record: what is no figure, and what has a column of its own.
_NO_FIGURES = ("kind", "quality", "device", "macs")
_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "←": r"$\leftarrow$",
    "–": "--",
    "’": "'",
}


def export(results: Sequence[Result], ending: Any) -> dict[str, str]:
    """Name and text of a file with `results`, best first; `ending` is one of FORMATS, else a ValueError."""
    if not isinstance(ending, str) or ending not in FORMATS:
        raise ValueError(f"format is {ending!r}; expected one of {', '.join(FORMATS)}.")
    ranked = sorted(results, key=_rank)
    text = {"csv": csv_text, "tex": latex_text, "md": markdown_text}[ending](ranked)
    return {"name": f"{file_name(results)}.{ending}", "text": text}


def file_name(results: Sequence[Result]) -> str:
    """ "redistill-imagenette-photographs": what files of these results are called, without an ending."""
    group = results[0].group_title if results else ""
    return f"redistill-{re.sub('[^a-z0-9]+', '-', group.lower()).strip('-')}".rstrip("-")


def csv_text(results: Sequence[Result]) -> str:
    """A head and a line for each result: its figures, then its settings as they are called on the page."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerows(csv_lines(results))
    return file.getvalue()


def csv_lines(results: Sequence[Result]) -> list[list[Any]]:
    """The lines of the CSV file. One seed has no spread, and `device` is what it ran on."""
    figures = list(dict.fromkeys(name for result in results for name in result.figures if name not in _NO_FIGURES))
    quality = [name for name in QUALITY if any(name in quality_of(result) for result in results)]
    settings = [_settings(result) for result in results]
    labels = list(dict.fromkeys(label for rows in settings for label in rows))
    own = ["network", "origin", "state", "peak_bytes", "macs", "score", "tested", "spread", "seeds", "scores", "device"]
    lines = [[*own, *quality, *figures, *labels]]
    for result, rows in zip(results, settings, strict=True):
        found = [result.title, result.origin, result.state, result.peak_bytes, result.macs, result.score]
        found += [int(result.is_tested), result.spread if len(result.scores) > 1 else None]
        found += [" ".join(map(str, values)) for values in (result.seeds, result.scores)]
        found += [result.figures.get("device") or result.config.device]
        found += [quality_of(result).get(name) for name in quality] + [result.figures.get(name) for name in figures]
        lines.append([*found, *(rows.get(label) for label in labels)])
    return [["" if cell is None else cell for cell in line] for line in lines]


def markdown_text(results: Sequence[Result]) -> str:
    """The table of the page as Markdown."""
    head, *rows = _table(results)
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    escaped = [[cell.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in escaped) + f"\n{MEANS}\n"


def latex_text(results: Sequence[Result]) -> str:
    """The table of the page as a LaTeX tabular; its rules need the package booktabs."""
    head, *rows = ([_latex(cell) for cell in line] for line in _table(results))
    body = "".join(f"{' & '.join(line)} \\\\\n" for line in rows)
    return (
        f"% \\usepackage{{booktabs}}\n% {_latex(MEANS)}\n\\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}\n\\toprule\n"
        f"{' & '.join(head)} \\\\\n\\midrule\n{body}\\bottomrule\n\\end{{tabular}}\n"
    )


def _table(results: Sequence[Result]) -> list[list[str]]:
    head = [column.title for column in columns_of(results)]
    return [head, *([shown_text(cell) for cell in cells_of(result)] for result in results)]


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text.replace("\n", " "))


def _settings(result: Result) -> dict[str, Any]:
    """`setting_rows` with numbers as they are: a program would take "1,320" for a text."""
    config = result.config.to_dict()
    rows = setting_rows(config)
    rows |= {row_label(name): value for name, value in config.items() if type(value) in (int, float)}
    left_out = {SETTINGS[name].row for name in ("seed", "device")}  # which have columns of their own
    return {label: value for label, value in rows.items() if label not in left_out}


def _rank(result: Result) -> tuple[bool, float]:
    return result.score is None, 0.0 if result.score is None else result.cost
