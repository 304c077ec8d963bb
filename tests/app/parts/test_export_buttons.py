from __future__ import annotations

import json
from pathlib import Path

import gradio as gr

from app import ui
from app.parts.events import say_at_once
from app.parts.export_buttons import handed_over
from app.parts.fragments import status_line
from app.parts.scripted import SaveFiles
from app.runs.exports import Exported

APP = Path(ui.__file__).parent


def test_what_was_exported_is_saved_and_what_its_runtime_said_stands_beside_it():
    shown = handed_over(Exported("student.onnx", b"weights", ["ran in <onnxruntime>", "12 KiB"]))
    assert shown["exports"]["name"] == "student.onnx" and shown["exports"]["base64"] == "d2VpZ2h0cw=="
    assert shown["said"].count("<li>") == 2 and "&lt;onnxruntime&gt;" in shown["said"]


def test_every_row_of_export_buttons_says_at_once_that_it_exports():
    page = ui.build()
    asked = [block for block in page.fns.values() if any(event == "ask" for _, event in block.targets)]
    rows = {target for block in asked for target, _ in block.targets if "Exporting" in str(block.js)}
    names = {page.blocks[target].elem_id for target in rows}
    assert names == {"exports", "compare-exports", "generate-exports"}
    assert all(isinstance(page.blocks[target], SaveFiles) for target in rows)


def test_the_page_itself_says_what_goes_on():
    with gr.Blocks() as page:
        button, said = gr.Button(), gr.HTML()
        say_at_once(button.click, "Packing “a & b”…", said)
    (block,) = page.fns.values()
    assert json.loads(block.js.removeprefix("() => ")) == status_line("Packing “a & b”…")
    assert 'role="status"' in status_line("") and "&amp; b" in status_line("a & b")


def test_the_line_that_says_what_goes_on_is_written_in_one_place():
    files = [file for file in APP.rglob("*.py") if 'class="subline" role="status"' in file.read_text(encoding="utf-8")]
    assert [file.name for file in files] == ["fragments.py"]
