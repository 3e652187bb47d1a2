"""From a story's facts to its scene, a part at a time, so that Blender does not stand still."""

import contextlib
from collections.abc import Generator, Iterator

import bpy

from ..vendor.nerf_core.contract.errors import NerfError
from .chapters import add_up, ask, ending, march, opening, scenery, training
from .facts import Story
from .stage import Stage


def build(story: Story) -> Generator[float, None, bpy.types.Scene]:
    """Build the scene "NeRF Explained", or renew it; yields how much of it is done, 0 to 1.

    Raises
    ------
    NerfError
        When somebody undid something meanwhile: what was made so far may be gone.
    """
    parts = _parts(story)
    with _undone() as undone:
        while True:
            if undone:
                raise NerfError("Something was undone while the story was being built; explain once more.")
            try:
                done = next(parts)
            except StopIteration as end:
                return end.value
            yield done


def _parts(story: Story) -> Generator[float, None, bpy.types.Scene]:
    stage = Stage(story)
    yield 0.05
    things = yield from _within(0.05, 0.35, scenery.build(stage, story))
    frame = opening.build(stage, story, things, 1.0)
    yield 0.4
    marched, beads = yield from _within(0.4, 0.5, march.build(stage, story, things, frame))
    asked = yield from _within(0.5, 0.6, ask.build(stage, story, things, beads, marched))
    added = yield from _within(0.6, 0.7, add_up.build(stage, story, things, beads, asked))
    trained = yield from _within(0.7, 0.9, training.build(stage, story, things, beads, added))
    end = yield from _within(0.9, 0.97, ending.build(stage, story, things, trained))
    scenery.switch(things, frame + march.OPENED, marched - march.CLOSED, trained + 10.0)
    stage.finish(end)
    return stage.scene


def _within(low: float, high: float, part: Generator) -> Generator:
    """A part's own progress as a stretch of the whole's."""
    while True:
        try:
            done = next(part)
        except StopIteration as end:
            return end.value
        yield low + (high - low) * done


@contextlib.contextmanager
def _undone() -> Iterator[list[bool]]:
    """A list that is no longer empty once somebody undid or redid something: references are stale from then on."""
    found: list[bool] = []

    def note(*_: object) -> None:
        found.append(True)

    handlers = (bpy.app.handlers.undo_pre, bpy.app.handlers.redo_pre)
    for group in handlers:
        group.append(note)
    try:
        yield found
    finally:
        for group in handlers:
            if note in group:
                group.remove(note)
