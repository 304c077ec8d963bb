"""The report of one page: its figures are the library's and the shell's, its files those that lie there."""

from __future__ import annotations

import hashlib
import html
import re
import shlex
import shutil

import pytest
import safetensors.torch

from redistill.checkpoint.metadata import read_metadata
from redistill.checkpoint.sources import find_checkpoint
from redistill.cli import counting
from redistill.cli.commands import _parser, main
from redistill.cli.counting import config_asked, red_asked
from redistill.cli.options import parse_strides
from redistill.common.files import write_json
from redistill.deploy.judged import Export
from redistill.deploy.noted_exports import EXPORTS, exports_noted, note_export, noted
from redistill.deploy.report import network_report, setting_report
from redistill.memory.comparison import compare
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig

NAME = "emoji-clutter-student"
EVERY = REDConfig(gate_kernel=3, residual_kernel=1, points="outputs", gate_per="channel", residual_squeeze=4,
                  residual_depthwise=True)  # fmt: skip
SETTING = ["resnet18", "--strides", "conv1=8,maxpool=1,layer4.0=1"]


def rows(page: str) -> dict[str, list[str]]:
    """The cells of every row of a page's tables by the first."""
    found = {}
    for row in re.findall("<tr>(.*?)</tr>", page, re.DOTALL):
        first, *others = [html.unescape(cell) for cell in re.findall("<t[dh]>(.*?)</t[dh]>", row, re.DOTALL)]
        found[first] = others
    return found


def test_of_a_checkpoint_each_figure_is_the_one_that_is_known():
    page, student = network_report(NAME), read_metadata(NAME).student
    found = rows(page)
    for title, settings in (
        ("deployed (fused), fp32", {}),
        ("deployed (fused), int8", {"dtype": "int8"}),
        ("PyTorch (eager), fp32", {"accounting": "eager"}),
        ("onnxruntime, fp32", {"accounting": "onnxruntime"}),
        ("ExecuTorch, planned, input apart, fp32", {"accounting": "executorch"}),
    ):
        pair = compare(student, **settings)
        assert found[title][:2] == [f"{pair.teacher.peak_bytes:,}", f"{pair.student.peak_bytes:,}"]
    assert found["planned in one arena, fp32"][1] == f"{compare(student).student.plan().bytes:,}"
    assert found["PyTorch, fp32"][0].startswith("95.35 % of 2,000 (95 %: 94.3 to 96.2)")
    weights = find_checkpoint(NAME) / "model.safetensors"
    assert found[weights.name] == [
        f"{weights.stat().st_size:,}",
        hashlib.sha256(weights.read_bytes()).hexdigest(),
    ]
    assert "conv1 1 → 4" in page and "layer2.0 2," in page
    assert "<script" not in page and not re.search('(src|href)="(?!data:)', page)


def test_what_was_measured_of_a_run_stands_in_it_until_its_weights_change(tmp_path):
    folder = tmp_path / "run" / "student"
    shutil.copytree(find_checkpoint(NAME), folder)
    file = tmp_path / "run.onnx"
    file.write_bytes(b"an export")
    facts = {"largest_difference": 0.0, "compared": 64, "pictures": 2000, "torch_accuracy": 0.9535, "note": ""}
    facts |= {"test_accuracy": 0.955, "heap_bytes": 117_568, "peak_bytes": 1, "latency_ms": 1.25}
    export = Export(file, 9, "run", "onnxruntime 1.32.0", **facts)
    note_export(folder, noted(export, "full"))
    assert not exports_noted(folder), "what is no run's stays as it is"
    write_json(tmp_path / "run" / "status.json", {"state": "finished"})
    for _ in range(2):
        note_export(folder, noted(export, "full"))
    note_export(folder, noted(export))
    assert [one.numbers for one in exports_noted(folder)] == ["int8", "fp32"]
    page = network_report(tmp_path / "run")
    assert rows(page)["onnxruntime 1.32.0, int8"] == ["95.50 % of 2,000 (95 %: 94.5 to 96.3)", "1.25 ms", "117,568"]
    assert rows(page)["run.onnx"] == ["9", hashlib.sha256(b"an export").hexdigest()]
    assert "redistill.deploy.onnx_runner run.onnx" in page and "<h1>run</h1>" in page
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes() + b"x")
    assert not exports_noted(folder)
    for broken in ({}, {"files": 3}, {"files": {"onnx": {"name": "x"}}}):
        write_json(tmp_path / "run" / EXPORTS, broken)
        assert not exports_noted(folder)


def test_the_shell_writes_it_with_the_figures_that_it_tells(tmp_path, capsys):
    out = tmp_path / "page.html"
    asked = [*SETTING, "--chip", "esp32s3", "--dtype", "int8"]
    assert main(["report", *asked, "--out", str(out)]) == 0
    assert main(["memory", *asked]) == 0
    said, page = capsys.readouterr().out, html.unescape(out.read_text(encoding="utf-8"))
    told = re.findall(r"^(?:teacher|student): ([0-9,]+) bytes .* at ", said, re.MULTILINE)
    assert len(told) == 2 and rows(page)["deployed (fused), int8"][:2] == told
    for line in said.splitlines():
        if line.startswith("student on") or line.startswith("student: the"):
            assert line.removeprefix("student") in page
    assert "on the chip" in page.lower() and "not trained" in page
    assert main(["report", NAME, "--out", str(out)]) == 0
    assert out.read_text(encoding="utf-8") == network_report(NAME)


@pytest.mark.parametrize(
    ("student", "batch"),
    [
        (StudentConfig("resnet18", 224, strides={"conv1": 8, "maxpool": 1}), 1),
        (StudentConfig("resnet18", (96, 64), strides={"conv1": (4, 2)}, red=None, in_channels=1, stem="wide"), 1),
        (StudentConfig("mobilenet_v2", 64, strides={"features.0.0": 4}, red=EVERY, stem="space-to-depth"), 7),
        (StudentConfig("unet_small", 32, strides={"conv_in": 2, "down_blocks.2.downsamplers.0": 1}), 1),
    ],
    ids=["usual", "sides", "every RED setting", "U-Net"],
)
def test_its_lines_rebuild_the_network_that_it_is_about(student, batch):
    command, *python = _lines(setting_report(student, batch))
    options = _parser().parse_args(shlex.split(command)[1:])
    asked = config_asked(options, strides=parse_strides(options.strides), red=red_asked(options))
    assert (asked, options.batch, options.run) == (student, batch, counting._memory)
    scope = {}
    exec("\n".join(python[:-1]), scope)
    assert scope["config"] == student and python[-1].endswith("redistill.build_student(config)")


def test_what_the_shell_cannot_count_has_no_line_of_it():
    student = StudentConfig("resnet18", 128, teacher_strides={"conv1": 4}, strides={"conv1": 8, "maxpool": 1})
    scope = {}
    exec("\n".join((lines := _lines(setting_report(student)))[:-1]), scope)
    assert scope["config"] == student and not any(line.startswith("redistill memory") for line in lines)


def _lines(page: str) -> list[str]:
    """Those that build the network."""
    return html.unescape(re.search("<pre>(.*?)</pre>", page, re.DOTALL)[1]).splitlines()


def test_of_a_checkpoint_as_many_images_are_counted_as_asked_for(tmp_path):
    out = tmp_path / "page.html"
    assert main(["report", NAME, "--batch", "3", "--out", str(out)]) == 0
    page, peaks = out.read_text(encoding="utf-8"), compare(read_metadata(NAME).student, batch=3)
    assert rows(page)["deployed (fused), fp32"][1] == f"{peaks.student.peak_bytes:,}" and "3 images" in page


def test_of_weights_that_are_no_numbers_there_is_no_report(tmp_path, capsys):
    shutil.copytree(find_checkpoint(NAME), tmp_path / "run")
    file = tmp_path / "run" / "model.safetensors"
    state = safetensors.torch.load_file(file)
    state["fc.bias"][0] = float("nan")
    safetensors.torch.save_file(state, file)
    assert main(["report", str(tmp_path / "run"), "--out", str(tmp_path / "x.html")]) == 1
    assert "no numbers" in capsys.readouterr().err and not (tmp_path / "x.html").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"{NAME} --strides conv1=2", "--strides: of a network"),
        (f"{NAME} --image-size 32 --in-channels 1", "--image-size, --in-channels: of a network"),
        (f"{NAME} --stem wide", "--stem: of a network"),
        (f"{NAME} --no-red", "--no-red: of a network"),
        (f"{NAME} --red-residual-kernel 5", "--red-residual-kernel: of a network"),
        (f"{NAME} --dtype int8", "give --chip too"),
        ("resnet18 --fuse-add", "give --chip too"),
        ("nothing-such", "nothing-such"),
        ("resnet18 --strides conv1=x", "conv1"),
        ("resnet18 --chip rp2041", "rp2350"),
    ],
)
def test_what_has_no_report_is_a_sentence(line, said, tmp_path, capsys):
    assert main(["report", *line.split(), "--out", str(tmp_path / "x.html")]) == 1
    assert said in capsys.readouterr().err and not (tmp_path / "x.html").exists()
    assert main(["report", NAME, "--out", str(tmp_path / "no" / "x.html")]) == 1
    assert "no folder" in capsys.readouterr().err
