"""Memory formats: what a layer makes of maps in channels last, or turned, lies and is copied as on the CPU."""

from __future__ import annotations

import pytest
import torch
import torchvision
from helpers.odd_networks import channels_last
from helpers.stems import Stem
from torch import Tensor, nn
from torch.nn import functional as F

from redistill.memory import ShapeRuleError, capture, measure_peak
from redistill.networks.strides import set_strides
from redistill.networks.zoo import build_network

LAYOUTS = {
    "as their shape says": lambda x: x * 1.0,
    "channels last": lambda x: channels_last(x) * 1.0,
    "channels permuted to the end": lambda x: (x.permute(0, 2, 3, 1) * 1.0).contiguous().permute(0, 3, 1, 2),
    "turned": lambda x: x.mT.contiguous().mT,
}
LAYERS = {
    "convolution": lambda: nn.Conv2d(8, 8, 3, padding=1),
    "pointwise convolution": lambda: nn.Conv2d(8, 16, 1),
    "depthwise convolution": lambda: nn.Conv2d(8, 8, 3, groups=8),
    "convolution to one channel": lambda: nn.Conv2d(8, 1, 3),
    "weights in channels last": lambda: channels_last_weights(nn.Conv2d(8, 8, 3, padding=1)),
    "pointwise weights in channels last": lambda: channels_last_weights(nn.Conv2d(8, 16, 1)),
    "transposed convolution": lambda: nn.ConvTranspose2d(8, 8, 2, 2),
    "transposed, weights in channels last": lambda: channels_last_weights(nn.ConvTranspose2d(8, 8, 2, 2)),
    "batch norm": lambda: nn.BatchNorm2d(8),
    "group norm": lambda: nn.GroupNorm(2, 8),
    "instance norm": lambda: nn.InstanceNorm2d(8),
    "max pool": lambda: nn.MaxPool2d(2),
    "average pool": lambda: nn.AvgPool2d(2),
    "adaptive pool": lambda: nn.AdaptiveAvgPool2d(4),
    "adaptive max pool": lambda: nn.AdaptiveMaxPool2d(4),
    "bilinear": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    "bicubic": lambda: nn.Upsample(scale_factor=2, mode="bicubic"),
    "zero pad": lambda: nn.ZeroPad2d(1),
    "reflection pad": lambda: nn.ReflectionPad2d(1),
    "replication pad": lambda: nn.ReplicationPad2d(1),
    "pixel shuffle": lambda: nn.PixelShuffle(2),
    "pixel unshuffle": lambda: nn.PixelUnshuffle(2),
    "channel shuffle": lambda: nn.ChannelShuffle(2),
    "softmax": lambda: nn.Softmax(1),
    "PReLU": lambda: nn.PReLU(8),
    "GLU": lambda: nn.GLU(1),
    "local response norm": lambda: nn.LocalResponseNorm(2),
    "roll": lambda: Function(lambda x: x.roll(1, 2)),
    "flip": lambda: Function(lambda x: x.flip(2)),
    "sum over channels, repeated": lambda: Function(lambda x: x.sum(1, keepdim=True).expand_as(x) * 1.0),
    "joined": lambda: Function(lambda x: torch.cat([x, x * 2], 1)),
    "stacked": lambda: Function(lambda x: torch.stack([x, x], 1).flatten(1, 2)),
    "sorted": lambda: Function(lambda x: x.sort(1)[0]),
    "sampled": lambda: Function(lambda x: F.grid_sample(x, torch.zeros(len(x), 16, 16, 2), align_corners=False)),
    "Fourier": lambda: Function(lambda x: torch.fft.rfft2(x).abs()),
    "singular vectors": lambda: Function(lambda x: torch.linalg.svd(x)[2]),
    "where": lambda: Function(lambda x: torch.where(x > 0, x, x * 0.1)),
}
LOSSES = (F.mse_loss, F.smooth_l1_loss, F.soft_margin_loss, F.binary_cross_entropy, F.l1_loss, F.huber_loss)


def channels_last_weights(module: nn.Module) -> nn.Module:
    return module.to(memory_format=torch.channels_last)


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *given):
        return self.function(*given)


class Attended(nn.Module):
    """Torch's attention, in one kernel, over the places of a map; and what shows how its answer lies."""

    def __init__(self, layout, is_encoder):
        super().__init__()
        attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.layout, self.attention = layout, attention
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) if is_encoder else None

    def forward(self, x):
        y = self.layout(x).flatten(2).transpose(1, 2)
        made = self.encoder(y) if self.encoder else self.attention(y, y, y, need_weights=False)[0]
        return kept(made.transpose(1, 2).reshape(x.shape))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("is_encoder", [False, True], ids=["attention", "encoder"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_attention_gives_lies_as_its_shape_says(layout, is_encoder, batch):
    network, x = Attended(LAYOUTS[layout], is_encoder), torch.rand(batch, 8, 16, 16)
    assert capture(network, x).profile(accounting="eager").peak_bytes == measure_peak(network, x)


def kept(y: Tensor) -> tuple[Tensor, ...]:
    """Maps, and what shows how they lie: whether it was copied."""
    lines, last = y.flatten(1), channels_last(y)
    return y, lines, lines * 1.0, last, last * 1.0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_a_layer_makes_is_copied_where_the_cpu_copies_it(layout):
    for name, make in LAYERS.items():
        layer = make()
        network = Function(lambda x, layer=layer: kept(layer(LAYOUTS[layout](x))))
        network.layer = layer.eval()
        x = torch.rand(2, 8, 16, 16)
        found = capture(network, (2, 8, 16, 16)).profile(accounting="eager").peak_bytes
        assert found == measure_peak(network, x), name


def test_where_new_tensors_are_made_changes_nothing():
    network = Function(lambda x: kept(F.pad(channels_last(x), (1, 1, 1, 1), mode="replicate")))
    with torch.device("meta"):
        tape = capture(network, (1, 8, 7, 7))
    assert tape.profile(accounting="eager").peak_bytes == measure_peak(network, torch.rand(1, 8, 7, 7))


@pytest.mark.parametrize("name", ["narrow_resnet", "mobilenet_v2", "densenet121", "convnext_tiny", "swin_t"])
@pytest.mark.parametrize("is_whole", [True, False], ids=["images too", "weights alone"])
def test_a_network_in_channels_last(name, is_whole):
    torch.manual_seed(0)
    names = ("convnext_tiny", "swin_t")
    model = getattr(torchvision.models, name)() if name in names else build_network(name, 5)
    model = channels_last_weights(model.eval())
    x = torch.rand(1, 3, 64, 64)
    tape = capture(model, channels_last(x) if is_whole else x)
    strides = {next(iter(tape.strides)): 2 * next(iter(tape.strides.values()))}
    for settings in ({}, {"batch": 2}, {"image_size": 96}, {"strides": strides}):
        other = torch.rand(settings.get("batch", 1), 3, *(settings.get("image_size", 64),) * 2)
        if "strides" in settings:
            set_strides(model, strides, 64)
        try:
            found = tape.profile(**settings, accounting="eager")
        except ShapeRuleError:
            found = tape.anew(**settings).profile(accounting="eager")
        assert found.peak_bytes == measure_peak(model, channels_last(other) if is_whole else other), settings


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)
def test_a_mean_lies_in_the_room_of_what_it_is_a_mean_of(loss):
    network = Function(lambda x: loss(torch.sigmoid(x), torch.sigmoid(x * 2)) * 2)
    found = capture(network, (2, 3, 16, 16)).profile(accounting="eager").peak_bytes
    assert found == measure_peak(network, torch.rand(2, 3, 16, 16))


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda x: x + x.new_empty_strided((1,), (7,)) + x.new_empty_strided((2, 1, 1, 1), (9, 1, 1, 1)), "gaps"),
        (lambda x: torch.native_batch_norm(x, *[torch.ones(3)] * 4, False, 0.1, 1e-5), "makes other tensors"),
    ],
)
def test_what_does_not_follow_from_shapes_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        capture(Function(call), (2, 3, 8, 8))


MERGED = {
    "rows of tokens": lambda y: y.permute(0, 2, 3, 1).reshape(-1, 8),
    "the same, flattened": lambda y: y.permute(0, 2, 3, 1).flatten(0, 2),
    "rows of a row": lambda y: y.flatten(2).mT.reshape(-1, y.shape[1]),
    "windows": lambda y: y.unflatten(2, (-1, 1)).unflatten(4, (-1, 1)).permute(0, 2, 4, 3, 5, 1).reshape(-1, 1, 8),
    "copies of an image": lambda y: y.unsqueeze(1).expand(-1, 3, -1, -1, -1).flatten(0, 1),
    "copies of a channel": lambda y: y.mean(1, keepdim=True).expand(-1, 4, -1, -1).flatten(0, 1),
    "images behind channels": lambda y: y.permute(1, 0, 2, 3).flatten(1),
    "half of the channels": lambda y: y[:, :4].flatten(0, 1),
    "heads of a row": lambda y: y.flatten(2).mT.unflatten(2, (2, 4)).transpose(1, 2).flatten(0, 1),
    "asked for channels last": lambda y: channels_last(y).sum(0, keepdim=True),
    "tokens as a map again": lambda y: F.avg_pool2d(y.flatten(2).mT.contiguous().mT.reshape(y.shape), 1).flatten(1),
    "one side after another": lambda y: y.permute(2, 3, 0, 1).flatten(1, 2).flatten(0, 1),
}
SETTINGS = [(batch, size) for batch in (1, 2, 3) for size in ((16, 16), (32, 32), (16, 2), (2, 16), (2, 2))]


@pytest.mark.parametrize("recorded", [(1, (16, 16)), (2, (16, 16)), (2, (2, 2)), (3, (2, 16))], ids=str)
@pytest.mark.parametrize("name", MERGED)
def test_dims_that_become_one_are_copied_as_on_the_cpu_at_any_batch_and_size(name, recorded):
    """Of one image they may lie one behind the other where those of two do not."""
    model = Stem(MERGED[name])
    tape = capture(model, (recorded[0], 3, *recorded[1]))
    told = 0
    for batch, size in SETTINGS:
        try:
            counted = tape.profile(batch=batch, image_size=size, accounting="eager").peak_bytes
        except ShapeRuleError:
            counted = tape.anew(batch=batch, image_size=size).profile(accounting="eager").peak_bytes
        else:
            told += (batch, size) != recorded
        assert counted == measure_peak(model, torch.zeros(batch, 3, *size)), (batch, size)
    assert told, "not all of them need a capture of their own"
