"""What a person does with the page in a browser, and what they see there."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from importlib import resources

from playwright.sync_api import Locator, Page, TimeoutError, expect

PATIENCE = 90_000  # milliseconds that a slow machine may need for a step
BARS = "document.querySelector('#memory .liveplot').data.map(trace => Array.from(trace.y))"
AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
FAULTS = """rules => axe.run(document, {resultTypes: ['violations'], ...rules && {runOnly: rules}}).then(found =>
  found.violations.flatMap(fault => fault.nodes.map(node =>
    `${fault.id}: ${node.html.slice(0, 160)}: ${[...node.any, ...node.all, ...node.none].map(one => one.message)}`)))"""
IS_EQUAL = """([script, wanted]) => {
  try { return JSON.stringify(eval(script)) === JSON.stringify(wanted); } catch { return false; }
}"""
expect.set_options(timeout=PATIENCE)


def drawn(page: Page, plot: str) -> None:
    page.wait_for_selector(f"{plot} .liveplot[data-revision]", state="attached")


def bars(page: Page) -> list[list[float]]:
    return page.evaluate(BARS)


def becomes(page: Page, script: str, wanted: object) -> None:
    """Wait until what the script answers is the wanted value: a figure is drawn after the words beside it."""
    with contextlib.suppress(TimeoutError):  # the assertion tells what it is instead
        page.wait_for_function(IS_EQUAL, arg=[script, wanted])
    assert page.evaluate(script) == wanted


def choose_stride(page: Page, layer: str, stride: int) -> None:
    page.locator(f"[data-layer='{layer}'] input[value='{stride}']").check()


def fill(page: Page, field: str | Locator, value: object) -> None:
    """Type a value, and again where the page took it back."""
    field = page.get_by_label(field, exact=True) if isinstance(field, str) else field
    for _ in range(5):
        field.fill(str(value))
        field.press("Tab")
        settle(page)
        if field.input_value() == str(value):
            return
    expect(field).to_have_value(str(value))


def unfold(page: Page, role: str, name: str) -> None:
    """Open a tab or an accordion by a click."""
    page.get_by_role(role, name=name).click()
    settle(page)


def settle(page: Page) -> None:
    """Wait until what has just been opened keeps what is typed.

    Gradio draws what lies in a closed tab or accordion when it is opened, and sets it to its first values one frame
    of the browser later: faster than a hand, slower than a test. Behind another page it draws one frame a second.
    """
    page.bring_to_front()
    for _ in range(4):
        page.evaluate("new Promise(requestAnimationFrame)")


def still(page: Page) -> Page:
    """The page without transitions: halfway, a colour is any."""
    page.add_style_tag(content="* { transition: none !important }")
    return page


def in_both_schemes(page: Page) -> list[str]:
    """Violations in light, and those of contrast in dark, in which nothing else differs."""
    found = page.evaluate(FAULTS)
    page.evaluate("document.body.classList.add('dark')")
    found += [f"dark: {fault}" for fault in page.evaluate(FAULTS, ["color-contrast"])]
    page.evaluate("document.body.classList.remove('dark')")
    return found


def wait_until(page: Page, is_so: Callable[[], object], or_else: str) -> None:
    """Let the page go on until it is so; AssertionError with `or_else` if that takes too long."""
    deadline = time.monotonic() + PATIENCE / 1000
    while not is_so():
        assert time.monotonic() < deadline, or_else
        page.wait_for_timeout(20)


class Held:
    """Answers that reach the page only when they are let go: of events of one component, told by its `elem_id`.

    Answers of queued events come in a stream that others share, so that of these the questions are held.
    """

    def __init__(self, page: Page, elem_id: str, event: str) -> None:
        self.answers = []
        events = """([elem_id, event]) => {
          const {components, dependencies} = window.gradio_config;
          const {id} = components.find(component => component.props.elem_id === elem_id);
          return dependencies.filter(one => one.backend_fn && one.targets.some(target => target[0] === id &&
            target[1] === event)).map(one => one.id);
        }"""
        self.ids = page.evaluate(events, [elem_id, event])
        self.page = page
        page.route("**/run/predict*", self.hold)
        page.route("**/queue/join*", self.hold)

    def hold(self, route) -> None:
        if route.request.post_data_json["fn_index"] in self.ids:
            is_queued = "/queue/" in route.request.url
            self.answers.append((route, None if is_queued else route.fetch()))
        else:
            route.fallback()

    def wait(self, count: int = 1) -> None:
        """Until so many answers are held."""
        wait_until(self.page, lambda: len(self.answers) >= count, "no answer came")

    def let_go(self) -> None:
        """Let all answers reach the page, those that are held and those to come."""
        self.ids = []
        for route, response in self.answers:
            route.fulfill(response=response) if response else route.continue_()
