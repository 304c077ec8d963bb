"""Files of weights that training scripts leave, and what is said of those that do not fit."""

from __future__ import annotations

import argparse
import warnings

import pytest
import safetensors.torch
import torch
from torch import nn

from redistill.common.sentences import Note
from redistill.networks.weights import file_state, fit_weights, load_but_head, load_weights


def network(width: int = 4, classes: int = 3) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Flatten(), nn.Linear(width, classes))


STATE = network().state_dict()


def prefixed(prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + key: value for key, value in STATE.items()}


SAVED = {
    "bare": STATE,
    "DataParallel": prefixed("module."),
    "compiled": prefixed("_orig_mod."),
    "compiled in parallel": prefixed("module._orig_mod."),
    "parallel of a compiled one": prefixed("_orig_mod.module."),
    "averaged": {"n_averaged": torch.tensor(3), **prefixed("module.")},
    **{f"under {key}": {key: STATE, "epoch": 3, "optimizer": {"lr": 0.1}} for key in ("state_dict", "model", "ema")},
    "under model_state_dict, in parallel": {"model_state_dict": prefixed("module."), "args": [1, "x"]},
    "twice inside": {"ema": {"state_dict": prefixed("module."), "decay": 0.9}},
    "of Lightning": {"state_dict": prefixed("model."), "epoch": 3},
    "of Lightning, compiled": {"state_dict": prefixed("model._orig_mod.")},
    "of a wrapper's wrapper": {"state_dict": prefixed("wrapper.net.")},
    "half precision": {key: value.half() if value.is_floating_point() else value for key, value in STATE.items()},
}


@pytest.mark.parametrize("saved", SAVED.values(), ids=SAVED.keys())
def test_weights_are_read_however_a_script_left_them(saved, tmp_path):
    torch.save(saved, tmp_path / "weights.pth")
    model = network()
    fit = load_weights(model, file_state(tmp_path / "weights.pth"), "weights.pth")
    assert fit.is_whole
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, STATE[key], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_safetensors_are_read_alike(prefix, tmp_path):
    safetensors.torch.save_file(prefixed(prefix), tmp_path / "weights.safetensors")
    assert file_state(tmp_path / "weights.safetensors", only_safetensors=True).keys() == STATE.keys()


@pytest.mark.parametrize("other", ["model_ema", "state_dict_ema"])
def test_of_several_states_it_is_said_which_one_is_taken(other, tmp_path):
    torch.save({"model": STATE, other: {"state_dict": STATE}, "optimizer": {"lr": 0.1}}, tmp_path / "w.pth")
    with pytest.warns(Note, match=f"^w.pth holds several networks' weights: 'model' is taken, not '{other}'; save one"):
        file_state(tmp_path / "w.pth")


def test_a_program_of_torchscript_is_called_so(tmp_path):
    torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "w.pt"))
    warnings.simplefilter("error")
    with pytest.raises(
        ValueError, match=r"w.pt is a TorchScript program, .*; save model.state_dict\(\) of the network"
    ):
        file_state(tmp_path / "w.pt")


def test_what_all_names_begin_with_is_left_out_only_where_the_rest_is_the_networks():
    assert len(fit_weights(network(), {**prefixed("model."), "loss.weight": torch.ones(1)}).unknown) == len(STATE) + 1
    model = network(classes=5)
    load_but_head(model, prefixed("model."), "w.pth")
    assert torch.equal(model[0].weight, STATE["0.weight"])


def test_a_network_that_calls_its_layers_module_keeps_them(tmp_path):
    inner = nn.ModuleDict({"module": network()})
    torch.save(inner.state_dict(), tmp_path / "weights.pt")
    assert fit_weights(inner, file_state(tmp_path / "weights.pt")).is_whole


@pytest.mark.parametrize(
    "saved", [network(), {"args": argparse.Namespace(), **STATE}, [1], {}, {"model": {}}, {"a": 1}, {1: torch.ones(1)}]
)
def test_anything_else_is_refused_in_one_sentence(saved, tmp_path):
    torch.save(saved, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"^[^\n]*weights.pth holds [^\n]*$"):
        file_state(tmp_path / "weights.pth")


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors", "absent.pth", "absent.safetensors"])
def test_a_damaged_or_missing_file_is_named(name, tmp_path):
    if "absent" not in name:
        (tmp_path / name).write_bytes(b"half a file")
    with pytest.raises(ValueError, match=rf"^[^\n]*{name} holds no weights that can be read[^\n]*$"):
        file_state(tmp_path / name)
    with pytest.raises(ValueError, match=name):
        file_state(tmp_path / name, only_safetensors=True)


def test_names_that_do_not_fit_are_counted_and_five_of_each_listed():
    other = nn.Sequential(*(nn.Linear(2, 2) for _ in range(9)))
    with pytest.raises(
        ValueError, match=r"^w.pth does not hold the weights of this network: 0 of the network's 18 "
    ) as e:
        load_weights(other, {f"x{key}": value for key, value in STATE.items()}, "w.pth")
    text = str(e.value)
    assert "18 missing in it (0.weight, 0.bias, 1.weight, 1.bias, 2.weight and 13 more)" in text
    assert f"{len(STATE)} unknown to the network (x0.weight" in text and "name the network that they are of" in text
    with pytest.raises(ValueError, match="0 of the network's 18"):  # nothing at all is nothing, partial or not
        load_weights(other, {f"x{key}": value for key, value in STATE.items()}, "w.pth", partial=True)


def test_weights_that_fit_are_taken_where_that_is_asked_for():
    model = network(classes=5)
    before = model[3].weight.clone()
    with pytest.raises(ValueError, match=r"2 of another shape \(3.weight 5×4, 3×4 in the file"):
        load_weights(model, STATE, "w.pth")
    assert not torch.equal(model[0].weight, STATE["0.weight"])
    fit = load_weights(model, STATE, "w.pth", partial=True)
    assert torch.equal(model[0].weight, STATE["0.weight"]) and torch.equal(model[3].weight, before)
    assert len(fit.misshapen) == 2 and not fit.is_whole


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(value):
    state = {**STATE, "3.bias": torch.full((3,), value)}
    with pytest.raises(ValueError, match=r"not finite, in 3\.bias"):
        load_weights(network(), state, "w.pth")


def test_a_negative_variance_is_refused():
    state = {**STATE, "1.running_var": torch.full((4,), -1.0)}
    with pytest.raises(ValueError, match=r"^w.pth holds a negative variance in 1\.running_var"):
        load_weights(network(), state, "w.pth")
