"""X-rays in the contract: units, the rig's geometry by coordinates, and what a data set says of itself."""

import json

import numpy as np
import pytest

from nerf_core.contract.errors import DataError, NerfError
from nerf_core.contract.xray import (
    MATERIALS,
    MU_AIR,
    MU_WATER,
    PRESETS,
    RIGS,
    ConeBeam,
    XrayFacts,
    hu_to_mu,
    mu_to_hu,
    preset,
)

RIG = ConeBeam(500.0, 800.0, (400.0, 200.0), (40, 10))
CENTER = np.array([10.0, -20.0, 30.0])


def test_hounsfield_units_and_attenuation():
    np.testing.assert_allclose(hu_to_mu([-1000.0, 0.0, 1000.0]), [MU_AIR, MU_WATER, 2 * MU_WATER - MU_AIR])
    assert hu_to_mu(-3000.0) == 0.0
    hu = np.linspace(-1000, 3000, 101)
    np.testing.assert_allclose(mu_to_hu(hu_to_mu(hu)), hu, atol=1e-9)
    assert hu_to_mu(np.float32([5.0])).dtype == mu_to_hu(np.float32([5.0])).dtype == np.float32
    assert hu_to_mu(np.int16([0]))[0] == pytest.approx(MU_WATER)


def test_materials_have_the_hounsfield_units_that_scanners_show():
    expected = {"lung": -740, "fat": -90, "water": 0, "soft tissue": 55, "bone": 800, "cortical bone": 1940}
    for name, hu in expected.items():
        assert mu_to_hu(MATERIALS[name]) == pytest.approx(hu, abs=20)
    assert sorted(MATERIALS, key=MATERIALS.__getitem__)[-3:] == ["iron", "copper", "lead"]


@pytest.mark.parametrize(
    ("axis", "angle", "source", "right"),
    [
        ("z", 0.0, (0, -1, 0), (1, 0, 0)),
        ("z", 90.0, (1, 0, 0), (0, 1, 0)),
        ("z", 180.0, (0, 1, 0), (-1, 0, 0)),
        ("x", 0.0, (0, 0, -1), (0, 1, 0)),
        ("y", 90.0, (0, 0, 1), (1, 0, 0)),
    ],
)
def test_the_source_and_the_corners_of_the_detector(axis, angle, source, right):
    camera = RIG.camera(CENTER, angle, axis)
    source, right = np.array(source, float), np.array(right, float)
    up = np.eye(3)["xyz".index(axis)]
    np.testing.assert_allclose(camera.position, CENTER + 500.0 * source, atol=1e-9)
    middle = CENTER - 300.0 * source  # the detector lies 800 from the source, 300 behind the axis
    corners = {(0, 0): (-1, 1), (40, 0): (1, 1), (0, 10): (-1, -1), (40, 10): (1, -1), (20, 5): (0, 0)}
    origins, directions = camera.rays(np.array(list(corners), float))
    np.testing.assert_allclose(origins, np.broadcast_to(camera.position, origins.shape))
    to_detector = 800.0 / (directions @ -source)
    wanted = [middle + 200.0 * x * right + 100.0 * y * up for x, y in corners.values()]
    np.testing.assert_allclose(origins + directions * to_detector[:, None], wanted, atol=1e-9)


def test_a_turntable():
    cameras = RIG.cameras(CENTER, 72)
    assert len(cameras) == 72
    for index in (0, 1, 71):
        np.testing.assert_allclose(cameras[index].c2w, RIG.camera(CENTER, 5.0 * index).c2w)
    halves = RIG.cameras(CENTER, 4, start=10.0, arc=180.0)
    np.testing.assert_allclose(halves[3].c2w, RIG.camera(CENTER, 145.0).c2w)


def test_scaling_a_rig_moves_the_source_and_keeps_the_picture():
    in_metres = RIG.scaled(0.001)
    small, large = in_metres.camera(CENTER * 0.001, 33.0), RIG.camera(CENTER, 33.0)
    np.testing.assert_allclose(small.position, large.position * 0.001)
    for camera in (small, large):
        assert (camera.fl_x, camera.fl_y) == pytest.approx((80.0, 40.0))
    assert RIG.with_pixels(80, 20).camera(CENTER, 0.0).fl_x == pytest.approx(160.0)


def test_the_presets():
    chest = preset("chest", 1.0)
    assert (chest.source_axis, chest.source_detector, chest.detector) == (541.0, 949.0, (500.0, 500.0))
    assert PRESETS["knee"].detector == (350.0, 350.0) and PRESETS["knee"].pixels == (128, 128)
    volume = preset("volume", 300.0)
    assert (volume.source_axis, volume.source_detector, volume.detector) == (750.0, 1050.0, (600.0, 600.0))
    assert volume.field_of_view > 150.0  # the cylinder in the cube
    # At its rim a ray along the detector's edge is a tangent.
    camera = volume.camera(np.zeros(3), 0.0)
    origin, direction = (v[0] for v in camera.rays(np.array([[0.0, 64.0]])))
    assert np.linalg.norm(np.cross(origin, direction)) == pytest.approx(volume.field_of_view)


@pytest.mark.parametrize(
    "values",
    [
        (0.0, 800.0, (1.0, 1.0), (4, 4)),
        (500.0, 400.0, (1.0, 1.0), (4, 4)),
        (500.0, 800.0, (float("nan"), 1.0), (4, 4)),
        (500.0, float("inf"), (1.0, 1.0), (4, 4)),
        (500.0, 800.0, (1.0, 1.0), (0, 4)),
        (500.0, 800.0, (1.0, 1.0), (4, 1 << 20)),
    ],
)
def test_a_rig_that_cannot_be_is_refused(values):
    with pytest.raises(NerfError):
        ConeBeam(*values)


def test_unknown_names_are_refused():
    for ask in (lambda: preset("head", 1.0), lambda: RIG.camera(CENTER, 0.0, "w"), lambda: RIG.cameras(CENTER, 0)):
        with pytest.raises(NerfError):
            ask()


def test_facts_make_the_round_trip_through_json():
    facts = XrayFacts(
        window=(0.0, 6.5),
        source_axis=0.541,
        source_detector=0.949,
        detector=(0.5, 0.5),
        meters_per_unit=1.0,
        volume="truth.nii.gz",
        noise={"photons": 1e4, "sigma": 10.0},
        scaling="per_view",
    )
    assert XrayFacts.from_dict(json.loads(json.dumps(facts.to_dict()))) == facts
    bare = XrayFacts(window=(0.0, 1.0))
    assert XrayFacts.from_dict(json.loads(json.dumps(bare.to_dict()))) == bare
    assert facts.to_dict()["not_for_diagnosis"].startswith("Not for diagnosis")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("window", None),
        ("window", [1.0, 1.0]),
        ("window", [0.0, float("nan")]),
        ("window", [0.0, "1"]),
        ("window", [0, 10**400]),
        ("source_axis", -1.0),
        ("source_detector", True),
        ("detector", [1.0]),
        ("detector", [1.0, 0.0]),
        ("meters_per_unit", 0),
        ("meters_per_unit", float("inf")),
        ("volume", "/etc/passwd"),
        ("volume", "../truth.nii.gz"),
        ("volume", "C:\\truth.nii"),
        ("volume", 3),
        ("noise", [1]),
        ("scaling", "loud"),
        ("scaling", []),
        ("quantity", "depth"),
    ],
)
def test_facts_that_cannot_be_are_refused_by_name(key, value):
    with pytest.raises(DataError, match=rf"xray\.{key}"):
        XrayFacts.from_dict({**XrayFacts(window=(0.0, 1.0)).to_dict(), key: value})
    with pytest.raises(DataError, match="xray"):
        XrayFacts.from_dict([])


def test_the_command_line_offers_the_rigs_that_there_are():
    assert tuple(PRESETS) == RIGS
