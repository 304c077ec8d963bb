"""The package's public names, and the rule that imports run one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import redistill

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("name", redistill.__all__)
def test_public_names_load(name):
    assert callable(getattr(redistill, name))


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="find_pooling_points"):
        redistill.nothing  # noqa: B018


def test_importing_the_package_loads_no_torch():
    code = "import sys, redistill; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def imported(file):
    """Modules that a file imports, relative ones as redistill.NAME or app.NAME."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = f"{file.parent.name}." if node.level else ""
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from (prefix + name for name in names)


@pytest.mark.parametrize("file", sorted((ROOT / "redistill").glob("*.py")), ids=lambda file: file.name)
def test_the_library_knows_nothing_of_the_app(file):
    for name in imported(file):
        assert name.split(".")[0] not in ("gradio", "plotly", "app")


def test_files_saved_with_students_import_nothing_else_of_ours():
    assert not [name for name in imported(ROOT / "redistill" / "red.py") if name.startswith("redistill")]
    ours = [name for name in imported(ROOT / "redistill" / "unet.py") if name.startswith("redistill")]
    assert ours == ["redistill.red"]
