"""Every tab has an address, and the head of the page leads to what people come for."""

from __future__ import annotations

from playwright.sync_api import expect


def test_a_tab_has_an_address_that_a_reload_keeps_and_the_way_back_follows(open_page):
    page = open_page()
    expect(page.locator(".nav-holder")).to_be_hidden()  # gradio's, which would name this page alone
    page.evaluate("location.hash = '#compare'")
    chosen = page.get_by_role("tab", selected=True)
    expect(chosen).to_have_text("Compare")
    page.get_by_role("link", name="Train a small network").click()
    expect(chosen).to_have_text("Distill")
    expect(page.get_by_text("12,000 pictures to train on")).to_be_visible()  # a reload tells of what it interrupts
    page.get_by_role("tab", name="Generate").click()
    page.wait_for_url("**/#generate")
    page.go_back()
    expect(chosen).to_have_text("Distill")
    page.reload()
    expect(chosen).to_have_text("Distill")


def test_a_chip_is_fitted_by_one_click(open_page):
    page = open_page()
    page.get_by_role("link", name="Fit my chip").click()
    expect(page.locator("#front")).to_contain_text("stride settings fit 488 KiB")
    expect(page.get_by_role("combobox", name="Teacher")).to_have_value("MobileNetV2")
