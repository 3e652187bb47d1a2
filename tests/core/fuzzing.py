"""What the fuzz tests share: mutated bytes and JSON documents, and a guard that notices code run and memory taken."""

import contextlib
import copy
import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from nerf_core.contract.errors import NerfError

from .fast_field import fresh_seed

EXAMPLES = int(os.environ.get("NERF_FUZZ_EXAMPLES") or 10_000)
"""Inputs that each reader is given; more for a long run by hand."""

HEADROOM = 512 << 20
"""Bytes of address space that a reader may take on top of what the process has: its files are some 20 kB."""

CODE_EVENTS = ("exec", "compile", "marshal.loads", "pickle.find_class", "ctypes.dlopen", "os.exec", "os.fork")
CODE_EVENTS += ("os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen", "socket.connect", "socket.bind")

# Texts that json.dumps would not write; each stands in for a value in the document.
RAW = {
    "deep list": "[" * 500 + "]" * 500,
    "deeper list": "[" * 100_000 + "]" * 100_000,
    "near Python's limit": "[" * 940 + "]" * 940,
    "deep object": '{"a":' * 300 + "1" + "}" * 300,
    "open list": "[" * 50,
    "many digits": "9" * 5000,
    "as many as may be": "9" * 4200,
    "many zeros": "1" + "0" * 400,
    "huge exponent": "1e99999",
    "tiny exponent": "1e-400",
    "NaN": "NaN",
    "Infinity": "-Infinity",
    "lone surrogate": '"\\ud800"',
    "nul": '"a\\u0000b"',
    "two values": "1, 2",
    "same key twice": '{"w": 1, "w": [2]}',
    "nothing": "",
    "not quite JSON": "{'a': 1}",
    "much space": " " * 1000 + "1",
}

STRANGE = [
    None, True, False, 0, 1, -1, 2, 3, 16, 255, 2**31, 2**32, 2**53, 2**63, 2**64, -(2**63), 10**18, 10**300,
    0.0, -0.0, 0.5, 1e-9, 1e-300, 5e-324, 1e9, 1e18, 1e155, 1e300, 1.7e308, -1e300, float("nan"), float("inf"),
    "", "0", "1", "1.5", "nan", "inf", "true", "x" * 300, "é", "球", "\u202e", "\n", "\x1b[2J", "\x00", "../..", "/",
    "perspective", "orthographic", "panoramic", "srgb", "linear", "fast", "classic", "OPENCV", "FISHEYE",
    [], {}, [[]], [None], [0], [1, 2], [0, 0, 0], [1, 1, 1], ["1", "2", "3"], [[1, 2, 3], [4, 5, 6]],
    [[0, 0, 0], [1e308] * 3], "\\", "~",
    [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], [[1e200] * 4] * 4, [["1"] * 4] * 4, [[True] * 4] * 4,
    {"a": 1}, {"bounds": None}, [0] * 1000, [[0] * 64] * 16, {str(i): i for i in range(100)},
]  # fmt: skip

small_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=2),
    max_leaves=4,
)
numbers = st.floats() | st.integers(-5, 300) | st.sampled_from([2.0**k for k in range(-20, 40, 3)])
strange_values = st.sampled_from(STRANGE) | numbers | small_json


factors = st.sampled_from((1 + 1e-7, 1.001, 0.5, 2, -1, 1e-3, 100, 1e6, 1e-9, 1e200))
KINDS = ("value",) * 4 + ("scale",) * 4 + ("raw", "drop", "again", "word", "wrap")


@st.composite
def mutated_documents(draw, document: dict, extra_keys: tuple[str, ...] = ()) -> str:
    """JSON text of a document in which one to three values were changed, dropped, repeated, or are no JSON at all."""
    changed, raw = copy.deepcopy(document), {}
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3)))):
        parent, key = _descend(draw, changed, extra_keys)
        if parent is None:
            break
        there = isinstance(parent, list) or key in parent
        kind = draw(st.sampled_from(KINDS))
        if kind == "raw":
            mark = f"raw {len(raw)} mark"
            raw[json.dumps(mark)] = RAW[draw(st.sampled_from(sorted(RAW)))]
            parent[key] = mark
        elif kind == "drop" and there:
            del parent[key]
        elif kind == "again" and isinstance(parent, list):
            parent.extend([parent[key]] * draw(st.integers(1, 20)))
        elif kind in ("word", "scale") and there and isinstance(parent[key], int | float):
            parent[key] = str(parent[key]) if kind == "word" else parent[key] * draw(factors)
        elif kind == "wrap" and there:
            parent[key] = [parent[key]]
        else:
            parent[key] = copy.deepcopy(draw(strange_values))  # which later edits may change
    text = json.dumps(changed, ensure_ascii=draw(st.booleans()))
    for mark, written in raw.items():
        text = text.replace(mark, written)
    return text


def _descend(draw, place, extra_keys: tuple[str, ...]):
    """Some container in a document and a key of it: every branch alike, however many leaves it has."""
    chosen = None, None
    keys = [*place, *extra_keys]
    while keys:
        key = draw(st.sampled_from(keys))
        chosen = place, key
        if isinstance(place, dict) and key not in place or not isinstance(place[key], dict | list):
            break
        if draw(st.integers(0, 3)) == 0:
            break
        place = place[key]
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    return chosen


@st.composite
def mutated_bytes(draw, data: bytes, regions: tuple[tuple[int, int], ...]) -> bytes:
    """`data` with one to five edits, most of them inside one of the regions (first, end)."""
    changed = bytearray(data)
    first, end = draw(st.sampled_from(regions))
    for _ in range(draw(st.integers(1, 5))):
        at = min(draw(st.integers(first, end - 1)), max(len(changed) - 1, 0))
        kind = draw(st.sampled_from(("flip", "flip", "byte", "number", "cut", "drop", "insert", "repeat")))
        if kind == "flip" and changed:
            changed[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "byte" and changed:
            changed[at] = draw(st.sampled_from(b'\x00\xff"{}[],:0-9.eE\\\n\x80'))
        elif kind == "number":
            value = draw(st.sampled_from((0, 1, 7, 8, len(data), 10**6, 10**8, 2**31, 2**32, 2**40, 2**63, 2**64 - 1)))
            changed[at : at + 8] = value.to_bytes(8, "little")
        elif kind == "cut":
            del changed[at:]
        elif kind == "drop":
            del changed[at : at + draw(st.integers(1, 64))]
        elif kind == "insert":
            changed[at:at] = draw(st.binary(min_size=1, max_size=16))
        elif kind == "repeat":
            changed[at:at] = changed[at : at + draw(st.integers(1, 200))]
    return bytes(changed)


def rewrite(path: Path, data: bytes) -> None:
    """Write over a file; opening it empty first, as `write_bytes` does, makes some file systems wait for the disk."""
    with open(path, "r+b") as stream:
        stream.write(data)
        stream.truncate()


class Guard:
    """While it is open, code that runs is told, and memory far beyond the inputs' size is refused."""

    def __init__(self) -> None:
        self.is_open = False
        self.seen: list[str] = []
        sys.addaudithook(self._hear)  # which cannot be taken away again, but it is deaf while the guard is shut

    def _hear(self, event: str, arguments: tuple) -> None:
        if self.is_open and event in CODE_EVENTS:
            self.seen.append(event)

    @contextlib.contextmanager
    def limited(self):
        """Bound the address space (where the system can) for a whole run."""
        try:
            import resource

            taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        except (ImportError, OSError):
            print("no limit on memory here: this system has neither RLIMIT_AS nor /proc")
            yield
            return
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (taken + HEADROOM, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)

    @contextlib.contextmanager
    def __call__(self):
        self.seen.clear()
        self.is_open = True
        try:
            yield
        finally:
            self.is_open = False
        assert not self.seen, self.seen


GUARD = Guard()


def fuzz(inputs: st.SearchStrategy, read: Callable[[object], str], examples: int = EXAMPLES) -> Counter:
    """Give a reader many inputs; counts what `read` returns, and "refused" for every `NerfError`.

    Call `read` once with something good before, so that it has imported whatever it will: imports are code that runs.

    Raises
    ------
    AssertionError
        When code ran, an error has no sentence of one line, or fewer inputs came than were asked for. Anything that
        `read` raises but `NerfError` comes through, with the smallest input that hypothesis finds.
    """
    value = fresh_seed()
    met: Counter = Counter()

    @seed(value)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(inputs)
    def run(given_input) -> None:
        try:
            with GUARD():
                result = read(given_input)
        except NerfError as error:
            sentence, result = str(error), "refused"
            assert sentence and "\n" not in sentence and len(sentence) < 4000, sentence
        met[result] += 1

    with GUARD.limited():
        run()
    print(f"{sum(met.values())} inputs: {dict(met)}")
    assert sum(met.values()) >= examples
    return met
