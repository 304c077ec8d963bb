"""Every tab has an address, and the head of the page leads to what people come for."""

from __future__ import annotations

from helpers.browser import choose_stride, drawn
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
    expect(page.get_by_role("combobox", name="Teacher")).to_have_value("MobileNetV2 (mobilenet_v2)")
    page.locator("#budget input").click()
    page.get_by_role("option", name="STM32H750").click()
    expect(page.locator("#front")).to_contain_text("STM32H750: ")  # whose flash is small: found at once
    expect(page.locator("#front")).to_contain_text("at any strides")


def test_what_was_found_for_other_settings_says_so(open_page):
    page = open_page("?teacher=mobilenet_v2&size=64&budget=65536")
    page.locator("#search button.label-wrap").click()
    page.locator("#search-start").click()
    expect(page.locator("#front")).to_contain_text("fits 64 KiB")
    page.locator("#front tbody button").first.click()  # which changes the strides alone
    drawn(page, "#memory")
    expect(page.locator("#front .outdated")).to_have_count(0)
    page.get_by_label("int8").check()
    expect(page.locator("#front .outdated")).to_be_visible()
    page.locator("#search-start").click()
    expect(page.locator("#front")).to_contain_text("fused, int8")
    expect(page.locator("#front .outdated")).to_have_count(0)


def test_on_the_way_back_the_address_says_what_the_page_shows(open_page):
    page = open_page("?teacher=narrow_resnet&size=64")
    for stride in (4, 8):
        choose_stride(page, "conv1", stride)
        page.wait_for_url(f"**&strides={stride},*")
        page.get_by_role("tab", name="Compare").click()
        page.wait_for_url("**#compare*")
        page.get_by_role("tab", name="Explore").click()
        page.wait_for_url("**#explore")
    for _ in range(4):
        page.go_back()
        page.wait_for_url("**&strides=8,*")
    expect(page.locator("[data-layer='conv1'] input[value='8']")).to_be_checked()


def test_settings_outlast_other_tabs_doors_and_a_reload(open_page):
    page = open_page("?teacher=narrow_resnet&size=64")
    eight = page.locator("[data-layer='conv1'] input[value='8']")
    choose_stride(page, "conv1", 8)
    page.wait_for_url("**&strides=8,*")
    page.evaluate("window.isSame = true")
    page.get_by_role("link", name="See results").click()
    expect(page.get_by_role("tab", selected=True)).to_have_text("Compare")
    page.get_by_role("tab", name="Explore").click()
    expect(eight).to_be_checked()
    assert page.evaluate("window.isSame"), "the door loaded the page anew"
    page.wait_for_url("**&strides=8,*#explore")
    page.reload()
    expect(eight).to_be_checked()


def test_the_door_to_results_keeps_what_they_were_filtered_by(open_page):
    page = open_page()
    page.get_by_role("tab", name="Compare").click()
    page.get_by_label("emoji-faces, v-prediction").check()
    page.wait_for_url("**#compare?on=emoji-faces*")
    address = page.url
    page.get_by_role("tab", name="Explore").click()
    page.get_by_role("link", name="See results").click()
    page.wait_for_url(address)
    page.evaluate("location.hash = '#compare'")
    page.wait_for_url(address)
    page.evaluate("location.hash = '#lesson-6'")  # which asks about results
    page.wait_for_url(address.replace("#compare", "#lesson-6"))
    page.reload()
    expect(page.locator("#lesson h2:visible")).to_contain_text("6. ")
    expect(page.get_by_label("emoji-faces, v-prediction")).to_be_checked()


def test_the_way_back_to_a_step_of_the_lesson_keeps_what_a_hand_has_changed(open_page):
    page = open_page()
    page.get_by_role("link", name="Lesson").click()
    page.wait_for_url("**#lesson-1")
    eight = page.locator("[data-layer='conv1'] input[value='8']")
    expect(eight).not_to_be_checked()
    for tab in ("Distill", "Explore"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_url(f"**#{tab.lower()}")
    choose_stride(page, "conv1", 8)
    page.wait_for_url("**&strides=8,*#explore")
    for place in ("distill", "lesson-1"):
        page.go_back()
        page.wait_for_url(f"**&strides=8,*#{place}")
    page.reload()
    expect(page.locator("#lesson h2:visible")).to_contain_text("1. ")
    expect(eight).to_be_checked()
