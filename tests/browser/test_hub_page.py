"""A run's network goes to the Hub from the page and comes back by its name; the Hub is a server on this machine."""

from __future__ import annotations

import pytest
from helpers.browser import PATIENCE, drawn, fill, unfold
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_a_network_is_pushed_and_comes_back_as_teacher_and_in_explore(context, with_hub):
    address, hub = with_hub
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    drawn(page, "#memory")
    unfold(page, "tab", "Distill")
    unfold(page, "button", "Push it to the Hub")
    for name, answer in (("small", "expected owner/name"), ("someone/small", "hub:someone/small")):
        fill(page, "Repository", name)
        page.locator("#push").click()
        expect(page.locator("#push-said")).to_contain_text(answer)
    assert "model.safetensors" in hub.repositories["someone/small"]

    unfold(page, "button", "A network from elsewhere as teacher")
    page.locator("#elsewhere-source").get_by_role("textbox").fill("hub:someone/small")
    page.locator("#elsewhere-take").click()
    expect(page.get_by_label("someone/small (from the Hub)")).to_be_checked()
    expect(page.locator("#student")).to_contain_text("teacher 320 KiB")

    unfold(page, "tab", "Explore")
    teacher = page.get_by_role("combobox", name="Teacher")
    teacher.fill("hub:someone/small")
    teacher.press("Enter")
    expect(teacher).to_have_value("Narrow ResNet (narrow_resnet)")
    page.close()
