"""Batch-norm statistics of a network at the strides that it has: measured anew on training pictures.

Weights that serve many stride vectors meet other maps with each of them, so one set of running statistics fits none;
for one vector they are measured, which needs no gradient (Yu and Huang, "Universally slimmable networks and improved
training techniques", 2019, section 3.3).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..common.devices import no_tf32
from ..common.modules import BATCH_NORM, eval_mode
from ..data.augmentation import normalize
from ..data.source import Split

PICTURES = 2048  # training pictures that statistics are measured on
BATCH = 256
STATISTICS = ("running_mean", "running_var")


@torch.no_grad()
def recalibrate(model: nn.Module, train: Split) -> nn.Module:
    """Measure all batch-norm statistics of `model` on the first `PICTURES` of `train`, in place; returns the model.

    They are means over whole batches of `BATCH` (of what there is, where that is less), each of which counts alike.
    Pictures come as they are, without augmentation, so that equal weights give equal statistics. A network without
    batch norms stays as it is.
    """
    norms = [module for module in model.modules() if isinstance(module, BATCH_NORM) and module.track_running_stats]
    if not norms:
        return model
    device = next(model.parameters()).device
    momenta = [norm.momentum for norm in norms]
    try:
        with eval_mode(model), no_tf32():
            for norm in norms:
                norm.reset_running_stats()
                norm.train()
                norm.momentum = None  # the mean of all batches instead of a moving one
            whole = min(PICTURES, len(train)) // BATCH * BATCH or len(train)
            for images in train.images[:whole].split(BATCH):
                model(normalize(images.to(device)))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    return model


def statistics_of(model: nn.Module) -> dict[str, Tensor]:
    """Its batch-norm statistics by their names in the `state_dict`, fp32 vectors on the CPU."""
    return {
        name: value.detach().cpu().clone()
        for name, value in model.state_dict().items()
        if name.rpartition(".")[2] in STATISTICS
    }


def set_statistics(model: nn.Module, statistics: Mapping[str, Tensor]) -> nn.Module:
    """Put statistics of `statistics_of` into a model of the same network, in place; returns the model.

    Raises ValueError for those of another network.
    """
    own = statistics_of(model)
    shapes = [{name: value.shape for name, value in values.items()} for values in (own, statistics)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"Statistics of {len(statistics)} vectors are those of another network than this one.")
    model.load_state_dict(dict(statistics), strict=False)
    return model
