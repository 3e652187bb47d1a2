"""JSON from files that anybody may have written: whole, UTF-8, and not nested without end."""

import json
from typing import Any

MAX_DEPTH = 64
"""Lists and objects inside one another; what this project reads has eight. Python's own recursion ends near 1000."""


def parse_json(text: str | bytes) -> Any:
    """Parse a JSON document; of a key that comes twice the last value counts, as everywhere in Python.

    Raises
    ------
    ValueError
        When it is no JSON, no UTF-8, holds a number of thousands of digits, or nests deeper than `MAX_DEPTH`: whoever
        compares, prints or copies such a value later would run out of stack.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    depth, level = 0, [value] if isinstance(value, dict | list) else []
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(_TOO_DEEP)
        children = (outer.values() if isinstance(outer, dict) else outer for outer in level)
        level = [inner for some in children for inner in some if isinstance(inner, dict | list)]
    return value


_TOO_DEEP = f"it is nested more than {MAX_DEPTH} levels deep"


def shown(text: str, length: int = 200) -> str:
    """A name from such a file as a sentence can hold it: on one line, of no great length, harmless to a terminal."""
    plain = text if text.isprintable() else ascii(text)[1:-1]
    return plain if len(plain) <= length else plain[:length] + "..."
