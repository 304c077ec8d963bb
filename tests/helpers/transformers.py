"""Small vision transformers, and convolutional networks in their manner: builders, points and own strides."""

import timm
import torchvision
from torchvision.models.swin_transformer import SwinTransformer


def swin(classes=10):
    return SwinTransformer([2, 2], 16, [1, 1, 2, 1], [1, 2, 4, 8], window_size=[4, 4], num_classes=classes)


def timm_swin():
    sizes = {"embed_dim": 16, "depths": (1, 2, 1), "num_heads": (1, 2, 4), "window_size": 4, "patch_size": 2}
    return timm.create_model("swin_tiny_patch4_window7_224", img_size=64, num_classes=5, **sizes)


def pvt():
    sizes = {"depths": (1, 1, 1, 1), "embed_dims": (8, 16, 24, 32), "num_heads": (1, 1, 2, 2)}
    return timm.create_model("pvt_v2_b0", num_classes=5, **sizes)


def convnext():
    return timm.create_model("convnext_atto", depths=(1, 1, 1, 1), dims=(8, 16, 24, 32), num_classes=5)


def vit():
    return timm.create_model(
        "vit_tiny_patch16_224", img_size=64, patch_size=8, embed_dim=24, depth=2, num_heads=2, num_classes=5
    )


def torchvision_vit():
    return torchvision.models.VisionTransformer(64, 8, 2, 2, 24, 48, num_classes=5)


NETWORKS = {
    "swin": (swin, ("features.0.0", "features.2", "features.4", "features.6"), (2, 2, 2, 2)),
    "timm swin": (timm_swin, ("patch_embed.proj", "layers.1.downsample", "layers.2.downsample"), (2, 2, 2)),
    "pvt": (pvt, ("patch_embed.proj", *(f"stages.{i}.downsample.proj" for i in (1, 2, 3))), (4, 2, 2, 2)),
    "convnext": (convnext, ("stem.0", *(f"stages.{i}.downsample.1" for i in (1, 2, 3))), (4, 2, 2, 2)),
    "vit": (vit, ("patch_embed.proj",), (8,)),
    "torchvision vit": (torchvision_vit, ("conv_proj",), (8,)),
}
