"""The pooling points of a network and their strides, under the name that callers know."""

from .networks.strides import *  # noqa: F403
