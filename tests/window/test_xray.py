"""The X-ray mode in a real window: the rig on the screen, buttons clicked, cancel, a field trained; never held up."""

import json

import numpy as np
import pytest
from PIL import Image

from .conftest import perform

pytestmark = pytest.mark.timeout(900)
SOURCE = (255, 199, 51)


@pytest.fixture(scope="module")
def session(blender, installed, variables, tmp_path_factory):
    return perform(blender, variables, tmp_path_factory.mktemp("xray"), "xray_session.py")


def viewport(session, name):
    """(H, W, 3) what the viewport shows, without the sidebar over it."""
    height, left, low, width, tall = session.result["view"]
    screen = np.asarray(Image.open(session.folder / f"{name}.png").convert("RGB")).astype(int)
    return screen[height - low - tall : height - low, left : left + int(0.6 * width)]


def test_the_rig_is_drawn(session):
    shown = viewport(session, "rig")
    source = np.abs(shown - SOURCE).max(axis=-1) < 40
    assert source.sum() > 60  # a disc and lines


def test_buttons_check_and_cancel(session):
    assert session.result["check"] == ["2 closed meshes", []]
    assert session.result["cancelled"] == "cancelled"


def test_one_button_takes_radiographs_and_trains(session):
    run = session.folder / "runs" / "ball"
    document = json.loads((run / "dataset" / "transforms.json").read_text(encoding="utf-8"))
    assert len(document["frames"]) == 27 and session.result["preview"] == [[64, 64]]
    assert session.result["trained"] == "finished" and session.result["nerf"] == ["ball"]
    assert json.loads((run / "run.json").read_text(encoding="utf-8"))["method"] == "xray"


def test_the_field_is_seen_in_the_viewport(session):
    shown = viewport(session, "field")
    assert shown.max() > 90


def test_nothing_held_blender_up(session):
    """Told, not asserted in seconds: what one piece of work took of the main thread."""
    print(session.result["longest"])
    assert session.result["longest"].keys() >= {"start", "_read", "_look"}
