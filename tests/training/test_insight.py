"""What is told of one picture is what the networks compute: maps, RED blocks, where they look, and every stride."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from redistill.checkpoint import folder as checkpoint
from redistill.data.augmentation import normalize
from redistill.networks.red import REDConfig, red_modules
from redistill.networks.student import StudentConfig, build_student
from redistill.training.insight import compare_maps, look_at, through_strides
from redistill.training.losses import red_loss
from redistill.training.shared_weights import network_at, open_shared

STRIDES = {"conv1": 4, "maxpool": 1, "layer2.0": 2, "layer3.0": 2, "layer4.0": 1}


def picture(size: int = 64) -> torch.Tensor:
    return torch.randint(0, 256, (3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("red", "alignment"),
    [
        (REDConfig(), "asynchronous"),
        (REDConfig(), "stage-wise"),
        (REDConfig(gate=False), "asynchronous"),
        (REDConfig(residual_encoder=False), "asynchronous"),
        (REDConfig(gate_per="channel"), "asynchronous"),
        (REDConfig(residual_squeeze=4), "asynchronous"),
        (None, "asynchronous"),
    ],
)
def test_maps_and_blocks_are_those_of_the_forward(red, alignment):
    config = StudentConfig("narrow_resnet", 64, 10, strides=STRIDES, red=red, alignment=alignment)
    student = build_student(config).train()
    teacher = build_student(StudentConfig("narrow_resnet", 64, 10, red=None)).eval()
    pairs, blocks = compare_maps(config, student, teacher, picture())
    assert student.training and not teacher.training and pairs[0].student_layer == "conv1"
    assert [block.path for block in blocks] == list(red_modules(student))
    if alignment == "asynchronous":
        assert all(pair.student.shape == pair.teacher.shape for pair in pairs)
        pair = pairs[0]
        apart = red_loss(pair.student[None, None], pair.teacher[None, None], "cosine")
        assert pair.distance == pytest.approx(float(apart), abs=1e-5)
    for block in blocks:
        assert (block.gate is None) == (not red.gate) and (block.residual is None) == (not red.residual_encoder)
        if block.gate is not None and block.residual is not None:
            module, given = red_modules(student)[block.path], {}
            handle = module.register_forward_hook(lambda m, args, out, given=given: given.update(x=args[0], y=out))
            with torch.no_grad():
                student.eval()(normalize(picture()[None]))
            handle.remove()
            gate = torch.sigmoid(module.gate(given["x"])) if module.gate is not None else module.scale
            rest = given["y"] - gate * given["x"]
            assert torch.allclose(rest.mean(1)[0], block.residual, atol=1e-4)


class RedParts(nn.Module):
    """Says how much red there is: its last maps are the colours, and the answer rests on the first."""

    def __init__(self, as_tokens: bool = False) -> None:
        super().__init__()
        self.maps = nn.Conv2d(3, 3, 1, bias=False)
        self.maps.weight.data.copy_(torch.eye(3)[:, :, None, None])
        self.maps.requires_grad_(False)
        self.as_tokens = as_tokens
        if as_tokens:
            self.maps.register_forward_hook(lambda module, args, output: output.permute(0, 2, 3, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.maps(x)
        maps = maps.permute(0, 3, 1, 2) if self.as_tokens else maps
        return torch.stack([maps[:, 0].mean((1, 2)), maps[:, 0].mean((1, 2)) - 1], 1)


def test_a_network_looks_where_its_answer_comes_from():
    image = torch.zeros(3, 16, 16, dtype=torch.uint8)
    image[0, 4:8, 10:14] = 255
    image[1, 0:3, 0:3] = 255  # of no matter
    sight = look_at(RedParts(), image)
    assert sight.answer == 0 and sight.place.shape == (16, 16)
    expected = torch.zeros(16, 16)
    expected[4:8, 10:14] = 1
    assert torch.allclose(sight.place, expected)


def test_where_tokens_look_is_refused():
    with pytest.raises(ValueError, match=r"\(1, 16, 16, 3\).*transformer"):
        look_at(RedParts(as_tokens=True), picture(16))


def test_every_stride_answers_as_the_network_there():
    shared = open_shared("emoji-clutter-any")
    steps = list(through_strides(shared, picture()))
    peaks = [step.candidate.peak_bytes for step in steps]
    shares = [step.known.accuracy for step in steps]
    assert peaks == sorted(set(peaks)) and shares == sorted(set(shares)) and len(steps) > 3
    assert peaks[-1] == shared.space.largest.peak_bytes
    for step in (steps[0], steps[-1]):
        with torch.no_grad():
            logits = network_at(shared, step.candidate.strides)(normalize(picture()[None]))
        assert torch.allclose(step.sight.probabilities, logits[0].softmax(0), atol=1e-5)


def test_what_is_shown_of_a_network_leaves_it_as_it_was():
    model = checkpoint.load("emoji-clutter-teacher").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    look_at(model, picture())
    assert model.training and all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
