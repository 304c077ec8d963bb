"""What tab Compare answers: to its fields, to clicks on marks and rows, to a link, and to the clock.

Each handler returns values of the tab's components by name, see `page.build`; what does not fit is a notice.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import gradio as gr

from ..parts.events import refused_in
from ..parts.export_buttons import handed_over
from ..parts.fragments import notice
from ..parts.scripted import event_values, handed
from ..runs import jobs, run_list
from ..runs.exports import export_results
from ..runs.results import all_results
from .drawn import judged_by
from .files import export
from .shown import as_they_are, read_sight, refusals, settle, show, show_anew, signature
from .sight import NO_SPAN, Sight, from_query, read_span, read_ticked


@refused_in("said")
def refresh(**fields: Any) -> dict[str, Any]:
    """Everything the tab shows but the filter's fields, which whoever types in them has as they should be."""
    results = all_results()
    return refusals(results, **fields) | show(read_sight(results, **fields), results)


@refused_in("said")
def open_tab(address: Any, **fields: Any) -> dict[str, Any]:
    """What the address asks for; without a query in it what was shown before."""
    query = address.partition("?")[2] if isinstance(address, str) else ""
    return open_query(query) if query else refresh(**fields)


@refused_in("said")
def open_link(event: gr.EventData) -> dict[str, Any]:
    """What another address asks for, put in where the tab was open."""
    query = event_values(event).get("query")
    return open_query(query if isinstance(query, str) else "")


def open_query(query: str) -> dict[str, Any]:
    """What an address shows, and what of it is not here; what cannot be read is said above the results."""
    results = all_results()
    try:
        asked = from_query(query)
    except ValueError as error:
        return show_anew(settle(Sight(), results), results, notice("This address shows all results:", str(error)))
    sight = settle(asked, results)
    gone = [key for key in asked.ticked if key not in sight.ticked]
    gone = [asked.group] if asked.group and asked.group != sight.group else gone
    said = notice("Not here:", f"{', '.join(gone)[:200]}. Own runs are those of the machine that trained them.", "hint")
    return show_anew(sight, results, said if gone else "")


@refused_in("said")
def look(seen: Any, **fields: Any) -> dict[str, Any]:
    """What a tick of the clock changes: nothing, unless the files did, or a click came before the last one was
    done."""
    results = all_results()
    sight = read_sight(results, **fields)
    return {} if seen is None or seen == signature(results, sight) else show(sight, results)


@functools.wraps(look)
def look_while_runs_go(**values: Any) -> dict[str, Any]:
    """`look`, and the clock stops where no run goes, until the tab is chosen again."""
    runs = run_list.list_runs()  # before the results: the last one that goes is among them
    goes = any(run.state in jobs.ALIVE for run in runs)
    return look(**values) | ({} if goes else {"timer": gr.Timer(active=False)})


@refused_in("said")
def show_group(group: Any, words: Any, **_: Any) -> dict[str, Any]:
    """Results on other pictures: all that have the words, none of them ticked."""
    results = all_results()
    return show_anew(read_sight(results, group=group, words=words), results)


@refused_in("said")
def show_by(**fields: Any) -> dict[str, Any]:
    """The results judged by another figure, whose range is another: no end of the one before stays."""
    results = all_results()
    return show_anew(read_sight(results, **fields | {"scores": ""}), results)


@refused_in("said")
def choose_memory(memories: Any, **fields: Any) -> dict[str, Any]:
    """Results of another memory, side by side."""
    return refresh(**fields | {"memory": memories})


@refused_in("said")
def pick(event: gr.EventData, **fields: Any) -> dict[str, Any]:
    """Tick the result whose mark was clicked, or untick it; its memory's results stand side by side."""
    key = event_values(event).get("mark")
    results = all_results()
    sight = read_sight(results, **fields)
    found = next((result for result in results if result.key == key and result.group == sight.group), None)
    if found is None:
        return show(sight, results)
    sight = sight.tick(found.key)
    memory = found.peak_bytes if found.key in sight.ticked else sight.memory
    return show(dataclasses.replace(sight, memory=memory), results)


@refused_in("said")
def tick(event: gr.EventData, **fields: Any) -> dict[str, Any]:
    """The rows that are ticked in the table."""
    ticked = event_values(event).get("ticked")
    return refresh(**fields | {"ticked": ticked})


@refused_in("said")
def untick(**fields: Any) -> dict[str, Any]:
    """Nothing ticked."""
    return refresh(**fields | {"ticked": ()})


@refused_in("said")
def zoom(event: gr.EventData, **fields: Any) -> dict[str, Any]:
    """The part of the curve that was dragged over; all of it after a double click."""
    values = event_values(event)
    results = all_results()
    sight = read_sight(results, **fields)
    x, y = (read_span(ends if isinstance(ends := values.get(axis), list) else ()) for axis in ("x", "y"))
    peaks = [None if end is None or end > 60 else 128 * round(2**end / 128) for end in x]
    scores = [None if end is None else round(end, 4) for end in y]
    sight = dataclasses.replace(
        sight,
        peaks=read_span(peaks) if "x" in values else NO_SPAN,
        scores=read_span(scores) if "y" in values else NO_SPAN,
    )
    return show_anew(sight, results)


@refused_in("said")
def show_all(**fields: Any) -> dict[str, Any]:
    """No filter and no zoom."""
    results = all_results()
    sight = read_sight(results, **fields)
    return show_anew(dataclasses.replace(sight, words="", peaks=NO_SPAN, scores=NO_SPAN), results)


@refused_in("said")
def save(event: gr.EventData, **fields: Any) -> dict[str, Any]:
    """The results in sight as a file in one of FORMATS."""
    results = all_results()
    sight = read_sight(results, **fields)
    own = [result for result in results if result.group == sight.group]
    seen = [result for result in judged_by(own, sight.by) if sight.shows(result)]
    if not seen:
        raise ValueError("No result is in sight, so there is nothing to save; “Show all” brings results back.")
    file = export(as_they_are(own, seen), event_values(event).get("save"))
    return {"files": handed(file["name"], file["text"])}


@refused_in("said")
def export_ticked(event: gr.EventData, ticked: Any) -> dict[str, Any]:
    """The networks of the ticked results as a file of a runtime, two in a zip file, and how they ran there."""
    return handed_over(export_results(read_ticked(ticked), str(event_values(event).get("save"))))


def chosen_config(ticked: Any) -> dict[str, Any] | None:
    """All settings of the result that was ticked last, for the form of Distill; None when it is gone."""
    key = ticked[-1] if isinstance(ticked, (list, tuple)) and ticked else None
    result = next((result for result in all_results() if result.key == key), None)
    return result.config.to_dict() if result else None
