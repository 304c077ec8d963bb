"""Folders that diffusers loads: with and without our package, whole and damaged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, PNDMScheduler, UNet2DModel
from helpers.unets import STUDENT, TINY, noisy, predict, same, tiny, written
from safetensors.torch import load_file, save_file

from redistill.checkpoint.pipeline import check_index, load_scheduler, load_unet, write_pipeline
from redistill.checkpoint.unet_weights import WEIGHTS
from redistill.networks.unet import UNet


def trained_a_little(model: UNet) -> UNet:
    """Non-trivial batch statistics and no symmetric tail, so that a lost tensor shows."""
    optimizer = torch.optim.SGD(model.train().parameters(), lr=0.05)
    for _ in range(3):
        x, t = noisy()
        model(x, t).sample.square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A saved student with RED blocks; tests that change it copy it first."""
    target = tmp_path_factory.mktemp("pipeline") / "student"
    model = trained_a_little(tiny(STUDENT, red=True))
    scheduler = DDPMScheduler(num_train_timesteps=100, prediction_type="v_prediction")
    return written(model, scheduler, target)


@pytest.fixture
def broken(folder, tmp_path) -> Path:
    """A copy of the saved student to damage."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


LOADER = """
import sys, torch
from diffusers import DiffusionPipeline
sys.modules["redistill"] = None  # installed beside the tests; importing it fails from here on
try:
    import redistill
except ImportError:
    pass
else:
    sys.exit("our package is importable here, so this process proves nothing")
pipeline = DiffusionPipeline.from_pretrained(sys.argv[1], trust_remote_code=True)
unet = pipeline.unet
x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
with torch.no_grad():
    output = unet(x, torch.tensor([7, 640])).sample
images = pipeline(batch_size=1, num_inference_steps=2, output_type="np").images
torch.save({"output": output, "shape": images.shape, "scheduler": dict(pipeline.scheduler.config)}, sys.argv[2])
unet.save_pretrained(sys.argv[3])
"""


@pytest.mark.process
def test_a_process_without_our_package_loads_the_folder(folder, tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", LOADER, str(folder), str(tmp_path / "result.pt"), str(tmp_path / "again")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = torch.load(tmp_path / "result.pt")
    assert same(result["output"], predict(load_unet(folder)))
    assert result["shape"] == (1, 16, 16, 3)
    assert result["scheduler"]["prediction_type"] == "v_prediction"
    assert same(predict(load_unet(tmp_path / "again")), result["output"])  # saved there, it still has its code
    assert {"unet.py", "red.py"} <= {path.name for path in (tmp_path / "again").iterdir()}


def test_the_folder_holds_what_its_readers_need(folder):
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert files == [
        "model_index.json", "scheduler/scheduler_config.json",
        "unet/config.json", f"unet/{WEIGHTS}", "unet/red.py", "unet/unet.py",
    ]  # fmt: skip
    index = json.loads((folder / "model_index.json").read_text())
    assert index["unet"] == ["unet", "UNet"] and index["_class_name"] == "DDPMPipeline"


def test_our_loader_restores_network_and_scheduler(folder):
    model = trained_a_little(tiny(STUDENT, red=True))
    unet = load_unet(folder)
    check_index(folder)
    assert type(unet) is UNet and load_scheduler(folder).config.num_train_timesteps == 100
    assert not unet.training and all(p.requires_grad and not p.is_meta for p in unet.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, unet.state_dict()[name]), name
    assert same(predict(unet), predict(model))


def test_our_loader_runs_no_code_of_the_folder(broken):
    for name in ("unet.py", "red.py"):
        (broken / "unet" / name).write_text("raise SystemExit('ran')\n")
    assert predict(load_unet(broken)).shape == (2, 3, 16, 16)


def test_plain_diffusers_folders_load_as_our_network(tmp_path):
    torch.manual_seed(0)
    theirs = UNet2DModel(**TINY, downsample_padding=0).eval()
    DDPMPipeline(unet=theirs, scheduler=DDIMScheduler()).save_pretrained(tmp_path / "theirs")
    unet = load_unet(tmp_path / "theirs")
    assert type(unet) is UNet and isinstance(load_scheduler(tmp_path / "theirs"), DDIMScheduler)
    assert same(predict(unet), predict(theirs))


def test_attention_names_of_old_diffusers_folders_load(broken):
    path = broken / "unet" / WEIGHTS
    new = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = load_file(path)
    old = {}
    for name, value in weights.items():
        for ours, theirs in new.items():
            name = name.replace(f".{ours}.", f".{theirs}.")
        old[name] = value.clone()
    expected = predict(load_unet(broken))
    assert old.keys() != weights.keys()
    save_file(old, path)
    assert same(predict(load_unet(broken)), expected)


def test_writing_refuses_foreign_models_and_schedulers(tmp_path):
    with pytest.raises(ValueError, match="UNet2DModel cannot be saved"):
        write_pipeline(UNet2DModel(**TINY), DDPMScheduler(), tmp_path)
    with pytest.raises(ValueError, match="PNDMScheduler is not supported; expected one of"):
        write_pipeline(tiny(), PNDMScheduler(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def _change_json(path: Path, **changes) -> None:
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in values.items() if value != "absent"}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"_class_name": "UNet3DConditionModel"}, "expected an unconditional U-Net"),
        ({"pooling_stride": [1, 2, 2, 2]}, "unknown setting 'pooling_stride'"),
        ({"pooling_strides": "absent"}, "has no 'pooling_strides'"),
        ({"pooling_strides": [1, 2, 2, 5]}, "Pooling stride 5"),
        ({"block_out_channels": "wide"}, "describes no usable UNet"),
        ({"block_out_channels": [8, 16, 16, 32]}, r"holds '.*' of shape \[.*\]; the config expects"),
        ({"layers_per_block": 2}, "lacks '.*': it does not belong to this config"),
        ({"red": None, "red_sites": None}, "does not belong to this config"),
        ({"red": {"gate": "yes"}}, "RED gate is 'yes'"),
    ],
)
def test_wrong_configs_are_refused(broken, changes, words):
    _change_json(broken / "unet" / "config.json", **changes)
    with pytest.raises(ValueError, match=words):
        load_unet(broken)


def test_broken_files_are_refused(broken):
    weights = broken / "unet" / WEIGHTS
    whole = weights.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:5], b"", b"\x00" * 100):
        weights.write_bytes(damaged)
        with pytest.raises(ValueError, match="truncated or is no safetensors file"):
            load_unet(broken)
    save_file({"fc.weight": torch.zeros(2, 2)}, weights)
    with pytest.raises(ValueError, match="does not belong to this config"):
        load_unet(broken)
    weights.unlink()
    with pytest.raises(ValueError, match="does not exist; save it again"):
        load_unet(broken)
    (broken / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"cos\nsystem\n")
    with pytest.raises(ValueError, match="is a pickle, which is never loaded"):
        load_unet(broken)


def test_broken_indices_and_schedulers_are_refused(broken, tmp_path):
    with pytest.raises(ValueError, match=r"No file .*nowhere.*; expected a folder with"):
        load_unet(tmp_path / "nowhere")
    _change_json(broken / "scheduler" / "scheduler_config.json", _class_name="KarrasVeScheduler")
    with pytest.raises(ValueError, match="'KarrasVeScheduler'; expected one of"):
        load_scheduler(broken)
    _change_json(broken / "scheduler" / "scheduler_config.json", _class_name="DDPMScheduler", beta_schedule="steep")
    with pytest.raises(ValueError, match="no usable DDPMScheduler"):
        load_scheduler(broken)
    _change_json(broken / "model_index.json", safety_checker=["stable_diffusion", "Checker"])
    with pytest.raises(ValueError, match="component 'safety_checker'"):
        check_index(broken)
    for text, words in (("{", "not readable JSON"), ("[1]", "holds a list"), ("\udcff", "not readable JSON")):
        (broken / "model_index.json").write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(ValueError, match=words):
            check_index(broken)
