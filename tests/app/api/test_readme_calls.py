"""The calls that README shows are those of a program: they run, and print what README says."""

from __future__ import annotations

import re
from pathlib import Path

README = (Path(__file__).resolve().parents[3] / "README.md").read_text()
ADDRESS = "http://localhost:7860"


def test_calls_run_and_print_their_figures(studio, capsys, monkeypatch):
    code = re.search(r"<!-- tested: tests/app/api/\S+ runs this block -->\n```python\n(.*?)```", README, re.DOTALL)[1]
    assert code.count("client.predict(") == 3 and ADDRESS in code
    monkeypatch.chdir("/")  # nothing of it needs the project
    exec(compile(code.replace(ADDRESS, studio), "README.md", "exec"), {})
    promised = re.search(r"# (\d+ 0\.\d+) and runs$", code, re.MULTILINE)[1]
    assert f"{promised} {{'runs': [" in capsys.readouterr().out
