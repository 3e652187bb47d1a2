"""NIfTI volumes in and out, resampling by coordinates, sources by name, `nerf ct`."""

import json

import nibabel
import numpy as np
import pytest

from nerf_core.contract.errors import DataError, NerfError
from nerf_core.ct import Volume, open_source, read_ct, write_nifti
from nerf_core.ct.volume import AIR_HU
from nerf_core.export.ownership import is_ours

from ..seeds import fresh_seed
from .ct_files import ORIENTATIONS, SLOPES, placed, positions, telling, write_series

SHAPE = (7, 5, 6)


def save(path, values, affine, edit=lambda image: None):
    image = nibabel.Nifti1Image(values, affine)
    edit(image)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_what_is_written_lies_where_it_lay(tmp_path, orientation, ending):
    affine = placed(orientation, tilt=15.0)
    volume = Volume(telling(SHAPE, affine), affine, "telling")
    path = write_nifti(tmp_path / f"ct{ending}", volume)
    again = read_ct(path)
    np.testing.assert_allclose(again.affine, affine, atol=1e-4)
    np.testing.assert_array_equal(again.values, volume.values)
    assert again.name == path.name and is_ours(path)
    image = nibabel.load(path)  # what other programs go by
    np.testing.assert_allclose(image.get_qform(coded=True)[0], affine, atol=1e-4)
    np.testing.assert_allclose(image.get_sform(coded=True)[0], affine, atol=1e-4)
    assert image.header.get_xyzt_units()[0] == "mm"
    turned = again.canonical()
    assert turned.orientation == "RAS"
    np.testing.assert_allclose(turned.values, telling(turned.shape, turned.affine), atol=1e-3)


def test_whole_numbers_take_16_bits(tmp_path):
    values = np.arange(210, dtype=np.float32).reshape(SHAPE) - 1000
    path = write_nifti(tmp_path / "ct.nii", Volume(values, np.eye(4)))
    assert nibabel.load(path).get_data_dtype() == np.int16
    np.testing.assert_array_equal(read_ct(path).values, values)
    assert read_ct(write_nifti(tmp_path / "half.nii", Volume(values + 0.25, np.eye(4)))).values[0, 0, 0] == -999.75


def test_slope_and_intercept_in_the_header_count(tmp_path):
    stored = np.arange(210, dtype=np.int16).reshape(SHAPE)
    save(tmp_path / "ct.nii", stored, np.eye(4), lambda image: image.header.set_slope_inter(2.0, -1024.0))
    np.testing.assert_array_equal(read_ct(tmp_path / "ct.nii").values, stored * 2.0 - 1024.0)


def test_where_it_lies(tmp_path):
    affine, other = placed("axial"), placed("axial")
    other[0, 3] += 10.0
    values = np.zeros(SHAPE, np.int16) - 1000
    values[1, 1, 1] = 40

    def forms(sform, qform):
        def edit(image):
            image.set_sform(affine, sform)
            image.set_qform(other, qform)

        return edit

    both = read_ct(save(tmp_path / "both.nii", values, affine, forms(1, 1)))
    np.testing.assert_allclose(both.affine, affine, atol=1e-4)
    assert "differ by 10.0 mm" in both.warnings[0]
    quaternion = read_ct(save(tmp_path / "q.nii", values, affine, forms(0, 1)))
    np.testing.assert_allclose(quaternion.affine, other, atol=1e-4)
    assert not quaternion.warnings
    neither = read_ct(save(tmp_path / "no.nii", values, affine, forms(0, 0)))
    np.testing.assert_allclose(neither.spacing, (0.7, 0.9, 2.5), atol=1e-5)
    assert "does not say how the patient lies" in neither.warnings[0]
    assert "left, front and up" in neither.warnings[0] and neither.orientation == "LAS"
    metres = placed("axial", (0.0007, 0.0009, 0.0025))
    metres[:3, 3] /= 1000
    far = save(tmp_path / "m.nii", values, metres, lambda image: image.header.set_xyzt_units("meter"))
    np.testing.assert_allclose(read_ct(far).affine, affine, atol=1e-3)


def test_padding_and_what_is_no_number_are_air(tmp_path):
    values = np.zeros(SHAPE, np.float32)
    values[0], values[1, 0, 0], values[1, 1, 1] = -3024.0, np.nan, np.inf
    volume = read_ct(save(tmp_path / "ct.nii", values, np.eye(4)))
    assert (volume.values[0] == AIR_HU).all() and volume.values[1, 0, 0] == volume.values[1, 1, 1] == AIR_HU
    assert volume.values.max() == 0.0 and "2 voxels hold no number" in volume.warnings[0]


def test_values_that_are_no_hounsfield_units_are_noticed(tmp_path):
    ramp = np.linspace(0, 1, 210).reshape(SHAPE).astype(np.float32)
    for name, values, said in (("a", ramp, "do not look like"), ("b", ramp * 2000, "where is the air")):
        assert said in read_ct(save(tmp_path / f"{name}.nii", values, np.eye(4))).warnings[0]
    for name, values, said in (("d", ramp * 2e9 - 1000, "no material"), ("e", ramp * 0 - 1000, "same value, -1000")):
        assert said in read_ct(save(tmp_path / f"{name}.nii", values, np.eye(4))).warnings[0]
    assert not read_ct(save(tmp_path / "c.nii", ramp * 2000 - 1000, np.eye(4))).warnings


def test_a_single_volume_with_more_axes_is_read_and_a_series_is_not(tmp_path):
    values = np.zeros(SHAPE, np.int16)
    assert read_ct(save(tmp_path / "one.nii", values[..., None, None], np.eye(4))).shape == SHAPE
    with pytest.raises(DataError, match=r"four.nii.*4 dimensions \(7x5x6x2\).*save one"):
        read_ct(save(tmp_path / "four.nii", np.stack([values, values], axis=-1), np.eye(4)))
    with pytest.raises(DataError, match="2 dimensions"):
        read_ct(save(tmp_path / "two.nii", values[0], np.eye(4)))


def test_files_that_are_no_volume_of_numbers(tmp_path):
    colours = np.zeros(SHAPE, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    with pytest.raises(DataError, match="rgb.nii.*colours"):
        read_ct(save(tmp_path / "rgb.nii", colours, np.eye(4)))
    with pytest.raises(DataError, match="complex"):
        read_ct(save(tmp_path / "c.nii", np.zeros(SHAPE, np.complex64), np.eye(4)))
    (tmp_path / "text.nii").write_text("hello")
    (tmp_path / "text.nii.gz").write_text("hello")
    for name in ("text.nii", "text.nii.gz"):
        with pytest.raises(DataError, match=f"{name}.*NIfTI"):
            read_ct(tmp_path / name)
    with pytest.raises(DataError, match="does not exist"):
        read_ct(tmp_path / "none.nii")
    flat = bytearray(save(tmp_path / "flat.nii", np.zeros(SHAPE, np.int16), np.eye(4)).read_bytes())
    flat[296:312] = bytes(16)  # the sform's second row
    (tmp_path / "flat.nii").write_bytes(flat)
    with pytest.raises(DataError, match="flat.nii.*no inverse"):
        read_ct(tmp_path / "flat.nii")
    with pytest.raises(NerfError, match="must end in .nii"):
        write_nifti(tmp_path / "ct.dcm", Volume(np.zeros(SHAPE), np.eye(4)))


def test_damaged_files_are_told(tmp_path):
    rng = np.random.default_rng(fresh_seed())
    values = rng.integers(-1000, 1000, SHAPE).astype(np.int16)
    for name in ("ct.nii", "ct.nii.gz"):
        whole = save(tmp_path / name, values, np.eye(4)).read_bytes()
        for length in rng.integers(0, len(whole) - 9, 30):
            (tmp_path / name).write_bytes(whole[:length])
            with pytest.raises(DataError, match=name):
                read_ct(tmp_path / name)
        for _ in range(100):  # whatever a header says: a volume or a sentence
            place = rng.integers(0, 348 if name == "ct.nii" else len(whole))
            (tmp_path / name).write_bytes(whole[:place] + rng.bytes(2) + whole[place + 2 :])
            try:
                read_ct(tmp_path / name)
            except NerfError as error:
                assert name in str(error)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_resampling_keeps_places(orientation):
    affine = placed(orientation, tilt=10.0)
    volume = Volume(telling((12, 10, 8), affine), affine)
    for asked in ({"shape": (6, 5, 4)}, {"shape": (24, 30, 8)}, {"spacing": 1.1}, {"shape": 20}):
        other = volume.resampled(**asked)
        np.testing.assert_allclose(other.corners, volume.corners, atol=1e-9)
        inner = tuple(
            slice(int(np.ceil(n / old)), n - int(np.ceil(n / old)))
            for n, old in zip(other.shape, (12, 10, 8), strict=True)
        )
        np.testing.assert_allclose(other.values[inner], telling(other.shape, other.affine)[inner], atol=2e-2)
    assert volume.resampled(shape=(6, 5, 4)).values.mean() == pytest.approx(volume.values.mean(), abs=1e-2)
    assert volume.resampled(spacing=1.1).shape == (8, 8, 18)


def test_a_cube_lies_around_the_volume_in_air():
    affine = placed("sagittal", (2.0, 2.0, 2.0))
    values = np.full((10, 6, 4), 100.0)
    cube = Volume(values, affine).resampled(cube=20)
    assert cube.shape == (20, 20, 20) and cube.orientation == "RAS"
    np.testing.assert_allclose(cube.spacing, 1.0)
    np.testing.assert_allclose(cube.bounds.mean(axis=0), Volume(values, affine).bounds.mean(axis=0))
    inside = cube.values > -500
    np.testing.assert_allclose(
        positions(cube.shape, cube.affine)[inside].min(axis=0) - 0.5, Volume(values, affine).bounds[0]
    )
    np.testing.assert_allclose(cube.values[inside], 100.0, atol=1e-3)
    assert (cube.values[~inside] == AIR_HU).all()
    # The same mass, however few voxels.
    small = Volume(values, affine).resampled(cube=7)
    mass = (small.values - AIR_HU).sum() * np.prod(small.spacing)
    assert mass == pytest.approx(1100.0 * values.size * 8.0, rel=1e-4)


def test_impossible_grids_are_refused():
    volume = Volume(np.zeros(SHAPE), np.eye(4))
    for asked in (
        {},
        {"shape": 4, "cube": 4},
        {"spacing": 0.0},
        {"spacing": np.nan},
        {"shape": (0, 1, 1)},
        {"cube": 10**6},
    ):
        with pytest.raises(NerfError):
            volume.resampled(**asked)
    for values, affine in ((np.zeros((3, 3)), np.eye(4)), (np.zeros(SHAPE), np.zeros((4, 4)))):
        with pytest.raises(NerfError):
            Volume(values, affine)


def test_sources(tmp_path):
    path = save(tmp_path / "ct.nii", np.zeros(SHAPE, np.int16), np.eye(4))
    assert open_source(str(path)).shape == SHAPE
    assert open_source("phantom:knee:3", 40).shape == (36, 36, 40)


def test_the_command_tells_and_converts(nerf, tmp_path):
    affine = placed("sagittal")
    write_series(tmp_path / "series", SHAPE, affine)
    done = nerf("ct", tmp_path / "series", "--out", tmp_path / "made" / "ct.nii.gz")
    assert "7x5x6 voxels of 0.7 x 0.9 x 2.5 mm" in done.stdout and "PIR" in done.stdout
    assert "Not for diagnosis" in done.stdout
    written = read_ct(tmp_path / "made" / "ct.nii.gz")
    np.testing.assert_allclose(written.values, positions(SHAPE, written.affine) @ SLOPES, atol=0.26)
    done = nerf("ct", "phantom:chest:4", "--grid", 32, "--out", tmp_path / "made" / "ct.nii.gz", "--json")
    result = json.loads(done.stdout)
    assert result["shape"] == [32, 25, 26] and result["orientation"] == "RAS" and result["hu"][0] == -1002
    (tmp_path / "mine.nii").write_bytes(b"mine")
    for asked, said in (
        (("phantom:chest:4", "--out", tmp_path / "mine.nii"), "mine.nii"),
        (("phantom:chest:4", "--out", tmp_path / "a.vdb"), ".nii"),
        ((tmp_path / "none",), "does not exist"),
        ((tmp_path / "series", "--grid", 0), "--grid"),
    ):
        assert said in nerf("ct", *asked, code=2).stderr
    assert (tmp_path / "mine.nii").read_bytes() == b"mine"
