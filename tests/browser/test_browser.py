"""The whole way once, in a real browser: explore, distil, reload, generate. No error, no request to anywhere else."""

from __future__ import annotations

import csv
import dataclasses
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

import pytest
import torch
from helpers.pictures import write_classes
from PIL import Image
from playwright.sync_api import Locator, Page, expect, sync_playwright

from app.parts.counting import compare_as
from redistill.checkpoint import folder as checkpoint
from redistill.diffusion.images import SampleSettings, read_settings
from redistill.memory.comparison import early_strides
from redistill.networks.student import StudentConfig, build_student
from redistill.training.presets import CLUTTER_TEACHER, FACES_TEACHER, PRESETS

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM_OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 90_000  # milliseconds that a slow machine may need for a step
STUDENT = "emoji-faces-student"
BARS = "document.querySelector('#memory .liveplot').data.map(trace => Array.from(trace.y))"
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Address of a studio of its own, with untrained checkpoints and an empty runs folder."""
    home = tmp_path_factory.mktemp("studio")
    for name, preset in ((CLUTTER_TEACHER, "teacher"), (FACES_TEACHER, "faces-teacher"), (STUDENT, "faces")):
        save_untrained(home / "checkpoints" / name, preset)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = {
        "REDISTILL_CACHE": str(tmp_path_factory.getbasetemp() / "pictures"),
        "REDISTILL_RUNS": str(home / "runs"),
        "REDISTILL_CHECKPOINTS": str(home / "checkpoints"),
        "GRADIO_TEMP_DIR": str(home / "gradio"),
        "OMP_NUM_THREADS": "1",
    }
    with open(home / "log.txt", "wb") as log:
        command = [sys.executable, "app.py", "--port", str(port)]
        server = subprocess.Popen(command, cwd=ROOT, env=os.environ | places, stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until_served(address, server, home / "log.txt")
        yield address
    finally:
        server.terminate()
        server.wait(timeout=30)
        end_runs(home / "runs")
    assert "Traceback" not in (home / "log.txt").read_text()


def end_runs(runs: Path) -> None:
    """End what a failed test left training: a run's process holds the lock of its `.process` file."""
    for file in runs.glob("*/.process"):
        with open(file) as process:
            try:
                fcntl.flock(process, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                os.kill(json.load(process)["pid"], signal.SIGKILL)


def save_untrained(folder: Path, preset: str) -> None:
    config = PRESETS[preset].config
    metrics = {"test_accuracy": 0.02} if config.student.task == "classification" else {"test_prediction_loss": 1.0}
    torch.manual_seed(0)
    metadata = checkpoint.Metadata(config.student, config.dataset, metrics, dataclasses.asdict(config))
    checkpoint.save(build_student(config.student), metadata, folder)


def wait_until_served(address: str, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"the studio did not start:\n{log.read_text()}")


@pytest.fixture(scope="module")
def browser():
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert path, "These tests need a Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=CHROMIUM_OPTIONS)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser, site):
    """Opens pages of the studio; the test fails on any console error, failed answer or request to elsewhere."""
    troubles: list[str] = []
    contexts = []

    def check_request(request) -> None:
        if not request.url.startswith((site, "data:", "blob:")):
            troubles.append(f"request to {request.url}")

    def open_one(query: str = "", **settings) -> Page:
        contexts.append(browser.new_context(**settings))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", check_request)
        page.on("response", lambda r: troubles.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        page.goto(site + query)
        drawn(page, "#memory")
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert troubles == []


def drawn(page: Page, plot: str) -> None:
    page.wait_for_selector(f"{plot} .liveplot[data-revision]", state="attached")


def bars(page: Page) -> list[list[float]]:
    return page.evaluate(BARS)


def choose_stride(page: Page, layer: str, stride: int) -> None:
    page.locator(f"[data-layer='{layer}'] input[value='{stride}']").check()


def fill(page: Page, field: str | Locator, value: object) -> None:
    """Type a value, and again where the page took it back."""
    field = page.get_by_label(field, exact=True) if isinstance(field, str) else field
    for _ in range(5):
        field.fill(str(value))
        field.press("Tab")
        settle(page)
        if field.input_value() == str(value):
            return
    expect(field).to_have_value(str(value))


def unfold(page: Page, role: str, name: str) -> None:
    """Open a tab or an accordion by a click."""
    page.get_by_role(role, name=name).click()
    settle(page)


def settle(page: Page) -> None:
    """Wait until what has just been opened keeps what is typed.

    Gradio draws what lies in a closed tab or accordion when it is opened, and sets it to its first values one frame
    of the browser later: faster than a hand, slower than a test.
    """
    for _ in range(4):
        page.evaluate("new Promise(requestAnimationFrame)")


def test_explore_distil_reload_generate(open_page):
    page = open_page(viewport={"width": 1280, "height": 900})
    summary = page.locator("#summary")
    expect(summary).to_contain_text("Peak falls from 320 KiB (maxpool) to 64.0 KiB (conv1): 5.0×")
    before = bars(page)
    choose_stride(page, "conv1", 2)
    expect(summary).not_to_contain_text("5.0×")
    expect(summary).to_contain_text("Without RED blocks")
    page.wait_for_function(f"before => JSON.stringify({BARS}) !== JSON.stringify(before)", arg=before)
    assert bars(page)[0] == before[0], "the teacher stays as it was"
    choose_stride(page, "conv1", 4)
    expect(summary).to_contain_text("5.0×")

    page.locator("#to-distil").click()
    expect(page.locator("#student")).to_contain_text("strides 4·1·2·2·1, RED blocks, 64 px")
    fill(page, "Steps", 6)
    fill(page, "Batch", 16)
    unfold(page, "button", "More of the training")
    fill(page, "Training images (empty: all)", 48)
    fill(page, "Validate every", 3)
    progress = page.locator("#progress")
    expect(progress).to_contain_text("No run yet")
    expect(page.locator("#scores")).to_be_hidden()
    page.locator("#start").click()
    expect(progress).to_contain_text("RED + KD")
    expect(page.locator("#scores")).to_be_visible()
    expect(progress).to_contain_text("test accuracy", timeout=2 * PATIENCE)
    expect(progress).to_contain_text("the teacher has 2.0 %")
    scores = "document.querySelector('#scores .liveplot').data[0].x.map(Number)"
    assert page.evaluate(scores) == [3, 6]

    page.reload()
    drawn(page, "#memory")
    unfold(page, "tab", "Distill")
    expect(progress).to_contain_text("finished")
    expect(page.locator("#runs")).to_contain_text("RED + KD · seed 0 · finished")
    drawn(page, "#scores")
    assert page.evaluate(scores) == [3, 6]

    unfold(page, "tab", "Generate")
    expect(page.locator("#grids img[alt='noise of seed 0']")).to_have_count(2)
    fill(page, "number input for Images", 4)
    fill(page, "number input for Denoising steps", 2)
    page.locator("#generate").click()
    expect(page.locator("#generate-said")).to_contain_text("Done")
    grids = page.evaluate(
        "[...document.querySelectorAll('#grids figure')].map(grid => [...grid.querySelectorAll('img')]"
        ".map(image => [image.naturalWidth, image.naturalHeight]))"
    )
    assert grids == [[[32, 32]] * 4] * 2
    expect(page.locator("#grids")).to_contain_text("4.0× less")
    expect(page.locator("#grids")).to_contain_text("OpenMoji")


def test_strides_that_do_not_fit_are_said_and_the_chart_stays(open_page):
    page = open_page()
    before = bars(page)
    choose_stride(page, "layer4.0", 8)
    expect(page.locator("#summary")).to_contain_text("reduce the image 128 times, but it has 64 pixels a side")
    expect(page.locator("#to-distil")).to_be_disabled()
    assert bars(page) == before
    choose_stride(page, "layer4.0", 2)
    expect(page.locator("#summary")).to_contain_text("Peak falls")
    expect(page.locator("#to-distil")).to_be_enabled()
    side = page.get_by_label("number input for Image side, pixels")
    side.fill("1000")
    side.press("Tab")
    expect(side).to_have_value("512")
    expect(page.locator("#summary")).to_contain_text("the student peaks at 4.00 MiB")  # 64 times that of 64 px


LINK = (
    "?teacher=unet_small&size=48&strides=2,2,2,1&red=on&residual_kernel=5&points=outputs&count=eager&dtype=fp16"
    "&budget=262144"
)
CLIPBOARD = ["clipboard-read", "clipboard-write"]
READ_CLIPBOARD = "navigator.clipboard.readText()"


def test_a_link_restores_every_setting_and_the_copied_one_says_the_same(open_page, site):
    page = open_page(LINK, permissions=CLIPBOARD)
    expect(page.get_by_role("combobox", name="Teacher")).to_have_value("Small DDPM U-Net")
    expect(page.locator("#strides input:checked")).to_have_count(4)
    strides = page.locator("#strides").evaluate("e => [...e.querySelectorAll('input:checked')].map(i => +i.value)")
    assert strides == [2, 2, 2, 1]
    unfold(page, "button", "Inside a RED block")
    for group, choice in (
        ("Kernel of the residual encoder", "5"),
        ("Aligned points that carry one", "outputs"),
        ("Counted as", "PyTorch (eager)"),
        ("Numbers", "fp16"),
    ):
        expect(page.locator("fieldset", has_text=group).get_by_label(choice, exact=True)).to_be_checked()
    expect(page.locator("#budget input")).to_have_value("Arduino Nano 33, 256 KiB")
    expect(page.locator("#pairs")).to_contain_text("both have 24×24 maps")
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate(READ_CLIPBOARD) == f"{site}/{LINK}"
    choose_stride(page, "conv_in", 1)
    page.get_by_role("button", name="Cop").click()  # at once: the link waits for the change
    changed = f"{site}/{LINK.replace('2,2,2,1', '1,2,2,1')}"
    page.wait_for_function(f"async link => await {READ_CLIPBOARD} === link", arg=changed)
    page.wait_for_url(changed)
    expect(page.locator("#summary")).not_to_contain_text("4.0×")
    page.get_by_role("button", name="Pin this configuration").click()
    page.wait_for_url("**&pin=A;teacher:unet_small;*")
    again = open_page(page.url.removeprefix(f"{site}/"))
    expect(again.locator("#board")).to_contain_text("1·2·2·1")


def test_without_the_clipboard_the_link_is_copied_the_old_way(open_page, site):
    page = open_page(LINK, permissions=CLIPBOARD)
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined, configurable: true})")
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate(f"delete navigator.clipboard, {READ_CLIPBOARD}") == f"{site}/{LINK}"
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined, configurable: true})")
    page.evaluate("document.execCommand = () => false")
    page.get_by_role("button", name="Cop").click()
    expect(page.get_by_label("Link to these settings")).to_have_value(f"{site}/{LINK}")


def test_a_link_that_does_not_fit_opens_the_usual_page_with_a_sentence(open_page, site):
    usual = open_page()
    page = open_page("?teacher=resnet18&strides=9,9&teacher=%00" + "x" * 900)
    expect(page.locator("#link-said")).to_contain_text("teacher stands in it 2 times; expected it once.")
    assert bars(page) == bars(usual)
    choose_stride(page, "conv1", 2)
    expect(page.locator("#link-said")).not_to_contain_text("teacher")
    page.wait_for_url(f"{site}/?teacher=narrow_resnet&size=64&strides=2,1,2,2,1&red=on&count=fused&dtype=fp32")


def test_a_row_of_the_search_fills_the_controls(open_page, site):
    page = open_page("?teacher=narrow_resnet&size=96&red=off")
    expect(page.get_by_label("RED blocks at the aligned layers")).not_to_be_checked()  # the link has been read
    unfold(page, "button", "Find strides that fit")
    wanted = page.get_by_label("Memory to fit, KiB")
    fill(page, wanted, 128)
    page.locator("#search-start").click()
    expect(page.locator("#front")).to_contain_text("of 65 stride settings fit 128 KiB; the best keeps")
    expect(page.locator("#search-start")).to_be_enabled()
    row = page.locator("#front tr.best")
    strides, peak = row.locator("td").nth(0).inner_text().split("·"), row.locator("td").nth(1).inner_text()
    row.locator("td").nth(2).click()
    expect(page.locator("#summary")).to_contain_text(f"to {peak}")
    expect(page.get_by_label("RED blocks at the aligned layers")).to_be_checked()  # the search had them
    chosen = "e => [...e.querySelectorAll('input:checked')].map(input => input.value)"
    assert page.locator("#strides").evaluate(chosen) == strides
    page.wait_for_url(
        f"{site}/?teacher=narrow_resnet&size=96&strides={','.join(strides)}&red=on&count=fused&dtype=fp32&budget=131072"
    )
    expect(page.locator("#budget-kib input")).to_have_value("128")


def test_a_real_pass_allocates_what_the_page_computes(open_page):
    page = open_page("?teacher=unet_small", viewport={"width": 390, "height": 844})
    page.get_by_role("button", name="Measure on this machine").click()
    measured = page.locator("#measured")
    expect(measured).to_contain_text("Exact to the byte.")
    rows = [row.split() for row in measured.locator("tbody tr").all_inner_texts()]
    assert [row[0] for row in rows] == ["computed", "measured", "difference"]
    assert rows[0][1:] == rows[1][1:] and rows[2][1:] == ["0", "0"]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def choose_option(page: Page, control: str, option: str) -> None:
    page.locator(f"{control} input").click()
    page.get_by_role("option", name=option).click()


def click_chart(page: Page, layer: str, network: str = "student") -> None:
    """Click just below a network's line where a layer starts to run."""
    at = page.evaluate(
        """([layer, network]) => {
          const host = document.querySelector('#memory .liveplot'), {xaxis, yaxis} = host._fullLayout;
          const trace = host.data.find(trace => trace.customdata?.[0][0] === network);
          const i = trace.customdata.findLastIndex(mark => mark[1] === layer && mark[2] === 0);
          const {left, top} = host.getBoundingClientRect();
          const x = left + xaxis._offset + xaxis.d2p(trace.x[i]);
          return [x, top + yaxis._offset + yaxis.d2p(trace.y[i]) + 2];
        }""",
        [layer, network],
    )
    page.mouse.move(*at)
    page.mouse.click(*at)


def test_the_budget_flips_at_the_byte(open_page):
    page = open_page()
    summary, field = page.locator("#summary"), page.locator("#budget-kib input")
    expect(page.locator("#budget-said")).to_have_count(0)
    choose_option(page, "#budget", "Arduino Nano 33, 256 KiB")
    expect(summary).to_contain_text("the teacher does not fit: 64.0 KiB too much; the student fits, 192 KiB to spare")
    choose_option(page, "#budget", "Other")
    expect(summary).to_contain_text("Budget, 64.0 KiB")
    expect(summary).to_contain_text("the student fits exactly")
    field.fill(str(65535 / 1024))
    expect(summary).to_contain_text("the student does not fit: 1 B too much")
    line = "document.querySelector('#memory .liveplot').layout.shapes.map(shape => shape.y0 * 1024)"
    page.wait_for_function(f"{line}[0] === 65535")
    field.fill("")
    expect(page.locator("#budget-said")).to_have_count(0)


def test_two_pins_are_compared_loaded_and_removed(open_page):
    page = open_page()
    board = page.locator("#board")
    page.locator("#pin").click()
    expect(board).to_contain_text("A Narrow ResNet 4·1·2·2·1")
    choose_stride(page, "conv1", 2)
    expect(page.locator("#summary")).to_contain_text("192 KiB")
    page.locator("#pin").click()
    rows = board.locator("tbody tr")
    expect(rows).to_have_count(3)
    peaks = board.locator("td[data-title=Peak]")
    expect(peaks).to_have_text(["192 KiB", "64.0 KiB", "192 KiB"])
    page.wait_for_function(f"{BARS}.length === 6")
    assert [max(curve) for curve in bars(page)[3:5]] == [64, 192]

    page.get_by_role("button", name="Load A").click()
    expect(page.locator("#summary")).to_contain_text("5.0×")
    expect(page.locator("[data-layer='conv1'] input[value='4']")).to_be_checked()
    expect(peaks).to_have_text(["64.0 KiB", "64.0 KiB", "192 KiB"])
    page.get_by_role("button", name="Remove A").click()
    expect(rows).to_have_count(2)
    page.get_by_role("button", name="Remove B").click()
    expect(board.locator("table")).to_have_count(0)
    page.wait_for_function(f"{BARS}.length === 4")


def test_a_click_shows_tensors_that_add_up(open_page):
    page = open_page(viewport={"width": 390, "height": 844})
    tensors = page.locator("#tensors")
    click_chart(page, "maxpool", "teacher")
    expect(tensors).to_contain_text("While maxpool runs (max_pool2d), the peak of the teacher: 320 KiB")
    expect(tensors).to_be_visible()
    counts = "[...document.querySelectorAll('#tensors [data-bytes]')].map(cell => Number(cell.dataset.bytes))"
    assert sum(page.evaluate(counts)) == 327680
    page.get_by_role("button", name="Student’s peak").click()
    expect(tensors).to_contain_text("the peak of the student: 64.0 KiB in 2 tensors")
    assert sum(page.evaluate(counts)) == 65536
    choose_stride(page, "conv1", 2)
    expect(tensors).to_contain_text("the peak of the student: 192 KiB")

    unfold(page, "button", "Layers as a table")
    row = page.locator("#layers [data-key='layer1.0.conv2']")
    row.focus()
    page.keyboard.press("Enter")
    expect(tensors).to_contain_text("While layer1.0.conv2 runs (conv2d), in the student")
    cells = row.locator("xpath=ancestor::tr").locator("td").all_inner_texts()
    assert sum(page.evaluate(counts)) == int(cells[2].replace(",", ""))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_layers_are_sorted_and_saved_to_the_byte(open_page):
    page = open_page()
    unfold(page, "button", "Layers as a table")
    table = page.locator("#layers table")
    expect(table.locator("tbody td").nth(1)).to_have_text("conv1")
    page.get_by_role("button", name="Teacher", exact=True).click()
    table.get_by_role("button", name="Peak, bytes").click()
    peaks = [int(text.replace(",", "")) for text in table.locator("td:nth-child(3)").all_inner_texts()]
    assert peaks == sorted(peaks, reverse=True) and peaks[0] == 327680
    table.get_by_role("button", name="Peak, bytes").click()
    assert table.locator("td:nth-child(3)").all_inner_texts()[-1] == "327,680"

    with page.expect_download() as saving:
        page.get_by_role("button", name="Save both as CSV").click()
    assert saving.value.suggested_filename == "memory-narrow_resnet-4.1.2.2.1-red-64-fused-fp32.csv"
    with open(saving.value.path(), newline="") as file:
        rows = list(csv.DictReader(file))
    found = compare_as(StudentConfig("narrow_resnet", 64, strides=early_strides("narrow_resnet")))
    for name, profile in (("teacher", found.teacher), ("student", found.student)):
        saved = [row for row in rows if row["network"] == name]
        wanted = [(x.name, x.peak_bytes, x.output_bytes, int(x.is_red)) for x in profile.layers]
        assert [(r["layer"], int(r["peak_bytes"]), int(r["output_bytes"]), int(r["red"])) for r in saved] == wanted
        assert [r["output_shape"] for r in saved] == ["x".join(map(str, x.output_shape)) for x in profile.layers]


def test_the_chart_is_saved_on_white_in_the_light_themes_colours(open_page):
    page = open_page(color_scheme="dark")
    with page.expect_download() as saving:
        page.get_by_role("button", name="SVG").click()
    assert saving.value.suggested_filename == "memory-narrow_resnet-4.1.2.2.1-red-64-fused-fp32.svg"
    drawing = Path(saving.value.path()).read_text()
    assert "Narrow ResNet 4·1·2·2·1, RED blocks, 64 px, fused, fp32: 320 KiB → 64.0 KiB" in drawing
    assert '<rect x="0" y="0" width="1100" height="600" style="fill: rgb(255, 255, 255)' in drawing
    assert "var(--" not in drawing
    assert "fill: rgb(91, 102, 117)" in drawing  # the light theme's text
    with page.expect_download() as saving:
        page.get_by_role("button", name="PNG").click()
    with Image.open(saving.value.path()) as picture:
        assert picture.size == (2200, 1200)
        assert picture.convert("RGB").getpixel((3, 3)) == (255, 255, 255)


def test_a_second_page_follows_a_run_and_stops_it(open_page):
    first, second = open_page(), open_page(viewport={"width": 390, "height": 844})
    for page in (first, second):
        unfold(page, "tab", "Distill")
    first.get_by_label("Student without distillation", exact=True).check()
    expect(first.locator("#student")).to_contain_text("strides 4·1·2·2·1, 64 px")
    fill(first, "Batch", 8)
    unfold(first, "button", "More of the training")
    fill(first, "Training images (empty: all)", 48)
    first.locator("#start").click()
    expect(first.locator("#progress")).to_contain_text("images/s")
    row = second.get_by_label("on its own · seed 0 · running")
    row.check()
    expect(second.locator("#progress")).to_contain_text("images/s")
    assert second.evaluate("document.documentElement.scrollWidth <= innerWidth")
    second.locator("#stop").click()
    for page in (first, second):
        expect(page.locator("#progress")).to_contain_text("stopped · step")
    first.locator("#resume").click()
    for page in (first, second):
        expect(page.locator("#progress")).to_contain_text("images/s")
    first.locator("#stop").click()
    for page in (first, second):
        expect(page.locator("#progress")).to_contain_text("stopped · step")
    second.locator("#delete").click()
    expect(second.locator("#delete-question")).to_contain_text("with its checkpoint, curves and log?")
    expect(first.locator("#runs")).to_contain_text("on its own")
    second.locator("#delete-confirm").click()
    expect(second.locator("#delete-question")).to_be_hidden()
    expect(first.locator("#runs")).not_to_contain_text("on its own")


def test_a_student_goes_to_explore_and_back_and_an_estimate_is_of_its_settings(open_page):
    page = open_page(viewport={"width": 1280, "height": 900})
    unfold(page, "tab", "Distill")
    refusal, card, change = page.locator("#refusal"), page.locator("#student"), page.get_by_text("Change it in Explore")
    page.get_by_label("MobileNetV2 from a ResNet", exact=True).check()
    expect(card).to_contain_text("MobileNetV2 ←")
    change.click()
    expect(refusal).to_contain_text("this one is a MobileNetV2 that learns from a Narrow ResNet")
    page.get_by_label("Student without distillation", exact=True).check()
    expect(refusal).not_to_contain_text("MobileNetV2")
    fill(page, "Steps", 77)
    change.click()
    expect(page.get_by_label("RED blocks at the aligned layers").first).not_to_be_checked()
    choose_stride(page, "conv1", 8)
    expect(page.locator("#summary")).to_contain_text("Peak falls from 320 KiB")
    page.locator("#to-distil").click()
    expect(card).to_contain_text("strides 8·1·2·2·1, 64 px")
    expect(page.get_by_label("Steps", exact=True)).to_have_value("77")
    expect(page.get_by_label("Student without distillation", exact=True)).to_be_checked()

    other = page.get_by_text("Of other settings than the form has now")
    page.locator("#estimate").click()
    expect(page.locator("#estimated")).to_contain_text("Measuring")
    expect(page.locator("#estimated")).to_be_in_viewport()
    unfold(page, "button", "More of the training")
    expect(other).to_have_count(0)
    fill(page, "Steps", 78)
    expect(other).to_be_visible()
    fill(page, "Steps", 77)
    expect(other).to_have_count(0)
    page.get_by_label("Quick look", exact=True).check()
    expect(other).to_be_visible()
    page.locator("#estimate-cancel").click()
    expect(other).to_have_count(0)


class Held:
    """Answers that reach the page only when they are let go: of events of one component, told by its `elem_id`."""

    def __init__(self, page: Page, elem_id: str, event: str) -> None:
        self.answers = []
        events = """([elem_id, event]) => {
          const {components, dependencies} = window.gradio_config;
          const {id} = components.find(component => component.props.elem_id === elem_id);
          return dependencies.filter(one => one.backend_fn && one.targets.some(target => target[0] === id &&
            target[1] === event)).map(one => one.id);
        }"""
        self.ids = page.evaluate(events, [elem_id, event])
        self.page = page
        page.route("**/run/predict*", self.hold)

    def hold(self, route) -> None:
        if route.request.post_data_json["fn_index"] in self.ids:
            self.answers.append((route, route.fetch()))
        else:
            route.fallback()

    def wait(self, count: int = 1) -> None:
        """Until so many answers are held."""
        deadline = time.monotonic() + PATIENCE / 1000
        while len(self.answers) < count:
            assert time.monotonic() < deadline, "no answer came"
            self.page.wait_for_timeout(20)

    def let_go(self) -> None:
        """Let all answers reach the page, those that are held and those to come."""
        self.ids = []
        for route, response in self.answers:
            route.fulfill(response=response)


def test_presets_of_all_lists_share_one_mark(open_page):
    page = open_page()
    unfold(page, "tab", "Distill")
    unfold(page, "button", "Diffusion networks")
    page.get_by_label("Diffusion student of the smileys", exact=True).check()
    expect(page.locator("#student")).to_contain_text("strides 2·2·2·1, RED blocks, 32 px")
    expect(page.get_by_label("Quick look", exact=True)).not_to_be_checked()
    page.get_by_label("Quick look", exact=True).check()
    expect(page.locator("#student")).to_contain_text("strides 4·1·2·2·1, RED blocks, 64 px")
    expect(page.get_by_label("Diffusion student of the smileys", exact=True)).not_to_be_checked()


def test_late_answers_take_no_choice_back(open_page):
    page = open_page(viewport={"width": 390, "height": 844})
    unfold(page, "tab", "Distill")
    first = Held(page, "presets", "input")
    page.get_by_label("Student without distillation", exact=True).check()
    first.wait()
    page.get_by_label("Teacher of emoji-clutter", exact=True).check()
    first.let_go()
    expect(page.locator("#student")).to_contain_text("own strides, 64 px")
    expect(page.get_by_label("Teacher of emoji-clutter", exact=True)).to_be_checked()

    progress, chosen = page.locator("#progress"), page.locator("#runs input:checked + span")
    page.locator("#start").click()
    expect(progress).to_contain_text("Narrow ResNet, own strides")
    expect(progress).to_be_in_viewport()
    page.locator("#stop").click()
    expect(progress).to_contain_text("stopped")

    page.get_by_label("Student without distillation", exact=True).check()
    expect(page.locator("#student")).to_contain_text("strides 4·1·2·2·1, 64 px")
    started, looked = Held(page, "start", "click"), Held(page, "runs", "input")
    page.locator("#start").click()
    expect(page.locator("#refusal")).to_contain_text("Starting…")
    started.wait()
    looked.wait()  # it has seen the new run while the old one was chosen
    started.let_go()
    expect(chosen).to_contain_text("strides 4·1·2·2·1 · on its own")
    looked.let_go()
    expect(progress).to_contain_text("strides 4·1·2·2·1 · on its own")
    expect(progress).to_be_in_viewport()
    page.locator("#stop").click()
    expect(progress).to_contain_text("stopped")
    expect(progress).to_contain_text("strides 4·1·2·2·1 · on its own")
    expect(chosen).to_contain_text("stopped")


STUDENT_POINT = """
() => {
  const host = document.querySelector('#plane .liveplot');
  const trace = host.data?.find(trace => trace.customdata?.includes('shipped:emoji-faces-student'));
  if (!trace) return null;
  const i = trace.customdata.indexOf('shipped:emoji-faces-student'), {xaxis, yaxis} = host._fullLayout;
  const {left, top} = host.getBoundingClientRect();
  return [left + xaxis._offset + xaxis.d2p(trace.x[i]), top + yaxis._offset + yaxis.d2p(trace.y[i])];
}"""


def test_two_results_are_compared_and_one_fills_the_form(open_page):
    page = open_page(viewport={"width": 390, "height": 844})
    unfold(page, "tab", "Compare")
    page.get_by_label("emoji-faces, v-prediction").check()
    expect(page.locator("#results")).to_contain_text("Emoji faces student")
    page.locator("#plane").scroll_into_view_if_needed()
    page.wait_for_function(STUDENT_POINT)
    page.mouse.click(*page.evaluate(STUDENT_POINT))
    expect(page.locator("#chosen")).to_contain_text("Small DDPM U-Net at 32 px, strides 2·2·2·1, RED blocks.")
    page.locator("#keep").click()
    expect(page.locator("#differs")).to_contain_text("Choose another result")
    page.get_by_label("Filter results by name").fill("no such network")
    expect(page.locator("#results tbody tr:visible")).to_have_count(0)
    expect(page.get_by_text("No result has all of these words in its name.")).to_be_visible()
    page.get_by_label("Filter results by name").fill("Teacher ready-made")
    expect(page.locator("#results tbody tr:visible")).to_have_count(1)
    page.locator("#results [data-key='shipped:emoji-faces-teacher']").hover()
    expect(page.locator("#plane .hovertext")).to_contain_text("Emoji faces teacher")
    page.locator("#results [data-key='shipped:emoji-faces-teacher']").click()
    row = page.locator("#differs tr", has=page.get_by_role("rowheader", name="Strides", exact=True))
    expect(row.locator("td")).to_have_text(["2·2·2·1", "own"])
    expect(page.locator("#differs")).not_to_contain_text("Test loss")  # which is the same in both
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    with page.expect_download() as saving:
        page.get_by_role("button", name="Save as CSV").click()
    assert saving.value.suggested_filename == "redistill-emoji-faces-v-prediction.csv"
    with open(saving.value.path(), newline="") as file:
        saved = {line["network"]: line for line in csv.DictReader(file)}
    assert saved["Emoji faces student"]["Strides"] == "2·2·2·1" and saved["Emoji faces teacher"]["score"] == "1"

    page.locator("#load").click()
    expect(page.locator("#student")).to_contain_text("Small DDPM U-Net, own strides, 32 px")


def test_generation_stops_midway_and_draws_again(open_page):
    page = open_page()
    unfold(page, "tab", "Generate")
    fill(page, "number input for Denoising steps", 250)
    page.locator("#generate").click()
    expect(page.locator("#generate-said")).to_contain_text("of 250")
    page.locator("#generate-stop").click()
    expect(page.locator("#generate-said")).to_contain_text("Stopped at step")
    fill(page, "number input for Denoising steps", 2)
    fill(page, "number input for Images", 5)
    page.locator("#generate").click()
    expect(page.locator("#generate-said")).to_contain_text("Done")
    assert page.locator("#grids img").count() == 10


def test_an_uploaded_zip_file_is_shown_and_chosen_to_train_a_teacher_on(open_page, tmp_path):
    folder = write_classes(tmp_path / "source", {"cats": 6, "dogs": 6})
    file = shutil.make_archive(str(tmp_path / "My pets"), "zip", folder)
    page = open_page()
    unfold(page, "tab", "Distill")
    expect(page.locator("#pictures img").first).to_be_visible()
    unfold(page, "button", "Use other pictures")
    with page.expect_file_chooser() as chooser:
        page.locator("#upload").click()
    chooser.value.set_files(file)
    expect(page.locator("#pictures")).to_contain_text(
        "8 pictures to train on, 2 to validate, 2 to test. 2 classes: cats"
    )
    expect(page.locator("#pictures img")).to_have_count(8)
    expect(page.get_by_label("my-pets (uploaded)")).to_be_checked()
    expect(page.locator("#student")).to_contain_text("RED blocks")
    page.locator("#teach").click()
    expect(page.locator("#student")).to_contain_text("own strides")
    expect(page.get_by_label("my-pets (uploaded)")).to_be_checked()
    write_classes(tmp_path / "Birds", {"owls": 5, "żurawie": 5})
    (tmp_path / "Birds" / "owls" / ".DS_Store").write_text("left by a system")
    page.locator("#folder input").set_input_files(tmp_path / "Birds")
    expect(page.get_by_label("birds (uploaded)")).to_be_checked()
    expect(page.locator("#pictures")).to_contain_text("2 classes: owls, żurawie")
    other = open_page()
    unfold(other, "tab", "Distill")
    expect(other.get_by_label("birds (uploaded)")).to_have_count(1)
    fill(page, "Or a data set of the Hugging Face Hub", "no id at all")
    page.locator("#fetch").click()
    expect(page.locator("#data-said")).to_contain_text("expected owner/name")


def test_a_clicked_image_shows_its_way_and_downloads_carry_their_settings(open_page, tmp_path):
    page = open_page()
    unfold(page, "tab", "Generate")
    page.set_viewport_size({"width": 390, "height": 844})  # at once, the tab would lie in a menu
    fill(page, "number input for Images", 4)
    fill(page, "number input for Denoising steps", 3)
    page.locator("#generate").click()
    expect(page.locator("#grids")).to_contain_text("4 images, measured")
    page.locator("#grids button[data-seed='2']").first.click()
    expect(page.locator("#way figure")).to_have_count(2 * (1 + 3))
    expect(page.locator("#way")).to_contain_text("Seed 2")
    with page.expect_download() as download:
        page.locator("#way a").first.click()
    download.value.save_as(tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as image:
        assert image.size == (32, 32)
    drawing = SampleSettings.from_dict(read_settings(tmp_path / "one.png"))
    assert (drawing.checkpoint, drawing.seeds, drawing.steps) == (FACES_TEACHER, (2,), 3)
    with page.expect_download() as download:
        page.get_by_role("button", name="All images as zip").click()
    download.value.save_as(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert json.loads(archive.read("settings.json"))["networks"][0]["seeds"] == [0, 1, 2, 3]
        assert len(archive.namelist()) == 2 + 2 * 4
    page.locator("#way").get_by_role("button", name="nearest").click()
    expect(page.locator("#near figure")).to_have_count(2 * 5)
    drawn(page, "#generate-memory")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
