"""Find strides that fit: the sentence, the rows and what a click on one fills, with good, bad and hostile input."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
from html import unescape

import gradio as gr
import pytest
from helpers.explore import USUAL, call

from app.explore import page, patch_panel, search_panel, search_table
from app.explore.link import Settings, from_query, parse_query, patch_text, to_query
from app.parts.budget import Budget
from app.parts.counting import compare_as
from app.words import numbers
from redistill.memory.comparison import network_tape
from redistill.memory.search import search_strides
from redistill.memory.usual_strides import early_strides
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig

EARLY = early_strides("resnet18")


def search(fit=64.0, reduction="same", with_red=True, **controls) -> str:
    wish = {"search_budget": fit, "search_reduction": reduction, "search_red": with_red}
    shown = search_panel.show(**wish, **USUAL | controls)
    assert shown["search"].interactive is True
    return shown["front"]


def open_row(sent, **states) -> dict:
    """What a click on a row shows, by the names of the components."""
    return call("open_row", gr.EventData(None, sent), **states)


def queries(shown: str) -> list[str]:
    return [unescape(query) for query in re.findall(r'data-query="([^"]*)"', shown)]


def cells(shown: str) -> list[list[str]]:
    rows = re.findall("<tr data-act.*?</tr>", shown)
    return [[re.sub("<.*?>", "", cell) for cell in re.findall("<td[^>]*>(.*?)</td>", row)] for row in rows]


def peak(query: str) -> int:
    settings = from_query(parse_query(query))
    return compare_as(settings.student, settings.accounting, settings.dtype).student.peak_bytes


def test_every_row_is_a_link_to_what_it_says():
    shown = search()
    links, rows = queries(shown), cells(shown)
    assert len(links) == len(rows) >= 3
    peaks = [peak(query) for query in links]
    assert peaks == sorted(peaks)
    kept = [int(row[3].removesuffix(" %")) for row in rows]
    assert kept == sorted(kept), "more memory buys more computation"
    for query, row, count in zip(links, rows, peaks, strict=True):
        assert f'data-act="open" data-query="{query}"' in unescape(shown)
        assert row[:2] == [
            query.split("strides=")[1].split("&")[0].replace(",", "·"),
            numbers.format_bytes(count),
        ]
        assert row[2] == numbers.format_ratio(320 * 1024, count)
        assert row[5] == ("yes" if count <= 64 * 1024 else "no")


@pytest.mark.parametrize("reduction", ["same", "any"])
def test_the_sentence_counts_what_fits_to_the_byte(reduction):
    found = search_panel.search(
        Settings(StudentConfig("narrow_resnet", 64, strides=early_strides("narrow_resnet"))), reduction
    )
    peaks = [candidate.peak_bytes for candidate in found.candidates]
    for budget in (peaks[0], peaks[len(peaks) // 2], peaks[-1]):
        fitting = sum(count <= budget for count in peaks)
        verb = "fits" if fitting == 1 else "fit"
        said = f"{fitting:,} of {found.tried:,} stride settings {verb} {budget / 1024:,g} KiB"
        assert said in search(budget / 1024, reduction)
    shown = search((peaks[0] - 1) / 1024, reduction)
    assert f"None of {found.tried:,} stride settings fits" in shown
    assert ("do not fit the image" in shown) == (reduction == "any")


def test_the_least_need_is_said_in_the_unit_of_the_rows():
    settings = Settings(StudentConfig("resnet18", 224), budget=Budget("Budget", 2**19))
    shown = search_table.result(search_panel.search(settings, "same"), settings)
    assert re.findall("least that any needs is ([^ ]+ KiB)", shown) == [cells(shown)[0][1]]


def test_the_best_that_fits_is_named_and_set_apart():
    shown = search(100)
    fitting = [row for row in cells(shown) if row[5] == "yes"]
    assert f"the best keeps {fitting[-1][3]} of the teacher’s MACs" in shown
    assert f"Below: {len(fitting)} best of {re.search('([0-9]+) of 65 stride', shown)[1]} that fit." in shown
    [best] = re.findall('data-query="([^"]*)" class="best"', shown)
    assert unescape(best) == queries(shown)[len(fitting) - 1]


def test_without_a_budget_nothing_is_said_about_fitting():
    shown = search(None)
    assert "Of 65 stride settings, the least that any needs is" in shown
    assert "Fits" not in shown and {len(row) for row in cells(shown)} == {5}


def test_the_search_takes_everything_else_from_the_controls():
    shown = search(
        image_size=96, picker={}, residual_kernel=5, points="outputs", accounting="eager", dtype="fp16", kib=1
    )
    for query in queries(shown):
        settings = from_query(parse_query(query))
        assert settings.student.image_size == 96
        assert settings.student.red == REDConfig(residual_kernel=5, points="outputs")
        assert (settings.accounting, settings.dtype) == ("eager", "fp16")
    assert "Narrow ResNet, 96 px, with RED blocks, eager, fp16; what fits is the peak" in shown
    shown = search_panel.show(
        search_budget=64, search_reduction="same", search_red=True, **USUAL | {"with_red": False}
    )["front"]
    assert all("red=on" in query for query in queries(shown))
    bare = search(64, "same", False)
    assert all("red=off" in query for query in queries(bare)) and "without RED blocks" in bare


def test_a_diffusion_networks_rows_are_links_too():
    shown = search(300.0, "any", teacher="unet_small", image_size=32, picker={})
    assert "of 256 stride settings fit 300 KiB" in shown
    peaks = [numbers.format_bytes(peak(query), 1024) for query in queries(shown)]  # one unit for all rows
    assert len({text.split()[1] for text in peaks}) == 1
    assert peaks == [row[1] for row in cells(shown)] and len(set(peaks)) > 5


def test_on_a_phone_each_figure_brings_the_words_above_it():
    shown = search(64, "same", True)
    heads = [re.sub("<.*?>", "", head) for head in re.findall("<th[^>]*>.*?</th>", shown)]
    row = re.search("<tr data-act.*?</tr>", shown)[0]
    assert re.findall('data-title="(.*?)"', row) == heads[1:]


def test_the_panel_takes_over_explores_budget():
    assert search_panel.take_budget("nano33ble", None, None, None) == 192
    assert search_panel.take_budget("nano33ble", None, 0, 1) == 256
    assert search_panel.take_budget("other", 100.5) == 100.5
    for choice, kib in (("none", 5), ("other", None), ("other", -1), ([], {}), (None, math.nan)):
        assert search_panel.take_budget(choice, kib) == gr.skip()


def patched_search(**wish) -> dict:
    values = {"search_budget": 60.0, "search_reduction": "same", "search_red": False, "search_patches": True}
    return search_panel.show(**values | wish, **USUAL)


def test_what_fits_patch_by_patch_is_a_link_with_its_patches_and_stands_in_the_file():
    shown = patched_search()["front"]
    with_patches = [from_query(parse_query(query)) for query in queries(shown) if "patch=" in query]
    assert with_patches and "keep more and more" in shown
    for settings in with_patches:
        patched = patch_panel.patched_of(settings.count(), settings.patch)
        assert patched.peak_bytes <= 60 * 1024 < settings.count().student.peak_bytes
        assert numbers.format_bytes(patched.peak_bytes, 1024) in shown
    opened = page.open_query(parse_query(to_query(with_patches[-1])), USUAL)
    assert opened["patch"] == patch_text(with_patches[-1].patch) and "patches up to" in opened["summary"]
    assert "in patches it <strong" in opened["summary"]

    wish = {"search_budget": 60.0, "search_reduction": "same", "search_red": False, "search_patches": True}
    file = search_panel.save(**wish, **USUAL)["search_files"]
    rows = list(csv.DictReader(io.StringIO(file["text"])))
    assert file["name"] == "strides-narrow_resnet-fused-fp32.csv" and len(rows) == 65 + len(with_patches)
    assert [row["patches_to"] for row in rows if row["patches_to"]] == [s.patch[0] for s in with_patches]
    for row in rows:
        assert (int(row["peak_bytes"]) <= 60 * 1024) == (row["fits"] == "yes")


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"search_budget": None}, "Patches need a memory"), ({"search_reduction": "all"}, "Total reduction is")],
)
def test_what_cannot_be_searched_in_patches_is_said(changes, said):
    shown = patched_search(**changes)
    assert said in shown["front"]
    wish = {"search_budget": 60.0, "search_reduction": "same", "search_red": False, "search_patches": True}
    assert said in search_panel.save(**wish | changes, **USUAL)["front"]


def test_a_search_is_run_once_for_all_budgets():
    search_panel._holder.cache_clear()
    for budget in (64, 512, None):
        search(budget)
    assert search_panel._holder.cache_info().misses == 1


def test_a_search_that_captures_says_how_far_it_is(monkeypatch):
    steps = [(done, 40, done // 2) for done in range(1, 41)]

    def captured(*given, **settings):
        result = yield from real(*given, **settings)
        yield from steps
        return dataclasses.replace(result, captured=20)

    real = search_panel.search_steps
    monkeypatch.setattr(search_panel, "search_steps", captured)
    monkeypatch.setattr(search_panel, "TELL_EVERY", 0)
    search_panel._holder.cache_clear()
    wish = {"search_budget": 64, "search_reduction": "same", "search_red": True}
    *meanwhile, last = search_panel.find(None, **USUAL, **wish)
    search_panel._holder.cache_clear()
    assert "40 of 40 stride settings, 20 captured anew" in meanwhile[-1]["front"]
    assert "20 were captured anew" in last["front"] and len(meanwhile) == 39


def test_a_clicked_row_fills_the_controls():
    query = queries(search())[0]
    shown = open_row({"query": query})
    assert (shown["link_said"], shown["link"]) == ("", query)
    settings = from_query(parse_query(query))
    assert shown["picker"].value == shown["student"]["strides"] == settings.student.strides
    assert (shown["budget"], shown["kib"].value, shown["pins"]) == ("other", 64, ())


def test_pinned_configurations_stay_when_a_row_is_clicked():
    pins = call("pin_shown")["pins"]
    assert "Load A" in open_row({"query": queries(search())[0]}, pins=pins)["board"]


@pytest.mark.parametrize("sent", [{}, {"query": None}, {"query": ["a"]}, {"query": "&" * 10**6}, {"query": "\0=%ff&x"}])
def test_no_click_from_outside_breaks_the_page(sent):
    shown = open_row(sent)
    assert shown.keys() <= {"link_said"} or "summary" in shown
    assert "teacher is" in open_row({"query": "teacher=x" + "y" * 100})["link_said"]


def test_controls_that_do_not_fit_are_a_sentence():
    shown = search(teacher="resnet99")
    assert "Not searched." in shown and "No network &#x27;resnet99&#x27;" in shown
    assert "reduce the image 32 times" in search(teacher="resnet18", image_size=16, picker=EARLY)


CHIP = {"teacher": "mobilenet_v2", "image_size": 224, "picker": {}, "dtype": "int8", "budget": "rp2350"}


def test_on_a_chip_what_fits_has_room_for_its_weights():
    shown = search(488.0, **CHIP)
    assert "RP2350 (Pico 2): 2 of 101 stride settings fit 488 KiB with their weights in 3.88 MiB of flash" in shown
    assert "Of 11 more the weights do not fit, RED blocks among them: search without these." in shown
    assert "<th" in shown and ">Flash</th>" in shown
    for query, row in zip(queries(shown), cells(shown), strict=True):
        settings = from_query(parse_query(query))
        profile = settings.count().student
        assert row[5] == numbers.format_bytes(profile.file_bytes, 2**20)
        assert (row[6] == "yes") == (settings.budget.fits(profile.needed_bytes))
        assert settings.budget.weights_fit(profile)
    bare = search(488.0, with_red=False, **CHIP)
    assert "18 of 101 stride settings fit 488 KiB with" in bare and "more the weights" not in bare
    wish = {"search_budget": 488.0, "search_reduction": "same", "search_red": True}
    saved = search_panel.save(**wish, **USUAL | CHIP)["search_files"]
    rows = list(csv.DictReader(io.StringIO(saved["text"])))
    assert {row["fits"] for row in rows if int(row["weights_bytes"]) > 4_063_232} == {"no"}
    assert sum(row["fits"] == "yes" for row in rows) == 2


def test_a_network_whose_weights_fit_in_no_way_is_told_so():
    shown = search(448.0, **CHIP | {"teacher": "resnet18", "budget": "nrf5340", "reserve": 64})
    assert "nRF5340: none of 101 stride settings fits 448 KiB" in shown and "at any strides" in shown
    assert "whose activations would, the weights do not fit: the network’s own take" in shown and "<table" not in shown


def test_patches_on_a_chip_are_those_of_networks_whose_weights_fit():
    wish = {"search_budget": 488.0, "search_reduction": "same", "search_red": True, "search_patches": True}
    shown = search_panel.show(**wish, **USUAL | CHIP)["front"]
    for query in queries(shown):
        settings = from_query(parse_query(query))
        assert settings.budget.weights_fit(settings.count().student), query


def test_blocks_at_the_same_layers_are_searched_and_shown_so():
    by_size, by_place = (queries(search(96.0, alignment=rule)) for rule in ("asynchronous", "stage-wise"))
    assert by_place and by_size != by_place
    found = search_strides(network_tape("narrow_resnet", image_size=64), 64, alignment="stage-wise")
    needed = {tuple(one.strides.values()): one.needed_bytes for one in found.candidates}
    for query in by_place:
        settings = from_query(parse_query(query))
        assert settings.student.alignment == "stage-wise" and "align=stage-wise" in query
        assert settings.count().student.needed_bytes == needed[tuple(settings.student.strides.values())]
