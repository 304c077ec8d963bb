"""The package's public names, and that importing it costs nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

import redistill

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", redistill.__all__)
def test_public_names_load(name):
    assert callable(getattr(redistill, name))


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="find_pooling_points"):
        redistill.nothing  # noqa: B018


@pytest.mark.process
def test_importing_the_package_loads_no_torch():
    code = "import sys, redistill; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
