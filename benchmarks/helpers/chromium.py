"""The browser that benchmarks of the page drive."""

from __future__ import annotations

import argparse
import shutil

CHROMIUM_OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
PATIENCE_MS = 120_000


def chromium_path(parser: argparse.ArgumentParser) -> str:
    """Where this machine's Chromium is; the parser's error where there is none. Ask before anything is started."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found:
        parser.error("no Chromium found: apt-get install chromium")
    return found
