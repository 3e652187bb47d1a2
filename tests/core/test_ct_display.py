"""What is shown of a CT: surfaces and slices by coordinates; the `ct` request of a real worker."""

import numpy as np
import pytest

from nerf_core.contract.errors import Cancelled, NerfError
from nerf_core.contract.messages import CANCELLED, INVALID_PARAMS, USER_ERROR
from nerf_core.contract.xray import MU_WATER, WINDOWS, hu_to_mu
from nerf_core.ct import Volume, open_source, write_nifti
from nerf_core.ct.display import ct_slice, relative_density, surface

from ..seeds import fresh_seed
from .ct_files import placed, positions, write_series
from .worker_client import Client, RemoteError

SHAPE, CENTER = (40, 30, 24), np.array([5.0, -8.0, 60.0])


def ball(orientation="sagittal", radius=12.0):
    """A ball of 1000 HU in air, in voxels of 1 x 1.2 x 1.5 mm, its middle at CENTER."""
    affine = placed(orientation, (1.0, 1.2, 1.5), tilt=10.0)
    affine[:3, 3] += CENTER - (affine[:3, :3] @ (np.array(SHAPE) / 2) + affine[:3, 3])
    away = np.linalg.norm(positions(SHAPE, affine) - CENTER, axis=-1)
    return Volume(np.clip(1000.0 * (radius - away), -1000.0, 1000.0), affine, "ball")


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    client = Client(tmp_path_factory.mktemp("core") / "core.log")
    yield client
    client.kill()


@pytest.mark.parametrize("orientation", ["sagittal", "swapped"])
def test_a_surface_lies_where_the_value_is_and_looks_outward(orientation):
    found = surface(ball(orientation), 0.0)
    away = found.vertices * 1e3 - CENTER
    np.testing.assert_allclose(np.linalg.norm(away, axis=1), 12.0, atol=0.15)
    a, b, c = (away[found.faces[:, i]] for i in range(3))
    assert np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6 == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.02)
    edges = np.sort(np.concatenate([found.faces[:, [0, 1]], found.faces[:, [1, 2]], found.faces[:, [2, 0]]]), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    few = surface(ball(orientation), 0.0, faces=500)
    assert len(few.faces) <= 500
    np.testing.assert_allclose(np.linalg.norm(few.vertices * 1e3 - CENTER, axis=1), 12.0, atol=0.6)


def test_a_surface_is_closed_where_the_volume_ends_and_does_not_stand_out():
    volume = Volume(np.full((5, 6, 7), 300.0), np.diag([2.0, 2.0, 2.0, 1.0]))
    found = surface(volume, 0.0)
    low, high = 1e-3 * volume.bounds
    assert (found.vertices >= low - 1e-6).all() and (found.vertices <= high + 1e-6).all()
    assert (np.ptp(found.vertices, axis=0) > np.ptp(1e-3 * volume.bounds, axis=0) - 2e-3).all()


def test_what_no_voxel_reaches_is_told_and_stop_is_heard():
    with pytest.raises(NerfError, match="'ball' reaches 2000 HU"):
        surface(ball(), 2000.0)
    with pytest.raises(Cancelled):
        surface(ball(), 0.0, should_stop=lambda: True)


def test_slices_hold_the_voxels_of_their_places():
    volume = ball("swapped").canonical()
    low, high = WINDOWS["bone"]
    for plane, axis in (("axial", 2), ("coronal", 1), ("sagittal", 0)):
        cut = ct_slice(volume, plane, 0.5, (low, high))
        index = round(0.5 * (volume.shape[axis] - 1))
        values = np.take(volume.values, index, axis=axis).T
        assert (cut.pixels == np.round(255 * np.clip((values - low) / (high - low), 0, 1))).all()
        # A pixel's place by way of the corners is its voxel's.
        rows, columns = cut.pixels.shape
        first, along, _, up = cut.corners
        place = first + (along - first) * (3 + 0.5) / columns + (up - first) * (5 + 0.5) / rows
        voxel = np.zeros(3)
        voxel[axis] = index
        voxel[[other for other in range(3) if other != axis]] = 3, 5
        np.testing.assert_allclose(1e3 * place, volume.affine[:3, :3] @ voxel + volume.affine[:3, 3], atol=1e-9)
    with pytest.raises(NerfError, match="window"):
        ct_slice(volume, "axial", 0.5, (5.0, 5.0))


def test_the_density_to_look_through_is_attenuation_against_waters():
    volume = Volume(np.array([[[-1000.0, 0.0, 1000.0]]]), np.eye(4))
    np.testing.assert_allclose(relative_density(volume).ravel(), [0.0, 1.0, hu_to_mu(1000.0) / MU_WATER], rtol=1e-6)


def test_the_worker_answers_with_all_of_a_series(core, tmp_path):
    volume = ball()
    write_series(tmp_path / "çt", SHAPE, volume.affine, values=volume.values)
    out = tmp_path / "made" / "a.vdb"
    answer = core.call(
        "ct",
        source=str(tmp_path / "çt"),
        resolution=40,
        volume=str(out),
        surfaces=[{"name": "bone", "level": 300.0, "faces": 800}],
        slices={"window": [-500, 1300], "places": {"axial": 0.5, "coronal": 0.25}},
        tag="t",
    )
    told, arrays = answer.result, answer.arrays
    np.testing.assert_allclose(np.sort(told["corners"], axis=0), np.sort(1e-3 * volume.corners, axis=0), atol=1e-6)
    assert sorted(told["shape"]) == sorted(SHAPE) and told["hu"] == [-1000.0, 1000.0] and told["warnings"] == []
    assert out.read_bytes()[:4] == b" BDV" and told["volume"] == str(out)
    assert told["surfaces"] == [{"name": "bone", "faces": len(arrays["faces_bone"])}]
    np.testing.assert_allclose(np.linalg.norm(1e3 * arrays["vertices_bone"] - CENTER, axis=1), 11.7, atol=0.6)
    assert [cut["plane"] for cut in told["slices"]] == ["axial", "coronal"]
    assert arrays["pixels_axial"].dtype == np.uint8 and arrays["pixels_axial"].max() == round(255 * 1500 / 1800)


def test_a_volume_that_blender_would_read_for_long_is_shown_coarser(core, tmp_path):
    values = np.random.default_rng(fresh_seed()).uniform(-900, 900, (260, 6, 5)).round().astype(np.float32)
    write_nifti(tmp_path / "long.nii.gz", Volume(values, np.eye(4)))
    asked = {"source": str(tmp_path / "long.nii.gz"), "slices": {"window": [0, 900], "places": {"axial": 0.5}}}
    sizes, told = [], []
    for resolution in (192, 260):
        out = tmp_path / f"{resolution}.vdb"
        answer = core.call("ct", resolution=resolution, volume=str(out), **asked)
        sizes.append(out.stat().st_size)
        told.append(answer.result["warnings"])
        assert max(answer.arrays["pixels_axial"].shape) == 260  # the data stay whole
    assert sizes[0] == sizes[1] and told[0] == [] and "192 voxels" in told[1][0] and told[1][0].endswith(".")


def test_phantoms_and_files_are_resampled_to_what_is_shown(core, tmp_path):
    told = core.call("ct", source="phantom:knee:1", resolution=40).result
    assert told["shape"] == [36, 36, 40] and told["surfaces"] == told["slices"] == []
    path = write_nifti(tmp_path / "knee.nii.gz", open_source("phantom:knee:1", 60))
    answer = core.call("ct", source=str(path), resolution=30, surfaces=[{"name": "skin", "level": -300.0}])
    size = np.ptp(answer.arrays["vertices_skin"], axis=0)
    np.testing.assert_allclose(size[2], 0.2, atol=0.006)  # cut at both ends of the box
    assert answer.result["shape"] == [54, 54, 60]


def test_a_chosen_series_is_found_again_by_a_file_of_it(core, tmp_path):
    write_series(tmp_path / "1", (4, 4, 2), placed("axial"), uid="1.2.3")
    write_series(tmp_path / "2", (4, 4, 3), placed("axial"), uid="4.5.6")
    found = core.call("ct", source=str(tmp_path), series="4.5.6", resolution=8).result
    assert found["source"].startswith(str(tmp_path / "2"))
    again = core.call("ct", source=found["source"], resolution=8).result
    assert again["shape"] == [4, 4, 3] and again["source"] == found["source"]


def test_what_is_wrong_is_told(core, tmp_path):
    (tmp_path / "mine.vdb").write_text("mine")
    knee = {"source": "phantom:knee:1", "resolution": 20}
    for params, code, words in (
        ({"source": str(tmp_path / "none"), "resolution": 20}, USER_ERROR, "does not exist"),
        ({"source": "phantom:head", "resolution": 20}, USER_ERROR, "head"),
        ({"source": "phantom:knee:1"}, INVALID_PARAMS, "'resolution'"),
        ({**knee, "volume": str(tmp_path / "mine.vdb")}, USER_ERROR, "not made by NeRF Toolkit"),
        ({**knee, "volume": str(tmp_path / "a.txt")}, USER_ERROR, ".vdb"),
        ({**knee, "surfaces": [{"name": "a"}]}, USER_ERROR, "'level'"),
        ({**knee, "surfaces": [{"name": "a", "level": 9000}]}, USER_ERROR, "reaches 9000 HU"),
        ({**knee, "slices": {"window": [1], "places": {}}}, USER_ERROR, "'window'"),
        ({**knee, "slices": {"window": [0, 1], "places": {"oblique": 0.5}}}, USER_ERROR, "'places'"),
    ):
        with pytest.raises(RemoteError, match=words) as caught:
            core.call("ct", **params)
        assert caught.value.code == code
    assert (tmp_path / "mine.vdb").read_text() == "mine"


def test_it_is_cancelled_by_its_tag(core, tmp_path):
    write_series(tmp_path, (16, 16, 300), placed("axial"))
    first = core.send("ct", source=str(tmp_path), resolution=16, tag="t")
    core.call("render.cancel", tag="t")
    with pytest.raises(RemoteError) as caught:
        core.wait(first)
    assert caught.value.code == CANCELLED
