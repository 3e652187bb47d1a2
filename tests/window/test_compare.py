"""Two turntables in a real window: what is on the screen beside the wipe's line, which is dragged; F flips."""

import json

import numpy as np
import pytest
from PIL import Image

from .conftest import perform

pytestmark = pytest.mark.timeout(900)
A, B = (230, 60, 20), (20, 90, 200)


def color(base: tuple[int, int, int], frame: int) -> tuple[int, int, int]:
    """Of a turntable's picture: its green tells the frame."""
    return base[0], base[1] + 40 * frame, base[2]


@pytest.fixture(scope="module")
def compared(blender, installed, variables, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    out = folder / "experiment"
    rows = []
    for name, base in (("one", A), ("two", B)):
        (out / "turntables" / name).mkdir(parents=True)
        for frame in range(3):
            Image.new("RGB", (64, 64), color(base, frame)).save(out / "turntables" / name / f"{frame + 1:04d}.png")
        rows.append({"cell": name, "metrics": {"psnr": 20.0}, "turntable": f"turntables/{name}", "frames": 3})
    (out / "experiment.json").write_text("{}")
    (out / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return perform(blender, variables, folder, "compare_session.py", str(out))


def picture(session, name):
    """The turntable's picture as it is on the screen."""
    facts = session.result[name]
    screen = np.asarray(Image.open(session.folder / f"{name}.png").convert("RGB")).astype(int)
    (left, low), (right, high) = facts["corners"]
    height = facts["screen"][1]
    return screen[round(height - high) : round(height - low), round(left) : round(right)], facts


def is_all(part, expected) -> bool:
    """Whether a part has one colour, as the display's eight bits can show it."""
    return part.size > 0 and bool((np.abs(part - expected) <= 1).all())


def test_the_sequences_follow_the_frame_and_f_flips(compared):
    for name, image, expected in (
        ("a1", "NeRF Compare", color(A, 0)),
        ("a3", "NeRF Compare", color(A, 2)),
        ("only_a", "NeRF A", color(A, 2)),
        ("only_b", "NeRF B", color(B, 2)),
        ("b3", "NeRF Compare", color(B, 2)),
    ):
        found, facts = picture(compared, name)
        assert facts["image"] == image and min(found.shape[:2]) > 100
        inner = found[len(found) // 4 : -(len(found) // 4), len(found) // 4 : -(len(found) // 4)]
        assert is_all(inner, expected), (name, inner.reshape(-1, 3).mean(axis=0))


def test_it_fills_the_editor_when_it_is_loaded(compared):
    found, facts = picture(compared, "loaded")
    assert facts["image"] == "NeRF Compare" and max(found.shape[:2]) > 0.8 * min(compared.result["editor"])


@pytest.mark.parametrize(("name", "frame"), [("wipe", 2), ("dragged", 2), ("wipe1", 0)])
def test_a_is_left_of_the_line_and_b_right_of_it(compared, name, frame):
    found, facts = picture(compared, name)
    width = found.shape[1]
    line = facts["split"] * width
    rows = slice(len(found) // 3, len(found) * 2 // 5)  # beside the line's handle, and what lies over the edges
    # A picture's pixel is several on the screen; the line itself covers a few.
    assert is_all(found[rows, int(0.05 * width) : int(line - 0.02 * width)], color(A, frame))
    assert is_all(found[rows, int(line + 0.02 * width) : int(0.9 * width)], color(B, frame))
    near = found[rows, int(line) - 3 : int(line) + 4].reshape(-1, 3)
    assert (near > 240).all(axis=1).any() and (near.sum(axis=1) < 300).any()  # light within dark


def test_the_line_follows_the_mouse(compared):
    assert compared.result["wipe"]["split"] == 0.5
    assert abs(compared.result["dragged"]["split"] - 0.25) < 0.01


def test_nothing_is_left_to_be_saved(compared):
    assert compared.result["dirty"] == [] and compared.exit_code == 0
