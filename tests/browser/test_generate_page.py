"""Tab Generate in a real browser: drawing, stopping, looking closer, downloads."""

from __future__ import annotations

import json
import zipfile

import pytest
from helpers.browser import drawn, fill, unfold
from PIL import Image
from playwright.sync_api import expect

from redistill.diffusion.images import SampleSettings, read_settings
from redistill.training.presets import FACES_TEACHER

pytestmark = pytest.mark.browser


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
    expect(page.locator("#grids img")).to_have_count(10)


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
