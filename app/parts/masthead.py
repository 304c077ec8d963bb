"""The head of the page: what happens here in two sentences, a door to each thing that people come for, and a lesson."""

from __future__ import annotations

import gradio as gr

from .lesson import address, lesson_panel
from .scripted import script

PAPER = "https://arxiv.org/abs/2406.03744"
# A network whose weights fit a Pico 2 in int8 and whose maps are three times what its SRAM holds, and the search.
FIT = "?teacher=mobilenet_v2&size=224&dtype=int8&chip=rp2350#fit"
DOORS = (
    (FIT, "Fit my chip", "a network, a budget, and the strides that fit"),
    ("#distill", "Train a small network", "with the original as its teacher"),
    ("#compare", "See results", "accuracy against memory"),
    (address(1), "Lesson", "seven questions, with answers"),
)
HEAD = f"""
<header class="masthead">
  <svg viewBox="0 0 32 32" width="30" height="30" aria-hidden="true">
    <rect x="2" y="3" width="6" height="26" rx="2" class="mark-teacher"/>
    <rect x="10" y="13" width="6" height="16" rx="2" class="mark-student"/>
    <rect x="18" y="19" width="5" height="10" rx="2" class="mark-student"/>
    <rect x="25" y="22" width="5" height="7" rx="2" class="mark-red"/>
  </svg>
  <div><h1>ReDistill Studio</h1>
  <p>A network needs most memory in its first layers, where its maps are largest. Shrink them earlier, then let the
  original network teach the small one: <a href="{PAPER}" target="_blank" rel="noopener">residual encoded distillation
  (RED)</a>.</p></div>
  <nav class="doors" aria-label="Where to start">DOORS</nav>
</header>
"""


class Masthead(gr.HTML):
    """The head as a gradio component. Its JavaScript gives each tab an address behind the #, and the page
    what its controls lack for the keyboard."""

    def __init__(self) -> None:
        doors = "".join(f'<a href="{place}" title="{words}">{title}</a>' for place, title, words in DOORS)
        super().__init__(
            HEAD.replace("DOORS", doors) + lesson_panel(), js_on_load=script("masthead", "keyboard"), elem_id="masthead"
        )
