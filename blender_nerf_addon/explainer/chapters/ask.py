"""Step 2: every sample's position and direction go into the network; its colour and density come out."""

from collections.abc import Generator, Iterator

import numpy as np

from .. import keys, look
from ..facts import Story
from ..stage import Stage, along, place
from .march import AT_ONCE, Beads
from .scenery import Scenery

STOPS, STOP_FRAMES, PASS_FRAMES = 4, 20, 34
SAID_FRAMES = 128  # that the three sentences need at least
OPAQUE = 0.02  # of the light: what stops less is called empty


def build(stage: Stage, story: Story, scenery: Scenery, beads: Beads, begin: float) -> Generator[float, None, float]:
    """Walk along the samples, stop at some for their numbers, and colour all of them."""
    ray = story.ray
    frames, stops = _schedule(ray, begin + 28)
    # One sample is soon asked, but what is said takes its time to be read.
    end = max(float(round((frames[-1] if len(frames) else begin + 28) + 42)), begin + SAID_FRAMES)
    stage.chapter(begin, end, "2   Ask for colour and density", 1)
    stage.say(begin, begin + 50, "Each sample asks the network: what is at this place, seen from here?")
    stage.say(begin + 50, end - 34, "It answers with a colour, and a density: how much is there.")
    stage.say(end - 34, end, "Dense samples are large, empty ones shrink away.")
    stage.shot(begin, scenery.close)
    stage.shot(end, scenery.close)

    pointer = look.add(stage.part("2"), "Asking", look.ring("Asking"), look.TEXT)
    place(pointer, ray.at(ray.t[0]) if len(ray.t) else scenery.spot, along(ray.direction))
    pointer.rotation_quaternion = _facing(scenery)
    pointer.scale = (1.45 * beads.radius,) * 3
    keys.show(pointer, [(begin + 20, end - 30)])
    keys.key(
        pointer,
        "location",
        [(f, ray.at(t)) for f, t in zip(frames, ray.t, strict=True)] or [(begin, ray.origin)],
        "LINEAR",
    )
    beside = zip(beads.items, frames, ray.color, ray.opacity, strict=True)
    for number, (bead, frame, color, opacity) in enumerate(beside):
        scale = _grown(beads.radius, opacity)
        shown = np.clip(color, 0, 1) if opacity > OPAQUE else look.DARK
        look.key_color(bead, [(frame, look.linear(look.GREY)), (frame + 4, look.linear(shown))], "LINEAR")
        before = 0.6 * beads.radius
        keys.key(bead, "scale", [(frame, (before,) * 3), (frame + 6, (scale,) * 3)], "BACK", "EASE_OUT")
        if number % AT_ONCE == AT_ONCE - 1:
            yield 0.3
    yield 0.5
    yield from _card(stage, story, begin + 10, end - 8, frames, stops)
    return end


def _grown(radius: float, opacity: float) -> float:
    return radius * (0.16 if opacity <= OPAQUE else 0.4 + 0.6 * float(np.sqrt(opacity)))


def _facing(scenery: Scenery):
    """The ring turned to the camera: its hole is looked through."""
    from mathutils import Matrix

    right, up, backward = scenery.close.rotation.T
    return Matrix(np.stack([backward, right, up], axis=-1).tolist()).to_quaternion()


def _schedule(ray, begin: float) -> tuple[np.ndarray, list[int]]:
    """At which frame each sample is asked, and the ones whose numbers are shown."""
    count = len(ray.t)
    if not count:
        return np.zeros(0), []
    # The one that counts most, and others spread over the samples.
    spread = np.linspace(0, count - 1, min(STOPS, count)).round().astype(int)
    heaviest = int(np.argmax(ray.weight))
    spread[np.argmin(np.abs(spread - heaviest))] = heaviest
    stops = sorted(set(spread.tolist()))
    waits = np.full(count, PASS_FRAMES / count)
    waits[stops] += STOP_FRAMES
    return begin + np.concatenate([[0.0], np.cumsum(waits)[:-1]]), stops


def _card(
    stage: Stage, story: Story, begin: float, end: float, frames: np.ndarray, stops: list[int]
) -> Iterator[float]:
    """What goes in and what comes out, with the numbers of the samples that are stopped at."""
    ray = story.ray
    back = stage.sign("2", "Card", look.panel("Card", 15.0, 3.5), (0.0, 2.45), look.BAND)
    keys.show(back, [(begin, end)])
    spans = [(begin, end)]
    stage.word("2", "Card In", "goes in", (-7.1, 3.55), 0.4, look.BLUE, spans=spans)
    stage.word("2", "Card Position", "position", (-7.1, 2.75), 0.42, look.QUIET, spans=spans)
    stage.word("2", "Card Direction", "direction", (-7.1, 1.9), 0.42, look.QUIET, spans=spans)
    stage.word("2", "Card Out", "comes out", (3.35, 3.55), 0.4, look.BLUE, spans=spans)
    stage.word("2", "Card Colour", "colour", (3.35, 2.75), 0.42, look.QUIET, spans=spans)
    stage.word("2", "Card Density", "density", (3.35, 1.9), 0.42, look.QUIET, spans=spans)
    yield 0.6
    _network(stage, begin, end, [frames[i] for i in stops])
    yield 0.8
    chip = stage.sign("2", "Card Chip", look.panel("Card Chip", 0.62, 0.62), (5.35, 2.9), look.GREY, depth=4.0)
    keys.show(chip, [(frames[stops[0]] if stops else begin, end)])
    direction = "   ".join(f"{value:+.2f}" for value in ray.direction)
    chips = []
    for number, index in enumerate(stops):
        frame, until = frames[index], frames[stops[number + 1]] if number + 1 < len(stops) else end
        span, name = [(frame, until)], f"of Sample {index + 1:03d}"
        position = "   ".join(f"{value:+.2f}" for value in ray.at(ray.t[index]))
        color = np.clip(ray.color[index], 0, 1)
        stage.word("2", f"Position {name}", position, (-4.7, 2.75), 0.44, spans=span)
        stage.word("2", f"Direction {name}", direction, (-4.7, 1.9), 0.44, spans=span)
        is_empty = ray.opacity[index] <= OPAQUE
        text = " ".join(f"{round(255 * value)}" for value in color)
        stage.word("2", f"Colour {name}", text, (5.82, 2.76), 0.32, spans=span)
        chips.append((frame, look.linear(color)))
        density = f"{ray.density[index]:.1f}" + ("   (empty)" if is_empty else "")
        stage.word(
            "2", f"Density {name}", density, (5.15, 1.9), 0.44, look.QUIET if is_empty else look.TEXT, spans=span
        )
        label = f"sample {index + 1} of {len(ray.t)}"
        stage.word("2", f"Label {name}", label, (1.2, 1.05), 0.34, look.QUIET, "CENTER", spans=span)
        yield 0.8
    if chips:
        look.key_color(chip, chips, "CONSTANT")


def _network(stage: Stage, begin: float, end: float, pulses: list[float]) -> None:
    """A little network: three columns of nodes; it lights up whenever it is asked."""
    columns = [
        [(-0.95, y) for y in (0.7, 0.0, -0.7)],
        [(0.0, y) for y in (0.95, 0.32, -0.32, -0.95)],
        [(0.95, y) for y in (0.5, -0.5)],
    ]
    middle = np.array((1.2, 2.55))
    lines = [
        np.array([(*a, 0.0), (*b, 0.0)])
        for left, right in zip(columns, columns[1:], strict=False)
        for a in left
        for b in right
    ]
    web = stage.sign("2", "Network Lines", look.tubes("Network Lines", lines, 0.012), middle, look.GREY, depth=2.0)
    keys.show(web, [(begin, end)])
    dot = look.ball("Network Node", 20)
    for layer, column in enumerate(columns):
        for number, place_ in enumerate(column):
            item = stage.sign("2", f"Network Node {layer}.{number}", dot, middle + place_, look.GREY, depth=6.0)
            item.scale = (0.15, 0.15, 0.02)
            keys.show(item, [(begin, end)])
            calm, bright = look.linear(look.GREY), look.linear(look.YELLOW)
            colors = [(begin, calm)]
            for pulse in pulses:
                at = pulse - 10 + 4 * layer
                colors += [(at - 0.5, calm), (at, bright), (at + 7, calm)]
            look.key_color(item, colors, "LINEAR")
    arrow = np.array([(-0.5, 0, 0), (0.5, 0, 0), (0.5, 0, 0), (0.28, 0.16, 0), (0.5, 0, 0), (0.28, -0.16, 0)])
    for name, x in (("In", -0.55), ("Out", 2.75)):
        shape = look.tubes(f"Arrow {name}", [0.55 * arrow[:2], 0.55 * arrow[2:4], 0.55 * arrow[4:]], 0.03)
        keys.show(stage.sign("2", f"Arrow {name}", shape, (x, 2.55), look.BLUE, depth=2.0), [(begin, end)])
