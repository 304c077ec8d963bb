"""Whatever an option is given, the shell answers with one sentence: no traceback, and nothing large is begun."""

from __future__ import annotations

import pytest

from redistill.cli import checkpoints, counting, runs
from redistill.cli.commands import main

MANY = "99999999999999999999"
CASES = [
    ["memory", "narrow_resnet", "--image-size", MANY],
    ["memory", "narrow_resnet", "--image-size", "-3"],
    ["memory", "narrow_resnet", "--strides", f"conv1={MANY}"],
    ["memory", "narrow_resnet", "--strides", "conv1=²"],
    ["search", "narrow_resnet", "--image-size", MANY],
    ["search", "narrow_resnet", "--budget", "1e400KiB"],
    ["search", "narrow_resnet", "--budget", "-5KiB"],
    ["export", "small", "--to", "tflite"],
    ["fly"],
    ["train", "--steps", "1e3"],
    ["train", "--steps", MANY],
    ["train", "--batch-size", MANY],
    ["train", "--image-size", MANY],
    ["train", "--learning-rate", "nan"],
    ["train", "--mixup", "1e308"],
    ["train", "--milestones", f"1,{MANY}"],
    ["train", "--device", "cuda:99999999999"],
    ["train", "--dataset", "x" * 5000],
    ["train", "--dataset", "hub:a/b@../.."],
    ["train", "--config", "/"],
    ["sample", "small", "--seeds", "0-99999999"],
    ["sample", "small", "--steps", MANY],
    ["sample", "x" * 3000],
    ["evaluate", "small", "--pictures", MANY],
    ["evaluate", "x" * 3000],
    ["resume", "/nowhere", "--steps", MANY],
    ["keep", "/"],
]


@pytest.mark.parametrize("arguments", CASES, ids=lambda arguments: " ".join(arguments)[:40])
def test_an_option_that_nobody_means_is_one_sentence(arguments, shipped, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(arguments)
    except SystemExit as ended:  # argparse's own
        code = ended.code
    told = capsys.readouterr().err.strip().splitlines()
    assert code in (1, 2) and told and "Traceback" not in "".join(told)
    assert code == 1 or len(told) == 1, "argparse's own come without its usage"
    assert "redistill" in told[-1] and len(told[-1]) < 6000


@pytest.mark.parametrize("name, continues", [("train", True), ("resume", True), ("predict", False), ("search", False)])
def test_only_a_run_is_said_to_continue(name, continues, monkeypatch, capsys):
    def interrupted(options):
        raise KeyboardInterrupt

    module = {"train": runs, "resume": runs, "predict": checkpoints, "search": counting}[name]
    function = f"_{name}"
    monkeypatch.setattr(module, function, interrupted)
    if continues:
        monkeypatch.setattr(runs, "CONTINUED", (interrupted,))
    arguments = {"train": [], "resume": ["x"], "predict": ["small", "x.png"], "search": ["narrow_resnet"]}[name]
    assert main([name, *arguments]) == 130
    assert ("continues" in capsys.readouterr().err) == continues
