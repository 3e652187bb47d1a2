"""Step 1: a ray goes through the pixel into the box, and samples are placed along it."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import bpy
import numpy as np

from .. import keys, look
from ..facts import Ray, Story
from ..stage import Stage, along, place
from .scenery import Scenery, is_inside

MOST_CANDIDATES = 32
AT_ONCE = 12  # objects made between two looks at the clock: a few milliseconds each
OPENED, CLOSED = 78.0, 32.0  # frames after the beginning and before the end at which the cloud is cut, and gone


@dataclass
class Beads:
    """The samples as objects.

    Attributes
    ----------
    items : list of Object
        One a sample, in the order of the ray.
    radius : float
        Of the largest, world units.
    """

    items: list[bpy.types.Object]
    radius: float


def build(stage: Stage, story: Story, scenery: Scenery, begin: float) -> Generator[float, None, tuple[float, Beads]]:
    """The ray, its neighbours, the places that are looked at and passed over, and the samples that are left."""
    ray, size = story.ray, story.size
    grows, beside, placing = begin + 14, begin + 62, begin + 128
    close = placing + 72
    end = close + 52
    stage.chapter(begin, end, "1   March a ray, take samples", 0)
    stage.say(begin, begin + 60, "From the camera, a ray goes through the pixel into the scene.")
    stage.say(begin + 60, placing, "Every pixel has a ray of its own. We follow this one.")

    part = stage.part("1")
    line = look.add(part, "Ray", look.rod("Ray"), look.YELLOW)
    place(line, ray.origin, along(ray.direction))
    thin, last = 0.0016 * size, max(ray.end, ray.far)
    thinner = min(thin, 0.035 * scenery.unit)
    keys.key(
        line,
        "scale",
        [
            (grows, (0.0, thin, thin)),
            (grows + 40, (last, thin, thin)),
            (close, (last, thin, thin)),
            (close + 30, (last, thinner, thinner)),
        ],
    )
    keys.show(line, [(grows, None)])
    yield from _fan(stage, story, begin + 46, placing - 22)

    # Where the camera stands within the scene, the ray is seen from its side alone.
    start = scenery.beside if is_inside(story) else scenery.overview
    stage.shot(begin + 36, start)
    stage.shot(begin + 54, start)
    stage.shot(beside + 34, scenery.beside)
    stage.shot(placing - 30, scenery.beside)
    stage.shot(placing + 4, scenery.middle)
    stage.shot(close - 4, scenery.middle)
    stage.shot(close + 30, scenery.close)

    sentences = yield from _places(stage, story, scenery, placing, close)
    stage.say(placing, placing + 40, sentences[0])
    stage.say(placing + 40, close + 6, sentences[1])
    stage.say(close + 6, end, sentences[2])
    count = stage.word("1", "Sample Count", f"{len(ray.t)}", (0.0, 1.1), 2.2, look.TEXT, "CENTER", [(close + 34, end)])
    keys.pop(count, close + 34, frames=8)
    keys.show(count, [(close + 34, end)])
    spans = [(close + 34, end)]
    stage.word(
        "1",
        "Sample Count Name",
        "samples" if len(ray.t) != 1 else "sample",
        (0.0, 0.35),
        0.5,
        look.QUIET,
        "CENTER",
        spans,
    )
    beads = yield from _beads(stage, ray, scenery, close + 14, close + 42)
    return end, beads


def _fan(stage: Stage, story: Story, begin: float, end: float) -> Iterator[float]:
    """Rays of other pixels, up to where each meets the scene."""
    part, thin = stage.part("1"), 0.0009 * story.size
    rod = look.rod("Neighbour Ray")
    for number, (start, stop, color) in enumerate(story.fan):
        item = look.add(part, f"Neighbour Ray {number:02d}", rod, color)
        place(item, start, along(stop - start))
        length, wait = float(np.linalg.norm(stop - start)), begin + (number * 7) % 24
        keys.key(
            item,
            "scale",
            [
                (wait, (0, thin, thin)),
                (wait + 22, (length, thin, thin)),
                (end, (length, thin, thin)),
                (end + 14, (length, 0, 0)),
            ],
        )
        keys.show(item, [(wait, end + 14)])
        if number % AT_ONCE == AT_ONCE - 1:
            yield 0.0
    yield 0.2


def _places(
    stage: Stage, story: Story, scenery: Scenery, begin: float, gone: float
) -> Generator[float, None, tuple[str, str, str]]:
    """Where the sampler looked first; the three sentences that go with it."""
    ray, part = story.ray, stage.part("1")
    count, kept = len(ray.t), f"{len(ray.t)} samples" if len(ray.t) != 1 else "1 sample"
    dot = look.ball("Candidate", 10)
    radius = min(0.007 * story.size, 0.38 * (ray.far - ray.near) / MOST_CANDIDATES)
    if len(ray.skipped):
        everywhere = _candidates(ray)
        empty = [any(low <= t < high for low, high in ray.skipped) for t in everywhere]
        for number, (t, is_empty) in enumerate(zip(everywhere, empty, strict=True)):
            item = look.add(part, f"Candidate {number:02d}", dot, look.GREY, at=ray.at(t))
            item.scale = (radius,) * 3
            at = begin + 4 + 26 * number / len(everywhere)
            keys.pop(item, at, begin + 50 + 16 * number / len(everywhere) if is_empty else gone + 8, 8)
            if is_empty:
                fade = begin + 42 + 16 * number / len(everywhere)
                look.key_color(item, [(fade, look.linear(look.GREY)), (fade + 6, look.linear(look.RED))], "LINEAR")
            if number % AT_ONCE == AT_ONCE - 1:
                yield 0.3
        return (
            "The ray's way through the box is cut into short steps.",
            "Most steps lie in empty space: they are skipped.",
            f"{kept} {'are' if count != 1 else 'is'} left, where something may be.",
        )
    if len(ray.first):
        for number, t in enumerate(ray.first):
            item = look.add(part, f"First Sample {number:02d}", dot, look.BLUE, at=ray.at(t))
            item.scale = (0.8 * radius,) * 3
            keys.pop(item, begin + 6 + 36 * number / len(ray.first), gone + 26, 8)
            if number % AT_ONCE == AT_ONCE - 1:
                yield 0.3
        yield from _bars(stage, story, begin + 50, gone + 30)
        return (
            f"First, {len(ray.first)} samples, evenly spread.",
            "They find where something is: the higher a bar, the likelier.",
            f"{kept} {'go' if count != 1 else 'goes'} there.",
        )
    if len(ray.bins):
        yield from _bars(stage, story, begin + 8, gone + 30)
        return (
            "A small helper guesses where the ray meets something:",
            "the higher a bar, the likelier.",
            f"{kept} {'go' if count != 1 else 'goes'} there.",
        )
    return (
        "The ray's way through the box is cut into steps.",
        "In each step, one sample.",
        f"{kept} in all.",
    )


def _candidates(ray: Ray) -> np.ndarray:
    """Evenly spaced places between the box's sides."""
    spacing = float(np.median(ray.t1 - ray.t0)) if len(ray.t) else 0.05 * (ray.far - ray.near)
    count = int(np.clip((ray.far - ray.near) / max(spacing, 1e-9), 8, MOST_CANDIDATES))
    return ray.near + (np.arange(count) + 0.5) * (ray.far - ray.near) / count


def _bars(stage: Stage, story: Story, begin: float, gone: float) -> Iterator[float]:
    """Bars over the ray: how likely the samples are to be drawn from each stretch."""
    ray, part = story.ray, stage.part("1")
    bins = ray.bins[ray.bins[:, 2] > 0.002 * ray.bins[:, 2].max(initial=0.0)]
    density = bins[:, 2] / np.maximum(bins[:, 1] - bins[:, 0], 1e-9)
    up = along(ray.direction)[:, 2]
    block = look.block("Bar")
    turn = np.stack([up, along(ray.direction)[:, 1], -along(ray.direction)[:, 0]], axis=-1)
    for number, ((low, high, _), height) in enumerate(zip(bins, density / density.max(initial=1e-9), strict=True)):
        item = look.add(part, f"Bar {number:03d}", block, look.BLUE)
        place(item, ray.at(0.5 * (low + high)) + 0.012 * story.size * up, turn)
        item.scale = (0.14 * story.size * height + 1e-6, 0.004 * story.size, 0.9 * (high - low))
        keys.pop(item, begin + 16 * number / len(bins), gone, 12)
        if number % AT_ONCE == AT_ONCE - 1:
            yield 0.5


def _beads(stage: Stage, ray: Ray, scenery: Scenery, begin: float, end: float) -> Generator[float, None, Beads]:
    """The samples, still grey: nothing is known of them yet."""
    low, high = scenery.span
    within = max(int(((ray.t >= low) & (ray.t <= high)).sum()), 1)
    radius = min(0.85 * (high - low) / within, 0.42 * scenery.unit)
    shape = look.ball("Sample")
    items = []
    for number, t in enumerate(ray.t):
        item = look.add(stage.part("2"), f"Sample {number + 1:03d}", shape, look.GREY, at=ray.at(t))
        item.scale = (0.6 * radius,) * 3
        share = float(np.clip((t - low) / max(high - low, 1e-9), 0.0, 1.0))
        keys.pop(item, begin + share * (end - begin), frames=9)
        items.append(item)
        if number % AT_ONCE == AT_ONCE - 1:
            yield 0.8
    return Beads(items, radius)
