"""What README and docs/ show runs, leads somewhere, and is what the study holds."""

import dataclasses
import json
import re
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from app.visitors.limits import ON_A_SPACE
from app.words.numbers import format_bytes
from benchmarks import any_strides, curve, trials
from benchmarks.helpers import spread
from benchmarks.tradeoff import Frame
from benchmarks.zoo import KINDS
from redistill.training.config import DistillConfig
from redistill.training.presets import PHOTOS_TEACHER

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_library_example_runs_and_prints_its_figures(capsys):
    code = re.search(r"<!-- tested: .*?-->\n```python\n(.*?)```", README, re.DOTALL)[1]
    assert re.findall(r"^(?:import|from) .*$", code, re.MULTILINE) == ["import redistill"]
    exec(compile(code, "README.md", "exec"), {})
    promised = re.findall(r"# ([\d,]+ bytes at \w+)", code)
    assert len(promised) == 2 and capsys.readouterr().out.splitlines() == promised


def test_the_front_matter_is_all_that_a_space_asks_for():
    head = README.split("---\n")[1]
    values = dict(line.split(": ", 1) for line in head.splitlines())
    pins = (ROOT / "requirements.txt").read_text().splitlines()
    assert f"gradio=={values['sdk_version']}" in pins and (ROOT / values["app_file"]).is_file()
    assert values["sdk"] == "gradio" and values["python_version"] == '"3.12.12"' and values["hf_oauth"] == "true"
    wanted = "title emoji colorFrom colorTo short_description license tags models datasets thumbnail preload_from_hub"
    assert {*wanted.split(), "startup_duration_timeout", "suggested_hardware", "hf_oauth_scopes"} <= set(values)
    scopes = set(values["hf_oauth_scopes"].strip("[]").split(", "))
    assert {"contribute-repos", "write-repos", "jobs"} <= scopes  # to push, and to let a job train
    assert len(values["short_description"]) <= 60  # what the Hub takes


def test_every_limit_of_a_space_is_told_with_its_default():
    told = (ROOT / "docs" / "SPACE.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", told, re.MULTILINE))
    limits = dataclasses.asdict(ON_A_SPACE)
    assert rows.keys() == limits.keys()
    for name, value in limits.items():
        told = format_bytes(value).replace(".00", "") if name.endswith("_bytes") else f"{value:,}"
        assert rows[name] == told, name


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 120


@pytest.mark.parametrize(
    "name", ["README.md", *(str(file.relative_to(ROOT)) for file in (ROOT / "docs").rglob("*.md"))]
)
def test_every_local_link_leads_somewhere(name):
    file = ROOT / name
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", file.read_text())
    assert all((file.parent / link).exists() for link in links)


# What rows of the tables on the accuracy study call a method, without "student, " and what stands in brackets.
OF_STUDY = {
    "teacher at its own 1,2,1,2,2,2": "teacher",
    "no distillation, from scratch": "scratch",
    "no distillation": "none",
    "no distillation, from the teacher's weights": "none",
    "KD": "kd",
    "RED blocks without their loss": "red-blocks",
    "RED": "red",
    "RED + KD": "red+kd",
    "RED + KD, blocks at all nine places, batch 64": "red+kd-batch-64-stage-wise",
    "from scratch, no distillation": "scratch",
    "from scratch, RED blocks without their loss": "red-blocks-scratch",
    "from scratch, RED": "red-scratch",
    "RED with mean squared error": "red-mse",
    "RED loss without blocks": "red-no-blocks",
    "RED blocks without gate": "red-no-gate",
    "RED blocks without residual encoder": "red-no-encoder",
    "RED blocks with residual kernel 1": "red-kernel-1",
    "RED blocks with residual kernel 5": "red-kernel-5",
    "RED at the outermost layers only": "red-outermost",
    "RED at outputs only": "red-outputs",
    "RED + KD, batch 64": "red+kd-batch-64",
    "RED + KD, KD at weight 0.5": "red+kd-weight-0.5",
    "RED + KD, RED at weight 5": "red+kd-red-5",
    "RED + KD, residual kernel 5": "red+kd-kernel-5",
    "RED blocks without their loss, and KD": "red+kd-blocks",
}


NOT_OF_THE_NAME = r"student, | \(.*\)|: 320 KiB|, as above|, seed 0| instead of [\d.]+$"


@pytest.mark.parametrize(("name", "count"), [("README.md", 7), ("docs/results/scenes.md", 36)])
def test_accuracies_are_those_of_the_study(name, count):
    """A line of a table for each method; its cells are test accuracy at stride 4 and 8, or mean validation and test."""
    rows = {(row["strides"], row["method"]): row for row in shipped_rows("study")}
    checked = 0
    for heads, cells in lines_of_tables((ROOT / name).read_text()):
        label = re.sub(NOT_OF_THE_NAME, "", cells[0])
        figures = [(head, cell) for head, cell in zip(heads, cells, strict=True) if " %" in cell]
        if label in OF_STUDY and figures:
            batch = next((f"-batch-{cell}" for cell in cells[1:] if cell in ("64", "32")), "")
            method = OF_STUDY[label] + batch + ("-stage-wise" if "all nine places" in heads[0] else "")
            for head, cell in figures:
                row = rows[None if method == "teacher" else "8" if head.startswith("8,") else "4", method]
                finals = [run["final"] for run in row["runs"]][: 1 if "seed 0" in heads[0] else None]
                which = "validation_accuracy" if head == "validation" else "test_accuracy"
                percent, spread = re.fullmatch(r"([\d.]+) %(?: ± ([\d.]+))?", cell).groups()
                assert rounds_to(percent, statistics.mean(final[which] for final in finals)), (label, head)
                assert spread is None or rounds_to(spread, row["spread"]), (label, head)
            checked += 1
    assert checked == count


def lines_of_tables(text: str) -> Iterator[tuple[list[str], list[str]]]:
    """The cells of each line of each table, with the heads over them."""
    heads = None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if cells and heads and set(line) - set("|- "):
            yield heads, cells
        heads = (heads or cells) if cells else None


def test_accuracies_on_photographs_are_those_of_their_runs():
    """Each row of the table is made of the runs of its strides, a cell of the means over their seeds."""
    table = results("photographs")
    accuracies = defaultdict(list)
    for run in shipped_rows("photographs"):
        if run["part"] == "curve":
            accuracies[",".join(map(str, run["strides"])), run["method"]].append(100 * run["test_accuracy"])
    for strides in {strides for strides, _ in accuracies}:
        cells = re.search(rf"^\| {strides} \| .*? \| (.*) \|$", table, re.MULTILINE)[1].split(" | ")
        methods = ("scratch", "none", "kd", "red-blocks", "red", "red+kd")
        for cell, found in zip(cells, (accuracies[strides, method] for method in methods), strict=True):
            assert cell == f"{statistics.mean(found):.1f} ± {(max(found) - min(found)) / 2:.1f}", strides


def test_accuracies_of_scenes_along_the_curve_are_those_of_their_runs():
    """A row for each vector that has runs, a dash where a method has none yet."""
    table = results("scenes", "Along the curve")
    found = defaultdict(lambda: defaultdict(list))
    for run in (row for row in shipped_rows("scenes") if row["part"] != "alternative"):
        found[",".join(map(str, run["strides"]))][run["method"]].append(100 * run["test_accuracy"])
    assert len(found) == 8 + 4
    for strides, by_method in found.items():
        cells = re.search(rf"^\| {strides} \| .*? \| (.*) \|$", table, re.MULTILINE)[1].split(" | ")
        for cell, method in zip(cells, ("none", "kd", "red", "red+kd", "best"), strict=True):
            values = by_method[method]
            spread = f" ± {(max(values) - min(values)) / 2:.1f}" if len(values) > 1 else ""
            assert cell == (f"{statistics.mean(values):.1f}{spread}" if values else "–"), (strides, method)


@pytest.mark.parametrize("study", ["photographs", "scenes"])
def test_accuracies_of_alternatives_are_those_of_their_runs(study):
    """A row of a table for each network that one can take instead, and for each way to compute one in patches."""
    table = results(study, "What people take instead")
    found, rows = defaultdict(lambda: defaultdict(list)), {}
    for run in shipped_rows(study):
        if run["part"] == "alternative":
            patches = run["kind"] == "patches"
            who = "teacher" if run["method"] == "teacher" else f"student {','.join(map(str, run['strides']))}, KD"
            network = run["network"]
            is_own = network.startswith("in ")
            name = f"{who}, {network.removeprefix('in ')}" if is_own else network.replace(" in ", ", KD, ")
            method = "all" if patches else run["method"].removesuffix("-scratch")
            found[name][method].append(100 * run["test_accuracy"])
            rows[name] = run
    assert len(rows) > 10
    for name, run in rows.items():
        cells = [name, f"{run['peak_bytes'] / 1024:.0f} KiB", f"{run['macs'] / 1e6:.1f} M"]
        for method in ("all",) if "all" in found[name] else ("scratch", "none", "kd"):
            values = found[name][method]
            spread = f" ± {(max(values) - min(values)) / 2:.1f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.1f}{spread}" if values else "–")
        assert f"| {' | '.join(cells)} |" in table, name


def test_the_answer_that_stands_first_is_that_of_the_runs():
    """Every accuracy before the first bullet is the mean of runs at the memory that it is told with."""
    accuracies = defaultdict(list)
    for run in [row for name in ("photographs", "trials") for row in shipped_rows(name)]:
        place = run["network"] if run["part"] == "alternative" else ",".join(map(str, run["strides"]))
        accuracies[place, run["method"], round(run["peak_bytes"] / 1024)].append(run["test_accuracy"])
    answer = " ".join(README.partition("Does that pay?")[2].partition("- **Explore**")[0].split())
    in_patches, mild = "in 3×3 patches up to maxpool", "narrow_resnet {} px at 2,2,1,2,2"
    for percent, place in (
        (r"teacher reaches ([\d.]+) % and needs 320 KiB", ("1,2,2,2,2", "teacher", 320)),
        (r"two ways are level: pooling hard with RED \+ KD, ([\d.]+) % in 64 KiB", ("4,1,2,1,2", "red+kd", 64)),
        (r"images of 56 px pooled less, in patches, ([\d.]+) % in 61", (f"{mild.format(56)} {in_patches}", "kd", 61)),
        (r"take whole images so: ([\d.]+) % in 80 KiB", (in_patches, "kd", 80)),
        (r"48 px so give ([\d.]+) % in 45 KiB", (f"{mild.format(48)} {in_patches}", "kd", 45)),
        (r"40 px ([\d.]+) in 31", (f"{mild.format(40)} {in_patches}", "kd", 31)),
        (r"a stem of stride 8 ([\d.]+) in 52", ("8,1,1,1,2", "stage-wise-batch-64", 52)),
    ):
        assert rounds_to(re.search(percent, answer)[1], statistics.mean(accuracies[place])), percent
    level = [accuracies["4,1,2,1,2", "red+kd", 64], accuracies[f"{mild.format(56)} {in_patches}", "kd", 61]]
    assert min(map(max, level)) > max(map(min, level)), "the seeds of both ways overlap"
    shared = json.loads((ROOT / "checkpoints" / "any-strides.json").read_text())["imagenette-any"]["rows"]
    told = re.search(r"ships: ([\d.]+) % in (52), in (64) the teacher's ([\d.]+) %", answer).groups()
    for percent, kib, strides in ((*told[:2], [8, 1, 1, 1, 2]), (*told[:1:-1], [4, 1, 2, 1, 2])):
        row = next(row for row in shared if row["strides"] == strides)
        assert row["peak_bytes"] == int(kib) * 1024 and rounds_to(percent, row["test_accuracy"])
    assert row["test_accuracy"] >= statistics.mean(accuracies["1,2,2,2,2", "teacher", 320])
    scenes = defaultdict(list)
    for row in shipped_rows("scenes"):
        is_other, kib = row["part"] == "alternative", round(row["peak_bytes"] / 1024)
        place = (row["network"], kib) if is_other else tuple(row["strides"])
        scenes[place, row["method"]].append(row["test_accuracy"])
    told = r"in 52 KiB: ([\d.]+) % for ([\d.]+), but images of 48 px in patches have ([\d.]+) in 45; in 112 a student "
    told += r"has ([\d.]+) without"
    stem, small = (8, 1, 1, 1, 2), (f"{mild.format(48)} {in_patches}", 45)
    places = [(stem, "best"), (stem, "none"), (small, "kd"), ((2, 2, 1, 2, 2), "none")]
    for percent, place in zip(re.search(told, README).groups(), places, strict=True):
        assert rounds_to(percent, statistics.mean(scenes[place])), place
    least = min(peak for place, method, peak in accuracies if "patches" in place and method == "teacher")
    assert f"with {least} KiB the teacher itself fits" in answer


def test_the_picture_of_the_trade_off_is_drawn_from_the_rows():
    file = ROOT / "app" / "assets" / "tradeoff.png"
    figure = curve.readme_figure(curve.ROWS)
    with Image.open(file) as picture:
        assert picture.text[curve.DIGEST] == curve.digest(figure), "draw it anew: python -m benchmarks.curve"
    assert file.stat().st_size < 150_000 and "(app/assets/tradeoff.png)" in README


def test_accuracies_of_the_vision_transformer_are_those_of_its_runs():
    table = results("photographs", "A vision transformer")
    accuracies = defaultdict(list)
    for run in shipped_rows("photographs-swin"):
        accuracies[run["method"]].append(run["test_accuracy"])
    cells = re.search(r"^\| 4,2,2,1 \| .*? \| (.*) \|$", table, re.MULTILINE)[1].split(" | ")
    for cell, method in zip(cells, ("scratch", "none", "kd", "red"), strict=True):
        found = accuracies[method]
        assert len(found) == 3 and rounds_to(cell.split(" ± ")[0], statistics.mean(found)), method
        assert rounds_to(cell.split(" ± ")[1], (max(found) - min(found)) / 2), method


@pytest.mark.parametrize(("name", "compared"), [("emoji-clutter-any", 12), ("imagenette-any", 12)])
def test_accuracies_of_shared_weights_are_those_that_were_measured(name, compared):
    """In the first table after the name: a line a choice of strides, those of its curve and off it."""
    told = results("any-strides")
    held = json.loads((ROOT / "checkpoints" / "any-strides.json").read_text())
    assert any_strides.render_recipes(held) in told
    rows = held[name]["rows"]
    table = told.partition(f"`{name}`")[2].partition("\n| ")[2].partition("\n\n")[0]
    lines = re.findall(r"^\| ([\d,]+)(?: \(off the curve\))? \| (\d+) KiB \| (.*) \|$", table, re.MULTILINE)
    by_strides = {",".join(map(str, row["strides"])): row for row in rows}
    assert {strides for strides, row in by_strides.items() if any_strides.alike(row)} <= {line[0] for line in lines}
    for strides, kib, cells in lines:
        row = by_strides[strides]
        assert kib == f"{row['peak_bytes'] / 1024:.0f}"
        shared, *others = (cell.strip() for cell in cells.split("|"))
        assert shared == f"{100 * row['test_accuracy']:.1f}", strides
        methods = [method for method in any_strides.METHODS if f"alone_{method}" in row]
        for cell, alone in zip(others, [row[f"alone_{method}"] for method in methods], strict=True):
            assert cell == spread.percent(alone), strides
    figures = dict(part.split("=") for part in any_strides.summary(rows))
    assert int(figures["compared"]) == compared


def test_what_was_tried_on_photographs_is_what_the_runs_say():
    """A line of the table for each trial, as the command prints it; the runs are of the settings that it has now."""
    told = results("photographs", "What was tried")
    rows = shipped_rows("trials")
    lines = [line for line in told.splitlines() if line.startswith("| ") and "KiB |" not in line]
    by_strides = defaultdict(list)
    for row in rows:
        by_strides[tuple(row["strides"])].append(row)
        frame = Frame("imagenette", 10, trials.STUDY, PHOTOS_TEACHER, {"precision": row["precision"]})
        settings = trials.job_of(frame, tuple(row["strides"]), row["method"], row["seed"]).config
        assert DistillConfig.from_dict(row["config"] | {"device": "cpu"}) == settings, row["name"]
    expected = []
    for strides, found in by_strides.items():
        assert f"strides {','.join(map(str, strides))}" in " ".join(told.split())
        _, rule, *body = trials.render(found).splitlines()
        expected += [rule, *body]
    assert sorted(lines) == sorted(expected)


def results(name: str, section: str | None = None) -> str:
    """What a file of results tells, or one section of it."""
    text = (ROOT / "docs" / "results" / f"{name}.md").read_text()
    return text if section is None else text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]


def shipped_rows(name: str) -> list[dict]:
    """Of one of the studies that ship."""
    return json.loads((ROOT / "checkpoints" / f"{name}.json").read_text())


def rounds_to(percent: str, value: float) -> bool:
    """Whether `value`, a share of one, is what stands there to one decimal; halves may have gone either way."""
    return abs(float(percent) - 100 * value) < 0.0501


def test_the_table_of_any_network_adds_up_from_its_rows():
    zoo = json.loads((ROOT / "docs" / "zoo.json").read_text())
    text = results("memory")
    assert f"Of {len(zoo)} networks no figure" in " ".join(text.split())
    for family in ("diffusers", "timm", "torchvision"):
        rows = [kinds for name, kinds in zoo.items() if name.startswith(f"{family}:")]
        counts = [sum(kinds.get(kind, 0) for kinds in rows) for kind in KINDS]
        assert f"| {family} | {len(rows)} | {' | '.join(f'{count:,}' for count in counts)} |" in text
    assert not any(kinds.get("wrong") or kinds.get("refused") for kinds in zoo.values())
