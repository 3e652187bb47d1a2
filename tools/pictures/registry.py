"""Which pictures there are: every function of the set-up modules' PICTURES, by the picture's name."""

import importlib
import pkgutil
from collections.abc import Callable, Generator
from typing import Any

from . import setups

# A set-up gets the stage and yields pauses in seconds, as `tests/window/hands.py` plays them.
SetUp = Callable[[Any], Generator[float, None, None]]


def pictures() -> dict[str, SetUp]:
    """All set-ups by name, in the order of their modules' names."""
    found: dict[str, SetUp] = {}
    for module in sorted(pkgutil.iter_modules(setups.__path__), key=lambda module: module.name):
        found.update(importlib.import_module(f"{setups.__name__}.{module.name}").PICTURES)
    return found


def names() -> list[str]:
    """The pictures' names."""
    return list(pictures())
