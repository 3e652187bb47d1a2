"""The render engine in a real window: the viewport's pixels are the core's, at the right place; F12; Esc."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from .conftest import perform

pytestmark = pytest.mark.timeout(900)
VIEWS = ("1-perspective", "2-orthographic", "3-camera")
PLACES = ("in_front", "behind", "beside")


@pytest.fixture(scope="module")
def engine_session(blender, installed, variables, ball_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("engine")
    return perform(blender, variables, folder, "engine_session.py", str(ball_run(folder)), simulate=False)


def encoded(rgba):
    """Premultiplied scene-linear over black, as the display shows it: (H, W, 3), 0 to 255."""
    linear = np.clip(rgba[..., :3].astype(np.float64), 0.0, 1.0)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def seen(session, name):
    """The viewport's part of a screenshot, and the numbers that go with it."""
    facts = session.result[name]
    screen = np.asarray(Image.open(session.folder / f"{name}.png").convert("RGB"), dtype=np.float64)
    width, height = facts["size"]
    bottom = facts["screen"][1] - facts["low"]
    return screen[bottom - height : bottom, facts["left"] : facts["left"] + width], facts


@pytest.mark.parametrize("name", VIEWS)
def test_the_viewport_shows_the_core_s_pixels(engine_session, name):
    picture, facts = seen(engine_session, name)
    expected = encoded(np.load(engine_session.folder / f"{name}.npy"))
    assert picture.shape == expected.shape
    # Headers, tools and the sidebar lie over the edges.
    inner = tuple(slice(int(0.2 * side), int(0.8 * side)) for side in picture.shape[:2])
    difference = np.abs(picture[inner] - expected[inner]).max(axis=-1)
    assert np.quantile(difference, 0.99) <= 2.0  # the camera's frame is a line across
    assert (expected[inner].max(axis=-1) > 60).mean() > 0.02
    # The ball's middle, which is the box's, is where Blender itself draws it.
    rows, columns = np.nonzero(np.load(engine_session.folder / f"{name}.npy")[..., 3] > 0.5)
    size = np.ptp(columns)
    middle = np.array([columns.min() + columns.max() + 1, rows.min() + rows.max() + 1]) / 2
    assert np.abs(middle - facts["center"]).max() < 0.06 * size


def test_what_is_inside_the_nerf_is_hidden_by_it(engine_session):
    if engine_session.result["version"].startswith("5."):
        pytest.skip("Blender 5.2 forgets another engine's depth before it draws empties")
    without, inside, in_front = (seen(engine_session, name)[0] for name in ("4-far", "5-inside", "6-in-front"))
    x, y = (int(at) for at in engine_session.result["4-far"]["center"])
    middle = (slice(y - 60, y + 60), slice(x - 60, x + 60))  # of the ball
    assert np.abs(inside[middle] - without[middle]).max() <= 2.0
    assert (np.abs(in_front[middle] - without[middle]).max(axis=-1) > 20.0).sum() > 30


@pytest.mark.parametrize("name", ["8-border", "9-camera-border"])
def test_a_render_border_leaves_its_part(engine_session, name):
    picture, facts = seen(engine_session, name)
    left, low, width, height = facts["part"]
    region_width, region_height = facts["size"]
    border, frame = np.array([0.45, 0.4, 0.7, 0.75]), np.array([0.0, 0.0, region_width, region_height])
    if name == "9-camera-border":
        frame = np.array(engine_session.result["frame"])
    size = np.tile(frame[2:] - frame[:2], 2)
    wanted = np.tile(frame[:2], 2) + border * size
    assert np.abs(np.array([left, low, left + width, low + height]) - wanted).max() <= 1.0
    expected = encoded(np.load(engine_session.folder / f"{name}.npy"))
    top = region_height - low - height
    part = picture[top : top + height, left : left + width]
    assert part.shape == expected.shape
    inner = (slice(4, -4), slice(4, -4))  # Blender's line lies on its edge
    assert np.quantile(np.abs(part[inner] - expected[inner]).max(axis=-1), 0.99) <= 2.0
    assert (expected.max(axis=-1) > 60).mean() > 0.02


def test_local_view_shows_what_is_in_it(engine_session):
    assert engine_session.result["local"] == [False, True, True]


def test_the_viewport_follows_a_training(engine_session):
    told = engine_session.result["training"]
    assert told["phase"] == "finished" and told["pictures"] >= 3
    before, after = (np.load(engine_session.folder / f"{name}.npy") for name in ("10-before", "11-after"))
    assert np.abs(after - before).max() > 0.02
    picture, _ = seen(engine_session, "11-after")
    inner = tuple(slice(int(0.2 * side), int(0.8 * side)) for side in picture.shape[:2])
    assert np.quantile(np.abs(picture[inner] - encoded(after)[inner]).max(axis=-1), 0.99) <= 2.0


@pytest.mark.parametrize("name", ["12-bar", "13-bar-alone"])
def test_a_mesh_and_the_nerf_hide_each_other(engine_session, name):
    picture, _ = seen(engine_session, name)
    expected = encoded(np.load(engine_session.folder / f"{name}.npy"))
    spots = {place: tuple(int(at) for at in engine_session.result["12-bar"][place]) for place in PLACES}
    for place in ("in_front", "beside"):
        x, y = spots[place]
        red, green, blue = picture[y - 2 : y + 3, x - 2 : x + 3].mean(axis=(0, 1))
        assert red < 5.0 and 30.0 < green < 100.0 and blue > 140.0
    x, y = spots["behind"]
    near = (slice(y - 8, y + 9), slice(x - 8, x + 9))
    assert np.abs(picture[near] - expected[near]).max() <= 10.0  # it is not quite opaque
    assert expected[near][..., 0].min() > 60.0


def test_meshes_are_not_shown_where_that_is_off(engine_session):
    picture, _ = seen(engine_session, "14-no-bar")
    expected = encoded(np.load(engine_session.folder / "14-no-bar.npy"))
    inner = tuple(slice(int(0.2 * side), int(0.8 * side)) for side in picture.shape[:2])
    assert np.quantile(np.abs(picture[inner] - expected[inner]), 0.999) <= 2.0


def test_a_hidden_nerf_is_gone(engine_session):
    assert not engine_session.result["hidden"]["drawn"]


def test_f12_in_a_window_has_the_core_s_pixels(engine_session):
    picture = np.asarray(Image.open(engine_session.folder / "f12.png").convert("RGB"), dtype=np.float64)
    expected = encoded(np.load(engine_session.folder / "f12.npy"))
    assert picture.shape == expected.shape == (120, 200, 3)
    assert np.abs(picture - expected).max() <= 1.0
    assert (expected.max(axis=-1) > 60).mean() > 0.02


def test_esc_stops_a_render(engine_session):
    if shutil.which("xdotool") is None:
        pytest.skip("no xdotool to press Esc with")
    assert engine_session.result["esc"] == {"running": True, "stopped": True, "core_free": True}


def test_nothing_is_left_running(engine_session):
    assert engine_session.exit_code == 0
    with pytest.raises(ProcessLookupError):
        os.kill(engine_session.result["core_pid"], 0)
