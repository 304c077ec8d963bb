"""Tab Compare in a real browser: two results chosen in plane and table, one that fills the form."""

from __future__ import annotations

import csv

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


def test_two_results_are_compared_and_one_fills_the_form(open_page):
    page = open_page(width=390, height=844)
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
