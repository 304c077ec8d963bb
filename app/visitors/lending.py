"""GPUs that are lent for the seconds of a call: the decorator of ZeroGPU where the page stands there."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

import gradio as gr

from .place import is_zero_gpu

Function = TypeVar("Function", bound=Callable[..., Any])


def lent(seconds: Callable[..., int]) -> Callable[[Function], Function]:
    """Let a function have a GPU for as many seconds as `seconds` says of its arguments; elsewhere it stays as it is.

    ZeroGPU stops an app in which no function is so when it starts: functions are decorated where they stand, in a
    module that the page imports. Each call is of a visitor, whose quota pays for it; what ZeroGPU refuses, such as a
    call beyond that, is a ValueError.
    """

    def decorate(function: Function) -> Function:
        if not is_zero_gpu():
            return function
        called = import_module("spaces").GPU(function, duration=seconds)  # which every Space brings, and nothing else

        @functools.wraps(function)
        def call(*given: Any) -> Any:
            try:
                return called(*given)
            except gr.Error as error:
                raise ValueError(str(error.message)) from error

        return call

    return decorate
