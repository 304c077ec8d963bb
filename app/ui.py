"""The page: theme, tabs, and how it is served."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before gradio is imported: nothing calls home
os.environ["REDISTILL_PORT"] = os.environ.pop("GRADIO_SERVER_PORT", "7860")  # too: it fails over one that is no number

if os.environ.get("SPACES_ZERO_GPU") and find_spec("spaces"):  # before torch looks for GPUs
    import_module("spaces")

import gradio as gr

from redistill.common.devices import keep_device_guard
from redistill.common.sentences import notes_told

from .api import page as api
from .api import tools
from .compare import handlers as compare_handlers
from .compare import page as compare
from .distill import handlers, student_form
from .distill import page as distill
from .explore import page as explore
from .generate import page as generate
from .parts.budget import CONTROLS
from .parts.events import QUIET, connect
from .parts.failures import refusals_as_400, tell_failures
from .parts.fragments import notice
from .parts.guard import Guard, hosts_of
from .parts.masthead import Masthead
from .parts.networks import look_up_soon
from .parts.sessions import CAPACITY, keep_one_component
from .runs.jobs import clean_up, keep_room
from .visitors import access, who
from .visitors.limits import hold_downloads, limits_here
from .visitors.place import is_zero_gpu

STYLE = Path(__file__).with_name("style.css")
TITLE = "ReDistill Studio"


def build() -> gr.Blocks:
    """The whole page, ready to be launched."""
    kept_seconds = (60, 600) if access.is_shared() else (600, 3600)  # between looks at files, and of a file
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=kept_seconds) as page:
        Masthead()
        if access.is_shared() and os.environ.get("OAUTH_CLIENT_ID"):  # which a Space has whose README asks for hf_oauth
            gr.LoginButton(size="sm", elem_id="sign-in")
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Explore", id="explore") as exploring:
                _heading("Explore: strides, and the memory they need")
                explored = explore.build(page)
            with gr.Tab("Distill", id="distill") as distilling:
                _heading("Distill: a small network learns from the original")
                distilled = distill.build(distilling, page)
            with gr.Tab("Compare", id="compare") as comparing:
                _heading("Compare: all results by memory and accuracy")
                compared = compare.build(comparing)
            with gr.Tab("Generate", id="generate") as generating:
                _heading("Generate: pictures of a teacher and its students")
                generate.build(generating, page)
        gr.HTML(api.LINK)
        lent = gr.State(False)  # whether Explore was opened with Distill's student
        shown = distilled.shown
        kept = [shown[name] for name in ("student", "dataset", "teacher_checkpoint", "picked")]
        looked = [explored[name] for name in ("dtype", "accounting", "batch", *CONTROLS)]
        given = [explored["student"], lent, *kept, *looked]
        connect(explored["distil"].click, handlers.take_student, given, shown, **QUIET).then(
            lambda: gr.Tabs(selected="distill"), None, tabs, **QUIET
        )
        connect(compared.load.click, take_result, [compared.ticked], shown, **QUIET).then(
            lambda: gr.Tabs(selected="distill"), None, tabs, **QUIET
        )
        own = {"student": shown["student"], **{name: explored[name] for name in explore.INPUTS}}
        filled = {"refusal": shown["refusal"], "tabs": tabs, "lent": lent}
        filled |= {name: explored[name] for name in explore.SET}
        connect(distilled.change.click, change_in_explore, own, filled, **QUIET)
        distilled.panel.attach(page, distilling)
        clocks = [distilled.panel.timer, compared.timer]
        for tab in (exploring, distilling, comparing, generating):  # let the clock go of the tab that is seen
            seen = (tab is distilling, tab is comparing)
            tab.select(lambda seen=seen: [gr.Timer(active=one) for one in seen], None, clocks, **QUIET)
    api.build(page)
    return page


def _heading(words: str) -> None:
    """What a tab is, for those who go by headings."""
    gr.HTML(f'<h2 class="sr-only">{words}</h2>', elem_classes="heading")


def take_result(ticked: Any) -> dict[str, Any]:
    """Fill Distill's form with the settings of the result that was ticked last in Compare."""
    return handlers.take_config(compare_handlers.chosen_config(ticked))


def change_in_explore(student: Any, **values: Any) -> dict[str, Any]:
    """Open Explore with Distill's student, or say on Distill why that cannot be."""
    try:
        shown = explore.show_student(student_form.read_student(student), values)
    except ValueError as error:
        words = f"{error} Change it under “Change it here” instead."
        return {"refusal": notice("Explore cannot show this student.", words)}
    return {"refusal": "", "tabs": gr.Tabs(selected="explore"), "lent": True, **shown}


def theme() -> gr.themes.Base:
    """One accent, quiet greys, and the fonts that gradio serves itself: nothing is fetched from elsewhere."""
    accent = gr.themes.Color(
        name="accent",
        c50="#f0fdfa", c100="#d5f5f0", c200="#a9e9e0", c300="#6fd6ca", c400="#34b9ac",
        c500="#0d9488", c600="#0b7d73", c700="#0c655e", c800="#0f514c", c900="#11433f", c950="#042825",
    )  # fmt: skip
    # Of the weights that gradio ships, only these two have all letters.
    sans = gr.themes.LocalFont("IBM Plex Sans", weights=(400, 700))
    mono = gr.themes.LocalFont("IBM Plex Mono", weights=(400, 700))
    look = gr.themes.Base(
        primary_hue=accent,
        secondary_hue=accent,
        neutral_hue="slate",
        radius_size="lg",
        font=(sans, "ui-sans-serif", "system-ui", "sans-serif"),
        font_mono=(mono, "ui-monospace", "Consolas", "monospace"),
    )
    return look.set(
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_label_background_fill_dark="transparent",
        block_border_width="0px",
        block_shadow="none",
        block_label_background_fill="transparent",
        block_title_text_weight="500",
        body_text_color_subdued="#5b6675",  # 5.3:1 on a shaded row
        body_text_color_subdued_dark="*neutral_400",
        body_background_fill="#fbfcfd",
        body_background_fill_dark="#0d1117",
        background_fill_secondary="#f1f4f7",
        background_fill_secondary_dark="#161c26",
        input_background_fill="#f1f4f7",
        input_background_fill_dark="#1c2430",
        input_border_width="0px",
        button_secondary_background_fill="#eaeff3",
        button_secondary_background_fill_dark="#222c3a",
        checkbox_label_background_fill="transparent",
        checkbox_label_background_fill_dark="transparent",
        checkbox_label_background_fill_hover="#f1f4f7",
        checkbox_label_background_fill_hover_dark="#1c2430",
        button_cancel_background_fill="#b3261e",
        button_cancel_background_fill_dark="#b3261e",
        button_cancel_background_fill_hover="#8f1d17",
        button_cancel_background_fill_hover_dark="#8f1d17",
        button_cancel_text_color="white",
        button_cancel_text_color_dark="white",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the page until it is interrupted; 1 after one sentence where that cannot be."""
    parser = argparse.ArgumentParser(prog="app.py", description="Serve ReDistill Studio in the browser.")
    parser.add_argument(
        "--port", type=_port, default=os.environ["REDISTILL_PORT"], help="from 1 to 65535 (default: %(default)s)"
    )
    parser.add_argument("--host", default=os.environ.get("GRADIO_SERVER_NAME") or own_host())
    options = parser.parse_args(arguments)
    try:
        hold_downloads()  # one sentence now, where limits of a Space are changed to what is none
        clean_up()
        if access.is_shared():
            keep_room()
        with notes_told(lambda text: print(text, file=sys.stderr)):
            page = build()
            gc.freeze()  # it stays as long as the page is served: each look for garbage in it would take 0.4 s
            gc.enable()
            launch(page, options.host, options.port)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        where = f"The page cannot be served at {options.host}, port {options.port}"
        print(f"{where} ({error.strerror or 'it is in use'}); choose another by --port.", file=sys.stderr)
        return 1
    return 0


def own_host() -> str:
    """Where the page is served unless it is told: to this machine alone, and on a Space to whoever comes."""
    return "0.0.0.0" if access.is_shared() else "127.0.0.1"


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= 65535:
        raise argparse.ArgumentTypeError(f"port is {text[:40]!r}; expected a whole number from 1 to 65535")
    return int(text)


def launch(page: gr.Blocks, host: str = "127.0.0.1", port: int = 7860, **settings: object) -> None:
    """Serve `page` with the studio's look; `settings` go to gradio's launch."""
    look_up_soon()
    if not is_zero_gpu():  # whose calls are forked, which torch refuses once there is such a guard
        keep_device_guard()
    keep_one_component()
    tell_failures()
    tools.answer_in_json()
    access.ask_by(who.names_of_request)
    page.space_id = None  # or gradio's script draws a head of its own, with requests to huggingface.co and Google
    page.queue(max_size=64, default_concurrency_limit=4)
    page.launch(
        server_name=host,
        server_port=port,
        theme=theme(),
        css_paths=[STYLE],
        footer_links=["api"],
        run_history=False,
        max_file_size=limits_here().upload_bytes or "4gb",  # of an uploaded zip file
        show_error=False,
        state_session_capacity=CAPACITY,
        enable_monitoring=False,
        mcp_server=True,
        _frontend=False,  # or gradio asks itself for the page once it is served, and ends where that takes 3 seconds
        ssr_mode=False,  # nor where a Space asks for it: it needs Node, and a page that is drawn there is drawn twice
        # As starlette unpacks a Middleware, the outermost first.
        app_kwargs={
            "middleware": [
                (Guard, (), {"hosts": hosts_of(host)}),
                (who.keep_visitors, (), {}),
                (refusals_as_400, (), {}),
            ]
        },
        **settings,
    )
