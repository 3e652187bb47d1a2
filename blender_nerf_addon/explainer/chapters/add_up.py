"""Step 3: from the camera on, colours are added up until no light is left, and the sum is compared with the picture."""

from collections.abc import Generator, Iterator

import numpy as np

from .. import keys, look
from ..facts import Story
from ..stage import Stage, along, place
from .ask import OPAQUE, _facing
from .march import AT_ONCE, Beads
from .scenery import Scenery

SEGMENTS, WALK_FRAMES = 56, 92
SWATCH = 2.7


def build(stage: Stage, story: Story, scenery: Scenery, beads: Beads, begin: float) -> Generator[float, None, float]:
    """Walk along the ray once more, add up, and compare."""
    ray = story.ray
    walk = begin + 28
    arrived = walk + WALK_FRAMES
    end = arrived + 84
    stage.chapter(begin, end, "3   Add up, and compare", 2)
    stage.say(begin, walk + 24, "Walk along the ray again. At first, nothing is in the way.")
    stage.say(walk + 24, arrived, "Each sample adds its colour, and hides those behind it.")
    stage.say(arrived, arrived + 40, "The sum is the NeRF's pixel. This is the picture's own:")
    stage.say(arrived + 40, end, "Training changes the network to make that difference small.")
    stage.shot(begin, scenery.close)
    stage.shot(end, scenery.close)

    low, high = scenery.span

    def frame_at(t: float) -> float:
        return walk + WALK_FRAMES * float(np.clip((t - low) / (high - low), 0.0, 1.0))

    walker = look.add(stage.part("3"), "Walker", look.ring("Walker"), look.YELLOW, at=ray.at(low))
    walker.rotation_mode = "QUATERNION"
    walker.rotation_quaternion = _facing(scenery)
    walker.scale = (1.45 * beads.radius,) * 3
    keys.show(walker, [(begin + 20, arrived + 10)])
    keys.key(walker, "location", [(walk, ray.at(low)), (arrived, ray.at(high))], "LINEAR")
    heaviest = max(float(ray.weight.max(initial=0.0)), 1e-9)
    beside = zip(beads.items, ray.t, ray.weight, ray.opacity, strict=True)
    for number, (bead, t, weight, opacity) in enumerate(beside):
        frame = frame_at(t)
        share = 0.16 if opacity <= OPAQUE else 0.4 + 0.6 * float(np.sqrt(opacity))
        scale = 0.14 + 0.86 * float(np.sqrt(weight / heaviest))
        keys.key(bead, "scale", [(frame, (beads.radius * share,) * 3), (frame + 8, (beads.radius * scale,) * 3)])
        if number % AT_ONCE == AT_ONCE - 1:
            yield 0.2
    yield 0.3
    yield from _strip(stage, story, scenery, begin + 6, end, frame_at)
    yield from _swatches(stage, story, begin + 14, frame_at, arrived, end)
    return end


def _strip(stage: Stage, story: Story, scenery: Scenery, begin: float, end: float, frame_at) -> Iterator[float]:
    """A band below the samples: bright where light still passes, dark where it is blocked."""
    ray, part = story.ray, stage.part("3")
    low, high = scenery.span
    edges = np.linspace(low, high, SEGMENTS + 1)
    block = look.block("Light")
    turn = along(ray.direction)
    down = -scenery.close.rotation[:, 1]
    down = down - (down @ ray.direction) * ray.direction
    down /= np.linalg.norm(down)
    bright, dark = np.array(look.YELLOW), np.array(look.DARK)
    for number in range(SEGMENTS):
        t = edges[number]
        item = look.add(part, f"Light {number:02d}", block, look.YELLOW)
        place(item, ray.at(t) + 0.62 * scenery.unit * down, turn)
        item.scale = (edges[1] - edges[0], 0.16 * scenery.unit, 0.16 * scenery.unit)
        keys.pop(item, begin + 14 * number / SEGMENTS, end + 4, 8)
        passing = float(ray.passing[np.searchsorted(ray.t, edges[number + 1])])
        shown = look.linear(dark + (bright - dark) * passing)
        frame = frame_at(edges[number + 1])
        look.key_color(item, [(frame - 2, look.linear(look.YELLOW)), (frame + 2, shown)], "LINEAR")
        if number % AT_ONCE == AT_ONCE - 1:
            yield 0.4


def _swatches(stage: Stage, story: Story, begin: float, frame_at, arrived: float, end: float) -> Iterator[float]:
    """The sum as it grows, the light that is left, the picture's own colour, and how far they are apart."""
    ray, y = story.ray, 2.0
    spans = [(begin, end)]
    back = stage.sign("3", "Sum Card", look.panel("Sum Card", 15.0, 4.1), (0.0, 2.2), look.BAND)
    keys.show(back, spans)
    stage.word("3", "See-Through", "still see-through", (-7.1, 3.55), 0.42, look.QUIET, spans=spans)
    full = 5.4
    track = stage.sign(
        "3", "See-Through Track", look.panel("See-Through Track", full, 0.36), (-7.1 + full / 2, 3.05), look.DARK, 1.0
    )
    keys.show(track, spans)
    bar = stage.sign("3", "See-Through Bar", look.block("See-Through Bar"), (-7.1, 3.05), look.YELLOW, 3.0)
    bar.scale = (full, 0.36, 0.01)
    keys.show(bar, spans)
    frames = [frame_at(t) for t in ray.t]
    lengths = [(begin, (full, 0.36, 0.01))]
    lengths += [
        (frame + 1, (max(full * passing, 1e-4), 0.36, 0.01))
        for frame, passing in zip(frames, ray.passing[1:], strict=True)
    ]
    keys.key(bar, "scale", lengths, "LINEAR")
    marks = sorted(
        {int(i) for i in np.searchsorted(-ray.passing, -np.array([0.999, 0.9, 0.75, 0.5, 0.25, 0.1, 0.03, 0.01]))}
    )
    marks = [i for i in marks if 0 < i <= len(ray.t)] or ([len(ray.t)] if len(ray.t) else [])
    if marks and marks[-1] != len(ray.t):
        marks.append(len(ray.t))
    begins = [begin] + [frames[i - 1] + 1 for i in marks]
    for number, (frame, index) in enumerate(zip(begins, [0, *marks], strict=True)):
        until = begins[number + 1] if number + 1 < len(begins) else end
        stage.word("3", f"See-Through {number}", f"{ray.passing[index]:.0%}", (-1.5, 2.9), 0.44, spans=[(frame, until)])
        yield 0.7
    stage.word("3", "Rule", "each adds", (-7.1, 2.05), 0.36, look.QUIET, spans=spans)
    stage.word(
        "3", "Rule Terms", "its colour \u00d7 its opacity \u00d7 see-through", (-7.1, 1.5), 0.38, look.TEXT, spans=spans
    )
    yield 0.9

    swatch = stage.sign("3", "Swatch NeRF", look.panel("Swatch NeRF", SWATCH, SWATCH), (2.0, y), (0, 0, 0), 3.0)
    rim = stage.sign(
        "3", "Swatch NeRF Frame", look.frame("Swatch NeRF Frame", SWATCH, SWATCH, 0.05), (2.0, y), look.QUIET, 4.0
    )
    for item in (swatch, rim):
        keys.show(item, spans)
    sums = np.clip(ray.accumulated, 0, 1)
    colors = [(begin, look.linear(sums[0]))]
    colors += [(frame + 1, look.linear(color)) for frame, color in zip(frames, sums[1:], strict=True)]
    colors += [(arrived, look.linear(sums[-1])), (arrived + 6, look.linear(story.now.color))]
    look.key_color(swatch, colors, "LINEAR")
    stage.word("3", "Swatch NeRF Name", "NeRF", (2.0, 3.6), 0.42, look.QUIET, "CENTER", spans)
    truth = stage.sign("3", "Swatch Picture", look.panel("Swatch Picture", SWATCH, SWATCH), (5.4, y), story.truth, 3.0)
    keys.pop(truth, arrived + 8)
    keys.show(truth, [(arrived + 8, end)])
    outline = look.frame("Swatch Picture Frame", SWATCH, SWATCH, 0.05)
    keys.show(stage.sign("3", "Swatch Picture Frame", outline, (5.4, y), look.QUIET, 4.0), [(arrived + 14, end)])
    stage.word("3", "Swatch Picture Name", "picture", (5.4, 3.6), 0.42, look.QUIET, "CENTER", [(arrived + 8, end)])
    text = f"difference  {story.now.error:.1%}"
    stage.word("3", "Difference", text, (-7.1, 0.75), 0.62, look.GREEN, spans=[(arrived + 22, end)])
