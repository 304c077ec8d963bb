"""What pyproject.toml, requirements.txt and CITATION.cff promise is what the code needs and holds."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from pkgutil import resolve_name as resolve

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import redistill

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
OURS = {path.stem for folder in (ROOT, ROOT / "tests") for path in folder.iterdir()}
COMMANDS = {"ruff", "pytest-xdist", "pytest-rerunfailures"}  # declared for `make test`, imported by nobody
IMPORTED_BY_TORCH = {"expecttest"}  # in what benchmarks/operators.py imports of it
ASKED_FOR = {"onnxscript"}  # by torch.onnx.export


def requirements(lines: list[str]) -> dict[str, Requirement]:
    """Requirements by the one spelling of their names, "torch-fidelity" of torch_fidelity."""
    found = [Requirement(line) for line in lines]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


LIBRARY = requirements(PROJECT["dependencies"])
ONNX = requirements(PROJECT["optional-dependencies"]["onnx"])  # exports, read where they are installed
APP = requirements(PROJECT["optional-dependencies"]["app"])
assert APP.pop(canonicalize_name(PROJECT["name"])).extras == {"onnx"}  # so that the page can export
APP |= ONNX
EXECUTORCH = requirements(PROJECT["optional-dependencies"]["executorch"])
HEIC = requirements(PROJECT["optional-dependencies"]["heic"])  # read where it is installed
TEST = requirements(PROJECT["optional-dependencies"]["test"])
PINS = requirements(re.findall(r"^[^#\s].*$", (ROOT / "requirements.txt").read_text(), re.MULTILINE))


def distributions(*folders: str) -> set[str]:
    """Names of the packages that the modules of some folders import, inside functions too, or read files of."""
    modules: set[str] = set()
    for file in (file for folder in folders for file in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Import(names=names):
                    modules |= {alias.name for alias in names}
                case ast.ImportFrom(module=str(module), level=0):
                    modules.add(module)
                case ast.Call(func=ast.Attribute(attr="files"), args=[ast.Constant(value=str(module))]):
                    modules.add(module)  # importlib.resources
    packages = {module.partition(".")[0] for module in modules} - sys.stdlib_module_names - OURS
    known = packages_distributions()
    return {canonicalize_name(known.get(package, [package])[0]) for package in packages}


def test_the_library_declares_what_it_imports_and_nothing_else():
    assert distributions("redistill") | ASKED_FOR == LIBRARY.keys() | HEIC.keys() | ONNX.keys() | EXECUTORCH.keys()


def test_the_app_extra_adds_what_only_the_page_imports():
    assert distributions("app") - LIBRARY.keys() == APP.keys() - ONNX.keys()


def test_the_test_extra_adds_nothing_that_nobody_uses():
    assert TEST.keys() <= distributions("tests", "benchmarks") | COMMANDS | IMPORTED_BY_TORCH
    assert not TEST.keys() & (LIBRARY.keys() | APP.keys())


def test_a_space_installs_what_library_and_page_declare():
    assert PINS.keys() == LIBRARY.keys() | APP.keys()
    for name, pin in PINS.items():
        (exact,) = pin.specifier
        assert exact.operator == "==" and (LIBRARY | APP)[name].specifier.contains(exact.version), name
    front = yaml.safe_load((ROOT / "README.md").read_text().split("---")[1])
    assert str(PINS["gradio"].specifier) == f"=={front['sdk_version']}"


def test_the_command_is_the_shell(capsys):
    command = resolve(PROJECT["scripts"]["redistill"])
    with pytest.raises(SystemExit, match="0"):
        command(["--help"])
    assert capsys.readouterr().out.startswith("usage: redistill ")


def test_every_room_is_packed():
    """setuptools leaves out folders without an __init__.py, and files that are no modules."""
    assert PYPROJECT["tool"]["setuptools"]["packages"]["find"]["include"] == ["redistill*"]
    for file in (ROOT / "redistill").rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            assert file.suffix == ".py" and (file.parent / "__init__.py").is_file(), file


def test_the_version_stands_in_one_place():
    assert PROJECT["dynamic"] == ["version"] and "version" not in PROJECT
    assert PYPROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "redistill.__version__"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", redistill.__version__)


def test_the_citation_names_the_method_s_authors_and_this_software():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software" and citation["message"]
    assert "version" not in citation  # stands in one place
    assert citation["title"] in (ROOT / "README.md").read_text() and citation["license"] == PROJECT["license"]
    (paper,) = citation["references"]
    assert "2406.03744" in paper["doi"] and paper["title"].startswith("ReDistill: Residual Encoded Distillation")
    assert [author["family-names"] for author in paper["authors"]] == ["Chen", "Datta", "Rafi", "Jeon", "Tang"]
