"""The lesson moves the page's own controls, step by step, and words are explained where they stand."""

from __future__ import annotations

import pytest
from helpers.browser import AXE, drawn, in_both_schemes, still
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_a_lesson_moves_the_controls_and_keeps_its_place(open_page):
    page = open_page()
    page.get_by_role("link", name="Lesson").click()
    head = page.locator("#lesson h2:visible")
    expect(head).to_contain_text("1. ")
    expect(page.locator("#alive button.label-wrap.open")).to_be_visible()
    drawn(page, "#memory")
    expect(page.locator("#accuracy")).to_contain_text("Narrow ResNet")  # which is asked for last
    page.locator("#lesson a:visible", has_text="Next").click()
    expect(head).to_contain_text("2. ")
    drawn(page, "#memory")
    expect(page.get_by_role("combobox", name="Teacher").first).to_have_value("ResNet-18 (resnet18)")
    expect(page.locator("[data-layer='conv1'] input[value='8']")).to_be_checked()
    page.locator("#lesson summary:visible").click()
    expect(page.locator("#lesson details[open] p")).to_contain_text("5.0 times")
    page.evaluate(AXE)
    faults = in_both_schemes(still(page))
    assert not faults, "\n".join(faults)
    page.locator("#lesson nav a:visible", has_text="6").click()
    expect(page.get_by_role("tab", selected=True)).to_have_text("Compare")
    page.reload()
    expect(head).to_contain_text("6. ")
    page.locator("#lesson nav a:visible", has_text="5").click()
    expect(page.locator("#pooled-look")).to_be_visible()
    page.locator("#lesson a:visible", has_text="Close").click()
    expect(head).to_have_count(0)
    expect(page.get_by_role("tab", selected=True)).to_have_text("Explore")


def test_a_step_that_is_named_alone_sets_what_it_asks_about(open_page):
    page = open_page("?teacher=narrow_resnet&size=64#explore")
    expect(page.locator("#summary")).to_contain_text("from 320 KiB")
    page.evaluate("location.hash = '#lesson-3'")
    expect(page.locator("#summary")).to_contain_text("to 1.34 MiB")
    expect(page.locator("#lesson h2:visible")).to_contain_text("3. ")
    alone = open_page("#lesson-2")
    expect(alone.locator("[data-layer='conv1'] input[value='8']")).to_be_checked()
    expect(alone.locator("#summary")).to_contain_text("to 0.77 MiB (conv1)")
    expect(alone.locator("#summary")).not_to_contain_text("RED blocks included")
    alone.locator("[data-layer='conv1'] input[value='4']").check()
    alone.wait_for_url("**strides=4,1,2,2,1**")
    alone.get_by_role("tab", name="Compare").click()
    alone.go_back()
    expect(alone.locator("#lesson h2:visible")).to_contain_text("2. ")
    expect(alone.locator("[data-layer='conv1'] input[value='4']")).to_be_checked()


def test_words_are_explained_to_the_keyboard(open_page):
    page = open_page()
    page.get_by_role("button", name="What is fused?").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("every map is freed after its last use")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_text("every map is freed after its last use")).to_be_hidden()
