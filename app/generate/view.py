"""The samples on tab Generate as HTML and as a chart. Whatever comes from outside is escaped here."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from typing import Any

from torch import Tensor

from redistill.data.datasets import credit
from redistill.diffusion.gallery import Gallery

from ..parts import plots
from ..parts.fragments import image_tag, notice, png_tag
from ..parts.memory_plot import Curve, networks_figure
from ..parts.trace import memory_curve, peak_label
from ..words import numbers
from ..words.memory import pooling_labels
from .files import image_name, image_png
from .networks import Network
from .quality import basis, figures, quality_line
from .samples import Samples, real_pictures

COLOURS = (plots.TEACHER, plots.STUDENT, plots.VIOLET, plots.GOLD, plots.RED)
REAL = 8  # real pictures beside the drawn ones

INTRODUCTION = (
    '<p class="headline">Same seeds, a fraction of the memory.</p>'
    '<p class="subline">Every network starts from the same '
    "noise, so the images differ only by what the student has kept.</p>"
)


def panels(
    networks: Sequence[Network], seeds: Sequence[int], all_samples: Sequence[Samples] = (), ready: bool = False
) -> str:
    """One grid a network with its memory and time; with `all_samples`, images that can be clicked and saved.

    A network that has not begun shows the noise that it will start from, or, with `ready`, what it drew before.
    """
    first = networks[0]
    bases = {basis(network.quality) for network in networks if figures(network.quality)}
    once = bases.pop() if len(bases) == 1 else ""
    like = numbers.common_unit(
        [peak for network in networks for peak in (network.profile.peak_bytes, network.eager_bytes)]
    )
    cards = []
    for number, network in enumerate(networks):
        before = network.gallery if ready and network.step is None else None
        images = _buttons(all_samples[number], seeds) if all_samples else _images(network, seeds, before)
        facts = f"{numbers.format_bytes(network.profile.peak_bytes, like)} peak"
        if network is not first:
            ratio = numbers.format_ratio(first.profile.peak_bytes, network.profile.peak_bytes)
            facts += f" · <strong>{ratio}</strong> less"
        cards.append(
            f'<figure class="card samples" data-checkpoint="{escape(network.key)}"><figcaption>'
            f'<h3 class="card-title">{_dot(number)}{escape(network.title)}</h3>'
            f'<span class="samples-facts">{facts}</span></figcaption>{_made(network.made)}'
            f'<div class="samples-images{" awaited" if network.step is None and not before else ""}">{images}</div>'
            f"{_before(before)}{_facts(network, like)}{quality_line(network.quality, with_basis=not once)}</figure>"
        )
    learnt = {credit(network.metadata.dataset)[0] for network in networks if network.metadata}
    thanks = f" Learnt from: {escape('; '.join(sorted(learnt)))}." if learnt else ""
    timed = "" if first.step is None else f" Time: all {len(seeds)} images on this machine."
    return (
        f'<div class="samples-row">{"".join(cards)}</div><p class="subline">Peak: activations in fp32; deployed is '
        f"counted as a runtime frees them, PyTorch as it allocates.{timed}{thanks}</p>" + once
    )


def chart(networks: Sequence[Network]) -> dict[str, Any]:
    """Memory along all networks, one image, as deployed."""
    curves = [
        Curve(f"{network.title}, peak at {peak_label(network.profile)}", memory_curve(network.profile), COLOURS[number])
        for number, network in enumerate(networks)
    ]
    return networks_figure(curves, pooling_labels(networks[0].profile, networks[0].points))


def legend(networks: Sequence[Network]) -> str:
    """The chart's title, and whose colour is which."""
    names = "".join(f"<span>{_dot(number)}{escape(network.title)}</span>" for number, network in enumerate(networks))
    return (
        '<h3 class="card-title">Memory along the network <span>one image, as deployed</span></h3>'
        f'<p class="subline legend">{names}</p>'
    )


def way_card(all_samples: Sequence[Samples], seed: int) -> str:
    """One seed's way from noise to image in every network, its files, and the question what it was learnt from."""
    rows = []
    for number, samples in enumerate(all_samples):
        frames = "".join(_moment(image, step) for step, image in samples.moments(seed))
        data = base64.b64encode(image_png(samples, seed)).decode()
        rows.append(
            f'<div class="way"><div class="way-head"><span>{_dot(number)}{escape(samples.title)}</span>'
            f'<a class="plain" download="{escape(image_name(samples, seed))}" '
            f'href="data:image/png;base64,{data}">Save PNG</a></div><div class="way-frames">{frames}</div></div>'
        )
    return (
        f'<section class="card" id="way"><h3 class="card-title">Seed {seed} <span>from noise to image: what each '
        f"step expects</span></h3>{''.join(rows)}"
        f'<p class="way-acts"><button type="button" class="plain" data-act="nearest" data-seed="{seed}">'
        'Show the training pictures nearest to it</button><button type="button" class="plain" data-act="sheet" '
        f'data-seed="{seed}">Save all images and this way as one picture</button></p></section>'
    )


def nearest_card(all_samples: Sequence[Samples], seed: int) -> str:
    """The training pictures nearest to an image of every network; a sentence where they are not to be had."""
    rows, totals = [], set()
    for number, samples in enumerate(all_samples):
        head = f'<div class="way-head"><span>{_dot(number)}{escape(samples.title)}</span></div>'
        try:
            pictures, found, total = samples.neighbours(seed)
        except (ValueError, OSError) as error:
            rows.append(f'<div class="way">{head}{notice("", str(error), kind="hint")}</div>')
            continue
        totals.add(total)
        frames = _frame(samples.images[samples.row(seed)], "drawn")
        for picture, distance, mirrored in zip(pictures, found.distances[0], found.mirrored[0], strict=True):
            shown = picture.flip(-1) if mirrored else picture
            label = f"{distance:.1f}{' mirrored' if mirrored else ''}"
            frames += _frame(shown, label)
        rows.append(f'<div class="way">{head}<div class="near-frames">{frames}</div></div>')
    out_of = f" out of {' and '.join(f'{total:,}' for total in sorted(totals))}" if totals else ""
    return (
        f'<section class="card" id="near"><h3 class="card-title">Seed {seed} <span>nearest training '
        f'pictures{out_of}</span></h3>{"".join(rows)}<p class="subline">Distance: root mean squared difference of '
        "pixel values (0 to 255), as drawn or mirrored. A small one means that the picture was learnt by heart; a "
        "large one does not prove that it is new, for the same picture moved by two pixels is far away.</p></section>"
    )


def _moment(image: Tensor, step: int) -> str:
    return _frame(image, str(step), f"step {step}") if step else _frame(image, "noise")


def _frame(image: Tensor, label: str, alt: str = "") -> str:
    return f"<figure>{image_tag(image, alt or label)}<figcaption>{label}</figcaption></figure>"


def real_card(networks: Sequence[Network]) -> str:
    """A row of real pictures for each data set that the networks learnt from; nothing where none is to be had."""
    rows, seen = [], set()
    for network in networks:
        dataset = network.metadata.dataset if network.metadata else None
        if dataset in seen or (pictures := real_pictures(network, REAL)) is None:
            continue
        seen.add(dataset)
        images = "".join(image_tag(picture, f"real picture {i}") for i, picture in enumerate(pictures, 1))
        rows.append(
            f'<h3 class="card-title">Real pictures <span>of {escape(dataset)}, at the size that is drawn</span>'
            f'</h3><div class="real-images">{images}</div>'
        )
    return f'<section class="card">{"".join(rows)}</section>' if rows else ""


def strangers(networks: Sequence[Network]) -> str:
    """Which networks learnt from other pictures than the first one, the teacher; nothing where none did."""
    own = networks[0].metadata.dataset if networks[0].metadata else None
    others = [n for n in networks[1:] if own and n.metadata and n.metadata.dataset and n.metadata.dataset != own]
    if not others:
        return ""
    learnt = "; ".join(f"{network.title} learnt from {network.metadata.dataset}" for network in others)
    words = (
        f"{learnt}, {networks[0].title} from {own}: they draw different things, so their pictures say nothing of what"
    )
    return notice("", f"{words} distillation keeps.", kind="hint")


def _before(gallery: Gallery | None) -> str:
    if gallery is None:
        return ""
    settings = gallery.settings
    how = f"seeds {settings.seeds[0]} to {settings.seeds[-1]}, {settings.scheduler.upper()}, {settings.steps} steps"
    return f'<p class="samples-made">Drawn before: {escape(how)}. Generate draws anew.</p>'


def _images(network: Network, seeds: Sequence[int], before: Gallery | None = None) -> str:
    if before is not None:
        images, what, seeds = before.images, "image", before.settings.seeds
    elif network.step is None:
        images, what = network.noise(seeds), "noise"
    else:
        images, what = network.step.images, "image"
    return "".join(image_tag(image, f"{what} of seed {seed}") for image, seed in zip(images, seeds, strict=True))


def _buttons(samples: Samples, seeds: Sequence[int]) -> str:
    return "".join(
        f'<button type="button" class="samples-image" data-act="look" data-seed="{seed}" '
        f'title="Seed {seed}: how it came about">{png_tag(image_png(samples, seed), f"image of seed {seed}")}</button>'
        for seed in seeds
    )


def _dot(number: int) -> str:
    return f'<i class="dot" style="background:{COLOURS[number]}"></i>'


def _facts(network: Network, like: int) -> str:
    """Memory and time; the peaks of one image in the unit of so many bytes."""
    step = network.step
    rows = [
        ("One image, deployed", numbers.format_bytes(network.profile.peak_bytes, like)),
        ("One image, PyTorch", numbers.format_bytes(network.eager_bytes, like)),
    ]
    if step is not None and step.peak_bytes is not None:
        rows.append((f"{len(step.images)} images, measured", numbers.format_bytes(step.peak_bytes)))
    if step is not None:
        rate = f" · {step.images_per_second:.2g} images/s" if step.done else ""
        rows.append(("Time", numbers.format_duration(step.seconds) + rate))
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in rows)
    return f'<dl class="samples-table">{cells}</dl>'


def _made(said: str) -> str:
    return f'<p class="samples-made">{escape(said)}</p>' if said else ""
