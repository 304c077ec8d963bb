"""The table and the files: their columns, one device, no spread of one seed, and characters that mean something."""

from __future__ import annotations

import csv
import dataclasses
import io
import re

import pytest
from helpers.made import FACES, RED_KD, result

from app.compare.files import FORMATS, export
from app.compare.result_table import MEANS, result_rows
from app.words.settings import setting_rows

QUALITY = {"kid": 0.518, "fid": 19.4, "recall": 0.586, "margins": {"kid": 0.059}, "images": 1000}
ONE = dataclasses.replace(
    result("run:one", 65536, 0.9),
    title="a_b & 50 % {x} | y",
    figures={"parameters": 1234, "device": "CPU", "seconds": 5},
)
THREE = dataclasses.replace(
    ONE, key="study:three", score=0.93, scores=(0.92, 0.93, 0.94), seeds=(0, 1, 2), title="RED · KD"
)
UNTESTED = dataclasses.replace(result("run:new", 65536, None), state="queued")
DRAWN = dataclasses.replace(result("run:draws", 2**18, 0.12, FACES), figures={"quality": QUALITY, "parameters": 7})


def test_rows_are_sorted_by_the_score_and_say_what_is_ticked():
    table = result_rows([ONE, THREE, UNTESTED], ["run:one"])
    heads = [(column["title"], column["order"]) for column in table["columns"]]
    assert heads[1] == ("Test accuracy", -1) and ("MACs", 1) in heads and table["sorted_by"] == 1
    assert {len(row["cells"]) for row in table["parts"][""]} == {len(heads)} and all(title for title, _ in heads)
    rows = {row["key"]: row for row in table["parts"][""]}
    assert rows["run:one"]["chosen"] and not rows["study:three"]["chosen"] and table["ticked"] == ["run:one"]
    assert rows["study:three"]["cells"][1] == (0.93, "93.0 % ± 1.0") and rows["run:one"]["cells"][1] == (0.9, "90.0 %")
    assert rows["run:new"]["cells"][1] == (None, "–") and "not tested yet" in rows["run:new"]["below"]
    assert result_rows([], [])["parts"] == {"": []}


def test_networks_that_draw_have_kid_fid_and_recall_beside_their_loss():
    table = result_rows([DRAWN, dataclasses.replace(DRAWN, key="bare", figures={})], [])
    titles = [column["title"] for column in table["columns"]]
    assert titles[1:5] == ["Test loss", "KID", "FID", "Recall"] and table["columns"][1]["order"] == 1
    drawn, bare = (row["cells"] for row in table["parts"][""])
    assert drawn[2:5] == [(0.518, "0.518 ± 0.059"), (19.4, "19.4"), (0.586, "0.586")]
    assert bare[2:5] == [(None, "–")] * 3
    head, line = csv.reader(io.StringIO(export([DRAWN], "csv")["text"]))
    assert [dict(zip(head, line, strict=True))[name] for name in ("kid", "fid", "recall")] == ["0.518", "19.4", "0.586"]


def test_the_csv_file_has_every_setting_one_device_and_no_spread_of_one_seed():
    file = export([ONE, UNTESTED, THREE], "csv")
    assert file["name"] == "redistill-emoji-clutter.csv"
    head, *lines = csv.reader(io.StringIO(file["text"]))
    assert len(head) == len(set(head)) and [name.lower() for name in head].count("device") == 1
    three, one, new = (dict(zip(head, line, strict=True)) for line in lines)
    assert (one["device"], one["spread"], one["seeds"], one["scores"]) == ("CPU", "", "0", "0.9")
    assert float(three["spread"]) == pytest.approx(0.01) and three["scores"] == "0.92 0.93 0.94"
    assert (new["score"], new["device"], new["tested"]) == ("", RED_KD.device, "0")
    assert one["Steps"] == "660" and one["Rate is then multiplied by"] == "0.1", "numbers, not words"
    assert setting_rows(RED_KD.to_dict()).keys() - head == {"Seed", "Device"}


def test_the_latex_table_escapes_what_means_something_there():
    text = export([ONE, THREE], "tex")["text"]
    lines = text.splitlines()
    assert r"a\_b \& 50 \% \{x\} | y & 90.0 \% &" in text and r"RED $\cdot$ KD & 93.0 \% $\pm$ 1.0" in text
    assert text.index("93.0") < text.index("90.0"), "the best first"
    cells = {len(re.findall(r"(?<!\\)&", line)) for line in lines if line.endswith(r"\\")}
    assert cells == {6}
    assert r"\begin{tabular}{lrrrrrr}" in text and lines[-1] == r"\end{tabular}" and text.isascii()


def test_the_markdown_table_has_as_many_cells_in_every_line():
    lines = export([ONE, THREE, UNTESTED], "md")["text"].splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len({line.replace(r"\|", "").count("|") for line in table}) == 1 and len(table) == 5
    assert r"a_b & 50 % {x} \| y" in table[3] and lines[-1] == MEANS


def test_files_of_nothing_are_written_and_other_formats_refused():
    assert all(export([], ending)["name"] == f"redistill.{ending}" for ending in FORMATS)
    with pytest.raises(ValueError, match=r"doc.*csv, tex, md"):
        export([ONE], "doc")
