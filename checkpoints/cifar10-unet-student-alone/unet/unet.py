"""The diffusers U-Net with pooling strides and RED blocks as part of its config (ReDistill, section 4.3).

A saved network carries this file and `red.py`, side by side, as the code that rebuilds it; it therefore
imports torch, diffusers and `red`, nothing else of this project.
"""

from __future__ import annotations

import inspect
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.downsampling import Downsample2D
from diffusers.models.unets.unet_2d import UNet2DOutput
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from .red import REDConfig, insert_red, red_modules

STRIDES = (1, 2, 4, 8)

# The paper's network at 32 px: the architecture of google/ddpm-cifar10-32, 35.7 M parameters.
PAPER_UNET: dict[str, Any] = {
    "sample_size": 32,
    "block_out_channels": (128, 256, 256, 256),
    "layers_per_block": 2,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": None,
    "norm_eps": 1e-6,
}

# A network that a laptop CPU trains at the full resolution of 32 px.
SMALL_UNET: dict[str, Any] = {
    "sample_size": 32,
    "block_out_channels": (32, 64, 64, 96),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    "attention_head_dim": 32,
    "norm_num_groups": 8,
}


@dataclass(frozen=True)
class SamplingPoint:
    """A layer of the U-Net that changes resolution, or could: its stride may be 1."""

    name: str  # layer path without RED wrappers, e.g. "down_blocks.0.downsamplers.0"
    stride: int
    direction: str  # "down" in the encoder, "up" in the decoder
    sides: tuple[str, ...]  # which of its feature maps may align: "in", "out"
    in_channels: int
    out_channels: int
    modules: tuple[str, ...]  # paths of the modules that carry the stride, RED wrappers included


class StridedUpsample2D(Upsample2D):
    """diffusers' `Upsample2D` with a convolution, enlarging by `stride` where that one always doubles.

    Maps (batch, channels, h, w) to (batch, out_channels, h·stride, w·stride). Stride 1 leaves the convolution alone.
    """

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        super().__init__(channels, use_conv=True, out_channels=out_channels, interpolate=stride != 1)
        self.stride = stride

    def forward(self, hidden_states: Tensor, output_size: int | None = None, *args: Any, **kwargs: Any) -> Tensor:
        if output_size is None and self.stride != 1:
            output_size = tuple(side * self.stride for side in hidden_states.shape[-2:])
        return super().forward(hidden_states, output_size)


class UNet(UNet2DModel):
    """`UNet2DModel` whose pooling strides and RED blocks are settings of its config.

    `pooling_strides` = (head, level 0, level 1, ...): the stride of `conv_in`, then of each down-sampler; one number
    a level. The decoder mirrors them; a head stride s > 1 makes `conv_out` give out_channels·s² channels, which a
    pixel shuffle spreads over space. None means diffusers' own network: (1, 2, 2, ...), equal outputs, equal keys.

    `red` (a `REDConfig.to_dict()`) and `red_sites` ({layer path: ["in", "out"]}) come together or not at all.

    Raises ValueError for strides that are no stride or do not match the levels, for RED sites that are no side of
    a pooling layer, and for block types without a convolution that can be strided.
    """

    @register_to_config
    def __init__(
        self,
        sample_size: int | tuple[int, int] | None = None,
        in_channels: int = 3,
        out_channels: int = 3,
        center_input_sample: bool = False,
        time_embedding_type: str = "positional",
        time_embedding_dim: int | None = None,
        freq_shift: int = 0,
        flip_sin_to_cos: bool = True,
        down_block_types: tuple[str, ...] = ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        mid_block_type: str | None = "UNetMidBlock2D",
        up_block_types: tuple[str, ...] = ("AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        block_out_channels: tuple[int, ...] = (224, 448, 672, 896),
        layers_per_block: int = 2,
        mid_block_scale_factor: float = 1,
        downsample_padding: int = 1,
        downsample_type: str = "conv",
        upsample_type: str = "conv",
        dropout: float = 0.0,
        act_fn: str = "silu",
        attention_head_dim: int | None = 8,
        norm_num_groups: int = 32,
        attn_norm_num_groups: int | None = None,
        norm_eps: float = 1e-5,
        resnet_time_scale_shift: str = "default",
        add_attention: bool = True,
        class_embed_type: str | None = None,
        num_class_embeds: int | None = None,
        num_train_timesteps: int | None = None,
        pooling_strides: tuple[int, ...] | None = None,
        red: dict[str, Any] | None = None,
        red_sites: dict[str, list[str]] | None = None,
    ) -> None:
        # register_to_config has stored every argument above; the parent takes those that it knows.
        known = list(inspect.signature(UNet2DModel.__init__).parameters)[1:]
        super().__init__(**{name: self.config[name] for name in known})
        levels = len(block_out_channels)
        default = (1,) + (2,) * (levels - 1)
        self._check_samplers()
        for block in self.up_blocks[:-1]:
            plain = block.upsamplers[0]
            block.upsamplers[0] = StridedUpsample2D(plain.channels, plain.out_channels, stride=2)
            block.upsamplers[0].conv = plain.conv
        self.pixel_shuffle = nn.PixelShuffle(1)
        self.register_to_config(pooling_strides=default, red=None, red_sites=None)
        self.set_pooling_strides(default if pooling_strides is None else pooling_strides)
        if red is not None or red_sites is not None:
            self.add_red(red, red_sites)

    @property
    def reduction(self) -> int:
        """How many times smaller than the image the smallest feature map is, per side."""
        return math.prod(self.config.pooling_strides)

    def set_pooling_strides(self, strides: Sequence[int], image_size: int | Sequence[int] | None = None) -> UNet:
        """Change the pooling strides (head, level 0, ...) in place, decoder and tail included; returns self.

        Strides that do not divide `image_size` (pixels), where it is given, are refused like bad strides.
        All weights stay, but those of `conv_out` where the head's stride changes: there each of the s² sub-pixels
        gets the mean of the old sub-pixels' filters, so the new tail starts as a nearest-neighbour enlargement.
        """
        strides = _checked_strides(strides, levels=len(self.down_blocks))
        if red_modules(self):
            raise ValueError("This U-Net carries RED blocks for its present strides; set strides before RED blocks.")
        if image_size is not None:
            _check_divides(image_size, strides)
        self._stride_convolutions(strides)
        for block, stride in zip(reversed(self.up_blocks[:-1]), strides[1:], strict=True):
            block.upsamplers[0].stride = stride
            block.upsamplers[0].interpolate = stride != 1
        self._resize_tail(strides[0])
        self.register_to_config(pooling_strides=strides)
        return self

    def add_red(self, red: REDConfig | Mapping[str, Any] | None, sites: Mapping[str, Sequence[str]] | None) -> UNet:
        """Insert RED blocks in place at `sites` ({layer path: aligned sides}) and note them in the config."""
        if red is None or sites is None:
            raise ValueError(
                "RED settings and RED sites come together; expected both `red` and `red_sites`, or neither."
            )
        settings = red if isinstance(red, REDConfig) else REDConfig.from_dict(red)
        points = {point.name: point for point in self.pooling_modules()}
        channels: dict[str, dict[str, int]] = {}
        for name, sides in sites.items():
            if name not in points:
                raise ValueError(
                    f"RED site {name!r} is no pooling layer of this U-Net; expected one of {list(points)}."
                )
            point = points[name]
            if not sides or not set(sides) <= set(point.sides):
                raise ValueError(f"RED sides of {name!r} are {list(sides)}; expected some of {list(point.sides)}.")
            widths = {"in": point.in_channels, "out": point.out_channels}
            channels[name] = {side: widths[side] for side in point.sides if side in sides}
        insert_red(self, channels, settings)
        self.register_to_config(
            red=settings.to_dict(), red_sites={name: list(sides) for name, sides in channels.items()}
        )
        return self

    def pooling_modules(self) -> list[SamplingPoint]:
        """The head, the down-samplers, the up-samplers and the tail, in the order of the network.

        The head `conv_in` aligns its output only, the tail `conv_norm_out` its input only. Both are listed at
        stride 1 too. The tail's stride is the head's.
        """
        head, *strides = self.config.pooling_strides
        rows = [("conv_in", head, "down", ("out",))]
        rows += [(f"down_blocks.{i}.downsamplers.0", stride, "down", ("in", "out")) for i, stride in enumerate(strides)]
        rows += [
            (f"up_blocks.{i}.upsamplers.0", stride, "up", ("in", "out")) for i, stride in enumerate(reversed(strides))
        ]
        rows += [("conv_norm_out", head, "up", ("in",))]
        points = []
        for name, stride, direction, sides in rows:
            wrapped = self.get_submodule(name)
            path, layer = (f"{name}.layer", wrapped.layer) if hasattr(wrapped, "layer") else (name, wrapped)
            if name == "conv_in":
                widths = (layer.in_channels, layer.out_channels)
            elif name == "conv_norm_out":
                widths, path = (layer.num_channels, self.config.out_channels), "pixel_shuffle"
            else:
                widths, path = (layer.channels, layer.out_channels), path + (".conv" if direction == "down" else "")
            points.append(SamplingPoint(name, stride, direction, sides, *widths, modules=(path,)))
        return points

    def check_image_size(self, size: int | Sequence[int], strides: Sequence[int] | None = None) -> tuple[int, int]:
        """Return (height, width) in pixels; ValueError, naming sizes that fit, where the strides do not divide it.

        `strides` (head, level 0, ...) are checked in place of the network's own.
        """
        if strides is None:
            return _check_divides(size, self.config.pooling_strides)
        return _check_divides(size, _checked_strides(strides, levels=len(self.down_blocks)))

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float | int,
        class_labels: Tensor | None = None,
        return_dict: bool = True,
    ) -> UNet2DOutput | tuple[Tensor]:
        """Predict noise or velocity, (batch, out_channels, height, width), from a noisy image of that size."""
        self.check_image_size(sample.shape[-2:])
        output = super().forward(sample, timestep, class_labels, return_dict=False)[0]
        output = self.pixel_shuffle(output)
        return UNet2DOutput(sample=output) if return_dict else (output,)

    def save_pretrained(self, save_directory: str | Path, *args: Any, **kwargs: Any) -> None:
        """As in diffusers, and the code that rebuilds the network, `unet.py` and `red.py`, beside the weights."""
        super().save_pretrained(save_directory, *args, **kwargs)
        for name in ("unet.py", "red.py"):
            shutil.copyfile(Path(__file__).with_name(name), Path(save_directory) / name)

    def _check_samplers(self) -> None:
        samplers = [getattr(block, "downsamplers", None) for block in self.down_blocks[:-1]]
        samplers += [getattr(block, "upsamplers", None) for block in self.up_blocks[:-1]]
        for sampler in samplers:
            if not (sampler and isinstance(sampler[0], (Downsample2D, Upsample2D)) and sampler[0].use_conv):
                raise ValueError(
                    f"Block types {tuple(self.config.down_block_types)} and {tuple(self.config.up_block_types)} with "
                    f"downsample_type {self.config.downsample_type!r} and upsample_type {self.config.upsample_type!r} "
                    "have no convolution whose stride could change; expected DownBlock2D, AttnDownBlock2D, UpBlock2D "
                    "and AttnUpBlock2D with the sampling type 'conv'."
                )

    def _stride_convolutions(self, strides: tuple[int, ...]) -> None:
        self.conv_in.stride = (strides[0], strides[0])
        for block, stride in zip(self.down_blocks[:-1], strides[1:], strict=True):
            sampler = block.downsamplers[0]
            # diffusers pads right and bottom only where padding is 0, which would cost stride 1 a row and a column.
            padding = 1 if stride == 1 else self.config.downsample_padding
            sampler.padding, sampler.conv.padding = padding, (padding, padding)
            sampler.conv.stride = (stride, stride)

    def _resize_tail(self, stride: int) -> None:
        old, old_stride = self.conv_out, self.pixel_shuffle.upscale_factor
        if stride == old_stride:
            return
        channels = self.config.out_channels
        new = nn.Conv2d(old.in_channels, channels * stride**2, kernel_size=3, padding=1)
        new = new.to(device=old.weight.device, dtype=old.weight.dtype)
        built_stride, *values = built = self._built_tail()
        with torch.no_grad():
            for parameter, value in zip((new.weight, new.bias), values, strict=True):
                if stride != built_stride:
                    mean = value.reshape(channels, built_stride**2, *value.shape[1:]).mean(1)
                    value = mean.repeat_interleave(stride**2, dim=0)
                parameter.copy_(value)
        self.conv_out, self.pixel_shuffle = new, nn.PixelShuffle(stride)
        self._tail_before = built, [parameter.detach().clone() for parameter in (new.weight, new.bias)]

    def _built_tail(self) -> tuple[int, Tensor, Tensor]:
        """Stride, weight and bias of the tail before its stride was set; of the present one where it has learnt since.

        A tail that is made of the mean of its sub-pixels has lost what told them apart.
        """
        present = [self.conv_out.weight.detach(), self.conv_out.bias.detach()]
        built, made = getattr(self, "_tail_before", (None, []))
        pairs = list(zip(present, made, strict=False))
        is_as_made = all(x.shape == y.shape and (x.is_meta or torch.equal(x, y.to(x))) for x, y in pairs)
        return built if pairs and is_as_made else (self.pixel_shuffle.upscale_factor, *present)


def _checked_strides(strides: Sequence[int], levels: int) -> tuple[int, ...]:
    example = (1,) + (2,) * (levels - 1)
    wanted = f"expected {levels} strides (head, then each level but the last), e.g. {example}"
    if not isinstance(strides, (list, tuple)) or len(strides) != levels:
        raise ValueError(f"Pooling strides are {strides!r}; {wanted}.")
    for stride in strides:
        if not isinstance(stride, int) or isinstance(stride, bool) or stride not in STRIDES:
            raise ValueError(f"Pooling stride {stride!r} in {tuple(strides)} is not one of {list(STRIDES)}; {wanted}.")
    return tuple(strides)


def _check_divides(size: int | Sequence[int], strides: Sequence[int]) -> tuple[int, int]:
    sides = (size, size) if isinstance(size, int) else tuple(size)
    reduction = math.prod(strides)
    if len(sides) != 2 or any(side < 1 or side % reduction for side in sides):
        near = max(1, round(max(sides) / reduction)) * reduction
        raise ValueError(
            f"Image size {'x'.join(map(str, sides))} does not fit pooling strides {tuple(strides)}: they reduce each "
            f"side {reduction} times; expected sides that are multiples of {reduction}, such as {near} or "
            f"{near + reduction}."
        )
    return sides
