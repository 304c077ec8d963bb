"""What axe-core and the keyboard find on every tab: folded and unfolded, in light and dark."""

from __future__ import annotations

import pytest
from helpers.browser import AXE, in_both_schemes, settle, still
from playwright.sync_api import Page, expect

from benchmarks.screens import TABS, unfold

pytestmark = pytest.mark.browser

# Of whatever can be stood on: what shows no ring when it is. One press of a key before makes scripts count as one.
RINGLESS = """() => {
  const cut = (node, out) => {  // what stands out of a block is cut off
    const block = node.closest('.block');
    if (out <= 0 || !block || getComputedStyle(block).overflow === 'visible') return false;
    const own = node.getBoundingClientRect(), around = block.getBoundingClientRect();
    return own.left - out < around.left || own.right + out > around.right || own.bottom + out > around.bottom;
  };
  const ring = node => {
    const {outlineStyle, outlineWidth, outlineOffset, outlineColor} = getComputedStyle(node);
    const wide = parseFloat(outlineWidth);
    const isSeen = outlineStyle !== 'none' && wide >= 2 && !/, 0\\)$/.test(outlineColor);
    return isSeen && !cut(node, wide + parseFloat(outlineOffset));
  };
  const inside = 'a[href], button, input, select, textarea, summary, [tabindex]';
  const nodes = [...document.querySelectorAll(inside)].filter(node =>
    node.tabIndex >= 0 && !node.disabled && node.checkVisibility({visibilityProperty: true}));
  const without = nodes.filter(node => {
    node.focus({preventScroll: true});
    if (document.activeElement !== node) return false;
    return !ring(node) && !(node.nextElementSibling && ring(node.nextElementSibling)) && !ring(node.parentElement)
      && !ring(node.closest('.wrap-inner') ?? node);
  });
  return [nodes.length, without.map(node => node.outerHTML.slice(0, 200))];
}"""
HEADINGS = """() => [...document.querySelectorAll('h1, h2, h3')].filter(node => node.checkVisibility())
  .map(node => [node.tagName, node.textContent.trim()])"""


def opened(page: Page, tab: str) -> None:
    page.evaluate(f"location.hash = '{tab}'")
    expect(page.get_by_role("tab", selected=True)).to_have_text(tab.capitalize())
    settle(page)


@pytest.mark.parametrize("tab", TABS)
def test_no_tab_has_a_fault_that_axe_finds(open_page, tab):
    page = still(open_page())
    page.evaluate(AXE)
    opened(page, tab)
    if tab == "compare":  # a chosen row is shaded
        page.get_by_label("emoji-faces, v-prediction").check()
        expect(page.locator("#results")).to_contain_text("Emoji faces student")
        page.locator("#results tbody button").first.click()
        expect(page.locator("#results [aria-selected=true]")).to_be_visible()
    faults = in_both_schemes(page)
    assert not faults, "\n".join(faults)
    unfold(page)
    if tab == "explore":  # which pins also where the fields that were unfolded are empty
        page.locator("#pin").click()
        expect(page.locator("#board tbody tr")).to_have_count(2)
    faults = in_both_schemes(page)
    assert not faults, "\n".join(faults)


def test_whatever_the_keyboard_reaches_shows_a_ring(open_page):
    page = still(open_page())
    for tab in TABS:
        opened(page, tab)
        unfold(page)
        page.keyboard.press("Tab")
        count, ringless = page.evaluate(RINGLESS)
        assert count > 10 and ringless == [], tab


def test_every_tab_has_headings_below_that_of_the_page(open_page):
    page = open_page()
    for tab in TABS:
        opened(page, tab)
        expect(page.locator("h3:visible").first).to_be_attached()
        levels = [level for level, _ in page.evaluate(HEADINGS)]
        assert levels[:2] == ["H1", "H2"] and levels.count("H1") == levels.count("H2") == 1 and "H3" in levels, tab


def test_the_key_that_leaves_a_list_closes_it_and_comes_to_the_next_control(open_page):
    page = still(open_page())
    seen = set()
    for tab in TABS:
        opened(page, tab)
        unfold(page)
        for box in page.locator("input[role=combobox]:visible").all():
            seen.add(box.get_attribute("aria-label"))
            box.focus()
            expect(box).to_have_attribute("aria-expanded", "true")
            box.press("Tab")
            reached = page.evaluate("document.activeElement.tagName")
            assert reached in ("INPUT", "BUTTON", "A", "TEXTAREA"), (tab, box.get_attribute("aria-label"))
            expect(page.locator("[role=listbox]")).to_have_count(0)
    assert {"Teacher", "Chip to fit, or memory budget", "With the weights of"} <= seen


def test_arrows_move_between_the_choices_of_a_group(open_page):
    page = still(open_page())
    page.get_by_label("fp32", exact=True).focus()
    for key, chosen in (("ArrowRight", "fp16"), ("ArrowDown", "bf16"), ("ArrowLeft", "fp16"), ("ArrowUp", "fp32")):
        page.keyboard.press(key)
        expect(page.get_by_label(chosen, exact=True)).to_be_checked()
        expect(page.get_by_label(chosen, exact=True)).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(page.get_by_label("int8", exact=True)).to_be_focused()


def test_a_button_that_waits_or_goes_leaves_the_keyboard_where_it_was(open_page):
    page = still(open_page())
    page.locator("#search button.label-wrap").click()
    settle(page)
    page.locator("#search-start").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#front")).to_contain_text("stride settings")
    expect(page.locator("#search-start")).to_be_focused()
    page.locator("#pin").focus()
    page.keyboard.press("Enter")
    remove = page.locator("#board button").last
    remove.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#board tbody tr")).to_have_count(0)
    assert page.evaluate("new Promise(done => setTimeout(() => done(document.activeElement.tagName), 600))") != "BODY"


@pytest.mark.parametrize("width", [390, 700, 1024, 1280, 1366, 1600])
def test_strides_fit_their_card(open_page, width):
    page = open_page("?teacher=resnet18&size=1024", width=width)
    over = page.evaluate("""() => [...document.querySelectorAll('.stride-row')].map(row =>
      row.closest('.card').getBoundingClientRect().right - row.lastElementChild.getBoundingClientRect().right)""")
    assert min(over) >= 8, over
