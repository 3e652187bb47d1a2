"""The opening: a scene, the pictures that were taken of it, and one pixel."""

import numpy as np

from .. import keys, look
from ..facts import Story
from ..shots import Shot, axes
from ..stage import Stage
from .scenery import Scenery


def build(stage: Stage, story: Story, scenery: Scenery, begin: float) -> float:
    """From the cameras to one picture and one of its pixels."""
    end = begin + 124
    stage.chapter(begin, end, "NeRF: a scene, learned from pictures")
    count = len(story.cameras)
    stage.say(begin, begin + 60, f"A NeRF is a network that has learned a scene from pictures: here, {count}.")
    stage.say(begin + 60, end, "How does it know the colour of one single pixel?")
    keys.pop(scenery.cameras, begin + 8, begin + 66, 18)
    stage.shot(begin, _turned(scenery.everything, story, -12.0))
    stage.shot(begin + 40, _turned(scenery.everything, story, -6.0))
    stage.shot(begin + 78, scenery.pixel)
    stage.shot(end - 6, scenery.pixel)

    for item in (scenery.sheet, scenery.rim):
        keys.pop(item, begin + 36, frames=14)
    keys.show(scenery.pyramid, [(begin + 42, begin + 60), (end - 4, None)])
    mark = _mark(stage, story, scenery)
    keys.pop(mark, begin + 78, frames=12)
    yellow, white = look.linear(look.YELLOW), look.linear(look.TEXT)
    look.key_color(mark, [(begin + 78 + 7 * i, yellow if i % 2 else white) for i in range(6)] + [(end, yellow)])
    return end


def _mark(stage: Stage, story: Story, scenery: Scenery):
    """A square about the pixel on the picture."""
    height, width = story.picture.shape[:2]
    sheet = scenery.sheet
    cell = sheet.data.vertices[1].co.x - sheet.data.vertices[0].co.x
    half = max(0.5 * cell, 0.02 * cell * max(width, height))
    square = half * np.array([(-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0), (-1, -1, 0), (1, -1, 0)])
    mark = look.add(stage.part("1"), "Pixel", look.tubes("Pixel", [square], 0.28 * half), look.YELLOW)
    mark.rotation_mode = "QUATERNION"
    mark.rotation_quaternion = sheet.rotation_quaternion
    mark.location = scenery.spot.tolist()
    return mark


def _turned(shot: Shot, story: Story, degrees: float) -> Shot:
    """The same shot from somewhat around the box's middle."""
    angle = np.radians(degrees)
    turn = np.array([(np.cos(angle), -np.sin(angle), 0), (np.sin(angle), np.cos(angle), 0), (0, 0, 1)])
    middle = story.bounds.mean(axis=0)
    rotation = turn @ shot.rotation
    return Shot(
        middle + turn @ (shot.position - middle) + 0.06 * story.size * rotation[:, 2],
        axes(-rotation[:, 2], np.array([0.0, 0.0, 1.0])),
    )
