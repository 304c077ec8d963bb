"""The page in a real browser: how long from a click on a stride to the redrawn chart, RED blocks on, and to the
accuracy of those strides where they were never measured before.

    python -m benchmarks.page [--quick] [--json FILE]

Starts the app on a free port of this machine, opens it in headless Chromium and walks through stride vectors of
several teachers, one click at a time. Every vector is new on the way there and seen before on the way back. Times are
milliseconds in the page, from the click to Plotly's redraw, and to the figure in the card of accuracy: measured with
the network of every budget that ships for scenes, on 1,000 pictures that are drawn already, at strides that it does not
come with the accuracy of. Needs playwright and a Chromium (`apt-get install
chromium`). `--quick` takes two teachers and fewer clicks.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import time
from collections.abc import Collection
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from redistill.checkpoint.sources import SHIPPED
from redistill.networks.zoo import NETWORKS
from redistill.training.shared_weights import measured, open_shared
from redistill.training.stride_store import key_of

from .helpers.app_process import served
from .helpers.chromium import CHROMIUM_OPTIONS, PATIENCE_MS, chromium_path

# Teachers, and the largest total reduction that the walk gives them: what their image has pixels for.
WALKS = {"narrow_resnet": 32, "resnet50": 64, "mobilenet_v2": 64, "unet_small": 8}
QUICK = ("narrow_resnet", "resnet50")
SETTLE_MS = 150  # between clicks, so that no redraw of one is taken for that of the next

CLICK = """([layer, stride]) => new Promise(resolve => {
  const host = document.querySelector('#memory .liveplot');
  const start = performance.now();
  const done = time => { watcher.disconnect(); resolve(time); };
  const watcher = new MutationObserver(() => done(performance.now() - start));
  watcher.observe(host, {attributeFilter: ['data-revision']});
  setTimeout(() => done(null), 10000);
  document.querySelector(`#strides [data-layer='${layer}'] input[value='${stride}']`).click();
})"""
# Resolves once what stands there was measured since the click: null where it was known already, or has not come.
ACCURACY_CLICK = """([layer, stride]) => new Promise(resolve => {
  const card = document.querySelector('#accuracy'), start = performance.now();
  let isMeasured = false;
  const done = time => { watcher.disconnect(); resolve(time); };
  const watcher = new MutationObserver(() => {
    const isWaiting = card.querySelector('[data-unmeasured]') !== null;
    if (isWaiting) isMeasured = true;
    else if (isMeasured && card.querySelector('.headline')) done(performance.now() - start);
  });
  watcher.observe(card, {childList: true, subtree: true});
  setTimeout(() => done(null), 120000);
  document.querySelector(`#strides [data-layer='${layer}'] input[value='${stride}']`).click();
})"""
SHARED, ACCURACY_PLACE = "emoji-clutter-any", "?teacher=narrow_resnet&size=64&strides=4,1,2,2,1"
# Twice and four times what all choices reduce by that it comes with; conv1 stays, so that maps are as large as theirs.
ACCURACY_REDUCTIONS = (32, 64)
ROWS = """() => [...document.querySelectorAll('#strides [data-layer]')].map(row => [row.dataset.layer,
  Number(row.querySelector('input:checked').value), [...row.querySelectorAll('input')].map(i => Number(i.value))])"""
REVISION = "document.querySelector('#memory .liveplot').dataset.revision"


def opened(browser: Browser, address: str) -> tuple[Page, float]:
    """A page of a visitor who was never here, and the milliseconds until its chart is drawn."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.set_default_timeout(PATIENCE_MS)
    start = time.perf_counter()
    page.goto(address)
    page.wait_for_selector("#memory .liveplot[data-revision]", state="attached")
    return page, 1000 * (time.perf_counter() - start)


def choose_teacher(page: Page, name: str) -> None:
    """Pick a teacher in the list, and wait until its chart is drawn."""
    control = page.get_by_label("Teacher", exact=True).first
    if control.input_value() == NETWORKS[name].title:
        return
    before = page.evaluate(REVISION)
    control.click()
    page.get_by_role("option", name=NETWORKS[name].title, exact=True).click()
    page.wait_for_function(f"before => {REVISION} !== before", arg=before)
    page.wait_for_timeout(1000)


def walk(page: Page, clicks: int, reduction: int) -> tuple[list[float], list[float], int]:
    """Click through `clicks` new stride vectors and back.

    Returns the times at new vectors, those at vectors seen before, both in milliseconds, and the clicks that the
    chart did not answer.
    """
    path = way(page, clicks, (1, reduction))
    there = [_clicked(page, layer, after) for layer, _, after in path]
    back = [_clicked(page, layer, before) for layer, before, _ in reversed(path)]
    answered = [[time for time in times if time is not None] for times in (there, back)]
    return *answered, 2 * len(path) - sum(map(len, answered))


def way(
    page: Page, clicks: int, reductions: tuple[int, int], known: Collection[str] = (), fixed: str = ""
) -> list[tuple[str, int, int]]:
    """Clicks of which each leads to a stride vector that is new and not `known`: layer, stride before, stride after.

    The total reduction stays between the two, and one layer is left as it is.
    """
    least, most = reductions
    rows = page.evaluate(ROWS)
    strides = {layer: stride for layer, stride, _ in rows}
    chosen = random.Random(0)
    seen = {key_of(strides), *known}
    path: list[tuple[str, int, int]] = []
    for _ in range(10_000):
        layer, _, choices = chosen.choice([row for row in rows if row[0] != fixed])
        step = strides | {layer: chosen.choice(choices)}
        if len(path) < clicks and key_of(step) not in seen and least <= math.prod(step.values()) <= most:
            path.append((layer, strides[layer], step[layer]))
            strides = step
            seen.add(key_of(strides))
    return path


def _clicked(page: Page, layer: str, stride: int) -> float | None:
    found = page.evaluate(CLICK, [layer, stride])
    page.wait_for_timeout(SETTLE_MS)
    return found


def accuracy_times(browser: Browser, address: str, clicks: int) -> tuple[list[float], int]:
    """Milliseconds from clicks to the accuracy of strides that nothing was known of, and how many had no answer.

    A click before them, which is not counted, waits for the pictures to be drawn.
    """
    page, _ = opened(browser, address + ACCURACY_PLACE)
    page.wait_for_selector("#accuracy .headline")
    known = measured(open_shared(SHIPPED / SHARED))
    times = []
    for layer, _, stride in way(page, clicks + 1, ACCURACY_REDUCTIONS, known, "conv1"):
        page.wait_for_timeout(SETTLE_MS)
        times.append(page.evaluate(ACCURACY_CLICK, [layer, stride]))
    page.context.close()
    answered = [time for time in times[1:] if time is not None]
    return answered, clicks - len(answered)


def percentile(times: list[float], share: float) -> float:
    """The smallest time that `share` of all do not exceed."""
    return sorted(times)[math.ceil(share * len(times)) - 1]


def main() -> None:
    """Print a row a teacher, and write the times to a file when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two teachers and fewer clicks; ends within 45 s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the times there")
    options = parser.parse_args()
    chromium = chromium_path(parser)
    teachers, clicks, loads = (QUICK, 10, 1) if options.quick else (tuple(WALKS), 30, 5)
    rows = []
    with served() as app, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
        pages = [opened(browser, app.address) for _ in range(loads)]
        for page, _ in pages[:-1]:
            page.context.close()
        load = statistics.median(ms for _, ms in pages)
        print(f"page load {load:.0f} ms, median of {loads}\n")
        print(
            f"{'teacher':<16}{'new: median':>14}{'p95':>8}{'seen: median':>16}{'p95':>8}{'clicks':>9}{'unanswered':>13}"
        )
        page = pages[-1][0]
        for name in teachers:
            choose_teacher(page, name)
            new, again, unanswered = walk(page, clicks, WALKS[name])
            rows.append({"teacher": name, "new_ms": new, "again_ms": again, "unanswered": unanswered})
            print(f"{name:<16}{statistics.median(new):>14.0f}{percentile(new, 0.95):>8.0f}", end="")
            print(f"{statistics.median(again):>16.0f}{percentile(again, 0.95):>8.0f}", end="")
            print(f"{len(new) + len(again):>9}{unanswered:>13}", flush=True)
        accurate, missing = accuracy_times(browser, app.address, clicks // 3)
        accuracy = statistics.median(accurate)
        print(f"\naccuracy of new strides {accuracy:.0f} ms, median of {len(accurate)} clicks, {missing} unanswered")
        browser.close()
    if options.json:
        found = {"load_ms": load, "teachers": rows, "accuracy_ms": accurate}
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    medians = " ".join(
        f"{row['teacher']}_new_ms={statistics.median(row['new_ms']):.0f} "
        f"{row['teacher']}_again_ms={statistics.median(row['again_ms']):.0f}"
        for row in rows
    )
    print(
        f"page load_ms={load:.0f} {medians} accuracy_ms={accuracy:.0f} "
        f"unanswered={missing + sum(row['unanswered'] for row in rows)}"
    )


if __name__ == "__main__":
    main()
