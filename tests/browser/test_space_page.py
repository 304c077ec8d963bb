"""The page of a Space in two browsers: each visitor finds their own runs, and nothing is fetched from elsewhere."""

from __future__ import annotations

import pytest
from helpers.browser import PATIENCE, drawn, fill, unfold
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def test_a_second_visitor_sees_nothing_of_the_first_ones_run(context, space):
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
        unfold(page, "tab", "Distill")

    first, second = arrive(), arrive()
    expect(first.locator("#limits")).to_contain_text("7 days")
    expect(first.locator("#limits")).to_be_visible()
    fill(first, "Steps", 30_000)
    first.locator("#start").click()
    expect(first.locator("#refusal")).to_contain_text("at most 20,000 steps")
    fill(first, "Steps", 2)
    first.locator("#start").click()
    expect(first.locator("#runs label")).to_have_count(1)
    look(first)  # a reload is the same visitor
    expect(first.locator("#runs label")).to_have_count(1)
    look(second)
    expect(second.locator("#progress")).to_contain_text("No run yet")
    expect(second.locator("#runs label")).to_have_count(0)
    assert elsewhere == []
    for page in (first, second):
        page.context.close()
