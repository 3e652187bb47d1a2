"""Depth maps in: what is in the file, in which unit, along what, and where it is not known."""

import json

import numpy as np
import OpenEXR
import pytest
from PIL import Image

from nerf_core.contract.camera import look_at
from nerf_core.contract.errors import DataError
from nerf_core.data import dataset as dataset_module
from nerf_core.data.dataset import load_dataset
from nerf_core.data.placement import Placement

from .depth_scene import write_exr

SIZE = 8
C2W = look_at(np.array([0.5, -3.0, 1.0]), np.array([0.0, 0.0, 0.4]))


@pytest.fixture
def write(tmp_path):
    """Writes a data set of one image and its depth map; gives what `load_dataset` reads of the latter."""

    def make(depth, name="depth.exr", frame=(), rgba=None, size=SIZE, **document):
        if name.endswith(".exr"):
            write_exr(tmp_path / name, depth if isinstance(depth, dict) else {"V": depth})
        elif name.endswith(".npy"):
            np.save(tmp_path / name, depth)
        else:
            Image.fromarray(depth).save(tmp_path / name)
        picture = np.full((size, size, 4), 255, np.uint8) if rgba is None else rgba
        Image.fromarray(picture).save(tmp_path / "0.png")
        entry = {"file_path": "0.png", "depth_file_path": name, "transform_matrix": C2W.tolist(), **dict(frame)}
        text = json.dumps({"fl_x": 10.0, "aabb_scale": 1, **document, "frames": [entry]})
        (tmp_path / "transforms.json").write_text(text)
        return tmp_path

    def read(*arguments, downscale=1, **options):
        folder = make(*arguments, **options)
        (view,) = load_dataset(folder, downscale, depth=("train",)).splits["train"].views
        return view

    read.only = make
    return read


OURS = {"nerf_toolkit": {"depth": "distance"}}


def random_depth(shape=(SIZE, SIZE)):
    return np.random.default_rng(0).uniform(1.0, 9.0, shape).astype(np.float32)


def test_a_capture_writes_distances_along_the_ray(write):
    depth = random_depth()
    depth[0, :4] = 0.0, np.inf, np.nan, -np.inf
    # -inf is no distance either, and no negative number of a person's.
    depth[0, 3] = 0.0
    read = write(depth, **OURS).depth
    assert read.dtype == np.float32 and not read[0, :4].any()
    depth[0, :4] = 0.0
    np.testing.assert_array_equal(read, depth)


def test_nerfstudio_measures_along_the_viewing_axis_in_millimetres(write):
    """A plane that faces the camera 2.5 units away: the distance to it grows towards the corners."""
    plane = np.full((SIZE, SIZE), 2500, np.uint16)
    plane[2, 3] = 0
    view = write(plane, "depth.png")
    origins, directions = view.camera.rays()
    hit = origins + view.depth[..., None] * directions
    ahead = -(hit - C2W[:3, 3]) @ C2W[:3, 2]
    known = plane > 0
    np.testing.assert_allclose(ahead[known], 2.5, rtol=1e-5)
    assert view.depth[2, 3] == 0 and view.depth[0, 0] > 1.08 * view.depth[4, 4]
    # In another unit, and as an array of numbers.
    half = write(plane, "depth.png", depth_unit_scale_factor=0.0005)
    np.testing.assert_allclose(half.depth, 0.5 * view.depth, rtol=1e-6)
    for kind in (np.uint16, np.int64, np.float32, np.float64):
        np.testing.assert_allclose(write(plane.astype(kind), "depth.npy").depth, view.depth, rtol=1e-6)
    np.testing.assert_allclose(write(plane.astype(np.float32)[..., None], "d.npy").depth, view.depth, rtol=1e-6)
    # EXR is in world units.
    np.testing.assert_allclose(write(plane.astype(np.float32) / 1000).depth, view.depth, rtol=1e-6)


def test_a_fronto_parallel_orthographic_map_is_taken_as_it_is(write):
    depth = random_depth()
    np.testing.assert_array_equal(write(depth, kind="orthographic").depth, depth)


@pytest.mark.parametrize("name", ["Z", "ViewLayer.Depth.Z", "Depth.V", "R", "anything"])
def test_exr_channels(write, name):
    depth = random_depth()
    others = {} if name == "anything" else {"index": np.zeros_like(depth)}
    np.testing.assert_array_equal(write({name: depth, **others}, **OURS).depth, depth)
    if others:
        with pytest.raises(DataError, match=r"no channel of depth, V or Z \(it has index, mask\)"):
            write({"mask": depth, **others}, **OURS)


def test_shrinking_takes_medians_that_are_in_the_map(write):
    """Across an edge there is no mean; where most is unknown, all is."""
    depth = np.full((SIZE, SIZE), 2.0, np.float32)
    depth[:, 3:] = 6.0  # an edge through the middle of a block
    depth[0:2, 0:2] = [[0.0, 0.0], [0.0, 2.0]]
    depth[2:4, 0:2] = [[0.0, 3.0], [4.0, 5.0]]
    read = write(depth, downscale=2, **OURS).depth
    assert read.shape == (4, 4) and set(np.unique(read)) == {0.0, 2.0, 4.0, 6.0}
    assert read[0, 0] == 0 and read[1, 0] == 4 and (read[:, 1] == 2).all() and (read[:, 2:] == 6).all()
    # A size that the factor does not divide, and a map that is larger or smaller than its image.
    assert write(depth, downscale=3, **OURS).depth.shape == (3, 3)
    small = random_depth((4, 4))
    np.testing.assert_array_equal(write(small, **OURS).depth, small.repeat(2, 0).repeat(2, 1))
    np.testing.assert_array_equal(write(small, downscale=2, **OURS).depth, small)
    large = random_depth((24, 24))
    at = np.sort(large.reshape(8, 3, 8, 3).transpose(0, 2, 1, 3).reshape(8, 8, 9), axis=-1)[..., 4]
    np.testing.assert_array_equal(write(large, **OURS).depth, at)


def test_pixels_of_two_surfaces_know_no_depth(write):
    rgba = np.full((SIZE, SIZE, 4), 255, np.uint8)
    rgba[1, 1, 3], rgba[1, 2, 3] = 128, 0
    depth = random_depth()
    read = write(depth, rgba=rgba, **OURS).depth
    assert read[1, 1] == 0 and read[1, 2] == 0 and (read > 0).sum() == SIZE * SIZE - 2


@pytest.mark.parametrize(
    "options, words",
    [
        ({"depth": random_depth((SIZE, SIZE + 2))}, "depth.exr' is 10x8 pixels, but its image is 8x8"),
        ({"depth": -random_depth()}, "negative numbers in 64 pixels, the first at x 0, y 0"),
        ({"depth": random_depth(), "name": "gone", "frame": {"depth_file_path": "no.exr"}}, "'no.exr' of .* not exist"),
        ({"depth": random_depth(), "frame": {"depth_file_path": 3}}, "'depth_file_path' of .* is no file's name"),
        ({"depth": random_depth(), "frame": {"depth_file_path": "a\0b"}}, "does not exist"),
        ({"depth": random_depth(), "nerf_toolkit": {"depth": "z"}}, "under 'nerf_toolkit' of .* is not 'distance'"),
        ({"depth": random_depth(), "depth_unit_scale_factor": "mm"}, "'depth_unit_scale_factor' of .* not a usable"),
        ({"depth": random_depth(), "depth_unit_scale_factor": -1}, "'depth_unit_scale_factor' of .* not a usable"),
        ({"depth": random_depth((3, SIZE, SIZE)), "name": "depth.npy"}, "no array of height x width numbers"),
        ({"depth": np.array([["x"] * SIZE] * SIZE), "name": "depth.npy"}, "no array of height x width numbers"),
        ({"depth": np.zeros((SIZE, SIZE, 3), np.uint8), "name": "depth.png"}, "has colours"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_what_is_not_usable_is_named(write, options, words):
    options = {"name": "depth.exr", **options}
    if options["name"] == "gone":
        options["name"] = "depth.exr"
    with pytest.raises(DataError, match=words) as told:
        write(**options)
    assert "0.png" in str(told.value)  # the frame, by its picture


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY nonsense", b"\x76\x2f\x31\x01 nonsense", b"\x89PNG nonsense"])
def test_broken_files_are_named(write, content):
    folder = write.only(random_depth(), **OURS)
    (folder / "depth.exr").write_bytes(content)
    with pytest.raises(DataError, match=r"depth\.exr"):
        load_dataset(folder, depth=("train",))
    # Whoever does not ask for depth does not meet it.
    assert load_dataset(folder).splits["train"].views[0].depth is None
    (folder / "depth.exr").unlink()
    assert not load_dataset(folder).splits["train"].has_depth


def test_an_array_that_claims_too_much_is_not_read(write):
    folder = write.only(np.zeros((1, 1), np.float32), "depth.npy")
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (9000000, 9000000), }"
    header += b" " * (118 - len(header) - 1) + b"\n"
    (folder / "depth.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(DataError, match=r"depth\.npy"):
        load_dataset(folder, depth=("train",))


def test_an_exr_that_claims_a_large_window_around_few_pixels_is_not_read(write):
    folder = write.only(random_depth(), **OURS)
    header = {"displayWindow": ((0, 0), (199_999, 199_999)), "dataWindow": ((0, 0), (SIZE - 1, SIZE - 1))}
    with OpenEXR.File(header, {"V": random_depth()}) as file:
        file.write(str(folder / "depth.exr"))
    with pytest.raises(DataError, match=r"depth\.exr' claims more than"):
        load_dataset(folder, depth=("train",))


def test_depth_counts_against_the_memory(write, monkeypatch):
    folder = write.only(random_depth(), **OURS)
    monkeypatch.setattr(dataset_module, "free_memory", lambda: 6 * SIZE * SIZE)
    assert len(load_dataset(folder).splits["train"]) == 1
    with pytest.raises(DataError, match="of memory"):
        load_dataset(folder, depth=("train",))


def test_a_scaled_world_scales_its_depth(write):
    """Placed at another size, the surfaces stay where the cameras see them."""
    folder = write.only(np.full((SIZE, SIZE), 2500, np.uint16), "depth.png")
    document = json.loads((folder / "transforms.json").read_text())
    other = np.array(C2W)
    other[:3, 3] += (7.0, 1.0, 0.0)
    document["frames"].append({**document["frames"][0], "transform_matrix": other.tolist()})
    (folder / "transforms.json").write_text(json.dumps(document))
    plain, placed = (
        load_dataset(folder, depth=("train",), placement=Placement(scale=scale)).splits["train"].views
        for scale in ("keep", "normalise")
    )
    apart = [np.linalg.norm(a.camera.position - b.camera.position) for a, b in (plain, placed)]
    assert apart[1] < 0.5 * apart[0]
    np.testing.assert_allclose(placed[1].depth, plain[1].depth * apart[1] / apart[0], rtol=1e-5)
