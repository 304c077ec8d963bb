"""Short explanations of the field's words: a button “i” beside the word, which a click, Enter or Space opens.

The browser does all of it (the `popover` attribute; Esc closes), so that it costs the page nothing before.
"""

from __future__ import annotations

from html import escape
from itertools import count

TERMS = {
    "fused": "As deployment runtimes hold it: batch norm is folded into its convolution, activations work in place, "
    "and every map is freed after its last use.",
    "eager": "As PyTorch allocates while it runs the network line by line: a map lives for as long as a variable of "
    "the code names it.",
    "RED": "Residual encoded distillation: small blocks in the student, a gate and a residual encoder, bring its maps "
    "closer to the teacher’s of the same size. They stay in the student.",
    "KD": "Knowledge distillation: the student learns the teacher’s answers, how likely it finds each class, beside "
    "the right one.",
    "stage-wise": "Layers of the same name learn from each other, the larger map averaged down to the smaller. The "
    "usual way pairs layers whose maps have the same size, whatever their names.",
    "FID, KID": "How far the drawn pictures are, as a whole, from real ones: two ways to compare the features that a "
    "network sees in both. Lower is better; real pictures against other real ones come out near 0.",
    "precision": "The share of drawn pictures that lie among the real ones, of 1: how real they look. Higher is "
    "better.",
    "recall": "The share of real pictures that lie among the drawn ones, of 1: how much of the variety is kept. "
    "Higher is better.",
}
_numbers = count()  # ids are unique on the page, and pages of one server need not differ


def info(term: str) -> str:
    """The button that explains one of TERMS, as HTML; a KeyError for any other word."""
    place = f"info-{next(_numbers)}"
    return (
        f'<button type="button" class="info" popovertarget="{place}" aria-label="What is {escape(term)}?">i</button>'
        f'<span class="explained" id="{place}" popover><strong>{escape(term)}</strong> {escape(TERMS[term])}</span>'
    )


def infos(*terms: str) -> str:
    """A line of words with their explanations, for controls whose labels take no HTML."""
    return '<p class="infos">' + "".join(f"<span>{escape(term)} {info(term)}</span>" for term in terms) + "</p>"
