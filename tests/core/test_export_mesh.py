"""Meshes and volumes: closed, outward, in place and in colour; files that independent readers read."""

import json
import struct
import zlib

import numpy as np
import pytest
from scipy.spatial import cKDTree

from nerf_core.contract.errors import Cancelled, NerfError
from nerf_core.export import density_grid, mesh
from nerf_core.export.density_grid import Grid, density_volume
from nerf_core.export.mesh import Mesh, extract_mesh
from nerf_core.export.mesh_files import write_mesh
from nerf_core.export.ownership import is_ours
from nerf_core.export.vdb import write_vdb
from nerf_core.training.load import load_run

CENTER, RADIUS = np.array([2.0, -1.0, 0.5]), 0.8
BOUNDS = np.stack([CENTER - (1.2, 1.0, 0.9), CENTER + (1.2, 1.0, 0.9)])


class Ball:
    """A field of a ball whose density falls off within a few hundredths; coloured by place and viewing direction."""

    def __init__(self, crumb: bool = False) -> None:
        self.crumb = crumb

    def query_density(self, points):
        near = np.linalg.norm(points - CENTER, axis=1) - RADIUS
        if self.crumb:
            near = np.minimum(near, np.linalg.norm(points - (BOUNDS[0] + 0.2), axis=1) - 0.1)
        return (50.0 * np.exp(np.minimum(-near / 0.03, 3.0))).astype(np.float32)

    def query_color(self, points, directions):
        outward = (points - CENTER) / np.linalg.norm(points - CENTER, axis=1, keepdims=True)
        assert np.allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-5)
        return (0.5 + 0.25 * outward - 0.25 * directions).astype(np.float32)


def extract(field, resolution=48, **asked) -> Mesh:
    return extract_mesh(field, [], BOUNDS, resolution, asked.pop("threshold", 50.0), **asked)


def edge_uses(faces) -> np.ndarray:
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    return np.unique(edges, axis=0, return_counts=True)[1]


def volume(found: Mesh) -> float:
    a, b, c = (found.vertices[found.faces[:, i]].astype(float) - CENTER for i in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def test_a_ball_is_closed_outward_in_place_and_in_the_colours_seen_from_outside(monkeypatch):
    monkeypatch.setattr(density_grid, "POINTS_AT_ONCE", 5000)  # many slabs: their seams are part of the test
    told = []
    found = extract(Ball(), progress=told.append)
    assert found.vertices.dtype == found.color.dtype == found.normal.dtype == np.float32
    assert found.faces.dtype == np.int32 and (edge_uses(found.faces) == 2).all()
    away = np.linalg.norm(found.vertices - CENTER, axis=1) - RADIUS
    assert np.abs(away).max() < 0.002  # a 25th of a voxel: the logarithm is interpolated, not the density
    assert volume(found) == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.01)
    outward = (found.vertices - CENTER) / np.linalg.norm(found.vertices - CENTER, axis=1, keepdims=True)
    assert np.einsum("ij,ij->i", found.normal, outward).min() > 0.99
    np.testing.assert_allclose(found.color, 0.5 + 0.5 * outward, atol=0.04)
    assert len(told) > 15 and told == sorted(told) and told[-1] == 1.0
    assert len(np.unique(found.vertices, axis=0)) == len(found.vertices)


def test_slabs_give_what_one_block_gives(monkeypatch):
    whole = extract(Ball())
    monkeypatch.setattr(density_grid, "POINTS_AT_ONCE", 2000)
    parts = extract(Ball())
    assert len(whole.faces) == len(parts.faces)

    assert cKDTree(whole.vertices).query(parts.vertices)[0].max() < 1e-6 and len(whole.vertices) == len(parts.vertices)


def test_a_ball_that_the_box_cuts_is_closed_at_the_box():
    bounds = BOUNDS.copy()
    bounds[1, 2] = CENTER[2] + 0.3
    found = extract_mesh(Ball(), [], bounds, 40, 50.0)
    assert (edge_uses(found.faces) == 2).all()
    assert found.vertices[:, 2].max() <= np.float32(bounds[1, 2])
    height = RADIUS + 0.3
    assert volume(found) == pytest.approx(np.pi * height**2 * (3 * RADIUS - height) / 3, rel=0.02)


def test_islands_go_on_request_and_faces_are_as_many_as_asked():
    with_crumb, without = extract(Ball(crumb=True)), extract(Ball(crumb=True), drop_islands=True)
    crumb = np.linalg.norm(with_crumb.vertices - (BOUNDS[0] + 0.2), axis=1) < 0.15
    assert crumb.any() and len(without.vertices) == len(with_crumb.vertices) - crumb.sum()
    assert np.linalg.norm(without.vertices - CENTER, axis=1).max() < RADIUS + 0.01
    few = extract(Ball(), faces=800)
    assert 700 <= len(few.faces) <= 800 and volume(few) == pytest.approx(volume(without), rel=0.02)
    assert np.abs(np.linalg.norm(few.vertices - CENTER, axis=1) - RADIUS).max() < 0.03
    assert few.faces.max() == len(few.vertices) - 1


def test_what_cannot_be_done_is_said():
    for asked, words in (
        ({"resolution": 4}, "resolution must be"),
        ({"resolution": 5000}, "resolution must be"),
        ({"threshold": -1.0}, "above 0"),
        ({"threshold": float("nan")}, "above 0"),
        ({"threshold": 1e9}, "lower the threshold"),
        ({"threshold": None}, "no training cameras"),
        ({"faces": 2}, "number of faces"),
    ):
        with pytest.raises(NerfError, match=words):
            extract(Ball(), **asked)
    with pytest.raises(Cancelled):
        extract(Ball(), should_stop=lambda: True)


def test_what_does_not_fit_into_the_memory_is_not_begun(monkeypatch):
    monkeypatch.setattr(mesh, "MAX_FACES", 1000)
    with pytest.raises(NerfError, match="more than 1000 triangles; choose a lower resolution"):
        extract(Ball())
    monkeypatch.setattr(density_grid, "free_memory", lambda: 1_000_000_000)
    with pytest.raises(NerfError, match="1024x854x768 voxels needs 13.4 GB of memory and 1.0 GB are free"):
        density_volume(Ball(), BOUNDS, 1024)


def test_a_grid_is_as_fine_as_asked_and_centred_on_the_box():
    grid = Grid.over(BOUNDS, 24)
    assert grid.spacing == pytest.approx(0.1) and grid.shape == (24, 20, 18)
    np.testing.assert_allclose(grid.origin, BOUNDS[0] + 0.05)
    _, density = density_volume(Ball(), BOUNDS, 24)
    positions = grid.positions(0, 24)
    np.testing.assert_array_equal(density.ravel(), Ball().query_density(positions.reshape(-1, 3)))


def made_up() -> Mesh:
    rng = np.random.default_rng(2)
    normal = rng.normal(size=(5, 3))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    return Mesh(
        rng.normal(size=(5, 3)).astype(np.float32),
        np.array([[0, 1, 2], [2, 3, 4], [4, 0, 2]], np.int32),
        rng.random((5, 3)).astype(np.float32),
        normal.astype(np.float32),
        12.5,
    )


def test_ply_is_read_by_an_independent_reader(tmp_path):
    written = made_up()
    write_mesh(tmp_path / "a.ply", written)
    head, _, body = (tmp_path / "a.ply").read_bytes().partition(b"end_header\n")
    lines = head.decode("ascii").split("\n")
    assert "element vertex 5" in lines and "element face 3" in lines
    rows = np.array(list(struct.iter_unpack("<6f3B", body[: 5 * 27])))
    np.testing.assert_array_equal(rows[:, :6].astype("f4"), np.hstack([written.vertices, written.normal]))
    np.testing.assert_allclose(rows[:, 6:] / 255, written.color, atol=0.502 / 255)
    faces = list(struct.iter_unpack("<B3i", body[5 * 27 :]))
    np.testing.assert_array_equal(faces, np.hstack([np.full((3, 1), 3), written.faces]))
    assert is_ours(tmp_path / "a.ply") and [p.name for p in tmp_path.iterdir()] == ["a.ply"]


def test_glb_and_obj_hold_the_same(tmp_path):
    written = made_up()
    write_mesh(tmp_path / "a.glb", written)
    data = (tmp_path / "a.glb").read_bytes()
    magic, version, total, length, kind = struct.unpack("<4sIII4s", data[:20])
    assert (magic, version, total, kind) == (b"glTF", 2, len(data), b"JSON")
    told, body = json.loads(data[20 : 20 + length]), data[28 + length :]
    assert told["buffers"][0]["byteLength"] == len(body)
    arrays = []
    for view, accessor in zip(told["bufferViews"], told["accessors"], strict=True):
        part = body[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
        arrays.append(np.frombuffer(part, {5126: "<f4", 5125: "<u4", 5123: "<u2"}[accessor["componentType"]]))
    turned = np.stack([written.vertices[:, 0], written.vertices[:, 2], -written.vertices[:, 1]], axis=1)
    np.testing.assert_array_equal(arrays[0].reshape(-1, 3), turned)
    linear = arrays[2].reshape(-1, 4)[:, :3] / 65535
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(encoded, written.color, atol=2e-4)
    np.testing.assert_array_equal(arrays[3].reshape(-1, 3), written.faces)
    write_mesh(tmp_path / "a.obj", written)
    lines = [line.split() for line in (tmp_path / "a.obj").read_text().splitlines()]
    vertices = np.array([line[1:] for line in lines if line[0] == "v"], float)
    np.testing.assert_allclose(vertices, np.hstack([written.vertices, written.color]), atol=1e-5)
    assert [line[1:] for line in lines if line[0] == "f"][1] == ["3//3", "4//4", "5//5"]
    with pytest.raises(NerfError, match="must end in one of them"):
        write_mesh(tmp_path / "a.stl", written)


def test_a_vdb_has_every_value_in_its_place(tmp_path):
    """Read back by the format's own description: topology first, then the leaves (see `export/vdb.py`)."""
    density = np.zeros((130, 9, 20), np.float32)
    density[129, 8, 19], density[3, 2, 1], density[64, 0, 0] = 7.0, 2.5, 1.0
    write_vdb(tmp_path / "a.vdb", density, np.array([1.0, 2.0, 3.0]), 0.25)
    data = (tmp_path / "a.vdb").read_bytes()
    at = data.index(b"Tree_float_5_4_3") + 16 + 4
    start, blocks, end = struct.unpack("<3q", data[at : at + 24])
    assert start == at + 24 and end == len(data)
    at = data.index(b"AffineMap") + 9
    np.testing.assert_array_equal(np.frombuffer(data, "<f8", 16, at).reshape(4, 4)[3], [1, 2, 3, 1])
    at += 128 + 4 + 12 + 12

    def mask(side, at):
        return np.unpackbits(np.frombuffer(data, np.uint8, side**3 // 8, at), bitorder="little").nonzero()[0]

    def values(at):
        kind, size = struct.unpack("<bq", data[at : at + 9])
        assert kind == 6
        raw = data[at + 9 : at + 9 + abs(size)]
        return np.frombuffer(zlib.decompress(raw) if size > 0 else raw, "<f4"), at + 9 + abs(size)

    found, leaves = np.zeros((256, 128, 128), np.float32), []
    top, at = mask(32, at), at + 2 * 4096
    nothing, at = values(at)
    assert len(nothing) == 32**3
    for lower in top:
        children, at = mask(16, at), at + 2 * 512
        _, at = values(at)
        base = np.array(np.unravel_index(lower, (32,) * 3)) * 128
        leaves += [base + np.array(np.unravel_index(child, (16,) * 3)) * 8 for child in children]
        at += 64 * len(children)
    assert at == blocks
    for x, y, z in leaves:
        active, at = mask(8, at), at + 64
        block, at = values(at)
        np.testing.assert_array_equal(active, np.flatnonzero(block))
        found[x : x + 8, y : y + 8, z : z + 8] = block.reshape(8, 8, 8)
    assert at == end and len(leaves) == 3
    np.testing.assert_array_equal(found[:130, :9, :20], density)


def test_a_vdb_may_have_steps_of_its_own_along_each_axis(tmp_path):
    steps = np.array([[0.0, 2.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 3.0]])
    write_vdb(tmp_path / "a.vdb", np.ones((2, 2, 2), np.float32), np.array([5.0, 6.0, 7.0]), steps)
    data = (tmp_path / "a.vdb").read_bytes()
    matrix = np.frombuffer(data, "<f8", 16, data.index(b"AffineMap") + 9).reshape(4, 4)
    np.testing.assert_array_equal([1, 1, 2, 1] @ matrix, [5 + 2, 6 + 1, 7 + 6, 1])


def test_the_command_line_writes_meshes_and_volumes(nerf, trained_run, tmp_path):
    out = tmp_path / "new" / "a.ply"
    told = json.loads(nerf("mesh", trained_run, "--out", out, "--resolution", 40, "--faces", 500, "--json").stdout)
    assert 300 < told["faces"] <= 500 and told["threshold"] > 0 and is_ours(out)
    nerf("mesh", trained_run, "--out", out, "--resolution", 16)  # ours may be written over
    told = json.loads(nerf("volume", trained_run, "--out", tmp_path / "a.npz", "--resolution", 24, "--json").stdout)
    held = np.load(tmp_path / "a.npz")
    assert list(held["density"].shape) == told["shape"] and held["density"].max() > 10 and is_ours(tmp_path / "a.npz")
    nerf("volume", trained_run, "--out", tmp_path / "a.vdb", "--resolution", 24)
    assert (tmp_path / "a.vdb").read_bytes()[:4] == b" BDV" and is_ours(tmp_path / "a.vdb")
    (tmp_path / "mine.ply").write_text("mine")
    for command, name, words in (
        ("mesh", "mine.ply", "not made by NeRF Toolkit"),
        ("mesh", "a.stl", ".ply, .obj, .glb"),
        ("volume", "a.raw", ".vdb or .npz"),
    ):
        assert words in nerf(command, trained_run, "--out", tmp_path / name, code=2).stderr
    assert (tmp_path / "mine.ply").read_text() == "mine"


def test_the_worker_answers_mesh_and_volume_and_hears_cancel(start, trained_run, tmp_path):
    client, run = start(), str(trained_run)
    answer = client.call("mesh", run=run, resolution=32, threshold=None, drop_islands=True)
    vertices, faces = answer.arrays["vertices"], answer.arrays["faces"]
    assert answer.result["faces"] == len(faces) and faces.max() == len(vertices) - 1
    assert answer.arrays["color"].shape == answer.arrays["normal"].shape == vertices.shape
    answer = client.call("volume", run=run, resolution=20)
    grid, density = density_volume(load_run(run, "cpu").method, load_run(run, "cpu").bounds, 20)
    np.testing.assert_allclose(answer.arrays["density"], density, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(answer.result["origin"], grid.origin)
    out = tmp_path / "volumes" / "a.vdb"
    answer = client.call("volume", run=run, resolution=20, out=str(out))
    assert out.is_file() and not answer.arrays and answer.result["out"] == str(out)
    for params, words in (
        ({"resolution": 0}, "'resolution'"),
        ({"resolution": 9999}, "resolution must be"),
        ({"resolution": 20, "out": str(tmp_path / "a.txt")}, "must end in .vdb"),
    ):
        with pytest.raises(Exception, match=words):
            client.call("volume", run=run, **params)
    seen = len(client.notes)
    asked = client.send("mesh", run=run, resolution=400, threshold=10.0, tag="task")
    client.wait_note("progress", lambda note: note.params["task"] == "mesh", after=seen)
    client.call("render.cancel", tag="task")
    with pytest.raises(Exception, match="stopped"):
        client.wait(asked)


def test_what_decimation_leaves_behind_goes():
    faces = np.array([[0, 1, 2], [2, 3, 3], [4, 5, 6], [6, 5, 4], [7, 8, 9]])
    np.testing.assert_array_equal(mesh._sound(faces), [[0, 1, 2], [7, 8, 9]])


def test_hollows_go_unless_cameras_look_at_their_walls():
    tetrahedron = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    vertices, both = np.concatenate([tetrahedron, 0.2 + 0.2 * tetrahedron]), np.concatenate([faces, 4 + faces[:, ::-1]])
    outside = tetrahedron.repeat(50, axis=0)
    kept, triangles = mesh.without_cavities(vertices, both, outside)
    np.testing.assert_array_equal(kept, tetrahedron)
    np.testing.assert_array_equal(triangles, faces)
    kept, _ = mesh.without_cavities(vertices, both, np.concatenate([outside, 0.2 + 0.2 * outside[::10]]))
    assert len(kept) == 8


def test_islands_are_measured_by_area():
    tetrahedron = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    vertices = np.concatenate([tetrahedron, 5 + 0.1 * tetrahedron, 9 + 0.5 * tetrahedron])
    kept, triangles = mesh.largest_pieces(vertices, np.concatenate([faces, faces + 4, faces + 8]))
    assert len(kept) == 8 and len(triangles) == 8 and triangles.max() == 7
    assert not (np.abs(kept - 5) < 0.2).all(axis=1).any()
