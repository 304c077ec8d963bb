"""What a recording cannot hold, each reason in one sentence with what to do; `place` is the subject: a layer."""

from __future__ import annotations


class RecordingError(ValueError):
    """A network of which no recording can be made, in one sentence."""


def under_autocast(place: str) -> RecordingError:
    """Dtypes that autocast chooses."""
    return RecordingError(
        f"{place} runs under autocast, which chooses another dtype for each operator and is not counted; capture the "
        "network without it, and ask for the figures of dtype 'bf16' or 'fp16'."
    )


def with_gradients(place: str) -> RecordingError:
    """Tensors that are kept for a backward pass."""
    return RecordingError(
        f"{place} turns gradients on, so that tensors are kept for a backward pass, which is not counted; capture the "
        "network frozen, with requires_grad_(False), or without that."
    )


def moved_away(place: str, kind: str, here: str) -> RecordingError:
    """A tensor on a second device."""
    return RecordingError(
        f"{place} moves a tensor to {kind!r}, away from {here!r}: memory is counted on one device; capture the part of "
        "the network that runs there."
    )


def without_memory(place: str) -> RecordingError:
    """Tensors that have no storage."""
    return RecordingError(
        f"{place} runs on tensors that have no memory of their own, as those inside torch.vmap; capture the network "
        "without that."
    )


def unwatched(place: str) -> RecordingError:
    """Operators outside any call from Python."""
    return RecordingError(
        f"{place} runs operators where nobody can watch what they free, as TorchScript and Tensor.set_ do; capture the "
        "network without that."
    )


def unlike(place: str, op: str) -> RecordingError:
    """An operator whose tensors have other shapes where they have data."""
    return RecordingError(
        f"{place} runs {op!r}, which makes other tensors where it computes than without data; capture the part of the "
        "network before it."
    )


def grown(place: str, call: str) -> RecordingError:
    """A tensor that was made for less than it holds."""
    return RecordingError(
        f"{place} makes a tensor larger after it was made ({call} in place or with out=); capture the network with a "
        "tensor that is made at its size."
    )


def with_gaps(place: str, call: str) -> RecordingError:
    """A tensor that takes more memory than its numbers."""
    return RecordingError(
        f"{place} makes a tensor with gaps in memory ({call}), whose size does not follow from its shape; capture the "
        "network with a tensor that has none."
    )
