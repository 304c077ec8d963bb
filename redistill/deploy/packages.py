"""Packages that only exports need, asked for in one sentence where they are not here."""

from __future__ import annotations

from importlib import import_module

from ..common.sentences import first_line

# By extra of pyproject.toml: the modules that it brings.
EXTRAS = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "executorch": ("executorch.exir", "executorch.runtime")}
# How each is installed. ExecuTorch's wheel also asks for what other exports of its own need, and for an older pytest.
INSTALLED = {
    "onnx": "pip install 'redistill-studio[onnx]', or in a clone pip install -e '.[onnx]'",
    "executorch": "pip install --no-deps executorch==1.2.0 && pip install flatbuffers ruamel.yaml",
}


def check_packages(extra: str) -> None:
    """ValueError, naming the missing or broken packages and how they are installed, where an extra is not here."""
    failed = {}
    for name in EXTRAS[extra]:
        try:
            import_module(name)
        except Exception as error:  # a wheel for another system fails in whichever way
            failed[name] = first_line(error)
    if failed:
        raise ValueError(
            f"An export to {extra} needs {', '.join(failed)}, which cannot be loaded ({next(iter(failed.values()))}); "
            f"install them: {INSTALLED[extra]}."
        )
