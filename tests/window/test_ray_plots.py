"""The plots of a ray in a real window: curves in their colours where their values are, read with the pointer, saved."""

import numpy as np
import pytest
from PIL import Image

from ..trace_arrays import COLOR, DENSITY, trace_arrays
from .conftest import perform

pytestmark = pytest.mark.timeout(600)
BLUE, ORANGE, YELLOW = (0x56, 0xB4, 0xE9), (0xE6, 0x9F, 0x00), (0xF0, 0xE4, 0x42)
EDGE = 3
GREEN, PINK = (0x2F, 0xBF, 0x93), (0xCC, 0x79, 0xA7)


@pytest.fixture(scope="module")
def plots(blender, installed, variables, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plots")
    np.savez(folder / "trace.npz", **trace_arrays(6))
    return perform(blender, variables, folder, "plots_session.py", str(folder / "trace.npz"))


def picture(session, name):
    return np.asarray(Image.open(session.folder / f"{name}.png").convert("RGB"), dtype=float)


def row(session, facts, name, kind, part=0):
    """The pixels of a row of curves with `EDGE` more above and below, where half of a line at its end lies."""
    left, low, width, height = next(rect for k, p, rect in facts["frames"] if (k, p) == (kind, part))
    bottom = facts["screen"][1] - low
    rows = slice(round(bottom - height) - EDGE, round(bottom) + EDGE)
    return picture(session, name)[rows, round(left) : round(left + width)]


def like(pixels, color, apart=24):
    return np.abs(pixels - np.array(color)).max(axis=-1) <= apart


def column(facts, width, t):
    low, high = facts["t"]
    return round((t - low) / (high - low) * width)


@pytest.mark.parametrize("where", ["editor", "card"])
def test_density_stands_over_the_ball_at_its_height(plots, where):
    facts = plots.result[where]
    assert facts["t"] == [2.0, 4.0]
    pixels = row(plots, facts, "2-plots", "density")
    height, width = pixels.shape[0] - 2 * EDGE, pixels.shape[1]
    low, high = np.log10(facts["density"])
    top = EDGE + round((1.0 - (np.log10(DENSITY) - low) / (high - low)) * height)
    for t in (2.65, 3.1, 3.4):
        x = column(facts, width, t)
        found = np.flatnonzero(like(pixels[:, x - 1 : x + 2], BLUE).any(axis=1))
        assert len(found) and abs(found.min() - top) <= 4, t  # a sample's dot is a little higher
        # Below its top the row is filled, above it is not.
        assert pixels[top + 8, x, 2] > pixels[top - 8, x, 2] + 20
    for t in (2.2, 3.8):
        x = column(facts, width, t)
        assert not like(pixels[:, x - 1 : x + 2], BLUE).any()


def test_transmittance_falls_within_the_ball(plots):
    facts = plots.result["editor"]
    pixels = row(plots, facts, "2-plots", "weight")
    height, width = pixels.shape[0] - 2 * EDGE, pixels.shape[1]
    for t, value in ((2.2, 1.0), (2.5 + np.log(2) / DENSITY, 0.5), (3.8, 0.0)):
        x = column(facts, width, t)
        found = np.flatnonzero(like(pixels[:, x - 1 : x + 2], ORANGE).any(axis=1))
        assert len(found) and abs(found.mean() - EDGE - (1.0 - value) * height) <= 0.08 * height, t
    # Samples are filled with the colour that the field gave them.
    assert like(pixels, 255 * COLOR, 6).sum() > 60


def test_the_cdf_and_the_weight_rise_to_one(plots):
    facts = plots.result["editor"]
    for part in (0, 1):
        pixels = row(plots, facts, "2-plots", "sampling", part)
        height, width = pixels.shape[:2]
        assert like(pixels, PINK).sum() > 30
        x = column(facts, width, 3.8)
        ends = like(pixels[:, x - 2 : x + 3], GREEN) | like(pixels[:, x - 2 : x + 3], YELLOW)
        assert np.flatnonzero(ends.any(axis=1)).min() <= 2 * EDGE
        x = column(facts, width, 2.2)
        begins = like(pixels[:, x - 2 : x + 3], GREEN) | like(pixels[:, x - 2 : x + 3], YELLOW)
        assert np.flatnonzero(begins.any(axis=1)).max() >= height - 2 * EDGE


def test_the_pointer_reads_the_plot_and_the_wheel_chooses_rays(plots):
    result = plots.result
    assert result["hover"] is not None
    t, part = result["hover"]
    assert t == pytest.approx(2.5, abs=0.02) and part == 0
    facts = result["editor"]
    for kind, part in (("density", 0), ("sampling", 1)):
        before, after = (row(plots, facts, name, kind, part) for name in ("2-plots", "3-hover"))
        x = column(facts, before.shape[1], t)
        assert (after[:, x - 2 : x + 3].max(axis=1) - before[:, x - 2 : x + 3].max(axis=1)).mean() > 20
    assert result["chosen"] == 1 and "ray 2 of 6" in result["after_wheel"]
    assert result["left"]


def test_an_image_editor_beside_the_viewport_shows_them_and_only_it(plots):
    assert plots.result["on_the_right"] and not plots.result["dirty"]
    left, low, width, height = plots.result["editor"]["rect"]
    bottom = plots.result["editor"]["screen"][1] - low
    inner = (slice(int(bottom - height) + 5, int(bottom) - 5), slice(int(left) + 5, int(left + width) - 5))
    for name in ("1-empty", "4-cleared"):
        pixels = picture(plots, name)[inner]
        # The ground, which the window shows a little lighter, and one sentence.
        assert (np.abs(pixels - 0x1D).max(axis=-1) <= 7).mean() > 0.97
        assert (pixels.max(axis=-1) > 120).sum() > 100


def test_a_saved_plot_is_the_same_picture(plots):
    assert plots.result["image"] == [1200, 700]
    saved = picture(plots, "saved")
    assert saved.shape == (700, 1200, 3)
    assert tuple(saved[3, 3]) == (0x1D, 0x1D, 0x1D)
    for color in (BLUE, ORANGE, YELLOW, GREEN, PINK):
        assert like(saved, color, 10).sum() > 100, color
    assert like(saved, 255 * COLOR, 3).sum() > 700
