"""What the values of endpoints may be: types with their ranges, which JSON knows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from redistill.diffusion.sampling import SCHEDULERS
from redistill.memory.chips import CHIPS
from redistill.memory.search import REDUCTIONS
from redistill.networks.alignment import RULES
from redistill.networks.stem_kinds import STEMS
from redistill.networks.zoo import MAX_CHANNELS

from ..explore.link import DTYPES, MAX_BATCH, MAX_BUDGET, MAX_SIDE, MIN_SIDE
from ..parts.counting import COUNTINGS
from ..parts.networks import MAX_NAME

NONE: dict = {}  # settings or strides that differ; nobody writes into it
MOST = 1000  # entries of a list or a mapping, and rows of an answer


def whole(low: int, high: int, told: str) -> type[int]:
    """Whole numbers in a range."""
    return Annotated[int, Field(ge=low, le=high, description=told)]


def text(most: int, told: str) -> type[str]:
    """Texts of at most so many characters."""
    return Annotated[str, Field(max_length=most, description=told)]


Name = text(300, "a name that another endpoint gave")
Network = text(MAX_NAME, "such as resnet18, timm:mobilenetv4_conv_small, torchvision:swin_t; see `networks`")
Side = whole(MIN_SIDE, MAX_SIDE, "pixels")
ImageSize = Side | Annotated[list[Side], Field(min_length=2, max_length=2, description="height and width")] | None
Stride = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Strides = Annotated[
    dict[Annotated[str, Field(max_length=300)], Stride | Annotated[list[Stride], Field(min_length=2, max_length=2)]],
    Field(max_length=MOST, description='by pooling point, such as {"conv1": 8, "maxpool": 1}; others stay'),
]
Channels = whole(1, MAX_CHANNELS, "of an image")
Batch = whole(1, MAX_BATCH, "images at a time")
Budget = Annotated[int, Field(ge=1, le=MAX_BUDGET, description="bytes")] | None
Chip = Annotated[Literal[tuple(CHIPS)], Field(description="that has to hold activations and weights")] | None
Red = Annotated[bool, Field(description="RED blocks at the aligned layers")]
Alignment = Annotated[Literal[RULES], Field(description="which layers are aligned: of the same map size, or place")]
Accounting = Annotated[
    Literal[tuple(COUNTINGS)],
    Field(description="what holds the maps: a deployment runtime (fused), PyTorch (eager), or the runtime named"),
]
Dtype = Annotated[Literal[DTYPES], Field(description="of every number")]
Stem = Annotated[
    Literal[STEMS], Field(description="what the student's first convolution sees at a larger stride than its own")
]
Reduction = Annotated[Literal[REDUCTIONS], Field(description="total reduction: the network's own, or any")]
Scheduler = Literal[tuple(SCHEDULERS)]
