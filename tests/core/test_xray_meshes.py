"""Line integrals through closed meshes: closed forms, nesting, watertightness on edges and vertices, open meshes."""

import numpy as np
import pytest

from nerf_core.contract.camera import Camera, look_at
from nerf_core.contract.errors import NerfError
from nerf_core.xray.mesh_integrals import MeshSource, Solid, find_faults

from ..seeds import fresh_seed

CUBE = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float64)
CUBE_FACES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4]]
    + [[1, 5, 7], [1, 7, 3]]
)


def icosphere(levels):
    golden = (1 + 5**0.5) / 2
    vertices = [[-1, golden, 0], [1, golden, 0], [-1, -golden, 0], [1, -golden, 0]]
    vertices = np.array([np.roll(vertex, shift) for shift in range(3) for vertex in vertices], dtype=np.float64)
    from scipy.spatial import ConvexHull

    for _ in range(levels + 1):
        vertices /= np.linalg.norm(vertices, axis=1, keepdims=True)
        faces = ConvexHull(vertices).simplices
        normals = np.cross(vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]])
        inward = np.sum(normals * vertices[faces].mean(axis=1), axis=1) < 0
        faces[inward] = faces[inward][:, ::-1]
        result = vertices, faces
        edges = np.unique(
            np.sort(np.concatenate([faces[:, (0, 1)], faces[:, (1, 2)], faces[:, (2, 0)]]), axis=1), axis=0
        )
        vertices = np.concatenate([vertices, vertices[edges].mean(axis=1)])
    return result


SPHERE = icosphere(4)


@pytest.fixture
def generator():
    return np.random.default_rng(fresh_seed())


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def chords(origins, directions, center, radius):
    """Lengths of rays, from their origins on, within a ball."""
    middle = np.sum((center - origins) * directions, axis=1)
    inside = radius**2 - (np.sum((center - origins) ** 2, axis=1) - middle**2)
    half = np.sqrt(np.maximum(inside, 0.0))
    return np.maximum(middle + half, 0.0) - np.maximum(middle - half, 0.0)


def box_chords(origins, directions, half):
    with np.errstate(divide="ignore", invalid="ignore"):
        one, other = (-half - origins) / directions, (half - origins) / directions
    near, far = np.nanmax(np.minimum(one, other), axis=1), np.nanmin(np.maximum(one, other), axis=1)
    return np.maximum(np.maximum(far, 0.0) - np.maximum(near, 0.0), 0.0)


def random_rays(generator, count, reach=3.0):
    origins = reach * unit(generator.normal(size=(count, 3)))
    origins[::9] = generator.uniform(-0.5, 0.5, origins[::9].shape)
    return origins, unit(generator.uniform(-1, 1, (count, 3)) - origins)


def test_a_cube_is_exact(generator):
    origins, directions = random_rays(generator, 3000)
    found = MeshSource([Solid("cube", CUBE, CUBE_FACES, 0.7)]).integrals(origins, directions)
    np.testing.assert_allclose(found, 0.7 * box_chords(origins, directions, 1.0), atol=1e-12)
    assert (found > 0).mean() > 0.5


def test_a_ball_and_an_ellipsoid_as_far_as_their_faces_are_them(generator):
    vertices, faces = SPHERE
    origins, directions = random_rays(generator, 2000)
    found = MeshSource([Solid("ball", vertices, faces, 2.0)]).integrals(origins, directions)
    expected = 2.0 * chords(origins, directions, np.zeros(3), 1.0)
    assert 10 * np.log10(expected.max() ** 2 / np.mean((found - expected) ** 2)) > 45
    stretch = np.array([1.5, 0.6, 0.9])
    lengths = np.linalg.norm(directions * stretch, axis=1)
    ellipsoid = MeshSource([Solid("ellipsoid", vertices * stretch, faces, 2.0)])
    again = ellipsoid.integrals(origins * stretch, directions * stretch / lengths[:, None])
    np.testing.assert_allclose(again, found * lengths, atol=1e-9)  # the same faces, seen through a linear map


def test_which_way_faces_point_does_not_matter(generator):
    vertices, faces = icosphere(1)
    rays = random_rays(generator, 500)
    plain = MeshSource([Solid("out", vertices, faces, 1.0)])
    found = plain.integrals(*rays)
    inward = MeshSource([Solid("in", vertices, faces[:, ::-1], 1.0)]).integrals(*rays)
    np.testing.assert_allclose(found, inward, atol=1e-12)
    assert not plain.warnings
    mixed = faces.copy()
    mixed[::3] = mixed[::3, ::-1]
    confused = MeshSource([Solid("mixed", vertices, mixed, 1.0)])
    np.testing.assert_allclose(confused.integrals(*rays), found, atol=1e-12)
    assert "'mixed'" in confused.warnings[0] and "recalculate its normals" in confused.warnings[0]


def test_the_highest_priority_gives_the_attenuation(generator):
    """A ball of bone with a hollow in a ball of flesh; and a nail that sticks through both into the open."""
    vertices, faces = SPHERE
    flesh, bone = Solid("flesh", vertices, faces, 1.0), Solid("bone", 0.5 * vertices, faces, 3.0, 1)
    marrow = Solid("marrow", 0.25 * vertices, faces, 0.2, 2)
    nail = Solid("nail", CUBE * (0.05, 0.05, 2.0), CUBE_FACES, 40.0, 3)
    origins, directions = random_rays(generator, 3000, 6.0)

    def alone(solid):
        return MeshSource([Solid(solid.name, solid.vertices, solid.faces, 1.0)]).integrals(origins, directions)

    nested = MeshSource([flesh, bone, marrow]).integrals(origins, directions)
    expected = 1.0 * alone(flesh) + 2.0 * alone(bone) + (0.2 - 3.0) * alone(marrow)
    np.testing.assert_allclose(nested, expected, atol=1e-9)
    for order in ([flesh, bone, marrow, nail], [nail, marrow, flesh, bone]):
        found = MeshSource(order).integrals(origins, directions)
        missed = alone(nail) == 0
        np.testing.assert_allclose(found[missed], expected[missed], atol=1e-9)
        # Along the nail there is nothing else.
        down = MeshSource(order).integrals(np.array([[0.01, 0.02, 9.0]]), np.array([[0.0, 0.0, -1.0]]))
        assert down[0] == pytest.approx(160.0)
    twins = [Solid("first", CUBE, CUBE_FACES, 1.0), Solid("second", CUBE, CUBE_FACES, 5.0)]
    rays = np.array([[0.3, 0.2, 9.0]]), np.array([[0.0, 0.0, -1.0]])
    assert MeshSource(twins).integrals(*rays)[0] == 2.0 and MeshSource(twins[::-1]).integrals(*rays)[0] == 10.0


@pytest.mark.parametrize("welded", [True, False], ids=["one mesh", "a vertex a corner"])
def test_no_ray_leaks_through_edges_and_vertices(generator, welded):
    """Rays aimed at vertices, at edges, and along them: each length is that of the convex body, to rounding."""
    vertices, faces = icosphere(1)
    turn, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    for points, triangles in ((vertices, faces), (vertices @ turn.T + 0.1, faces), (CUBE, CUBE_FACES)):
        normals = np.cross(
            points[triangles[:, 1]] - points[triangles[:, 0]], points[triangles[:, 2]] - points[triangles[:, 0]]
        )
        offsets = np.sum(normals * points[triangles[:, 0]], axis=1)
        edges = np.concatenate([triangles[:, (0, 1)], triangles[:, (1, 2)], triangles[:, (2, 0)]])
        share = generator.uniform(0, 1, (len(edges), 1))
        share[::2] = generator.integers(0, 5, (len(share[::2]), 1)) / 4
        aims = np.concatenate([points, points[edges[:, 0]] * (1 - share) + points[edges[:, 1]] * share])
        inner = np.repeat(points.mean(axis=0)[None], len(aims), axis=0)
        other = aims[generator.permutation(len(aims))]
        starts = np.concatenate(
            [inner, other + 3.0 * (other - aims), aims + np.eye(3)[generator.integers(0, 3, len(aims))] * 4]
        )
        goals = np.concatenate([aims, aims, aims])
        apart = np.linalg.norm(goals - starts, axis=1) > 1e-9
        starts, directions = starts[apart], unit(goals[apart] - starts[apart])
        # A convex body is where no face's plane is passed.
        across, away = directions @ normals.T, offsets - starts @ normals.T
        with np.errstate(divide="ignore", invalid="ignore"):
            t = away / across
        near = np.where(across < 0, t, -np.inf).max(axis=1)
        far = np.where(across > 0, t, np.inf).min(axis=1)
        outside = (np.abs(across) < 1e-12) & (away < -1e-9)
        expected = np.where(outside.any(axis=1), 0.0, np.maximum(np.maximum(far, 0) - np.maximum(near, 0), 0.0))
        mesh = (
            (points, triangles)
            if welded
            else (points[triangles].reshape(-1, 3), np.arange(triangles.size).reshape(-1, 3))
        )
        source = MeshSource([Solid("body", *mesh, 1.0)])
        assert not source.warnings
        found = source.integrals(starts, directions)
        # A ray within a face's plane runs through it or past it.
        sure = ~((np.abs(across) < 1e-12) & (np.abs(away) < 1e-9)).any(axis=1)
        np.testing.assert_allclose(found[sure], expected[sure], atol=1e-7)
        assert (found[~sure] >= 0).all() and (found <= 2 * np.sqrt(3) + 1e-9).all()


def test_open_meshes_are_told_and_do_no_harm(generator):
    vertices, faces = SPHERE
    cap = vertices[faces].mean(axis=1)[:, 2] > 0.9
    cup = MeshSource([Solid("Cup", vertices, faces[~cap], 1.0), Solid("Box", CUBE * 0.1, CUBE_FACES, 9.0, 1)])
    assert len(cup.warnings) == 1 and "'Cup'" in cup.warnings[0] and "holes" in cup.warnings[0]
    origins, directions = random_rays(generator, 2000)
    whole = MeshSource([Solid("Ball", vertices, faces, 1.0), Solid("Box", CUBE * 0.1, CUBE_FACES, 9.0, 1)])
    found, closed = cup.integrals(origins, directions), whole.integrals(origins, directions)
    assert np.isfinite(found).all() and (found >= 0).all() and found.max() <= closed.max() + 1e-9
    # Rays that do not pass the hole see no difference.
    lid = MeshSource([Solid("Lid", np.array(CUBE) * (0.6, 0.6, 0.25) + (0, 0, 1.0), CUBE_FACES, 1.0)])
    beside = (lid.integrals(origins, directions) == 0) & (lid.integrals(origins, -directions) == 0)
    np.testing.assert_allclose(found[beside], closed[beside], atol=1e-9)
    assert (found[~beside] < closed[~beside] - 1e-6).any()


def test_faults_are_counted():
    assert not find_faults(CUBE, CUBE_FACES)
    assert find_faults(CUBE, CUBE_FACES[:-1]).open_edges == 3
    turned = CUBE_FACES.copy()
    turned[0] = turned[0, ::-1]
    fault = find_faults(CUBE, turned)
    assert (fault.open_edges, fault.turned_edges) == (0, 3)
    # Two cubes that share an edge: four faces meet there, and both are closed.
    both = np.concatenate([CUBE, CUBE + (2.0, 2.0, 0.0)])
    assert not find_faults(both, np.concatenate([CUBE_FACES, CUBE_FACES + 8]))


def test_a_camera_sees_meshes_upright():
    """A long box up: its picture is tall."""
    source = MeshSource([Solid("post", CUBE * (0.2, 0.2, 1.0), CUBE_FACES, 1.0)])
    camera = Camera(16, 16, 20.0, 20.0, 8.0, 8.0, look_at(np.array([0.0, -5.0, 0.0]), np.zeros(3)))
    p = source.line_integrals(camera)
    rows, columns = np.nonzero(p)
    assert np.ptp(rows) > 3 * np.ptp(columns) and p.max() == pytest.approx(0.4, rel=0.03)


def test_what_is_no_mesh_is_told():
    for vertices, faces, mu, words in (
        (CUBE, CUBE_FACES + 1, 1.0, "'it' has faces"),
        (CUBE * np.nan, CUBE_FACES, 1.0, "usable numbers"),
        (CUBE, CUBE_FACES, -1.0, "attenuation of 'it'"),
        (CUBE, CUBE_FACES[:0], 1.0, "no faces"),
    ):
        with pytest.raises(NerfError, match=words):
            MeshSource([Solid("it", vertices, faces, mu)])
