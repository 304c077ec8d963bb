"""A table that is sorted in the page, each row a button; it can be saved as CSV, and its rows ticked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple, Required, TypedDict

from .scripted import ShownHTML, script

# A number or a text, or a pair: what it is sorted and saved by (None: no figure, last in every order), the text shown.
Cell = int | float | str | tuple[int | float | str | None, str]


class Column(NamedTuple):
    """A column's head."""

    title: str
    order: int = 1  # in which a first click sorts: 1 rising, -1 falling; 0: it does not sort
    csv: str = ""  # its title in the file
    names: bool = False  # whether its cells name the rows: they hold the buttons


class Row(TypedDict, total=False):
    """A row's cells, one a column, and what else there is to say of it: tables are long, so the rest stays out."""

    cells: Required[Sequence[Cell]]
    key: str  # which a click on it says, where that is not its name
    kind: str  # its CSS class
    below: str  # small print below its name
    chosen: bool


class SortableTable(ShownHTML):
    """A gradio component whose value is made by `table_value`. Choosing a row triggers `pick`, its `part` and `key`.

    `look` is the table's CSS class, `save` the words of the button that saves it; none where they are empty. With
    `ticks`, the words of a column of boxes, choosing a row ticks it, and `pick` says all keys that were `ticked`, the
    new one last. `nothing` is said where there is no row. With `parts` (names → titles), rows come in parts of which
    one is shown at a time; `part_title` heads the column of their names in the file. `hint` says before a row's name
    what a click shows. The row under the pointer is a "point-mark" event of the document, see `LivePlot`.
    """

    def __init__(
        self,
        value: dict[str, Any] | None = None,
        *,
        look: str,
        save: str = "",
        title: str = "",
        ticks: str = "",
        nothing: str = "",
        parts: Mapping[str, str] | None = None,
        part_title: str = "",
        hint: str = "",
        **kwargs: Any,
    ) -> None:
        head = f'<h3 class="card-title">{escape(title)}</h3>' if title else _switch(parts or {}, part_title)
        head += f'<button type="button" class="plain" data-csv>{escape(save)}</button>' if save else ""
        # Settings stand in the template: gradio takes away a component's props with any update, gr.skip() among them.
        words = {"look": look, "parts": part_title, "hint": hint, "ticks": ticks}
        settings = " ".join(f'data-{name}="{escape(text)}"' for name, text in words.items())
        super().__init__(
            value,
            html_template=f'<div class="table-bar">{head}</div><div class="table-box" {settings}></div>'
            f'<p class="subline note"></p><p class="subline nothing" hidden>{escape(nothing)}</p>',
            js_on_load=script("sortable_table"),
            **kwargs,
        )


def table_value(
    columns: Sequence[Column],
    rows: Sequence[Row] | Mapping[str, Sequence[Row]],
    file: str = "",
    sorted_by: int = 0,
    note: str = "",
    ticked: Sequence[str] = (),
) -> dict[str, Any]:
    """Rows, or rows of each part, and the name of a file with them, for `SortableTable`.

    `sorted_by` is the column that the table is sorted by at first, `note` a sentence below it, `ticked` the keys of the
    ticked rows, the latest last.
    """
    return {
        "columns": [column._asdict() for column in columns],
        "parts": rows if isinstance(rows, Mapping) else {"": rows},
        "sorted_by": sorted_by,
        "note": note,
        "file": file,
        "ticked": list(ticked),
    }


def shown_text(cell: Cell) -> str:
    """A cell as the page shows it."""
    text = cell[1] if isinstance(cell, tuple) else cell
    return text if isinstance(text, str) else f"{text:,}"


def _switch(parts: Mapping[str, str], label: str) -> str:
    buttons = "".join(
        f'<button type="button" data-part="{escape(name)}">{escape(title)}</button>' for name, title in parts.items()
    )
    return f'<span class="switch" role="group" aria-label="{escape(label.capitalize())}">{buttons}</span>'
