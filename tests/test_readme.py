"""What the README shows runs, and prints what it says."""

import re
from pathlib import Path

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()


def test_library_example_runs_and_prints_its_figures(capsys):
    code = re.search(r"<!-- tested: .*?-->\n```python\n(.*?)```", README, re.DOTALL)[1]
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    promised = re.findall(r"# ([\d,]+ bytes at \w+)", code)
    assert len(promised) == 2 and all(line in printed for line in promised)


def test_every_local_link_leads_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links and all((Path(__file__).parents[1] / link).exists() for link in links)
