"""RED blocks as onnxruntime holds them in fewer maps: the same function, written otherwise."""

from __future__ import annotations

import copy

from torch import Tensor, nn
from torch.nn import functional as F

from ..networks.red import REDBlock, red_modules


class AccumulatedRED(nn.Module):
    """A RED block whose gate is one number a channel, as a sum that a depthwise 1×1 convolution does.

    onnxruntime adds in place only where a convolution does it, into the map that is there already: of a block so
    written two maps are alive at a time. A gate per pixel has no such form: onnxruntime's product writes a new map, and
    it runs the residual encoder before it, in whichever order they stand. Takes and gives what the block does.
    """

    def __init__(self, block: REDBlock) -> None:
        super().__init__()
        self.residual_encoder, self.ends_linear = block.residual_encoder, block.ends_linear
        self.scale = nn.Parameter(block.channel_scale().reshape(-1, 1, 1, 1), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, channels, height, width)."""
        residual = self.residual_encoder(x)
        residual = residual if self.ends_linear else F.relu6(residual)
        return residual + F.conv2d(x, self.scale, groups=len(self.scale))


def accumulated(model: nn.Module) -> nn.Module:
    """A copy of `model`, in evaluation mode, whose RED blocks are so written where they can be; else `model` itself.

    Blocks without a residual encoder, which add nothing, and those of tokens stay as they are, and so do those without
    gate whose encoder ends linear: its last convolution does the sum.
    """
    names = [
        name
        for name, block in red_modules(model).items()
        if block.residual_encoder is not None
        and block.tokens is None
        and block.channel_scale() is not None
        and not (block.ends_linear and block.gate is None and block.scale is None)
    ]
    if not names:
        return model
    model = copy.deepcopy(model).eval()
    for name in names:
        model.set_submodule(name, AccumulatedRED(model.get_submodule(name)))
    return model
