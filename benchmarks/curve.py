"""The picture of the trade-off in README: test accuracy against peak memory, drawn by the page's code.

    python -m benchmarks.curve [--quick] [--rows FILE] [--out FILE]

The rows are those of `python -m benchmarks.tradeoff` on photographs, and of `python -m benchmarks.any_strides` for the
network of every budget that ships; nothing is trained here. Needs a Chromium (apt-get install chromium). The picture
carries a digest of what it shows, so that a test can tell whether it is that of the rows. --quick draws it too, and
writes no file.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from app.compare.curve import curve_figure
from app.compare.ways import TEACHER, kind_of, method_of
from app.parts.live_plot import PLOTLY_JS
from app.runs.result import SHARED
from app.runs.results import ready_results
from app.runs.studies import tradeoff_results

from .helpers.chromium import chromium_path

ROOT = Path(__file__).parents[1]
ROWS, OUT = ROOT / "checkpoints" / "photographs.json", ROOT / "app" / "assets" / "tradeoff.png"
DIGEST = "figure"  # the text of the file that tells what it shows
COLOURS = 128  # of the picture: flat areas and lines
PICTURE = {"width": 860, "height": 470}  # pixels
METHODS = (TEACHER, "from scratch", "KD", "RED + KD")  # what README speaks of


def main() -> None:
    """Draw the picture; the last line is `curve key=value ...`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="write no file")
    parser.add_argument("--rows", type=Path, default=ROWS, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=OUT, help="default: %(default)s")
    options = parser.parse_args()
    figure = readme_figure(options.rows)
    if not figure["data"]:
        parser.error(f"{options.rows} holds no run that has ended; expected rows of benchmarks.tradeoff")
    png = picture(figure, chromium_path(parser))
    if not options.quick:
        options.out.write_bytes(png)
    print(f"curve lines={len(figure['data'])} marks={sum(len(part['x']) for part in figure['data'])} bytes={len(png)}")


def readme_figure(rows: Path) -> dict[str, Any]:
    """The curve of the page, of the rows' METHODS and the network of every budget that ships, with a legend."""
    found = [result for result in tradeoff_results(rows) if method_of(result) in METHODS]
    of_these = {result.group for result in found}
    shared = [result for result in ready_results() if kind_of(result) == SHARED and result.group in of_these]
    figure = curve_figure(found + shared)
    return {"data": figure["data"], "layout": figure["layout"] | figure["saved"] | PICTURE}


def digest(figure: dict[str, Any]) -> str:
    """What tells one figure from another, whatever draws it."""
    return hashlib.sha256(json.dumps(figure, sort_keys=True).encode()).hexdigest()


def picture(figure: dict[str, Any], chromium: str) -> bytes:
    """The figure as PNG in the page's light colours, at twice its size in pixels."""
    from playwright.sync_api import sync_playwright

    style = (ROOT / "app" / "style.css").read_text()
    page = f"<style>{style} body {{ margin: 0; background: #fff }}</style><div id=plot></div>"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--headless", "--no-sandbox"])
        tab = browser.new_page(viewport=PICTURE, device_scale_factor=2)
        tab.set_content(page)
        tab.add_script_tag(path=PLOTLY_JS)
        tab.evaluate(
            """text => {
              const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
              const figure = JSON.parse(text.replace(/var\\((--[\\w-]+)\\)/g, (_, name) => colour(name)));
              return Plotly.newPlot('plot', figure.data, figure.layout, {staticPlot: true});
            }""",
            json.dumps(figure),
        )
        shot = tab.screenshot()
        browser.close()
    about = PngImagePlugin.PngInfo()
    about.add_text(DIGEST, digest(figure))
    small = io.BytesIO()
    Image.open(io.BytesIO(shot)).convert("RGB").quantize(COLOURS).save(small, "PNG", optimize=True, pnginfo=about)
    return small.getvalue()


if __name__ == "__main__":
    main()
