"""The `drr` request: radiographs of meshes and CTs, one a turn; pictures on the way; cancelled, refused."""

import numpy as np
import pytest

from nerf_core.contract.messages import CANCELLED, INVALID_PARAMS, USER_ERROR, Message, write_message
from nerf_core.contract.xray import ConeBeam
from nerf_core.ct import write_nifti
from nerf_core.ct.phantoms import ellipsoid_phantom
from nerf_core.data.dataset import load_dataset
from nerf_core.xray.mesh_integrals import Solid
from nerf_core.xray.overlap import OverlapSource
from nerf_core.xray.sources import PhantomSource, VolumeSource

from . import tiny_scene
from .test_xray_meshes import CUBE, CUBE_FACES
from .worker_client import Client, RemoteError

RIG = ConeBeam(2.0, 3.0, (1.2, 0.9), (24, 18))
MATRIX = np.array([[0, -1.0, 0, 0.05], [1, 0, 0, 0], [0, 0, 1, 0.1], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    client = Client(tmp_path_factory.mktemp("core") / "core.log")
    yield client
    client.kill()


def send(core, arrays=None, **params):
    core._ids += 1
    write_message(core.process.stdin, Message(method="drr", id=core._ids, params=params, arrays=arrays or {}))
    return core._ids


def cameras(count=4, rig=RIG):
    splits = ["train"] * (count - 1) + ["val"]
    return [
        {"split": split, "camera": camera.to_dict()}
        for split, camera in zip(splits, rig.cameras(np.zeros(3), count), strict=True)
    ]


def cube_arrays(number, scale):
    return {
        f"vertices_{number}": (CUBE * scale).astype(np.float32),
        f"faces_{number}": CUBE_FACES.astype(np.int32),
    }


def rig_of(beam):
    return {"source_axis": beam.source_axis, "source_detector": beam.source_detector, "detector": list(beam.detector)}


def test_meshes_and_cts_are_taken_together(core, tmp_path):
    phantom = ellipsoid_phantom("ellipsoids", 5)
    write_nifti(tmp_path / "ct.nii.gz", phantom.volume(20))
    sources = [
        {"ct": "phantom:ellipsoids:5", "matrix": MATRIX.tolist()},
        {"mesh": "Flesh", "mu": 2.0, "priority": 0},
        {"ct": str(tmp_path / "ct.nii.gz"), "priority": 0},
        {"mesh": "Bone", "mu": 9.0, "priority": 1},
    ]
    arrays = {**cube_arrays(0, 0.2), **cube_arrays(1, 0.1)}
    seen, out = len(core.notes), tmp_path / "set – 球"
    asked = {"cameras": cameras(), "rig": rig_of(RIG), "bounds": [[-1, -1, -1], [1, 1, 1]], "window": [0, 3]}
    answer = core.wait(send(core, arrays, sources=sources, out=str(out), tag="xray", **asked)).result
    assert answer["views"] == 4 and answer["out"] == str(out) and not answer["warnings"]
    data = load_dataset(out)
    assert data.xray.window == (0.0, 3.0) and data.xray.detector == (1.2, 0.9) and data.xray.volume is None
    np.testing.assert_array_equal(data.bounds, [[-1, -1, -1], [1, 1, 1]])
    flesh = Solid("Flesh", CUBE * np.float32(0.2), CUBE_FACES, 2.0)
    meshes = [flesh, Solid("Bone", CUBE * np.float32(0.1), CUBE_FACES, 9.0, 1)]
    # The mesh of the CTs' priority takes their place, and adds nothing to them.
    together = OverlapSource([(PhantomSource(phantom, None, MATRIX), 0), (VolumeSource(phantom.volume(20)), 0)], meshes)
    views = [*data.splits["train"].views, *data.splits["val"].views]
    assert len(views) == 4
    for view in views:
        expected = together.line_integrals(view.camera)
        np.testing.assert_allclose(view.line_integral, expected, rtol=1e-4, atol=2e-4)
    told = [n.params for n in core.notes[seen:] if n.method == "progress" and n.params["task"] == "drr"]
    assert told[-1]["done"] == told[-1]["total"] == 4 and told[-1]["tag"] == "xray" and told[0]["done"] == 0
    looks = [n for n in core.notes[seen:] if n.method == "drr.view"]
    assert looks[0].params["index"] == 0 and looks[-1].params["index"] == 3 and looks[0].params["tag"] == "xray"
    last = looks[-1]
    assert last.arrays["rgba"].shape == (18, 24, 4) and last.params["camera"]["w"] == 24
    np.testing.assert_allclose(last.arrays["rgba"][..., 0], np.clip(views[3].line_integral / 3, 0, 1), atol=1e-6)


def test_one_ct_alone_brings_its_volume(core, tmp_path):
    answer = core.wait(
        send(
            core,
            sources=[{"ct": "phantom:knee:1", "matrix": MATRIX.tolist()}],
            cameras=cameras(2),
            out=str(tmp_path / "a"),
        )
    )
    data = load_dataset(answer.result["out"])
    assert data.xray.volume == "volume.nii.gz" and (tmp_path / "a" / "volume.nii.gz").is_file()
    assert data.xray.source_axis is None


def test_open_meshes_are_told(core, tmp_path):
    arrays = {"vertices_0": CUBE.astype(np.float32) * 0.2, "faces_0": CUBE_FACES[:-1].astype(np.int32)}
    sources = [{"mesh": "Cup", "mu": 1.0, "priority": 0}]
    answer = core.wait(send(core, arrays, sources=sources, cameras=cameras(2), out=str(tmp_path / "a"))).result
    assert len(answer["warnings"]) == 1 and "'Cup'" in answer["warnings"][0]


def test_cancelled_ones_leave_nothing_and_let_others_go_between(core, tmp_path):
    many = cameras(3000, RIG.with_pixels(96, 72))
    out, seen = tmp_path / "run" / "dataset", len(core.notes)
    out.parent.mkdir()
    (out.parent / "run.json").write_text("{}")
    sources = [{"ct": "phantom:knee:1"}]
    running = send(core, sources=sources, cameras=many, out=str(out), tag="many")
    core.wait_note("progress", lambda n: n.params["task"] == "drr" and n.params["done"] >= 2, after=seen)
    # What somebody looks at meanwhile does not wait for the end.
    other = core.call("dataset", data=str(tiny_scene.write_dataset(tmp_path / "ball", 2, 1, 8)))
    assert len(other.result["frames"]) == 3 and other.result["xray"] is None and running not in core.answers
    core.call("render.cancel", tag="many")
    with pytest.raises(RemoteError) as caught:
        core.wait(running)
    assert caught.value.code == CANCELLED
    assert [path.name for path in out.parent.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"sources": []}, INVALID_PARAMS, "sources"),
        ({"sources": [{"ct": "none.nii"}]}, USER_ERROR, "none.nii"),
        ({"sources": [{"ct": "phantom:nobody:1"}]}, USER_ERROR, "nobody"),
        ({"sources": [{"mesh": "Cup", "mu": 1.0}]}, INVALID_PARAMS, "vertices_0"),
        ({"sources": [{"ct": "phantom:knee:1", "mesh": "x"}]}, INVALID_PARAMS, "'ct' or a 'mesh'"),
        ({"cameras": [1]}, INVALID_PARAMS, "cameras"),
        ({"cameras": [{"split": "dev", "camera": cameras()[0]["camera"]}]}, USER_ERROR, "dev"),
        ({"window": [2, 1]}, INVALID_PARAMS, "window"),
        ({"noise": {"kind": "pink"}}, USER_ERROR, "pink"),
        ({"rig": {"source_axis": 1.0}}, INVALID_PARAMS, "detector"),
        ({"bounds": [1]}, USER_ERROR, "bounds"),
        ({"meters_per_unit": 0}, INVALID_PARAMS, "meters_per_unit"),
    ],
)
def test_what_cannot_be_is_told(core, tmp_path, change, code, words):
    asked = {"sources": [{"ct": "phantom:knee:1"}], "cameras": cameras(1), "out": str(tmp_path / "a"), **change}
    with pytest.raises(RemoteError, match=words) as caught:
        core.wait(send(core, **asked))
    assert caught.value.code == code and not (tmp_path / "a").exists()


def test_a_folder_with_something_in_it_is_refused(core, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(RemoteError, match="holds something else"):
        core.wait(send(core, sources=[{"ct": "phantom:knee:1"}], cameras=cameras(1), out=str(tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
