"""The command line, run as a user runs it."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.pictures import write_classes
from PIL import Image

from redistill import __version__, compare
from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import Metadata, read_metadata
from redistill.checkpoint.sources import find_checkpoint
from redistill.cli.commands import _parser, main
from redistill.cli.options import parse_seeds, parse_strides, run_config
from redistill.common.settings import settings_of
from redistill.data.table import DATASETS
from redistill.memory import capture, capture_images
from redistill.memory.comparison import student_tape
from redistill.memory.search import search_strides
from redistill.memory.usual_strides import early_strides
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig, build_student
from redistill.networks.zoo import build_network
from redistill.training.config import DistillConfig
from redistill.training.presets import CLUTTER_STRIDES

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments, **environment):
    command = [sys.executable, "-m", "redistill", *arguments]
    return subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=300)


@pytest.mark.process
def test_distil_and_evaluate(tmp_path, finished_run, capsys):
    small = ["--steps", "2", "--batch-size", "8", "--train-limit", "16", "--image-size", "32"]
    teacher = str(finished_run / "student")
    result = run("distill", "--run-dir", str(tmp_path / "run"), "--teacher-checkpoint", teacher, *small)
    assert result.returncode == 0, result.stderr
    assert "2/2" in result.stderr and "red_loss" in result.stderr
    assert main(["evaluate", str(tmp_path / "run" / "student")]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["test_accuracy"] == read_metadata(tmp_path / "run" / "student").metrics["test_accuracy"]
    assert figures["peak_bytes"] > 0 and figures["parameters"] > 100_000


def test_a_teacher_is_trained(tmp_path):
    small = ["--steps", "1", "--batch-size", "8", "--train-limit", "16", "--image-size", "32"]
    assert main(["train", "--run-dir", str(tmp_path / "teacher"), *small]) == 0
    metadata = read_metadata(tmp_path / "teacher" / "student")
    assert metadata.student.red is None and 0 <= metadata.metrics["test_accuracy"] <= 1


def test_every_ablation_is_an_option():
    words = "distill --kd dkd --dkd-beta 2 --feature-loss rkd --feature-weight 3 --init scratch --distance mse"
    words += " --alignment stage-wise --no-red-gate --red-residual-kernel 5 --red-points outputs --teacher resnet18"
    config = run_config(_parser().parse_args([*words.split(), "--architecture", "mobilenet_v2", "--strides", ""]))
    assert (config.kd, config.dkd_beta, config.feature_loss, config.feature_weight) == ("dkd", 2.0, "rkd", 3.0)
    options = ["train", "--schedule", "step", "--milestones", "300,600"]
    assert run_config(_parser().parse_args(options)).milestones == (300, 600)
    assert (config.init, config.distance) == ("scratch", "mse")
    student = config.student
    assert student.red == REDConfig(gate=False, residual_kernel=5, points="outputs")
    assert (student.alignment, student.teacher, student.architecture) == ("stage-wise", "resnet18", "mobilenet_v2")
    options = ["distill", "--teacher", "mobilenet_v2", "--strides", "features.0.0=4", "--teacher-strides"]
    student = run_config(_parser().parse_args([*options, "features.0.0=1"])).student
    assert (student.strides, student.teacher_strides) == ({"features.0.0": 4}, {"features.0.0": 1})
    # A preset without RED blocks gets them with the first setting of theirs.
    assert run_config(_parser().parse_args(["distill", "--preset", "undistilled"])).student.red is None
    words = ["distill", "--preset", "undistilled", "--red-gate"]
    assert run_config(_parser().parse_args(words)).student.red == REDConfig()


@pytest.mark.parametrize(
    ("words", "size"),
    [
        ("train --preset faces-teacher --dataset folder:{}", 32),
        ("train --preset teacher --dataset folder:{}", 64),
        ("train --preset faces-teacher --dataset folder:{} --image-size 16", 16),
        ("distill --preset faces --dataset folder:{} --teacher-checkpoint {}/t", 48),
        ("distill --preset faces --dataset folder:{} --teacher-checkpoint {}/t --image-size 32", 32),
        ("distill --preset faces --teacher-checkpoint {}/t", 48),
        ("train --preset teacher --dataset cifar10", 32),
        ("train --preset teacher --dataset emoji-clutter", 64),
    ],
)
def test_other_pictures_come_at_the_size_of_the_teacher_or_else_of_the_preset(tmp_path, words, size):
    """Photographs of the table at their own."""
    write_classes(tmp_path / "in", {"a": 24})
    student = StudentConfig("unet_small", 48, red=None)
    checkpoint.save(build_student(student), Metadata(student, "", class_names=()), tmp_path / "t")
    words = words.replace("folder:{}", f"folder:{tmp_path / 'in'}").replace("{}", str(tmp_path))
    if "--preset teacher --dataset folder" in words:
        write_classes(tmp_path / "in", {"b": 24})
    assert run_config(_parser().parse_args(words.split())).student.image_size == size


@pytest.mark.parametrize(
    ("words", "strides"),
    [
        ("distill --preset quick --teacher mobilenet_v2", early_strides("mobilenet_v2", image_size=64)),
        ("distill --preset quick --architecture mobilenet_v2", early_strides("mobilenet_v2", image_size=64)),
        ("distill --preset quick --teacher mobilenet_v2 --strides features.0.0=8", {"features.0.0": 8}),
        ("distill --preset quick --teacher narrow_resnet", CLUTTER_STRIDES),
        ("train --preset teacher --teacher mobilenet_v2", {}),
    ],
)
def test_a_preset_of_another_network_pools_early_where_it_pooled_otherwise_than_its_network(words, strides):
    assert run_config(_parser().parse_args(words.split())).student.strides == strides


@pytest.mark.parametrize("options", ["--dataset emoji-clutter", "--teacher-checkpoint emoji-clutter-teacher"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "no 'student'"),
        ({"student": {"teacher": "resnet18"}, "dataset": "x"}, "no 'image_size'"),
        ({"student": 3}, "student"),
    ],
)
def test_a_file_of_settings_that_lacks_some_is_one_sentence(tmp_path, content, said, options, capsys):
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert main(["distill", "--config", str(tmp_path / "config.json"), *options.split()]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + bytes(100)])
def test_a_damaged_program_is_one_sentence_and_no_log_of_torch(tmp_path, content, caplog, capsys):
    (tmp_path / "net.pt2").write_bytes(content)
    assert main(["memory", str(tmp_path / "net.pt2"), "--image-size", "8"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "holds no program of torch.export that can be read" in line
    assert not [record for record in caplog.records if record.levelname != "DEBUG"]


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"redistill {__version__}\n"


def test_a_file_that_is_missing_is_named_once(tmp_path, capsys):
    missing, out = str(tmp_path / "no.png"), str(tmp_path / "out")
    for arguments in (
        ["predict", "emoji-clutter-student", missing],
        ["import", "resnet18", "--weights", missing, "--out", out],
    ):
        assert main(arguments) == 1
        told = capsys.readouterr().err.splitlines()[0]
        assert told.count("no.png") == 1 and "(No such file or directory)" in told


def test_pictures_that_cannot_be_read_are_counted_beside_those_that_are_told(tmp_path, capsys):
    missing = str(tmp_path / "no.png")
    Image.new("RGB", (64, 64)).save(tmp_path / "one.png")
    for files, said in (([missing], "No picture could be read"), ([missing, str(tmp_path / "one.png")], "told above")):
        assert main(["predict", "emoji-clutter-student", *files]) == 1
        told = capsys.readouterr()
        assert said in told.err and told.out.count("classes") == len(files) - 1


def test_the_help_says_what_every_setting_does(capsys):
    for command in ("distill", "train", "estimate"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        text = " ".join(capsys.readouterr().out.split())
        assert "--kd-weight VALUE of distillation at the output" in text
        assert '--teacher-checkpoint VALUE folder of the trained teacher, "torchvision:NAME"' in text
        assert '--red-points VALUE "all" aligned sides, the "outermost" layers only, or "outputs" only' in text
        assert "HEIGHTxWIDTH" not in text  # runs take squares
    told = {name: one.help for config in (DistillConfig, REDConfig) for name, one in settings_of(config).items()}
    fields = {field.name for config in (DistillConfig, REDConfig) for field in dataclasses.fields(config)}
    assert told.keys() == fields - {"student"} and all(told.values())
    for one in settings_of(DistillConfig).values():
        assert [choice for choice in one.choices if f'"{choice}"' not in one.help] == [], "its choices, too"


def test_sample_writes_a_grid(tmp_path, capsys):
    config = StudentConfig("unet_small", 32, red=None)
    torch.manual_seed(0)
    folder = checkpoint.save(build_student(config), Metadata(config, "emoji-faces"), tmp_path / "unet")
    out = tmp_path / "grid.png"
    assert main(["sample", str(folder), "--seeds", "0-3", "--steps", "2", "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG") and "4 images" in capsys.readouterr().out


def test_memory_prints_the_published_ratio(capsys):
    assert main(["memory", "resnet18", "--strides", "conv1=8,maxpool=1,layer4.0=1", "--no-red"]) == 0
    printed = capsys.readouterr().out
    assert "3.828 MiB" in printed and "0.766 MiB" in printed and "ratio: 5.00" in printed


def test_memory_says_which_red_blocks_would_not_raise_the_peak(capsys):
    strides = "conv1=8,maxpool=1,layer4.0=1"
    assert main(["memory", "resnet50", "--strides", strides]) == 0
    printed = capsys.readouterr().out
    assert "student: 2,408,448 bytes" in printed and "those of --red-gate-per channel would not" in printed
    assert main(["memory", "resnet50", "--strides", strides, "--no-red-gate", "--red-residual-squeeze", "4"]) == 0
    printed = capsys.readouterr().out
    assert "student: 1,806,336 bytes" in printed and "ratio: 4.00" in printed and "would not" not in printed
    assert main(["memory", "resnet50", "--no-red", "--red-gate-kernel", "3"]) == 1
    assert "leaves no RED block whose gate_kernel" in capsys.readouterr().err


def test_additions_inside_convolutions_lower_the_printed_peaks(capsys):
    assert main(["memory", "resnet50", "--fuse-add", "--no-red"]) == 0
    assert "teacher: 5,218,304 bytes" in capsys.readouterr().out
    assert main(["search", "narrow_resnet", "--fuse-add", "--budget", "1KB"]) == 0
    teacher = capture_images(build_network("narrow_resnet"), 64).profile(fuse_add=True)
    assert f"{teacher.peak_bytes:,}" in capsys.readouterr().out


def test_blocks_stand_where_the_alignment_says(capsys):
    strides, rule = {"conv1": 4, "maxpool": 1, "layer4.0": 1}, ["--alignment", "stage-wise"]
    assert main(["memory", "narrow_resnet", "--strides", "conv1=4,maxpool=1,layer4.0=1", *rule]) == 0
    config = StudentConfig("narrow_resnet", strides=strides, alignment="stage-wise")
    assert f"student: {compare(config).student.peak_bytes:,} bytes" in capsys.readouterr().out
    assert main(["search", "narrow_resnet", "--budget", "96KiB", *rule]) == 0
    best = search_strides(student_tape(config), alignment="stage-wise").within(96 * 2**10)[-1]
    line = f"{','.join(map(str, best.strides.values()))} {best.needed_bytes:,} {best.peak_bytes:,}"
    assert line in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("command", ["memory", "search"])
def test_a_detector_is_said_to_be_counted_in_part(command, capsys):
    detector = "torchvision:fasterrcnn_resnet50_fpn"
    assert main([command, detector, "--image-size", "64", "--no-red"]) == 0
    assert f"Of {detector} the backbone alone is counted" in capsys.readouterr().out
    assert main([command, "narrow_resnet", "--no-red"]) == 0
    assert "alone is counted" not in capsys.readouterr().out


def test_memory_counts_a_stem_that_sees_all(capsys):
    strides = {"conv1": 8, "maxpool": 1, "layer4.0": 1}
    options = ["resnet18", "--strides", "conv1=8,maxpool=1,layer4.0=1", "--no-red", "--stem", "blur", "--dtype", "fp16"]
    assert main(["memory", *options]) == 0
    config = StudentConfig("resnet18", strides=strides, red=None, stem="blur")
    assert f"student: {compare(config, dtype='fp16').student.peak_bytes:,} bytes" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["memory", "resnet18", "--stem", "large"])
    assert "invalid choice: 'large'" in capsys.readouterr().err


def test_memory_counts_any_network_on_any_images(capsys):
    options = ["--image-size", "48x64", "--batch", "2", "--in-channels", "1", "--dtype", "fp16", "--no-red"]
    assert main(["memory", "timm:resnet18", *options]) == 0
    model = build_network("timm:resnet18", in_channels=1)
    expected = capture(model, (2, 1, 48, 64)).profile(dtype="fp16").peak_bytes
    assert f"teacher: {expected:,} bytes" in capsys.readouterr().out
    assert main(["search", "timm:resnet18", *options]) == 0
    assert f"{expected:,}" in capsys.readouterr().out


def test_a_teacher_of_plain_pytorch_is_imported_distilled_and_evaluated(tmp_path, capsys):
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef tiny(num_classes):\n    return nn.Sequential(\n"
        "        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),\n"
        "        nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),\n"
        "        nn.Flatten(), nn.Linear(8, num_classes))\n"
    )
    network, folder = f"file:{tmp_path}/net.py:tiny", tmp_path / "teacher"
    state = build_network(network, 50).state_dict()
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "w.pth")
    (tmp_path / "classes.txt").write_text("\n".join(DATASETS["emoji-clutter"].class_names))
    options = ["--weights", str(tmp_path / "w.pth"), "--classes", str(tmp_path / "classes.txt"), "--out", str(folder)]
    normalised = ["--mean", "0.485,0.456,0.406", "--std", "0.229", "0.224", "0.225", "--image-size", "32"]
    assert main(["import", network, *options, *normalised]) == 0
    assert str(folder) in capsys.readouterr().out
    torch.save({key: value for key, value in state.items() if key != "0.bias"}, tmp_path / "cut.pth")
    cut = ["--weights", str(tmp_path / "cut.pth"), "--image-size", "32", "--out", str(tmp_path / "cut")]
    for name, some_fit in ((network, True), ("resnet18", False)):
        assert main(["import", name, *cut]) == 1
        assert ("Or say --partial to take those that fit." in capsys.readouterr().err) is some_fit
    small = ["--steps", "2", "--batch-size", "8", "--train-limit", "16", "--run-dir", str(tmp_path / "run")]
    assert main(["distill", "--teacher-checkpoint", str(folder), *small]) == 0
    card = read_metadata(tmp_path / "run" / "student")
    assert (card.student.teacher, card.student.image_size, card.student.classes) == (network, 32, 50)
    assert card.student.strides and "red_loss" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path / "run" / "student")]) == 0
    assert json.loads(capsys.readouterr().out)["test_accuracy"] == card.metrics["test_accuracy"]
    assert main(["evaluate", str(folder), "--dataset", "emoji-clutter"]) == 0


def test_search_prints_what_fits(capsys):
    assert main(["search", "narrow_resnet", "--budget", "64KiB", "--dtype", "int8"]) == 0
    printed = capsys.readouterr().out
    assert "65 choices of strides" in printed and "fit 65,536 bytes" in printed
    *rows, compared = printed.splitlines()[3:]
    assert "the arena that a runtime plans" in compared
    rows = [line.split() for line in rows]
    assert rows[0][:3] == ["teacher", "1,2,2,2,2", "81,920"] and len(rows) > 2
    assert all(int(row[1].replace(",", "")) <= 65_536 for row in rows[1:])
    assert main(["search", "narrow_resnet", "--budget", "1KB", "--no-red"]) == 0
    printed = capsys.readouterr().out
    assert "0 fit 1,000 bytes" in printed and "Nothing fits" in printed


def test_memory_counts_patches_of_teacher_and_student(capsys):
    strides = ["--strides", "conv1=4,maxpool=1,layer4.0=1", "--no-red"]
    assert main(["memory", "resnet18", *strides, "--patch", "layer1:4"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2] == "teacher, 4x4 patches to layer1: 2,047,232 bytes (1.952 MiB), +16.5 % computation"
    assert printed[-1] == "student, 4x4 patches to layer1: 1,714,176 bytes (1.635 MiB), +7.0 % computation"
    assert (
        main(["memory", "resnet18", *strides, "--patch", "best", "--accounting", "eager", "--image-size", "64x96"]) == 0
    )
    printed = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("teacher, ") for line in printed) > 2
    assert main(["memory", "efficientnet_b0", "--patch", "best", "--image-size", "64"]) == 0
    assert "teacher: no patches" in capsys.readouterr().out


def test_search_fits_with_patches_what_does_not_fit_whole(capsys):
    assert main(["search", "narrow_resnet", "--budget", "120KiB", "--no-red", "--patching", "200"]) == 0
    rows = capsys.readouterr().out.partition("patch by patch")[2].splitlines()[1:]
    assert "none needed" in rows[0] and len(rows) > 1
    assert all("x" in row.split()[-3] and int(row.split()[1].replace(",", "")) <= 120 * 1024 for row in rows[1:])
    assert main(["search", "narrow_resnet", "--budget", "1KB", "--patching"]) == 0
    assert "Nothing fits computed patch by patch" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["memory", "search"])
def test_memory_and_search_count_a_ddpm_from_elsewhere(command, capsys):
    network = f"ddpm:{find_checkpoint('emoji-faces-student-alone')}"  # without RED blocks
    assert main([command, network, "--image-size", "32", "--no-red"]) == 0
    assert "262,656" in capsys.readouterr().out
    assert main([command, "ddpm:/nowhere", "--image-size", "32"]) == 1
    assert "There is no folder '/nowhere'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["memory", "resnet19"], "No network 'resnet19'"),
        (["memory", "resnet18", "--strides", "conv1:8"], "expected layer=stride pairs"),
        (["memory", "resnet18", "--strides", "conv1=64"], "choose smaller strides"),
        (["memory", "resnet18", "--strides", "conv9=2"], "No pooling point 'conv9'"),
        (["memory", "resnet18", "--image-size", "0"], "Image size is 0"),
        (["memory", "resnet18", "--image-size", "64x"], "Image size is '64x'; expected pixels a side"),
        (["memory", "resnet18", "--image-size", "8x8x8"], "or HEIGHTxWIDTH as 480x640"),
        (["memory", "resnet18", "--strides", "conv1=4,conv1=2"], "'conv1' twice"),
        (["memory", "resnet18", "--batch", "0"], "batch is 0"),
        (["memory", "resnet18", "--dtype", "fp8"], "dtype is 'fp8'"),
        (["memory", "resnet18", "--in-channels", "17"], "in_channels is 17"),
        (["memory", "file:/nowhere.py:net", "--image-size", "64"], "there is no such file"),
        (["import", "resnet18", "--weights", "/nowhere.pth"], "/nowhere.pth holds no weights"),
        (["import", "resnet18", "--weights", "/nowhere.pth", "--mean", "a"], "--mean is 'a'"),
        (["import", "resnet18", "--weights", "/nowhere.pth", "--mean", "0.4"], "--mean and --std belong together"),
        (
            ["import", "resnet18", "--weights", "/nowhere.pth", "--classes", "/nowhere.txt"],
            "/nowhere.txt cannot be read",
        ),
        (["sample", "emoji-faces-student", "--out", "/nowhere/grid.png"], "There is no folder /nowhere"),
        (["sample", "emoji-faces-student", "--out", "/"], "is a folder"),
        (["sample", "emoji-faces-student", "--out", "grid.jpg"], "ends in .jpg, but what is written is a .png"),
        (["export", "small", "--to", "onnx", "--out", "z.pte"], "ends in .pte, but what is written is a .onnx"),
        (["export", "small", "--to", "c", "--out", "z.onnx"], "ends in .onnx, but what is written is a .c"),
        (["export", "small", "--to", "executorch", "--out", "z.c"], "ends in .c, but what is written is a .pte"),
        (["report", "narrow_resnet", "--out", "z.txt"], "ends in .txt, but what is written is a .html"),
        (["memory", "resnet18", "--patch", "layer1"], "--patch is 'layer1'; expected a layer and patches"),
        (["memory", "resnet18", "--patch", "layer1:0"], "Patches a side are 0"),
        (["memory", "resnet18", "--patch", "layer9:2"], "'layer9': it is no layer"),
        (["memory", "resnet18", "--patch", "avgpool:2"], "layer 'avgpool' runs 'mean'"),
        (["search", "narrow_resnet", "--patching"], "give --budget"),
        (["search", "narrow_resnet", "--budget", "1KB", "--patching", "-3"], "--patching is '-3'"),
        (["search", "resnet19"], "No network 'resnet19'"),
        (["search", "resnet18", "--budget", "5KX"], "Amount of memory is '5KX'"),
        (["search", "resnet18", "--reduction", "less"], "reduction is 'less'"),
        (["search", "resnet18", "--image-size", "0"], "Image size is 0"),
        (["distill", "--preset", "finest"], "No preset 'finest'"),
        (["train-any", "--preset", "faces"], "stride_vectors is 0 in these settings"),
        (["distill", "--config", "/nowhere.json"], "No file /nowhere.json"),
        (["distill", "--teacher-checkpoint", "/nowhere"], "No checkpoint '/nowhere'"),
        (["distill", "--strides", "conv1=64"], "choose smaller strides"),
        (["distill", "--steps", "0"], "steps is 0"),
        (["train", "--dataset", "folder:.", "--split-seed", "-1"], "split_seed is -1; expected a whole number from 0"),
        (["distill", "--feature-loss", "ofd"], "feature_loss is 'ofd'; expected one of ['fitnet'"),
        (["distill", "--alignment", "none"], "alignment is 'none'; expected one of ['asynchronous'"),
        (["distill", "--red-points", "some"], "RED points is 'some'"),
        (["distill", "--no-red", "--red-gate-kernel", "3"], "no RED block whose gate_kernel"),
        (["evaluate", "/nowhere"], "No checkpoint '/nowhere'"),
        (["sample", "/nowhere"], "There is no folder '/nowhere'"),
        (["distill", "--run-dir", "/proc/run"], "cannot be written"),
    ],
)
def test_bad_input_is_one_sentence(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error


def test_a_run_in_place_of_its_checkpoint_is_told_apart(finished_run, capsys):
    assert main(["evaluate", str(finished_run)]) == 1
    said = capsys.readouterr().err
    assert f"{finished_run} is the folder of a run; its checkpoint is {finished_run / 'student'}." in said


def test_broken_config_file_is_one_sentence(tmp_path, capsys):
    (tmp_path / "config.json").write_text('{"student": ')
    assert main(["distill", "--config", str(tmp_path / "config.json")]) == 1
    assert "not readable JSON" in capsys.readouterr().err


def test_lists_are_parsed():
    assert parse_strides("conv1=4, maxpool=1") == {"conv1": 4, "maxpool": 1}
    assert parse_strides("conv1=4x2,maxpool=2x2") == {"conv1": (4, 2), "maxpool": 2}
    assert parse_seeds("0-3,7") == [0, 1, 2, 3, 7]
    for text in ("a", "1-", "1,,2", "5-3", "²", "1-²", "-5", "٣-", ""):
        with pytest.raises(ValueError, match="Seeds hold"):
            parse_seeds(text)
    with pytest.raises(ValueError, match="too many; expected at most 10,000"):
        parse_seeds("0-999999999999")
    for text in ("conv1=²", "conv1=--4", "=4", "conv1", "conv1=4-"):
        with pytest.raises(ValueError, match="Strides hold"):
            parse_strides(text)


@pytest.mark.parametrize("count", ["-5", "0", "19"])
def test_too_few_pictures_are_refused_before_any_is_drawn(count, capsys, monkeypatch):
    monkeypatch.setattr("redistill.diffusion.quality.sample", pytest.fail)
    assert main(["evaluate", "emoji-faces-student", "--pictures", count]) == 1
    assert f"is {count}; expected at least 20" in capsys.readouterr().err


def test_lists_of_numbers_that_are_none_are_one_sentence(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--milestones", "30,a"])
    assert "'30,a' holds more than whole numbers" in capsys.readouterr().err


def test_what_of_the_pictures_is_not_taken_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "cache"))
    write_classes(tmp_path / "P", {"bus": 4, "train": 4})
    (tmp_path / "P" / "bus" / "notes.txt").write_text("")
    steps = ["--steps", "1", "--batch-size", "2", "--validate-every", "1", "--image-size", "16"]
    arguments = ["--preset", "teacher", "--dataset", f"folder:{tmp_path / 'P'}", *steps]
    for command in (["train", *arguments, "--run-dir", str(tmp_path / "run")], ["estimate", *arguments]):
        assert main(command) == 0
        said = capsys.readouterr().err
        assert "train: taken for a class" in said and "bus/notes.txt" in said
