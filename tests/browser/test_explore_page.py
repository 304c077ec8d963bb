"""Tab Explore in a real browser: the chart and what is clicked in it, links, search, pins, what is saved."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from helpers.browser import BARS, Held, bars, becomes, choose_stride, fill, unfold, wait_until
from PIL import Image
from playwright.sync_api import Page, expect

from app.explore.accuracy_panel import MEASURED
from app.explore.form import INPUTS
from app.parts.budget import CONTROLS
from app.parts.counting import compare_as
from app.parts.networks import few
from app.words.numbers import format_bytes
from redistill.memory.comparison import network_tape
from redistill.memory.usual_strides import early_strides
from redistill.networks.student import StudentConfig

pytestmark = pytest.mark.browser


def open_narrow(open_page, **look) -> Page:
    """Explore at the narrow ResNet and its usual student, once the link is read."""
    page = open_page("?teacher=narrow_resnet&size=64", **look)
    expect(page.locator("#summary")).to_contain_text("from 320 KiB")
    page.wait_for_function(f"Math.max(...{BARS}[0]) === 320")
    return page


def test_strides_that_do_not_fit_are_said_and_the_chart_stays(open_page):
    page = open_narrow(open_page)
    before = bars(page)
    choose_stride(page, "layer4.0", 8)
    expect(page.locator("#summary")).to_contain_text("reduce the image 128 times, but it has 64 pixels a side")
    expect(page.locator("#to-distil")).to_be_disabled()
    assert bars(page) == before
    choose_stride(page, "layer4.0", 2)
    expect(page.locator("#summary")).to_contain_text("Peak falls")
    expect(page.locator("#to-distil")).to_be_enabled()
    side = page.get_by_label("number input for Image side, pixels")
    side.fill("2000")
    side.press("Tab")
    expect(side).to_have_value("1024")
    expect(page.locator("#summary")).to_contain_text("the student peaks at 16.00 MiB")  # 256 times that of 64 px


LINK = (
    "?teacher=unet_small&size=48&strides=2,2,2,1&red=on&residual_kernel=5&points=outputs&count=eager&dtype=fp16"
    "&budget=262144"
)
SEARCHED = "timm:mobilenetv4_conv_small"
CLICK_AFTER_KEY = """(option, key) => {
  document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
  option.dispatchEvent(new MouseEvent('mousedown', {bubbles: true}));
}"""


def test_a_network_is_searched_by_typing_edited_pinned_and_linked(open_page, site):
    page = open_narrow(open_page)
    teacher = page.get_by_role("combobox", name="Teacher")
    teacher.click()
    teacher.press_sequentially("mobilenetv4")
    options = page.get_by_role("option")
    expect(page.get_by_role("option", name=SEARCHED, exact=True)).to_be_visible()
    expect(options.filter(has_not_text="mobilenetv4")).to_have_count(0)
    page.get_by_role("option", name=SEARCHED, exact=True).click()
    expect(page.locator("[data-layer='conv_stem'] input[value='4']")).to_be_checked()  # early
    expect(page.get_by_label("number input for Image side, pixels")).to_have_value("224")
    choose_stride(page, "conv_stem", 8)
    expect(page.locator("#summary")).to_contain_text("Peak falls")
    unfold(page, "button", "Other images")
    fill(page, "Width, px (empty or 0: square)", 160)
    fill(page, "Batch", 2)
    page.wait_for_url("**&size=224x160&batch=2&**")  # the page shows it: what is shown is pinned
    page.locator("#pin").click()
    expect(page.locator("#board")).to_contain_text("224×160 px, batch 2")
    page.wait_for_url(f"**teacher={SEARCHED}&size=224x160&batch=2&**pin=A;teacher:{SEARCHED};*")
    again = open_page(page.url.removeprefix(f"{site}/"))
    expect(again.get_by_role("combobox", name="Teacher")).to_have_value(SEARCHED)
    expect(again.locator("[data-layer='conv_stem'] input[value='8']")).to_be_checked()
    expect(again.locator("#board")).to_contain_text(f"A {SEARCHED.removeprefix('timm:')} (timm) 8")
    summary = page.locator("#summary").inner_text()
    expect(again.locator("#summary")).to_have_text(summary, use_inner_text=True)
    teacher = again.get_by_role("combobox", name="Teacher")
    teacher.click()
    expect(again.get_by_role("option").first).not_to_have_attribute("aria-setsize", str(len(few())))
    teacher.press_sequentially("resnet50")  # in the name of eight others
    teacher.press("Enter")
    expect(again.get_by_label("number input for Image side, pixels")).to_have_value("224")
    expect(teacher).to_have_value("ResNet-50 (resnet50)")
    expect(again.locator("#summary")).to_contain_text("Peak falls from 13.78 MiB")
    teacher.fill("no_such_network")
    teacher.press("Tab")
    expect(again.locator("#summary")).to_contain_text("No network 'no_such_network'")


def test_a_network_clicked_just_after_a_key_is_chosen_and_its_list_goes_and_gets_shorter(open_page):
    page = open_narrow(open_page)
    teacher = page.get_by_role("combobox", name="Teacher")
    teacher.click()
    options = page.get_by_role("option")
    expect(options.first).not_to_have_attribute("aria-setsize", str(len(few())))  # all that can be searched are there
    teacher.press_sequentially("mobilenetv4")
    option = page.get_by_role("option", name=SEARCHED, exact=True)
    expect(option).to_be_visible()
    option.evaluate(CLICK_AFTER_KEY, "Shift")  # gradio looks at the key when the box has been left
    expect(page.locator("[data-layer='conv_stem'] input[value='4']")).to_be_checked()
    expect(options).to_have_count(0)
    expect(teacher).to_have_value(SEARCHED)
    page.wait_for_timeout(2000)  # nothing shows that a list which is closed has become shorter
    page.route("**/gradio_api/**", lambda route: None)  # no answer: or it would be long again
    teacher.focus()
    expect(options.first).to_have_attribute("aria-setsize", str(len(few())))


READ_CLIPBOARD = "navigator.clipboard.readText()"
CHOSEN = "[...document.querySelectorAll('#strides input:checked')].map(input => input.value)"


def test_a_link_restores_every_setting_and_the_copied_one_says_the_same(open_page, site):
    page = open_page(LINK)
    expect(page.get_by_role("combobox", name="Teacher")).to_have_value("Small DDPM U-Net (unet_small)")
    expect(page.locator("#strides input:checked")).to_have_count(4)
    becomes(page, CHOSEN, ["2", "2", "2", "1"])
    unfold(page, "button", "Inside a RED block")
    for group, choice in (
        ("Kernel of the residual encoder", "5"),
        ("Aligned points that carry one", "outputs"),
        ("Counted as", "PyTorch (eager)"),
        ("Numbers", "fp16"),
    ):
        expect(page.locator("fieldset", has_text=group).get_by_label(choice, exact=True)).to_be_checked()
    expect(page.locator("#budget input")).to_have_value("Other")
    expect(page.locator("#budget-kib input")).to_have_value("256")
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
    page = open_page(LINK)
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
    becomes(page, BARS, bars(usual))
    choose_stride(page, "conv1", 2)
    expect(page.locator("#link-said")).not_to_contain_text("teacher")
    page.wait_for_url(f"{site}/?teacher=resnet18&size=224&strides=2,1,2,2,1&red=on&count=fused&dtype=fp32")


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
    becomes(page, CHOSEN, strides)
    page.wait_for_url(
        f"{site}/?teacher=narrow_resnet&size=96&strides={','.join(strides)}&red=on&count=fused&dtype=fp32&budget=131072"
    )
    expect(page.locator("#budget-kib input")).to_have_value("128")


def test_accuracy_follows_the_strides_and_the_student_is_saved(open_page):
    page = open_page("?teacher=narrow_resnet&size=64&red=off")
    accuracy = page.locator("#accuracy")
    expect(accuracy).to_contain_text("of 1,000 validation pictures")
    expect(accuracy).to_contain_text("% at 64.0 KiB")
    choose_stride(page, "conv1", 2)
    choose_stride(page, "maxpool", 2)
    expect(accuracy).to_contain_text("at 112 KiB")
    expect(accuracy).to_contain_text("of 1,000 validation pictures")
    page.locator("#save-student").click()
    expect(page.locator("#student-saved")).to_contain_text("emoji-clutter-any at 2·2·2·2·1")
    page.get_by_role("combobox", name="With the weights of").click()
    page.get_by_role("option", name="none").click()
    expect(accuracy).to_contain_text("One network for every budget")
    expect(page.locator("#save-student")).to_be_hidden()


def test_an_accuracy_that_comes_late_is_not_told_of_other_strides(open_page):
    page = open_page("?teacher=narrow_resnet&size=64&red=off")
    accuracy = page.locator("#accuracy")
    expect(accuracy).to_contain_text("of 1,000 validation pictures")
    told = accuracy.inner_text()
    late = Held(page, "accuracy", "unmeasured")
    choose_stride(page, "conv1", 2)
    expect(accuracy).to_contain_text("Measuring")
    late.wait()
    choose_stride(page, "conv1", 4)
    expect(accuracy).to_have_text(told, use_inner_text=True)
    page.evaluate(f"document.addEventListener('{MEASURED}', () => window.isMeasured = true), null")
    late.let_go()
    page.wait_for_function("window.isMeasured")
    expect(accuracy).to_have_text(told, use_inner_text=True)
    choose_stride(page, "conv1", 2)
    expect(accuracy).to_contain_text("at 192 KiB")
    expect(accuracy).to_contain_text("of 1,000 validation pictures")


def test_a_real_pass_allocates_what_the_page_computes(open_page):
    page = open_page("?teacher=unet_small", width=390, height=844)
    page.get_by_role("button", name="Measure on this machine").click()
    measured = page.locator("#measured")
    expect(measured).to_contain_text("Exact to the byte.")
    rows = [row.split() for row in measured.locator("tbody tr").all_inner_texts()]
    assert [row[0] for row in rows] == ["computed", "measured", "difference"]
    assert rows[0][1:] == rows[1][1:] and rows[2][1:] == ["0", "0"]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_patches_are_counted_for_the_strides_that_are_shown(open_page):
    page = open_page("?teacher=resnet18&size=224&strides=4,1,2,2,1&red=off", width=390, height=844)
    unfold(page, "button", "Compute it patch by patch")
    page.locator("#patches-start").click()
    patched = page.locator("#patched")
    expect(patched).to_contain_text("Student: patching to layer")
    expect(patched).to_contain_text("in place of 2.30 MiB")
    expect(patched.locator("tbody tr.best")).to_have_count(2)
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
    page = open_narrow(open_page)
    summary, field = page.locator("#summary"), page.locator("#budget-kib input")
    expect(page.locator("#budget-said")).to_have_count(0)
    choose_option(page, "#budget", "Arduino Nano 33 BLE, 192 KiB")
    expect(summary).to_contain_text("the teacher does not fit: 128 KiB too much; the student fits, 128 KiB to spare")
    expect(summary).to_contain_text(".onnx file, its size computed within 2 %, 896 KiB of flash: the teacher’s")
    page.locator("#budget-reserve input").fill("192")
    expect(summary).to_contain_text("64.0 KiB for activations")
    expect(summary).to_contain_text("the student fits exactly")
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
    page = open_narrow(open_page)
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
    page = open_narrow(open_page, width=390, height=844)
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
    page = open_narrow(open_page)
    unfold(page, "button", "Layers as a table")
    table = page.locator("#layers table")
    expect(table.locator("tbody td").nth(1)).to_have_text("conv1")
    page.get_by_role("button", name="Teacher", exact=True).click()
    table.get_by_role("button", name="Peak, bytes").click()
    peaks = [int(text.replace(",", "")) for text in table.locator("td:nth-child(3)").all_inner_texts()]
    assert peaks == sorted(peaks, reverse=True) and peaks[0] == 327680
    table.get_by_role("button", name="Peak, bytes").click()
    expect(table.locator("td:nth-child(3)").last).to_have_text("327,680")

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
    page = open_narrow(open_page, color_scheme="dark")
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


def test_from_a_chip_to_strides_that_fit_to_distil(open_page):
    page = open_page()
    summary, front = page.locator("#summary"), page.locator("#front")
    expect(summary).to_contain_text("from 3.83 MiB (maxpool) to 0.77 MiB (conv1): 5.0×")
    page.get_by_role("button", name="As the teacher").click()
    page.locator("fieldset", has_text="Numbers").get_by_label("int8", exact=True).check()
    choose_option(page, "#budget", "STM32H743, 512 KiB")
    expect(summary).to_contain_text(
        "the teacher does not fit: 468 KiB too much; the student does not fit: 1,840 KiB too much"
    )
    expect(summary).to_contain_text("and in no format (int8:")  # the weights, whatever the strides
    choose_option(page, "#budget", "ESP32-P4, 544 KiB")
    file = format_bytes(network_tape("resnet18").profile(dtype="int8").file_bytes)
    expect(summary).to_contain_text(f"of flash: the teacher’s {file} fits")
    page.locator("#budget-said button").click()
    expect(front).to_contain_text("best of")
    expect(front).to_contain_text("of 101 stride settings fit 544 KiB")
    row = front.locator("tr.best")
    strides = row.locator("td").nth(0).inner_text()
    row.locator("td").nth(1).click()
    expect(summary).to_contain_text("the student fits,")
    page.wait_for_url("**&dtype=int8&chip=esp32p4")
    page.locator("#to-distil").click()
    expect(page.locator("#student")).to_contain_text(f"strides {strides}, RED blocks")


def test_answers_that_come_late_leave_the_page_right(open_page):
    page = open_page("?teacher=narrow_resnet&size=96")  # of no trained weights
    summary, wanted, held = page.locator("#summary"), set(), []

    def hold(route) -> None:
        """Keep requests with a wanted number of values from the server."""
        if len(route.request.post_data_json["data"]) in wanted:
            held.append(route)
        else:
            route.continue_()

    def let_go() -> None:
        wanted.clear()
        while held:
            held.pop().continue_()

    expect(summary).to_contain_text("from 720 KiB")
    page.route("**/run/predict*", hold)
    wanted.add(len(INPUTS) + 1)
    page.get_by_role("button", name="As the teacher").click()
    wait_until(page, lambda: held, "the page asked nothing")
    wanted.clear()
    page.locator("fieldset", has_text="Numbers").get_by_label("int8", exact=True).check()
    expect(summary).to_contain_text("from 180 KiB (maxpool) to 36.0 KiB")
    let_go()
    expect(page.locator("[data-layer='conv1'] input[value='1']")).to_be_checked()
    expect(summary).to_contain_text("from 180 KiB (maxpool) to 432 KiB")

    wanted.add(len(CONTROLS))
    choose_option(page, "#budget", "Arduino Nano 33 BLE, 192 KiB")
    page.locator("#budget-reserve input").fill("192")
    expect(page.locator("#budget-said")).to_contain_text("64.0 KiB for activations")
    page.locator("#budget-said button").click()
    wait_until(page, lambda: held, "the page asked nothing")
    let_go()
    expect(page.locator("#front")).to_contain_text("fit 64 KiB")


def test_a_search_in_patches_is_saved_and_opened(open_page):
    page = open_page("?teacher=narrow_resnet&size=96&red=off")  # for which there are no weights, so that MACs count
    expect(page.get_by_label("RED blocks at the aligned layers")).not_to_be_checked()
    unfold(page, "button", "Find strides that fit")
    fill(page, page.get_by_label("Memory to fit, KiB"), 160)
    page.get_by_label("And patch by patch").check()
    page.locator("#search-start").click()
    row = page.locator("#front tr[data-query*='patch=']").first
    expect(row).to_contain_text("6×6")
    with page.expect_download() as saving:
        page.get_by_role("button", name="Save all as CSV").click()
    with open(saving.value.path(), newline="") as file:
        assert any(row["patches_to"] for row in csv.DictReader(file))
    row.locator("button").click()
    expect(page.locator("#summary")).to_contain_text("patches up to")
    expect(page.locator("#summary")).to_contain_text("in patches it fits")
    page.wait_for_url("**&patch=*")
    again = open_page("?" + page.url.partition("?")[2])
    expect(again.locator("#summary")).to_contain_text("in patches it fits")


def test_settings_that_do_not_fit_dim_the_chart_and_its_label_says_the_peaks(open_page):
    page = open_narrow(open_page)
    chart, opacity = page.locator("#memory .liveplot"), "getComputedStyle(document.querySelector('#memory')).opacity"
    expect(chart).to_have_accessible_name(re.compile("teacher peaks at 320 KiB in maxpool"))
    choose_stride(page, "layer4.0", 8)
    page.wait_for_function(f"{opacity} < 0.5")
    choose_stride(page, "layer4.0", 2)
    page.wait_for_function(f"{opacity} == 1")
