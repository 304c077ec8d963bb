"""What several test files start from."""

from __future__ import annotations

import pytest

from redistill.checkpoint import folder as checkpoint


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Empty folders of runs and of shipped checkpoints."""
    monkeypatch.setenv("REDISTILL_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(checkpoint, "SHIPPED", tmp_path / "shipped")
    return tmp_path
