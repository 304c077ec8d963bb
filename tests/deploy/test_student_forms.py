"""All forms of RED blocks and all stems, exported: the network's answers in the memory that is counted."""

from dataclasses import replace
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.made import SMALL, random_split, seasoned

from redistill.deploy import c_export
from redistill.deploy.c_arena import placed
from redistill.deploy.c_compiler import find_compiler, weighed
from redistill.deploy.c_source import source_of
from redistill.deploy.executorch_export import run_pte
from redistill.deploy.executorch_file import to_executorch
from redistill.deploy.int8_steps import read_steps
from redistill.deploy.onnx_export import run_proto
from redistill.deploy.onnx_file import Exported, to_onnx
from redistill.deploy.onnx_int8 import calibrated, with_int8_weights
from redistill.memory import capture
from redistill.networks.red import REDConfig

APART = 0.005  # of onnxruntime's heap, at most
# Each value of each field, and each kind of stem, in one of them.
FORMS = {
    "squeezed by 4, no gate, wide": {"red": REDConfig(residual_squeeze=4, gate=False), "stem": "wide"},
    "depthwise, gate per channel, blur": {
        "red": REDConfig(residual_depthwise=True, gate_per="channel"),
        "stem": "blur",
    },
    "squeezed by 2, depthwise, patches": {
        "red": REDConfig(residual_squeeze=2, residual_depthwise=True),
        "stem": "patches",
    },
    "squeezed by 8, gate per channel, space to depth": {
        "red": REDConfig(residual_squeeze=8, gate_per="channel"),
        "stem": "space-to-depth",
    },
}


@pytest.fixture(scope="module", params=FORMS.values(), ids=FORMS)
def student(request):
    """A small student of a form whose batch norms have seen something, its tape, its .onnx, and pictures for it."""
    model = seasoned(replace(SMALL, **request.param))
    proto = to_onnx(Exported(model).eval(), (torch.zeros(1, 3, 32, 32),), "logits")
    images = random_split(40).images
    taken = images.float() / 127.5 - 1
    with torch.no_grad():
        answers = model(taken).numpy()
    tape = capture(model, (1, 3, 32, 32))
    return SimpleNamespace(model=model, tape=tape, proto=proto, images=images.numpy(), taken=taken, answers=answers)


@pytest.mark.process
def test_onnxruntime_gives_its_answers_in_the_heap_that_is_counted(student):
    found = run_proto(student.proto, student.taken.numpy(), "small")
    np.testing.assert_allclose(found.outputs, student.answers, rtol=1e-3, atol=1e-4)
    counted = student.tape.profile(accounting="onnxruntime").peak_bytes
    assert found.heap_bytes is None or counted == pytest.approx(found.heap_bytes, rel=APART)
    rounded = run_proto(with_int8_weights(student.proto), student.taken.numpy(), "small")
    assert 0 < np.abs(rounded.outputs - student.answers).max() < 0.5 * student.answers.std()


@pytest.mark.skipif(find_spec("executorch") is None, reason="executorch is not installed")
@pytest.mark.process
def test_executorch_gives_its_answers_in_the_arena_that_is_counted(student):
    program = to_executorch(Exported(student.model).eval(), (student.taken[:1],))
    assert program.arena_bytes == student.tape.arena().bytes
    found = run_pte(program.content, student.taken[:4].numpy())
    np.testing.assert_allclose(found.outputs, student.answers[:4], rtol=1e-3, atol=1e-4)


@pytest.mark.skipif(find_compiler() is None, reason="no C compiler is here")
@pytest.mark.process
def test_a_program_in_c_gives_onnxruntimes_numbers_in_int8_in_the_ram_that_is_counted(student):
    quantized = calibrated(student.proto, student.taken[:16].numpy())
    network = read_steps(quantized, np.arange(256, dtype=np.float32) / np.float32(127.5) - 1)
    places = placed(network)
    source = source_of(network, places, "small", [], [])
    assert places.bytes == weighed(source).ram_bytes == student.tape.profile(dtype="int8").plan().bytes
    run = c_export._Run(network, source)
    answers = run(student.images).outputs
    steps, same = c_export._beside(quantized, network.output, run)
    assert steps.max() <= 1 and same >= len(steps) - 1
    assert np.abs(answers - student.answers).mean() < 0.5 * student.answers.std()
