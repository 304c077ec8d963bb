"""Pictures of every tab in a real browser: light and dark, on a phone and on a wide screen, folded and unfolded.

    python -m benchmarks.screens FOLDER [--tabs explore,generate] [--widths 390,1920] [--states first,refusal] [--quick]

Starts the app on a free port of this machine and writes `TAB-WIDTH-light.png` and so on into FOLDER: as a first visitor
finds it, after a run (`-run`: a finished one, pictures drawn, strides found) and after a refusal (`-refusal`). They are
for looking at: nothing is compared. Needs playwright and a Chromium (`apt-get install chromium`). `--quick` leaves the
unfolded ones out.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from redistill.checkpoint.metadata import read_metadata
from redistill.checkpoint.sources import find_checkpoint
from redistill.training.run import CONFIG, METRICS, STATUS

from .helpers.app_process import served
from .helpers.chromium import CHROMIUM_OPTIONS, PATIENCE_MS, chromium_path

TABS = ("explore", "distill", "compare", "generate")
FIRST, RUN, REFUSAL = STATES = ("first", "run", "refusal")
WIDTHS = (390, 1440, 1920)
MAX_HEIGHT = 8000  # pixels of one picture
SETTLE_MS = 1500  # for charts and pictures after a tab was opened
SHIPPED = "imagenette-student"  # whose run is the finished one
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
    parser.add_argument("--states", default=",".join(STATES), help="of the tabs (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="nothing unfolded")
    options = parser.parse_args()
    tabs, states = options.tabs.split(","), options.states.split(",")
    if unknown := (set(tabs) - set(TABS)) | (set(states) - set(STATES)):
        known = ", ".join((*TABS, *STATES))
        parser.error(f"unknown tabs or states: {', '.join(sorted(unknown))}; expected some of {known}")
    widths = [int(width) for width in options.widths.split(",") if width.isdigit()]
    chromium = chromium_path(parser)
    options.folder.mkdir(parents=True, exist_ok=True)
    written = 0
    for state in states:
        prepare = finished_run if state == RUN else Path.mkdir
        with served(prepare) as app, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
            for width in widths:
                for scheme in ("light", "dark"):
                    for tab in tabs:
                        page = _opened(browser, f"{app.address}/#{tab}", width, scheme)
                        name = f"{tab}-{width}-{scheme}" + ("" if state == FIRST else f"-{state}")
                        if act := ACTS.get(state, {}).get(tab):
                            act(page)
                            page.wait_for_timeout(2 * SETTLE_MS)
                        written += _taken(page, options.folder / name, state == FIRST and not options.quick)
                        page.context.close()
            browser.close()
    print(f"screens pictures={written}")


def finished_run(runs: Path) -> None:
    """Make the folder of runs with a finished one in it: that which a checkpoint that ships came from."""
    run, folder = runs / "run", find_checkpoint(SHIPPED)
    metadata = read_metadata(folder)
    steps = metadata.metrics["step"]
    shutil.copytree(folder, run / "student")
    shutil.copy(folder / METRICS, run / METRICS)
    (run / CONFIG).write_text(json.dumps(dict(metadata.training)))
    (run / STATUS).write_text(json.dumps({"state": "finished", "step": steps, "steps": steps}))
    (run / "job.json").write_text(json.dumps({"title": "A run of one's own", "created": time.time()}))


def _search(page: Page) -> None:
    page.click("#search button.label-wrap")
    page.click("#search-start")
    page.wait_for_selector("#front table")


def _draw(page: Page) -> None:
    steps = page.get_by_label("Denoising steps", exact=False).first
    steps.fill("4")
    steps.press("Enter")
    page.click("#generate")
    page.wait_for_selector("#grids .samples-image", timeout=PATIENCE_MS)
    page.locator("#grids .samples-image").first.click()
    page.wait_for_selector("#way")


def _too_small(page: Page) -> None:
    page.goto(page.url.partition("#")[0] + "?teacher=resnet18&size=16&strides=8,8,1,1,1#explore")


def _no_steps(page: Page) -> None:
    steps = page.locator("#field-steps input").first
    steps.fill("0")
    steps.press("Tab")
    page.click("#start")


def _no_peak(page: Page) -> None:
    page.locator("#peaks").locator("input, textarea").first.type("so many")


def _no_source(page: Page) -> None:
    page.get_by_text("Draw with another checkpoint").click()
    page.locator("#generate-other").locator("input, textarea").first.type("no/such@network@here")
    page.click("#generate")


# What is done on a tab before its picture is taken.
ACTS: Mapping[str, Mapping[str, Callable[[Page], None]]] = {
    RUN: {"explore": _search, "generate": _draw},
    REFUSAL: {"explore": _too_small, "distill": _no_steps, "compare": _no_peak, "generate": _no_source},
}


def _opened(browser: Browser, address: str, width: int, scheme: str) -> Page:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(address)
    page.wait_for_selector("[role=tab][aria-selected=true]")
    page.wait_for_timeout(2 * SETTLE_MS)
    return page


def _taken(page: Page, start: Path, unfolded: bool) -> int:
    """Write the tab as it stands and, where asked, with all that can be unfolded; the number of pictures written."""
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
