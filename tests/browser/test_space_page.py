"""The page of a Space in two browsers: a visitor goes the whole way, and another one finds nothing of it."""

from __future__ import annotations

import pytest
from helpers.browser import PATIENCE, choose_stride, drawn, fill, unfold
from helpers.lending import called
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser
RUN = "RED + KD · seed 0"


def test_a_visitor_goes_the_whole_way_and_another_one_sees_nothing_of_it(context, space, request, tmp_path):
    is_lent = "ZeroGPU" in request.node.callspec.id
    elsewhere: list[str] = []

    def arrive() -> Page:
        page = context.browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        page.set_default_timeout(PATIENCE)
        ours = (space, "data:", "blob:")
        page.on("request", lambda sent: None if sent.url.startswith(ours) else elsewhere.append(sent.url))
        look(page)
        return page

    def look(page: Page) -> None:
        page.goto(space)
        drawn(page, "#memory")

    first = arrive()
    choose_stride(first, "conv1", 8)
    expect(first.locator("#summary")).to_contain_text("5.0×")

    unfold(first, "tab", "Distill")
    expect(first.locator("#limits")).to_contain_text("7 days")
    expect(first.locator("#limits")).to_be_visible()
    fill(first, "Steps", 30_000)
    first.locator("#start").click()
    expect(first.locator("#refusal")).to_contain_text("at most 20,000 steps")
    fill(first, "Steps", 4)
    fill(first, "Batch", 8)
    unfold(first, "button", "All other settings")
    first.get_by_label("Learn also from a bad teacher").check()  # it has hardly learnt
    fill(first, "Training images (empty: all)", 48)
    first.locator("#start").click()
    expect(first.locator("#progress")).to_contain_text("test accuracy: ", timeout=3 * PATIENCE)

    unfold(first, "tab", "Compare")
    expect(first.locator("#results")).to_contain_text(RUN)
    unfold(first, "tab", "Generate")
    fill(first, "number input for Denoising steps", 2)
    fill(first, "number input for Images", 4)
    first.locator("#generate").click()
    expect(first.locator("#generate-said")).to_contain_text("Done")
    expect(first.locator("#grids img")).to_have_count(8)
    if is_lent:
        expect(first.locator("#generate-said")).to_contain_text("Of the GPU, you have used")
        assert called(tmp_path / "spaces") == ["measure", *3 * ["take_stretch"], "draw_some"]

    look(first)  # a reload is the same visitor
    unfold(first, "tab", "Distill")
    expect(first.locator("#runs label")).to_have_count(1)
    expect(first.locator("#progress")).to_contain_text("finished")
    second = arrive()
    unfold(second, "tab", "Distill")
    expect(second.locator("#progress")).to_contain_text("No run yet")
    expect(second.locator("#runs label")).to_have_count(0)
    unfold(second, "tab", "Compare")
    drawn(second, "#plane")
    expect(second.locator("#results")).not_to_contain_text(RUN)
    assert elsewhere == []
    for page in (first, second):
        page.context.close()
