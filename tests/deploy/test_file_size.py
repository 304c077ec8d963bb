"""The computed size of an export comes as near to the file as is said, before anything is written."""

import numpy as np
import pytest
import torch

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import read_metadata
from redistill.deploy.onnx_file import TIMESTEP, Exported, to_onnx
from redistill.deploy.onnx_int8 import calibrated
from redistill.memory import capture_images
from redistill.memory.comparison import compare
from redistill.memory.file_size import CLOSENESS, SMALLEST
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig, build_student
from redistill.networks.zoo import build_network


def near(computed: int, real: int) -> bool:
    return abs(computed - real) <= max(CLOSENESS * real, SMALLEST)


@pytest.fixture(scope="module")
def student():
    """A trained student with RED blocks, an image of it, and what is computed of it without a tape of its own."""
    name = "emoji-clutter-student"
    found = compare(read_metadata(name).student).student
    return checkpoint.load(name), (torch.zeros(1, 3, 64, 64),), found


@pytest.mark.process
def test_of_a_student_in_fp32_and_int8(student):
    model, image, found = student
    proto = to_onnx(Exported(model), image, "logits")
    assert near(found.file_bytes_at(4), proto.ByteSize())
    assert near(capture_images(model, 64).profile().file_bytes, proto.ByteSize()), (
        "of a network that carries its blocks"
    )
    assert b"stack_trace" not in proto.SerializeToString() and b".venv" not in proto.SerializeToString()
    quantized = calibrated(proto, np.zeros((2, 3, 64, 64), np.float32))
    assert near(found.file_bytes_at(1), quantized.ByteSize())
    assert not near(found.file_bytes_at(4), quantized.ByteSize())


@pytest.mark.process
def test_of_a_pte(student):
    pytest.importorskip("executorch.exir")
    from redistill.deploy.executorch_file import to_executorch

    model, image, _ = student
    found = compare(read_metadata("emoji-clutter-student").student, "executorch").student
    assert found.file_kind == "executorch"
    assert near(found.file_bytes, len(to_executorch(Exported(model), image).content))


@pytest.mark.process
def test_of_a_diffusion_network():
    model = build_network("unet_small").eval()
    proto = to_onnx(Exported(model), (torch.zeros(1, 3, 32, 32), torch.tensor([TIMESTEP])), "output")
    assert near(compare(StudentConfig("unet_small", 32, red=None)).teacher.file_bytes, proto.ByteSize())


def test_batch_norms_are_folded_and_red_blocks_counted():
    config = StudentConfig("resnet18", 64, strides={"conv1": 4, "maxpool": 1, "layer4.0": 1}, red=REDConfig())
    told = compare(config)
    norms = 4800  # channels of ResNet-18's batch norms, each of which lets the convolution before it take its bias
    folded = told.teacher.weight_bytes - 12 * norms - 8 * 20
    assert 0 < told.teacher.file_bytes - folded < 12_000
    on_tape, built = told.student, capture_images(build_student(config), 64).profile()
    for itemsize in (4, 2, 1):
        assert near(on_tape.file_bytes_at(itemsize), built.file_bytes_at(itemsize))
    assert built.file_bytes_at(1) < 0.3 * built.file_bytes_at(4)
