"""FDK, SART and the others of itk-rtk on our cameras and grids: right way round, right numbers, clear refusals."""

import itertools
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from nerf_core.contract.camera import Camera
from nerf_core.contract.errors import Cancelled, DataError, NerfError
from nerf_core.fields.attenuation import AttenuationSettings, NodeGrid
from nerf_core.methods.xray_data import first_values
from nerf_core.xray.grid import Grid
from nerf_core.xray.init import initial_volume
from nerf_core.xray.solvers import cg, fdk, is_short_scan, is_truncated, sart

from .xray_subject import BOUNDS, CENTER, line_integrals, radiographs, truth

pytestmark = pytest.mark.filterwarnings("ignore:builtin type [Ss]wig:DeprecationWarning")
GRID = Grid.of_bounds(BOUNDS, 32)


def quality(found, expected):
    return 20.0 * np.log10(expected.max() / np.sqrt(np.mean((found - expected) ** 2)))


def turned(degrees, axis):
    """A turn of the whole world, with a move."""
    angle = np.radians(degrees)
    matrix = np.eye(4)
    one, other = (axis + 1) % 3, (axis + 2) % 3
    matrix[one, one] = matrix[other, other] = np.cos(angle)
    matrix[one, other], matrix[other, one] = -np.sin(angle), np.sin(angle)
    matrix[:3, 3] = (0.3, -0.2, 0.1)
    return matrix


def moved(view, matrix):
    camera = view.camera
    values = {key: getattr(camera, key) for key in ("width", "height", "fl_x", "fl_y", "cx", "cy")}
    return SimpleNamespace(camera=Camera(**values, c2w=matrix @ camera.c2w), line_integral=view.line_integral)


@pytest.fixture(scope="module")
def views():
    return radiographs(36)


@pytest.fixture(scope="module")
def expected():
    return truth(GRID)


SOLVERS = {
    "fdk": fdk,
    "sart": lambda views, grid: sart(views, grid, 4, 0.5),
    "cg": lambda views, grid: cg(views, grid, 8),
}


@pytest.mark.parametrize("name", SOLVERS)
def test_the_volume_is_right_in_size_place_and_value(name, views, expected):
    found = SOLVERS[name](views, GRID)
    assert found.dtype == np.float32 and found.shape == GRID.shape
    assert quality(found, expected) > 29.0
    inside = expected == 20.0  # wholly in the large ellipsoid, outside the small ones
    assert abs(np.median(found[inside]) - 20.0) < 0.6
    assert found.min() >= 0.0
    # A mirrored or turned volume is far worse, so that no flip can hide in the tolerance.
    for flips in itertools.product((1, -1), repeat=3):
        for order in itertools.permutations(range(3)):
            other = found.transpose(order)
            other = other[tuple(slice(None, None, flip) for flip in flips)]
            if other.shape == expected.shape and (flips, order) != ((1, 1, 1), (0, 1, 2)):
                assert quality(other, expected) < 25.0, (flips, order)


@pytest.mark.parametrize(("degrees", "axis"), [(40.0, 2), (90.0, 0), (25.0, 1)])
def test_a_world_that_is_turned_and_moved_gives_the_same_volume(degrees, axis, views, expected):
    """Rig and grid turned together: also where the common up is no axis of the world."""
    matrix = turned(degrees, axis)
    found = fdk([moved(view, matrix) for view in views], Grid(GRID.shape, matrix @ GRID.world_from_index))
    np.testing.assert_allclose(found, fdk(views, GRID), atol=0.02)


def test_a_grid_that_stands_askew_to_the_rig(views):
    matrix = turned(33.0, 2)
    matrix[:3, 3] = 0.0
    grid = Grid(GRID.shape, matrix @ GRID.world_from_index)
    expected = truth(grid)
    assert quality(fdk(views, grid), expected) > 29.0
    assert quality(sart(views, grid, 3, 0.5), expected) > 29.0


def test_index_axes_may_run_any_way(views):
    """A NIfTI's axes may come in any order and direction."""
    index = np.array([[0, 0, -1, 31], [-1, 0, 0, 35], [0, 1, 0, 0], [0, 0, 0, 1]], float)
    grid = Grid((GRID.shape[1], GRID.shape[2], GRID.shape[0]), GRID.world_from_index @ index)
    assert quality(fdk(views, grid), truth(grid)) > 29.0


def test_lengths_scale_attenuation(views):
    """The same picture of a world in another unit has attenuation per that unit."""
    factor = np.diag([1000.0, 1000.0, 1000.0, 1.0])
    bigger = [moved(view, np.eye(4)) for view in views]
    for view, old in zip(bigger, views, strict=True):
        c2w = old.camera.c2w.copy()
        c2w[:3, 3] *= 1000.0
        object.__setattr__(view.camera, "c2w", c2w)
    found = fdk(bigger, Grid(GRID.shape, factor @ GRID.world_from_index))
    np.testing.assert_allclose(found * 1000.0, fdk(views, GRID), rtol=1e-3, atol=0.02)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_views(count):
    views = radiographs(count)
    expected = truth(GRID)
    found = sart(views, GRID, 8, 0.5)
    # What the given views see is explained, however little that says of the volume.
    assert abs(found.sum() / expected.sum() - 1.0) < 0.1
    assert quality(found, expected) > quality(np.zeros_like(expected), expected) + 1.5
    assert np.isfinite(fdk(views, GRID)).all()


def test_more_views_are_better(views, expected):
    qualities = [quality(sart(views[:: 36 // count], GRID, 6, 0.4), expected) for count in (2, 6, 18)]
    assert qualities == sorted(qualities)


def test_an_arc_is_weighted_as_a_short_scan(expected):
    arc = radiographs(44, arc=220.0)
    assert is_short_scan(arc) and not is_short_scan(radiographs(5))
    assert quality(fdk(arc, GRID), expected) > 26.0


def test_a_subject_wider_than_the_detector(expected):
    """Rows that end in the subject are continued, else a bright rim spoils what is seen."""
    views = []
    for view in radiographs(36):
        camera = view.camera
        cut = Camera(16, 48, camera.fl_x, camera.fl_y, camera.cx - 16, camera.cy, camera.c2w)
        views.append(SimpleNamespace(camera=cut, line_integral=line_integrals(cut)))
    assert is_truncated(views) and not is_truncated(radiographs(2))
    index = np.stack(np.meshgrid(*map(np.arange, GRID.shape), indexing="ij"), axis=-1)
    seen = np.linalg.norm((GRID.to_world(index) - CENTER)[..., :2], axis=-1) < 0.9 * 0.541 * 8 / views[0].camera.fl_x
    errors = [np.abs(fdk(views, GRID, truncation=pad) - expected)[seen].mean() for pad in (0.0, None)]
    assert errors[1] < 0.7 * errors[0], errors


def test_a_principal_point_off_the_middle(views, expected):
    shifted = []
    for view in views:
        camera = view.camera
        other = Camera(54, 50, camera.fl_x, camera.fl_y, camera.cx + 4.5, camera.cy + 1.5, camera.c2w)
        shifted.append(SimpleNamespace(camera=other, line_integral=line_integrals(other)))
    assert quality(fdk(shifted, GRID), expected) > 29.0


def test_iterations_go_on_from_a_volume(views):
    kept = []
    whole = sart(views, GRID, 2, 0.5, on_iteration=lambda done, volume: kept.append((done, volume)))
    assert [done for done, _ in kept] == [1, 2]
    np.testing.assert_allclose(sart(views, GRID, 1, 0.5, initial=kept[0][1]), whole, atol=0.1)


def test_progress_and_stop(views):
    told = []
    fdk(views, GRID, progress=told.append)
    assert told and told[-1] > 0.9 and max(told) <= 1.0
    told = []
    with pytest.raises(Cancelled):
        sart(views, GRID, 5, progress=told.append, should_stop=lambda: len(told) >= 2)
    assert told == [0.2, 0.4]
    with pytest.raises(Cancelled):
        fdk(views, GRID, should_stop=lambda: True)
    with pytest.raises(Cancelled):
        cg(views, GRID, 3, should_stop=lambda: True)


def test_refusals(views):
    with pytest.raises(DataError, match="no radiographs"):
        fdk([], GRID)
    with pytest.raises(DataError, match="line integrals"):
        fdk([SimpleNamespace(camera=views[0].camera, line_integral=None)], GRID)
    with pytest.raises(DataError, match="one size"):
        fdk([views[0], *radiographs(1, pixels=32)], GRID)
    upside_down = moved(views[0], np.eye(4))
    object.__setattr__(upside_down.camera, "c2w", upside_down.camera.c2w @ np.diag([-1.0, -1.0, 1.0, 1.0]))
    with pytest.raises(DataError, match="common up"):
        fdk([views[0], upside_down], GRID)
    for wrong in ({"iterations": 0}, {"relaxation": 2.0}):
        with pytest.raises(DataError, match="SART"):
            sart(views, GRID, **wrong)


def test_a_missing_package_is_one_sentence(views, monkeypatch):
    monkeypatch.setitem(sys.modules, "itk", None)
    with pytest.raises(NerfError, match=r"itk-rtk.*pip install"):
        fdk(views, GRID)


def test_what_a_field_begins_with(views, expected):
    assert initial_volume(views, GRID, "none") is None
    np.testing.assert_array_equal(initial_volume(views, GRID), fdk(views, GRID))
    few = views[::12]
    assert quality(initial_volume(few, GRID, "sart"), expected) > quality(initial_volume(few, GRID), expected)
    with pytest.raises(NerfError, match="fdk, sart, none"):
        initial_volume(views, GRID, "magic")


def test_a_field_may_begin_as_two_passes_of_sart(views, expected):
    nodes = NodeGrid(GRID.bounds, GRID.shape)
    few = SimpleNamespace(views=views[::12])
    found = {
        how: first_values(few, nodes, nodes.cell, AttenuationSettings(init=how).init, 0.1) for how in ("sart", "fdk")
    }
    assert [how for _, how in found.values()] == ["sart", "fdk"]
    qualities = [quality(values / nodes.cell, expected) for values, _ in found.values()]
    assert qualities[0] > qualities[1] + 1.0


@pytest.mark.parametrize("name", ["sart", "cg"])
def test_a_body_that_fills_the_grid_to_its_faces(name):
    """RTK's rays run between the centres of the outer voxels; what is between those and the faces must not be lost."""
    grid = Grid.of_bounds(np.array([[-0.05, -0.05, -0.04], [0.05, 0.05, 0.04]]), 20)
    low, high = grid.bounds
    views = []
    for view in radiographs(24):
        camera = moved(view, np.eye(4)).camera
        origins, directions = camera.rays()
        with np.errstate(divide="ignore"):
            near, far = (low - origins) / directions, (high - origins) / directions
        length = np.maximum(np.maximum(near, far).min(-1) - np.minimum(near, far).max(-1), 0.0)
        views.append(SimpleNamespace(camera=camera, line_integral=(20.0 * length).astype(np.float32)))
    found = SOLVERS[name](views, grid)
    assert abs(found.mean() / 20.0 - 1.0) < 0.03
    for face in (found[:, :, 0], found[:, :, -1], found[0], found[:, -1]):
        assert abs(np.median(face) / 20.0 - 1.0) < 0.25
