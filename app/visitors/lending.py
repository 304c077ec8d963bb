"""GPUs that are lent for the seconds of a call: the decorator of ZeroGPU where the page stands there."""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
        gpu = import_module("spaces").GPU  # which every Space brings, and nothing else
        called = gpu(_in_a_thread_of_its_own(function), duration=seconds)

        @functools.wraps(function)
        def call(*given: Any) -> Any:
            try:
                return called(*given)
            except gr.Error as error:
                raise ValueError(str(error.message)) from error

        return call

    return decorate


def _in_a_thread_of_its_own(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, for a process that was forked from the page's: a thread that has computed there before waits for
    ever for the threads of OpenMP that it had, which a fork leaves behind; a fresh one makes its own."""

    @functools.wraps(function)
    def run(*given: Any) -> Any:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(contextvars.copy_context().run, function, *given).result()

    return run
