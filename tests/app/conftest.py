"""What tests of all tabs look at."""

from __future__ import annotations

import gradio as gr
import pytest

from app import ui


@pytest.fixture(scope="session")
def page() -> gr.Blocks:
    """The page, for those who read it and call its handlers: it takes a second to build."""
    return ui.build()
