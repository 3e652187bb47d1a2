"""Set one picture up inside Blender: `blender FILE --python inside.py -- NAME FOLDER RUN`."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "tests" / "window")]

import hands  # noqa: E402 - its folder must be known first

from pictures.registry import pictures  # noqa: E402
from pictures.stage import Missing, Stage  # noqa: E402

NAME, FOLDER, RUN = sys.argv[sys.argv.index("--") + 1 :][:3]


def script():
    """The whole performance; what it returns goes into result.json."""
    stage = Stage(Path(FOLDER), Path(RUN))
    try:
        yield from stage.begin()
        yield from pictures()[NAME](stage)
        yield from stage.shoot()
    except Missing as missing:
        return {"missing": str(missing)}
    finally:
        stage.end()
    return {"crop": stage.crop}


hands.perform(script(), str(Path(FOLDER) / "result.json"))
