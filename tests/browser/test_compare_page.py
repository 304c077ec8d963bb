"""Tab Compare in a real browser: from the curve to two ticked results, files, and a link that shows the same."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from helpers.browser import unfold
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


STUDENT_POINT = """
() => {
  const host = document.querySelector('#plane .liveplot');
  const trace = host.data?.find(trace => trace.customdata?.includes('shipped:emoji-faces-student'));
  if (!trace) return null;
  const i = trace.customdata.indexOf('shipped:emoji-faces-student'), {xaxis, yaxis} = host._fullLayout;
  const {left, top} = host.getBoundingClientRect();
  return [left + xaxis._offset + xaxis.d2p(trace.x[i]), top + yaxis._offset + yaxis.d2p(trace.y[i])];
}"""


def typed(page, label, text):
    """Into a field in place of what is there: `fill` lets gradio's field hear nothing."""
    page.get_by_label(label).select_text()
    page.keyboard.type(text)


def rows(page):
    return page.locator("#results tbody tr:visible")


def test_results_to_curve_to_two_ticked_to_a_link_that_shows_the_same_elsewhere(open_page):
    page = open_page(width=390, height=844)
    unfold(page, "tab", "Compare")
    page.get_by_label("emoji-faces, v-prediction").check()
    expect(page.locator("#results")).to_contain_text("Emoji faces student")
    page.locator("#plane").scroll_into_view_if_needed()
    page.wait_for_function(STUDENT_POINT)
    page.mouse.click(*page.evaluate(STUDENT_POINT))
    expect(page.locator("#chosen")).to_contain_text("Small DDPM U-Net at 32 px, strides 2·2·2·1, RED blocks.")
    expect(page.locator("#differs")).to_contain_text("Tick another result")
    page.locator("#results [data-key='shipped:emoji-faces-teacher'][type=button]").hover()
    expect(page.locator("#plane .hovertext")).to_contain_text("Emoji faces teacher")
    page.get_by_role("checkbox", name="Compare Emoji faces teacher").click()
    expect(row_of(page, "Strides").locator("td")).to_have_text(["2·2·2·1", "own"])
    expect(page.locator("#differs")).not_to_contain_text("Test loss")  # which is the same in both
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("#results thead th").first.evaluate("cell => getComputedStyle(cell).position") == "sticky"

    typed(page, "Peak, KiB", "so many")
    expect(page.locator("#sight .field-refusal")).to_contain_text("Peaks are 'so many'; expected two ends")
    page.get_by_label("Peak, KiB").select_text()
    page.keyboard.press("Delete")
    expect(page.locator("#sight .field-refusal")).to_have_count(0)
    typed(page, "Words in the name", "no such network")
    expect(rows(page)).to_have_count(0)
    expect(page.locator("#results .nothing")).to_be_visible()
    typed(page, "Words in the name", "Teacher ready-made")
    expect(rows(page)).to_have_count(1)
    typed(page, "Test loss", "0.5-2")
    page.wait_for_url("**/*score=0.5-2*")
    for other in (open_page(), open_page(color_scheme="dark")):
        other.goto(page.url)  # put in where another tab was open
        if other.evaluate("matchMedia('(prefers-color-scheme: dark)').matches"):
            other.reload()
        expect(row_of(other, "Strides").locator("td")).to_have_text(["2·2·2·1", "own"])
        expect(other.get_by_label("Words in the name")).to_have_value("Teacher ready-made")
        expect(other.get_by_label("Test loss")).to_have_value("0.5-2")
        expect(rows(other)).to_have_count(1)
        other.wait_for_function("document.querySelector('#plane .liveplot').layout?.yaxis.range[1] === 2")
        other.wait_for_url(page.url)
    other.get_by_role("tab", name="Generate").click()
    other.get_by_role("tab", name="Compare").click()
    other.wait_for_url(page.url)
    other.locator("#whole").click()
    expect(rows(other)).to_have_count(2)


def row_of(page, name):
    return page.locator("#differs tr", has=page.get_by_role("rowheader", name=name, exact=True))


def test_results_are_saved_and_one_fills_the_form(open_page):
    page = open_page()
    unfold(page, "tab", "Compare")
    page.get_by_label("emoji-faces, v-prediction").check()
    page.get_by_role("checkbox", name="Compare Emoji faces teacher").click()
    expect(page.locator("#chosen")).to_contain_text("Emoji faces teacher")
    texts = {}
    for button, ending in (("CSV", "csv"), ("LaTeX", "tex"), ("Markdown", "md")):
        with page.expect_download() as saving:
            page.get_by_role("button", name=f"Save as {button}").click()
        assert saving.value.suggested_filename == f"redistill-emoji-faces-v-prediction.{ending}"
        texts[ending] = Path(saving.value.path()).read_text()
    saved = {line["network"]: line for line in csv.DictReader(texts["csv"].splitlines())}
    assert saved["Emoji faces student"]["Strides"] == "2·2·2·1" and float(saved["Emoji faces teacher"]["score"]) == 1
    assert "Emoji faces student" in texts["tex"] and "| Emoji faces student |" in texts["md"]
    with page.expect_download() as saving:
        page.locator("#dots [data-format=svg]").click()
    assert saving.value.suggested_filename == "redistill-emoji-faces-v-prediction-memory.svg"
    page.locator("#load").click()
    expect(page.locator("#student")).to_contain_text("Small DDPM U-Net, own strides, 32 px")


THERE_AND_BACK = """async () => {
  const inputs = [...document.querySelectorAll('#groups input')], last = inputs.find(input => input.checked);
  for (const input of [inputs.find(input => input !== last), last]) {
    input.click();
    await new Promise(resolve => setTimeout(resolve, 20));
  }
}"""


def test_of_two_quick_clicks_the_second_counts(open_page):
    page = open_page()
    unfold(page, "tab", "Compare")
    chosen = page.locator("#groups label", has=page.locator("input:checked"))
    expect(chosen).to_have_count(1)
    expect(rows(page).first).to_be_visible()
    name, shown = chosen.inner_text(), page.locator("#results").inner_text()
    page.evaluate(THERE_AND_BACK)
    page.wait_for_timeout(2000)  # for an answer that would take it back
    expect(chosen).to_have_text(name, use_inner_text=True)
    expect(page.locator("#results")).to_have_text(shown, use_inner_text=True)
