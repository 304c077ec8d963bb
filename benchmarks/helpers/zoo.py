"""The networks that `benchmarks.zoo` asks about, and how each is built and called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from redistill.common.modules import weightless
from redistill.networks.torchvision_zoo import torchvision_names
from redistill.networks.zoo import build_network, find_network, usual_size

Inputs = tuple[tuple[Any, ...], dict[str, Any]]
# Pixels a side that are tried, the first at which a network is built and runs; some are built for their own size alone.
SIZES = (64, 128, 224, 256, 384)

# The smallest member, by parameters, of 120 families of timm 1.0.31 (a family: the members of one of its files whose
# names start with the same letters; a test holds that all are there).
TIMM = (
    "bat_resnext26ts", "botnet26t_256", "cait_xxs24_224", "coat_tiny", "coatnet_pico_rw_224", "coatnext_nano_rw_224",
    "convit_tiny", "convmixer_768_32", "convnext_atto_rms", "convnextv2_atto", "cpubone_nano", "crossvit_tiny_240",
    "cs3darknet_focus_s", "csatv2", "cspnext_tiny", "cspresnet50", "cspresnext50", "darknet17",
    "deit_tiny_patch16_224", "densenetblur121d", "dla46x_c", "dpn48b", "eca_botnext26ts_256", "eca_resnext26ts",
    "ecaresnet26t", "ecaresnext26t_32x4d", "edgenext_xx_small", "efficientformer_l1", "efficientformerv2_s0",
    "efficientnet_lite0", "efficientnetv2_rw_t", "efficientvim_m1", "efficientvit_b0", "efficientvit_m0",
    "ese_vovnet19b_slim_dw", "eva02_tiny_patch14_224", "fasternet_t0", "fastvit_t8", "fbnetc_100", "fbnetv3_b",
    "gc_efficientnetv2_rw_t", "gcresnet33ts", "gcresnext26ts", "gcvit_xxtiny", "gernet_s", "ghostnet_050",
    "ghostnetv3_050", "gmixer_12_224", "gmlp_ti16_224", "halonet26t", "haloregnetz_b", "hardcorenas_b", "hgnet_tiny",
    "hgnetv2_b0", "hrnet_w18_small", "iformer_t", "inception_next_atto", "lambda_resnet26t", "lcnet_035",
    "lcnetv2_small", "legacy_seresnet18", "levit_128s", "lowformer_b0", "mambaout_femto", "maxvit_pico_rw_256",
    "maxxvit_rmlp_nano_rw_256", "mixer_s16_224", "mixnet_s", "mnasnet_small", "mobilenet_edgetpu_v2_xs",
    "mobilenetv2_035", "mobilenetv3_small_050", "mobileone_s1", "mobilevit_xxs", "mobilevitv2_050", "nest_tiny",
    "nf_regnet_b0", "pit_ti_224", "poolformer_s12", "poolformerv2_s12", "pvt_v2_b0", "regnetv_040", "regnetx_002",
    "regnety_002", "regnetz_005", "regnetz_b16", "repghostnet_050", "repvgg_a0", "repvit_m0_9", "resmlp_12_224",
    "resnest26d", "resnet18", "resnet32ts", "resnetblur18", "resnetv2_18", "resnext26ts", "rexnet_100", "rexnetr_100",
    "sebotnet33ts_256", "sedarknet21", "sehalonet33ts", "semnasnet_050", "seresnet18", "seresnet33ts",
    "seresnext26t_32x4d", "seresnext26ts", "shvit_s1", "skresnet18", "spnasnet_100", "starnet_s050", "swiftformer_xs",
    "tf_mixnet_s", "tf_mobilenetv3_small_075", "tiny_vit_5m_224", "tinynet_e", "visformer_tiny",
    "vit_small_patch8_224", "vit_tiny_patch16_dinov3_qkvb", "vit_tiny_r_s16_p8_224", "xcit_nano_12_p8_224",
)  # fmt: skip


@dataclass(frozen=True)
class Built:
    """A network without weights, the size at which it runs, and its inputs by batch and size."""

    model: nn.Module
    size: int
    inputs: Callable[[int, int], Inputs]


def built(name: str) -> Built:
    """A network of `NETWORKS`, built for the smallest of `SIZES` at which it runs."""
    if name in DIFFUSERS:
        return DIFFUSERS[name]()
    network, last = find_network(name), None
    classes = 10 if network.num_classes == 0 else None  # of those that only give features
    for size in dict.fromkeys((*SIZES, usual_size(network))):
        try:
            model = build_network(network, classes, image_size=size).eval()
            with torch.no_grad(), weightless():
                model.to("meta")(torch.empty(1, 3, size, size))
        except Exception as error:  # too small for its strides, or built for another size, in whichever way it says so
            last = error
        else:
            return Built(model, size, _images)
    raise ValueError(f"{name} runs at none of {SIZES} pixels a side: {last}")


def _images(batch: int, size: int) -> Inputs:
    return (torch.zeros(batch, 3, size, size),), {}


def _conditioned() -> Built:
    from diffusers import UNet2DConditionModel

    with weightless():
        model = UNet2DConditionModel(
            sample_size=32, block_out_channels=(32, 64, 64, 64), cross_attention_dim=32, attention_head_dim=8,
            norm_num_groups=8,
        )  # fmt: skip

    def inputs(batch: int, size: int) -> Inputs:
        return (), {
            "sample": torch.zeros(batch, 4, size, size),
            "timestep": 10,
            "encoder_hidden_states": torch.zeros(batch, 7, 32),
        }

    return Built(model, 32, inputs)


def _autoencoder() -> Built:
    from diffusers import AutoencoderKL

    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 3, "up_block_types": ("UpDecoderBlock2D",) * 3}
    with weightless():
        model = AutoencoderKL(**blocks, block_out_channels=(16, 32, 32), norm_num_groups=8, latent_channels=4)
    return Built(model, 64, _images)


def _transformer() -> Built:
    from diffusers import DiTTransformer2DModel

    with weightless():
        model = DiTTransformer2DModel(
            num_attention_heads=4, attention_head_dim=16, in_channels=4, out_channels=8, num_layers=3, sample_size=16,
            num_embeds_ada_norm=10, norm_num_groups=4,
        )  # fmt: skip

    def inputs(batch: int, size: int) -> Inputs:
        steps: Tensor = torch.zeros(batch, dtype=torch.long)
        return (torch.zeros(batch, 4, size, size),), {"timestep": steps, "class_labels": steps}

    return Built(model, 16, inputs)


def _unet() -> Built:
    from diffusers import UNet2DModel

    from redistill.networks.unet import SMALL_UNET

    with weightless():
        model = UNet2DModel(**SMALL_UNET)
    return Built(model, 32, lambda batch, size: ((torch.zeros(batch, 3, size, size), 10), {}))


DIFFUSERS: dict[str, Callable[[], Built]] = {
    "diffusers:UNet2DModel": _unet,
    "diffusers:UNet2DConditionModel": _conditioned,
    "diffusers:AutoencoderKL": _autoencoder,
    "diffusers:DiTTransformer2DModel": _transformer,
}
NETWORKS = (
    *DIFFUSERS,
    *(f"timm:{name}" for name in TIMM),
    *(f"torchvision:{name}" for name in torchvision_names()),
)
QUICK = (
    *DIFFUSERS,
    "torchvision:squeezenet1_1",
    "torchvision:shufflenet_v2_x0_5",
    "torchvision:lraspp_mobilenet_v3_large",
    "torchvision:swin_t",
    "timm:mobilenetv4_conv_small",
    "timm:levit_128s",
    "timm:tf_efficientnet_lite0",
    "timm:ghostnet_050",
)
