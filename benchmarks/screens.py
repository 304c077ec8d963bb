"""Pictures of every tab in a real browser: light and dark, on a phone and on a wide screen, folded and unfolded.

    python -m benchmarks.screens FOLDER [--tabs explore,generate] [--widths 390,1920] [--quick]

Starts the app on a free port of this machine with an empty folder of runs, as a first visitor finds it, and writes
`TAB-WIDTH-light.png` and so on into FOLDER. They are for looking at: nothing is compared. Needs playwright and a
Chromium (`apt-get install chromium`). `--quick` leaves the unfolded ones out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from .helpers.app_process import served
from .page import CHROMIUM_OPTIONS, PATIENCE_MS, chromium_path

TABS = ("explore", "distill", "compare", "generate")
WIDTHS = (390, 1920)
MAX_HEIGHT = 8000  # pixels of one picture
SETTLE_MS = 1500  # for charts and pictures after a tab was opened
# Opens what is folded, a screen at a time: an accordion inside another is there only when that is open.
UNFOLD = """() => {
  const shown = node => node.offsetParent !== null;
  document.querySelectorAll('details:not([open]) > summary').forEach(node => shown(node) && node.click());
  const folds = [...document.querySelectorAll('button.label-wrap[aria-expanded=false], button.label-wrap:not(.open)')];
  folds.filter(shown).forEach(node => node.click());
  return folds.filter(shown).length;
}"""


def main() -> None:
    """Write the pictures, and print where each lies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tabs", default=",".join(TABS), help="which tabs (default: %(default)s)")
    parser.add_argument("--widths", default=",".join(map(str, WIDTHS)), help="of the window (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="nothing unfolded")
    options = parser.parse_args()
    tabs = options.tabs.split(",")
    if unknown := set(tabs) - set(TABS):
        parser.error(f"unknown tabs: {', '.join(sorted(unknown))}; expected some of {', '.join(TABS)}")
    widths = [int(width) for width in options.widths.split(",") if width.isdigit()]
    options.folder.mkdir(parents=True, exist_ok=True)
    written = 0
    with served() as app, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(parser), args=CHROMIUM_OPTIONS)
        for width in widths:
            for scheme in ("light", "dark"):
                for tab in tabs:
                    page = _opened(browser, f"{app.address}/#{tab}", width, scheme)
                    written += _taken(page, options.folder / f"{tab}-{width}-{scheme}", not options.quick)
                    page.context.close()
        browser.close()
    print(f"screens pictures={written}")


def _opened(browser: Browser, address: str, width: int, scheme: str) -> Page:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(address)
    page.wait_for_selector("[role=tab][aria-selected=true]")
    page.wait_for_timeout(2 * SETTLE_MS)
    return page


def _taken(page: Page, start: Path, unfolded: bool) -> int:
    """Write the tab as it opens and, where asked, with all that can be unfolded; the number of pictures written."""
    _take(page, start.with_name(start.name + ".png"))
    if not unfolded:
        return 1
    unfold(page)
    _take(page, start.with_name(start.name + "-open.png"))
    return 2


def unfold(page: Page) -> None:
    """Open all that is folded on the tab that is shown."""
    for _ in range(4):
        if not page.evaluate(UNFOLD):
            break
        page.wait_for_timeout(SETTLE_MS / 3)


def _take(page: Page, file: Path) -> None:
    """The whole page at the window's size: a full-page picture can show charts empty."""
    before = page.viewport_size
    height = min(MAX_HEIGHT, page.evaluate("document.documentElement.scrollHeight"))
    page.set_viewport_size({"width": before["width"], "height": max(before["height"], height)})
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=file)
    page.set_viewport_size(before)
    print(file, flush=True)


if __name__ == "__main__":
    main()
