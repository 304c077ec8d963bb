"""The house's rules: which room may import which, no circles, and gradio in app/ alone (docs/ARCHITECTURE.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# A room imports what stands before its own row; rooms of one row know nothing of each other.
LIBRARY = (
    ("common",),
    ("networks", "data"),
    ("memory", "checkpoint"),
    ("diffusion",),
    ("training",),
    ("deploy",),
    ("cli",),
)
APP = (("words",), ("visitors",), ("parts", "runs"), ("explore", "distill", "compare", "generate"), ("api",), ("ui",))
# Modules above the rooms: entries, and names that callers know.
ENTRIES = {"redistill", "redistill.__main__", "app"}


def modules() -> dict[str, Path]:
    """Every module of library and app by its dotted name."""
    found = {}
    for file in sorted(path for package in ("redistill", "app") for path in (ROOT / package).rglob("*.py")):
        found[".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")] = file
    return found


MODULES = modules()


def imports(name: str) -> Iterator[str]:
    """Modules that a module imports, those inside functions included; those for type checkers alone are not."""
    file = MODULES[name]
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(file.read_text())
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            target = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{target}.{alias.name}"
                yield inner if inner in MODULES else target


def room(name: str) -> str:
    """The folder below the package that a module lies in: "memory" of redistill.memory.tape."""
    return name.split(".")[1]


def row(name: str) -> int:
    """How far down its package's line a module's room stands."""
    rows = LIBRARY if name.startswith("redistill.") else APP
    return next(place for place, rooms in enumerate(rows) if room(name) in rooms)


HOUSED = [name for name in MODULES if name not in ENTRIES]


@pytest.mark.parametrize("name", HOUSED)
def test_a_room_imports_only_what_stands_before_it(name):
    for other in imports(name):
        if other in ENTRIES or other.split(".")[0] not in ("redistill", "app"):
            continue
        if other.startswith("redistill.") != name.startswith("redistill."):
            assert name.startswith("app."), f"{name} imports {other}: the library knows nothing of the app"
            continue
        assert room(other) == room(name) or row(other) < row(name), f"{name} imports {other}"


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("redistill")])
def test_only_the_app_knows_the_page(name):
    assert not {other.split(".")[0] for other in imports(name)} & {"gradio", "plotly", "app"}


def test_words_and_runs_know_no_gradio():
    for name in MODULES:
        if name.startswith(("app.words", "app.runs")):
            assert "gradio" not in {other.split(".")[0] for other in imports(name)}, name


def test_no_module_imports_itself_through_others():
    graph = {name: {other for other in imports(name) if other in MODULES and other != name} for name in MODULES}
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> None:
        assert name not in path, " → ".join([*path[path.index(name) :], name])
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, [*path, name])
            done.add(name)

    for name in graph:
        visit(name, [])


def test_no_function_has_the_name_of_its_module():
    for name, file in MODULES.items():
        defined = {node.name for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef)}
        assert name.rpartition(".")[2] not in defined, name


def test_every_room_says_what_it_is_for():
    for name, file in MODULES.items():
        assert ast.get_docstring(ast.parse(file.read_text())), name


def test_files_saved_with_students_import_nothing_else_of_ours():
    assert not [name for name in imports("redistill.networks.red") if name.startswith("redistill")]
    ours = {name for name in imports("redistill.networks.unet") if name.startswith("redistill")}
    assert ours == {"redistill.networks.red"}
