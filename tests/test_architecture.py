"""docs/ARCHITECTURE.md names every room, with its sentence, and every module; and the directions that are tested."""

import ast
import re
from pathlib import Path

import pytest
from test_rooms import APP, LIBRARY

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
ROWS = re.findall(r"^\| `(\S+)/` \| (.*) \| (.*) \|$", TEXT, re.MULTILINE)
ROOMS = {room: (sentence, modules.split(", ")) for room, sentence, modules in ROWS}
PACKAGES = [file.parent for name in ("redistill", "app") for file in (ROOT / name).rglob("__init__.py")]
FOLDERS = sorted(str(folder.relative_to(ROOT)) for folder in PACKAGES)


@pytest.mark.parametrize("room", FOLDERS)
def test_a_room_stands_there_with_its_sentence_and_modules(room):
    sentence, modules = ROOMS[room]
    assert sentence == ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text())).splitlines()[0]
    assert modules == sorted(file.stem for file in (ROOT / room).glob("*.py") if file.stem != "__init__")


def test_no_room_stands_there_that_is_gone():
    assert sorted(ROOMS) == FOLDERS


@pytest.mark.parametrize("rows", [LIBRARY, APP])
def test_directions_are_those_that_are_tested(rows):
    assert " ← ".join(row[0] if len(row) == 1 else f"{{{', '.join(row)}}}" for row in rows) + "\n" in TEXT


def test_it_names_files_that_exist():
    paths = re.findall(r"`((?:redistill|app|tests|benchmarks|docs)/[a-z_0-9/.]+)`", TEXT)
    assert paths and not [path for path in paths if not (ROOT / path).exists()]


def test_it_is_one_screen():
    assert len(TEXT.splitlines()) <= 70
