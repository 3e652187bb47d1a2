"""The inspector in a real window: what is pointed at is traced, and what is drawn has its place and colour."""

import numpy as np
import pytest
from PIL import Image

from .conftest import perform

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def inspect_session(blender, installed, variables, ball_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("inspect")
    return perform(blender, variables, folder, "inspect_session.py", str(ball_run(folder)))


def region_of(session, name, place):
    """A region's part of a screenshot, (H, W, 3) 0 to 255."""
    screen = np.asarray(Image.open(session.folder / f"{name}.png").convert("RGB"), dtype=np.float64)
    facts = session.result[place]
    width, height = facts["size"]
    bottom = facts["screen"][1] - facts["low"]
    return screen[bottom - height : bottom, facts["left"] : facts["left"] + width]


def spot(picture, at):
    """The mean colour of a few pixels."""
    x, y = (int(number) for number in at)
    return picture[y - 1 : y + 2, x - 1 : x + 2].mean(axis=(0, 1))


def test_the_ray_under_the_pointer_is_traced(inspect_session):
    told = inspect_session.result["hover"]
    assert not told["pinned"] and told["rays"] == told["slots"] == 1 and told["view"] == "Viewport"
    np.testing.assert_allclose(told["pixel"], inspect_session.result["pointer"], atol=0.51)
    np.testing.assert_allclose(told["at"], inspect_session.result["pointer"], atol=1.0)  # by Blender's own projection
    assert told["ray_error"] < 1e-4 and told["place_error"] < 1e-3
    assert told["samples"] > 1 and 0.8 < told["weights"] < 1.001  # it meets the ball
    assert told["rgba"][3] == pytest.approx(told["weights"], abs=1e-3)


def test_a_click_pins_it(inspect_session):
    clicked, aside = inspect_session.result["click"], inspect_session.result["aside"]
    assert clicked["pinned"] and aside["pinned"]
    assert clicked["pixel"] == aside["pixel"] == inspect_session.result["hover"]["pixel"]


def test_along_the_ray_the_pixel_s_colour_stands_beside_it(inspect_session):
    picture = region_of(inspect_session, "2-along", "viewport")
    x, y = inspect_session.result["pointer"]
    rgba = np.array(inspect_session.result["click"]["rgba"])
    near = picture[int(y) - 60 : int(y), int(x) : int(x) + 60].reshape(-1, 3)
    assert (np.abs(near - 255 * rgba[:3]).max(axis=-1) <= 3.0).sum() > 60


@pytest.mark.parametrize("name", ["3-aside", "4-compare"])
def test_a_sample_is_drawn_at_its_place_in_its_colour(inspect_session, name):
    told = inspect_session.result[name[2:]]
    seen = spot(region_of(inspect_session, name, "viewport"), told["at"])
    np.testing.assert_allclose(seen, 255 * np.array(told["color"]), atol=3.0)


def test_a_patch_has_256_rays(inspect_session):
    told = inspect_session.result["patch"]
    assert told["rays"] == 256 and told["pixel"] == inspect_session.result["aside"]["pixel"]
    patch, one = (region_of(inspect_session, name, "viewport") for name in ("5-patch", "3-aside"))
    assert (np.abs(patch - one).max(axis=-1) > 20.0).mean() > 0.01


def test_esc_keeps_what_is_pinned_and_takes_away_what_is_not(inspect_session):
    result = inspect_session.result
    assert not result["ended"]["running"] and result["ended"]["pixel"] == result["aside"]["pixel"]
    assert result["elsewhere"]["pixel"] != result["aside"]["pixel"] and not result["elsewhere"]["pinned"]
    assert not result["restored"]["running"] and result["restored"]["pinned"]
    assert result["restored"]["pixel"] == result["aside"]["pixel"]


def test_in_camera_view_it_is_a_pixel_of_the_render(inspect_session):
    told = inspect_session.result["camera"]
    assert told["view"] == "Camera" and 0.8 < told["weights"] < 1.001
    x, y = told["seen"]  # of the whole picture, from its lower left corner
    np.testing.assert_allclose([x * 160, (1.0 - y) * 90], told["pixel"], atol=0.02)
    assert told["pixel"] == [np.floor(told["pixel"][0]) + 0.5, np.floor(told["pixel"][1]) + 0.5]


def test_a_click_in_a_picture_takes_its_camera(inspect_session):
    told = inspect_session.result["picture"]
    assert told["pixel"] == [60.5, 40.5] and told["view"] == "Camera" and told["pinned"]
    assert told["ray_error"] < 1e-4
    # The picture's own pixel is what the ray gives: the camera is the right one.
    value = np.array(told["value"])
    np.testing.assert_allclose(value[:3] * value[3], np.array(told["rgba"])[:3], atol=0.02)
    picture = region_of(inspect_session, "6-picture", "editor")
    x, y = inspect_session.result["editor"]["at"]
    around = picture[int(y) - 12 : int(y) + 13, int(x) - 12 : int(x) + 13]
    assert (around.min(axis=-1) > 200.0).sum() >= 8  # the cross; the ball is pink


def test_cleared_the_viewport_is_as_before(inspect_session):
    assert inspect_session.result["cleared"] == 0
    before, after = (region_of(inspect_session, name, "viewport") for name in ("1-before", "7-after"))
    inner = tuple(slice(int(0.2 * side), int(0.7 * side)) for side in before.shape[:2])
    assert np.abs(before[inner] - after[inner]).max() <= 2.0


def test_nothing_went_wrong(inspect_session):
    assert inspect_session.exit_code == 0
    assert "Traceback" not in inspect_session.output and "Shader" not in inspect_session.output
