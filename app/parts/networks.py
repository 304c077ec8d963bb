"""Networks that can be named on the page: those that come with the packages. No file of this machine is opened."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import gradio as gr

from redistill.networks.info import NetworkInfo
from redistill.networks.names import is_own
from redistill.networks.zoo import DDPM, NETWORKS, named_network, network_names, unknown_network

from .events import QUIET

MAX_NAME = 120  # characters
LATER = 0.5  # seconds
DRAWN = 60  # choices at a time
FORMS = ("torchvision:NAME", "timm:NAME", "hf-hub:timm/NAME")  # of names that the page takes

# What is typed takes the place of the name that stands there.
SELECT = "() => { const field = document.activeElement; requestAnimationFrame(() => field?.select?.()); }"
# Gradio matches what was typed at the next key alone, and sets a list that has come once more a moment later. What is
# selected as a whole was not typed.
MATCH_AGAIN = """() => {
  const until = performance.now() + 300;
  const again = () => {
    const field = document.activeElement, key = {key: 'Shift', bubbles: true};
    const isOpen = field?.getAttribute('aria-expanded') === 'true';
    const isTyped = isOpen && field.selectionEnd - field.selectionStart < field.value.length;
    if (isTyped) field.dispatchEvent(new KeyboardEvent('keydown', key));
    if (performance.now() < until) requestAnimationFrame(again);
  };
  again();
}"""
# A list that is still drawn, or fades, points into the choices it was drawn of, so it gets others when it has gone; all
# in the browser, or a person could be back in the box before the server had answered.
SHORTEN = """async () => {
  await new Promise(resolve => setTimeout(resolve, 500));
  const field = document.querySelector('#FIELD input');
  const isLeft = field !== document.activeElement && field?.getAttribute('aria-expanded') !== 'true';
  return {__type__: 'update', ...isLeft && {choices: CHOICES}};
}"""


class NetworkChoice(gr.Dropdown):
    """A dropdown of networks in which one can type: to search those it knows, or the name of another.

    What comes back from the page is checked by `check_network`, not against the choices that the server remembers.
    """

    is_template = True  # the browser draws it as a plain dropdown

    def preprocess(self, payload: Any) -> Any:
        """The value as the page sent it, whatever it is."""
        return payload


def network_choice(networks: Sequence[tuple[str, str]], value: str, label: str, **look: Any) -> NetworkChoice:
    """Such a dropdown, of (title, name); only so many are drawn at a time as a list can show."""
    return NetworkChoice(networks, value=value, label=label, allow_custom_value=True, num_choices_shown=DRAWN, **look)


def check_network(value: Any) -> str:
    """The one name of a network that the page can show; ValueError, in one sentence, for any other value.

    Functions in files, exported programs and DDPMs by folder or id are not looked for, wherever they lie.
    """
    if not isinstance(value, str):
        raise ValueError(f"teacher is {str(value)[:80]!r}; expected the name of a network.")
    name = value.strip()
    if is_own(name):
        raise ValueError(
            f"{name[:MAX_NAME]!r} names a file of one's own, which the page never opens; `redistill memory` in the "
            "shell and `redistill.compare` in the library do."
        )
    found = None if len(name) > MAX_NAME or name.startswith(DDPM) else named_network(name)
    if found is None:
        raise ValueError(unknown_network(name, FORMS))
    return found.name


def look_up_soon() -> None:
    """Find out what can be searched beside all else, a moment from now: whoever opens the page need not wait for it."""
    timer = threading.Timer(LATER, choices)
    timer.daemon = True
    timer.start()


def let_search(choice: NetworkChoice) -> None:
    """Offer all networks while a person is in the box, which has an `elem_id`, and the table's alone once it is left.

    With all in its list a browser takes a tenth of a second longer for every change of anything on the page.
    """
    choice.focus(None, js=SELECT, **QUIET)
    listed = choice.focus(lambda: gr.Dropdown(choices=choices()), None, choice, **QUIET)
    listed.then(None, js=MATCH_AGAIN, **QUIET)
    shorten = SHORTEN.replace("FIELD", choice.elem_id).replace("CHOICES", json.dumps(few()))
    choice.blur(None, None, choice, js=shorten, **QUIET)


def few() -> list[tuple[str, str]]:
    """The networks of the table, as (title, name)."""
    return [offered(network) for network in NETWORKS.values()]


def offered(network: NetworkInfo) -> tuple[str, str]:
    """A network as a list has it, (title, name): of the table's a title has the name in it, by which one can search."""
    is_known = network.name in NETWORKS
    return f"{network.title} ({network.name})" if is_known else network.title, network.name


@lru_cache(maxsize=1)
def choices() -> list[tuple[str, str]]:
    """All networks that can be searched, as (title, name), those of the table first.

    Others come by their length: the browser takes the first that has what was typed in it, which is then the one that
    is called just so, whether its "timm:" was typed or not.
    """
    others = [name for name in network_names() if name not in NETWORKS]
    return few() + [(name, name) for name in sorted(others, key=lambda name: (len(name.partition(":")[2]), name))]
