"""Exports in int8: they run without us, their weights are int8, and what cannot be calibrated is refused."""

import numpy as np
import onnx
import pytest
import torch
from helpers.made import SMALL, random_split, saved_ddpm, seasoned
from helpers.pictures import write_classes

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import Metadata
from redistill.checkpoint.pipeline import load_unet
from redistill.cli.commands import main
from redistill.deploy import onnx_export, onnx_file, onnx_int8
from redistill.deploy.onnx_export import export_onnx
from redistill.deploy.onnx_int8 import export_int8, with_int8_weights
from redistill.deploy.onnx_sampler import draw
from redistill.deploy.opened import Opened, open_network
from redistill.deploy.opened import pictures_of as split_of
from redistill.deploy.runtimes import run_file
from redistill.networks.student import StudentConfig
from redistill.training.rounding import Rounded, round_network

NAMES = ("fox", "owl", "bee")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A student with RED blocks whose batch norms have seen something."""
    folder = tmp_path_factory.mktemp("small") / "student"
    return checkpoint.save(seasoned(), Metadata(SMALL, "emoji-clutter", class_names=NAMES), folder)


@pytest.fixture
def pictures(monkeypatch):
    split = random_split(70)
    monkeypatch.setattr(onnx_int8, "pictures_of", lambda opened, part="test": split)
    return split


@pytest.mark.process
def test_both_kinds_run_hold_int8_and_come_near(tmp_path, saved, pictures, monkeypatch):
    opened = open_network(saved)
    plain = onnx_file.to_onnx(opened.model, (torch.zeros(1, 3, 32, 32),), "logits")
    monkeypatch.setattr(onnx_int8, "to_onnx", lambda *_: plain)
    with torch.no_grad():
        spread = float(opened.model(pictures.images.float() / 127.5 - 1).std())
    whole = len(plain.SerializeToString())
    for kind in onnx_int8.KINDS:
        export = export_int8(opened, tmp_path / f"{kind}.onnx", kind)
        written = onnx.load(tmp_path / f"{kind}.onnx")
        told = {entry.key: entry.value for entry in written.metadata_props}
        assert kind in told["quantization"] and told["class_names"].count('"') == 2 * len(NAMES)
        assert export.bytes < 0.45 * whole and export.pictures == 70 and export.test_accuracy is not None
        assert 0 < export.largest_difference < 3 * spread + 0.5
        convs = [node.input[1] for node in written.graph.node if node.op_type == "Conv"]
        stored = {entry.name: entry.data_type for entry in written.graph.initializer}
        made = {out: node for node in written.graph.node for out in node.output}
        assert convs and all(stored[made[name].input[0]] == onnx.TensorProto.INT8 for name in convs)


def test_weights_keep_a_scale_for_each_output(saved):
    layer = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.Flatten(), torch.nn.Linear(4, 5))
    with torch.no_grad():
        layer[0].weight[0] *= 1000
        layer[2].weight[1] = 0
    plain = onnx_file.to_onnx(layer, (torch.zeros(1, 3, 1, 1),), "logits")
    quantized = with_int8_weights(plain)
    onnx.checker.check_model(quantized)
    held = {entry.name: onnx.numpy_helper.to_array(entry) for entry in quantized.graph.initializer}
    for name in [name for name in held if f"{name}_scale" in held]:
        before = next(onnx.numpy_helper.to_array(entry) for entry in plain.graph.initializer if entry.name == name)
        axis = int(np.argmax([len(held[f"{name}_scale"]) == side for side in before.shape]))
        scale = held[f"{name}_scale"].reshape([-1 if place == axis else 1 for place in range(before.ndim)])
        assert held[name].dtype == np.int8 and (np.abs(held[name] * scale - before) <= scale / 2 + 1e-9).all()


def test_what_has_no_pictures_to_calibrate_on_is_refused(tmp_path, saved):
    opened = open_network(saved)
    unknown = Opened("mine", opened.folder, opened.model, Metadata(SMALL, "", class_names=NAMES))
    with pytest.raises(ValueError, match="weights alone"):
        onnx_int8.calibration_pictures(unknown, 0)
    with pytest.raises(ValueError, match="half"):
        export_int8(opened, tmp_path / "net.onnx", "half")
    assert not list(tmp_path.iterdir())


@pytest.mark.process
def test_own_pictures_calibrate_and_judge_by_class_names(tmp_path, saved, capsys):
    named = dict(zip(sorted(NAMES), (6, 6, 6), strict=True))
    own = write_classes(tmp_path / "own", named)
    opened = open_network(saved, f"folder:{own}")
    export = export_int8(opened, tmp_path / "net.onnx")
    split = split_of(opened)
    with torch.no_grad():
        answers = opened.model(split.images.float() / 127.5 - 1).argmax(1)
    assert {NAMES[label] for label in split.labels} == set(NAMES), "by name, not by place"
    assert export.torch_accuracy == pytest.approx(float((answers == split.labels).float().mean()))
    assert export.pictures == len(split)
    told = {entry.key: entry.value for entry in onnx.load(export.file).metadata_props}
    assert "own" in told["judged_on"] and str(tmp_path) not in str(told)
    others = write_classes(tmp_path / "others", {"ant": 3, "bat": 3, "cow": 3})
    argued = ["--to", "onnx", "--dataset", f"folder:{others}", "--out", str(tmp_path / "no.onnx")]
    assert main(["export", str(saved), *argued]) == 1 and "'ant', 'bat', 'cow'" in capsys.readouterr().err
    assert not (tmp_path / "no.onnx").exists()


def test_int8_is_for_onnx(tmp_path, saved, capsys):
    out = str(tmp_path / "net")
    assert main(["export", str(saved), "--to", "executorch", "--int8", "full", "--out", out]) == 1
    assert "--int8" in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.process
def test_ranges_of_training_in_int8_stand_in_the_file(tmp_path, saved, pictures):
    plain = checkpoint.load(saved)
    ranges = [(-0.5, 0.25), *round_network(plain, pictures).ranges[1:]]
    metadata = Metadata(SMALL, "emoji-clutter", class_names=NAMES, ranges=ranges)
    opened = open_network(checkpoint.save(plain, metadata, tmp_path / "tuned"))
    export = export_int8(opened, tmp_path / "net.onnx")
    written = onnx.load(export.file)
    held = {entry.name: onnx.numpy_helper.to_array(entry) for entry in written.graph.initializer}
    (first,) = (node for node in written.graph.node if node.op_type == "QuantizeLinear" and node.input[0] == "images")
    assert held[first.input[1]] == pytest.approx(0.75 / 255) and held[first.input[2]] == 170
    convs = [node for node in written.graph.node if node.op_type == "Conv"]
    made = {out: node for node in written.graph.node for out in node.output}
    assert all(made[name].op_type == "DequantizeLinear" for node in convs for name in node.input[:2])
    images = pictures.images.float() / 127.5 - 1
    theirs = run_file(export.file, pictures.images.numpy(), "onnxruntime").outputs
    with torch.no_grad():
        rounded, whole = Rounded(plain, ranges).eval()(images).numpy(), plain(images).numpy()
    assert np.abs(theirs - rounded).mean() < 0.25 * np.abs(theirs - whole).mean(), "clipped as it was in training"
    told = {entry.key: entry.value for entry in written.metadata_props}
    assert "training in int8" in told["quantization"]


@pytest.fixture(scope="module")
def drawing(tmp_path_factory):
    """A tiny U-Net of 200 times."""
    schedule = {"num_train_timesteps": 200, "prediction_type": "v_prediction"}
    folder = saved_ddpm(tmp_path_factory.mktemp("tiny") / "ddpm", schedule)
    metadata = Metadata(StudentConfig("unet_small", 32, red=None), "emoji-faces")
    return Opened("tiny", folder, load_unet(folder), metadata)


@pytest.mark.process
def test_a_diffusion_network_draws_nearly_the_same_in_int8(tmp_path, drawing, monkeypatch):
    monkeypatch.setattr(onnx_int8, "CALIBRATED_ON", 24)  # each takes a tenth of a second
    exported, to_onnx = [], onnx_export.to_onnx

    def once(*given):
        """A copy of one graph for all three files: to export it takes the longest."""
        if not exported:
            exported.append(to_onnx(*given))
        copied = onnx.ModelProto()
        copied.CopyFrom(exported[0])
        return copied

    for module in (onnx_export, onnx_int8):
        monkeypatch.setattr(module, "to_onnx", once)
    export_onnx(drawing, tmp_path / "fp32.onnx")
    expected = draw(str(tmp_path / "fp32.onnx"), 5, 7).astype(int)
    for kind in onnx_int8.KINDS:
        export = export_int8(drawing, tmp_path / f"{kind}.onnx", kind)
        assert export.test_accuracy is None and export.largest_difference > 0
        drawn = draw(str(export.file), 5, 7).astype(int)
        assert 0 < np.abs(drawn - expected).mean() < 0.25 * expected.std()
        written = onnx.load(export.file)
        told = {entry.key: entry.value for entry in written.metadata_props}
        assert kind in told["quantization"] and "no activation memory" in told["int8_memory"]
        made = {out: node.op_type for node in written.graph.node for out in node.output}
        rounded = {node.op_type for node in written.graph.node if made.get(node.input[0]) == "DequantizeLinear"}
        whole = {entry.name for entry in written.graph.initializer if entry.data_type == onnx.TensorProto.FLOAT}
        assert any(name.endswith("conv_out.weight") for name in whole) == (kind == "full"), "the last stays in fp32"
        assert not any(name.endswith("conv_in.weight") for name in whole)
        assert kind == "weights" or (set(onnx_int8.DRAWING) <= rounded and "InstanceNormalization" not in rounded)


def test_times_of_calibration_go_over_the_whole_schedule(drawing):
    taken, other = onnx_int8.noised(drawing, 0), onnx_int8.noised(drawing, 1)
    times = np.concatenate([one["timestep"] for one in taken])
    assert len(taken) == 256 and times.min() < 10 and times.max() >= 190
    late, early = (
        np.std([one["images"].std() for one in taken if low <= one["timestep"][0] < low + 30]) for low in (170, 0)
    )
    assert taken[0]["images"].shape == (1, 3, 32, 32) and not np.array_equal(taken[0]["images"], other[0]["images"])
    assert late < early, "noise alone at the end"
