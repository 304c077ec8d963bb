"""Calls of a GPU that is lent, in processes that are forked from the page's."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from types import SimpleNamespace

import torch

from app.visitors import lending

SECONDS = 20.0  # for what takes a moment, or for ever


def convolve() -> float:
    """Without gradients: once a test has trained in this process, torch takes none in one that is forked from it."""
    return float(torch.nn.functional.conv2d(torch.ones(8, 16, 64, 64), torch.ones(16, 16, 3, 3), padding=1).sum())


def forked(task, duration):
    def call():
        fork = multiprocessing.get_context("fork")
        answer, end = fork.Pipe(duplex=False)
        process = fork.Process(target=lambda: end.send(task()))
        process.start()
        end.close()  # so that a process that fails ends the wait
        try:
            return answer.recv() if answer.poll(SECONDS) else None
        finally:
            process.kill()
            process.join()

    return call


def test_a_call_is_answered_whose_thread_has_computed_before(monkeypatch):
    monkeypatch.setattr(lending, "is_zero_gpu", lambda: True)
    monkeypatch.setitem(sys.modules, "spaces", SimpleNamespace(GPU=forked))
    lent, answers = lending.lent(lambda: 1)(convolve), []

    def visit() -> None:
        torch.set_num_threads(2)
        answers.extend((convolve(), lent()))

    visitor = threading.Thread(target=visit)
    visitor.start()
    visitor.join()
    assert answers[0] == answers[1] > 0
