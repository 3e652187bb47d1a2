"""The end: the same for every pixel of a picture that nobody took."""

from collections.abc import Generator

from .. import keys, look
from ..facts import Story
from ..shots import HIGH, WIDE
from ..stage import BAND_TOP, Stage
from .scenery import Scenery

BANDS = 36  # of rows, that appear one after another


def build(stage: Stage, story: Story, scenery: Scenery, begin: float) -> Generator[float, None, float]:
    """Fly back out; there, row by row, the NeRF's own picture of what is seen."""
    end = begin + 100
    stage.chapter(begin, None, "Do this for every pixel", None)
    stage.say(begin, begin + 52, "The same for all pixels of a picture, from any place,")
    stage.say(begin + 52, None, "also from this one, where no camera ever stood.")
    stage.shot(begin, scenery.close)
    stage.shot(begin + 34, scenery.overview)
    stage.shot(end, scenery.overview)
    rows = len(story.novel)
    if not rows:
        return end
    high = HIGH / 2 - BAND_TOP
    rows_of = [slice(rows * i // BANDS, rows * (i + 1) // BANDS) for i in range(BANDS)]
    for number, part in enumerate(rows_of):
        strip = story.novel[part]
        if not len(strip):
            continue
        name = f"New Picture {number + 1:02d}"
        shape = look.cells(name, strip, WIDE, 1.02 * high * len(strip) / rows)
        middle = HIGH / 2 - high * 0.5 * (part.start + part.stop) / rows
        item = stage.sign("3", name, shape, (0.0, middle), depth=-4.0)
        keys.show(item, [(begin + 40 + number, None)])
        if number % 6 == 5:
            yield number / BANDS
    return end
