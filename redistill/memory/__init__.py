"""What a network needs of activation memory, to the byte: recorded once, re-evaluated live."""

from .executorch import Planned
from .measure import measure_peak
from .profile import LayerMemory, LiveTensor, MemoryProfile, OpMemory, Peak
from .setting import ACCOUNTINGS
from .shape_rules import ShapeRuleError
from .tape import Tape, capture, capture_images

__all__ = [
    "ACCOUNTINGS",
    "LayerMemory",
    "LiveTensor",
    "MemoryProfile",
    "OpMemory",
    "Peak",
    "Planned",
    "ShapeRuleError",
    "Tape",
    "capture",
    "capture_images",
    "measure_peak",
]
