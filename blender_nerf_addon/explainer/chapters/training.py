"""The replay: the same pixel, ray and view as the NeRF saw them earlier in its training, and the error that falls."""

from collections.abc import Generator

import bpy
import numpy as np

from .. import keys, look
from ..facts import Moment, Story
from ..stage import Stage
from .march import Beads
from .scenery import Scenery

PICTURE = 3.35
LEFT, MIDDLE, TOP = -5.75, -2.0, 2.05  # of the two pictures
AXES = (2.0, 7.3, 0.55, 3.6)  # left, right, bottom, top of the curve's plot


def build(stage: Stage, story: Story, scenery: Scenery, beads: Beads, begin: float) -> Generator[float, None, float]:
    """Moment by moment: the picture, the pixel's colour, the samples, and a point of the curve."""
    moments = story.moments
    each = 17 if len(moments) > 4 else 30
    first = begin + 26
    frames = [first + each * i for i in range(len(moments))]
    end = frames[-1] + each + 30
    stage.chapter(begin, end, "Training: try, compare, correct", 3)
    if len(moments) > 1:
        stage.say(begin, frames[1], "Back to the start: the network knows almost nothing.")
        stage.say(frames[1], frames[-1], "Compare, correct, repeat: pixel by pixel, picture by picture.")
        stage.say(frames[-1], end, f"{moments[-1].step:,} steps later, this pixel is {moments[-1].error:.1%} off.")
    else:
        stage.say(begin, end, f"{moments[-1].step:,} steps of training: this pixel is {moments[-1].error:.1%} off.")
    stage.shot(begin, scenery.close)
    stage.shot(first - 4, scenery.wide)
    if len(moments) > 1:
        stage.shot(frames[-1] - 2, scenery.wide)
    stage.shot(frames[-1] + 22, scenery.close)
    stage.shot(end, scenery.close)
    spans = [(begin, end)]
    back = stage.sign("3", "Training Card", look.panel("Training Card", 15.4, 5.3), (0.0, 1.72), look.BAND)
    keys.show(back, spans)
    for bead in beads.items:  # those of other moments take their place
        if len(moments) > 1:
            keys.hide(bead, first, frames[-1])
    for number, (frame, moment) in enumerate(zip(frames, moments, strict=True)):
        until = frames[number + 1] if number + 1 < len(frames) else end
        _moment(stage, story, moment, frame if number else begin, until)
        if number + 1 < len(moments):
            _samples(stage, moment, scenery, beads, frame, until)
        yield (number + 1) / len(moments)
    height, width = story.picture.shape[:2]
    size = np.array((width, height)) * PICTURE / max(width, height)
    truth = stage.sign("3", "True Picture", look.cells("True Picture", story.picture, *size), (MIDDLE, TOP), depth=2.0)
    keys.show(truth, spans)
    stage.word("3", "True Picture Name", "picture", (MIDDLE, 3.95), 0.36, look.QUIET, "CENTER", spans)
    swatch = stage.sign("3", "True Pixel", look.panel("True Pixel", PICTURE, 0.6), (MIDDLE, -0.2), story.truth, 2.0)
    keys.show(swatch, spans)
    column, row = story.cell
    place = (np.array([(column + 0.5) / width, 1.0 - (row + 0.5) / height]) - 0.5) * size
    line = 0.045
    for name, x in (("NeRF", LEFT), ("True", MIDDLE)):
        shape = look.frame(f"Pixel in {name} Picture", 0.16, 0.16, line)
        keys.show(
            stage.sign("3", f"Pixel in {name} Picture", shape, (x + place[0], TOP + place[1]), look.YELLOW, 4.0), spans
        )
    own = stage.sign("3", "NeRF Pixel", look.panel("NeRF Pixel", PICTURE, 0.6), (LEFT, -0.2), depth=2.0)
    keys.show(own, spans)
    look.key_color(own, [(f, look.linear(m.color)) for f, m in zip(frames, moments, strict=True)], "CONSTANT")
    _curve(stage, moments, frames, begin, end)
    return end


def _moment(stage: Stage, story: Story, moment: Moment, frame: float, until: float) -> None:
    span = [(frame, until)]
    height, width = story.picture.shape[:2]
    size = np.array((width, height)) * PICTURE / max(width, height)
    name = f"NeRF at Step {moment.step}"
    shape = look.cells(name, moment.picture, *size)
    keys.show(stage.sign("3", name, shape, (LEFT, TOP), depth=2.0), span)
    text = f"NeRF after {_time(moment.seconds)}"
    stage.word("3", f"Name of {name}", text, (LEFT, 3.95), 0.36, look.TEXT, "CENTER", span)
    stage.word(
        "3", f"Error at Step {moment.step}", f"{moment.error:.1%}", (AXES[1], 3.85), 0.55, look.GREEN, "RIGHT", span
    )


def _samples(stage: Stage, moment: Moment, scenery: Scenery, beads: Beads, frame: float, until: float) -> None:
    """All samples of an earlier moment in one mesh: in their colours, sized by weight."""
    ray = moment.ray
    if not len(ray.t):
        return
    heaviest = max(float(ray.weight.max()), 1e-9)
    low, high = scenery.wide_span
    zoom = (high - low) / (scenery.span[1] - scenery.span[0])
    within = max(int(((ray.t >= low) & (ray.t <= high)).sum()), 1)
    largest = min(0.85 * (high - low) / within, 0.42 * scenery.unit * zoom)
    radius = max(largest, beads.radius) * (0.14 + 0.86 * np.sqrt(ray.weight / heaviest))
    name = f"Samples at Step {moment.step}"
    data = _balls(name, ray.at(ray.t), np.clip(ray.color, 0, 1), radius)
    keys.show(look.add(stage.part("3"), name, data), [(frame, until)])


def _balls(name: str, centers: np.ndarray, colors: np.ndarray, radii: np.ndarray):
    shape = look.ball(name)
    corners = np.array([vertex.co for vertex in shape.vertices])
    quads = [tuple(face.vertices) for face in shape.polygons]
    # One number of corners a face: triangles at the poles count their last corner twice.
    faces = np.array([face if len(face) == 4 else (*face, face[-1]) for face in quads])
    triangles = np.concatenate([faces[:, [0, 1, 2]], faces[faces[:, 2] != faces[:, 3]][:, [0, 2, 3]]])
    vertices = (centers[:, None] + radii[:, None, None] * corners).reshape(-1, 3)
    every = (len(corners) * np.arange(len(centers))[:, None, None] + triangles).reshape(-1, 3)
    data = look.colored(name, vertices, every, np.repeat(colors, len(corners), axis=0), "POINT")
    bpy.data.meshes.remove(shape)
    return data


def _curve(stage: Stage, moments: list[Moment], frames: list[float], begin: float, end: float) -> None:
    """The pixel's error over training time."""
    left, right, bottom, top = AXES
    spans = [(begin, end)]
    axes = look.tubes("Axes", [np.array([(left, top, 0), (left, bottom, 0), (right, bottom, 0)])], 0.018)
    keys.show(stage.sign("3", "Axes", axes, (0, 0), look.QUIET, 2.0), spans)
    stage.word("3", "Axis Error", "error of this pixel", (left, 3.9), 0.34, look.QUIET, spans=spans)
    most = _round_up(max(moment.error for moment in moments))
    for value in (0.0, 0.5 * most, most):
        y = bottom + (top - bottom) * value / most
        label = f"{100 * value:.3g}%"
        stage.word("3", f"Axis {label}", label, (left - 0.12, y - 0.1), 0.3, look.QUIET, "RIGHT", spans)
        if value:
            grid = look.tubes("Grid", [np.array([(left, y, 0), (right, y, 0)])], 0.006)
            keys.show(stage.sign("3", f"Grid {label}", grid, (0, 0), look.DARK, 1.0), spans)
    times = np.log(np.maximum([moment.seconds for moment in moments], 1e-3))
    share = (times - times[0]) / max(times[-1] - times[0], 1e-9) if len(times) > 1 else np.array([1.0])
    errors = np.array([moment.error for moment in moments])
    x, y = left + (right - left) * (0.03 + 0.94 * share), bottom + (top - bottom) * errors / most
    points = np.stack([x, y, 0.0 * x], axis=-1)
    stage.word(
        "3", "Axis First", _time(moments[0].seconds), (points[0][0], bottom - 0.42), 0.3, look.QUIET, "CENTER", spans
    )
    if len(moments) > 1:
        stage.word(
            "3",
            "Axis Last",
            _time(moments[-1].seconds),
            (points[-1][0], bottom - 0.42),
            0.3,
            look.QUIET,
            "CENTER",
            spans,
        )
        stage.word(
            "3", "Axis Time", "training time", (0.5 * (left + right), bottom - 0.42), 0.3, look.QUIET, "CENTER", spans
        )
        line = look.tubes("Error Curve", [points], 0.035)
        item = stage.sign("3", "Error Curve", line, (0, 0), look.GREEN, 3.0)
        keys.show(item, spans)
        lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
        line.bevel_factor_mapping_end = "SPLINE"
        grown = [(frame, length / lengths[-1]) for frame, length in zip(frames, lengths, strict=True)]
        keys.key(line, "bevel_factor_end", [(begin, 0.0), *grown], "LINEAR")
    dot = look.ball("Error Point", 20)
    for moment, frame, point in zip(moments, frames, points, strict=True):
        item = stage.sign("3", f"Error Point {moment.step}", dot, point[:2], look.GREEN, 4.0)
        item.scale = (0.1, 0.1, 0.01)
        keys.pop(item, frame, end, 8)


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 6, 8 times a power of ten."""
    if not value > 0:
        return 0.01
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value * 0.999))


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.2g} s" if seconds < 9.95 else f"{seconds:.0f} s"
    return f"{seconds / 60:.3g} min" if seconds < 5400 else f"{seconds / 3600:.2g} h"
