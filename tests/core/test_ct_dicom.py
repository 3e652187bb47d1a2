"""DICOM series become volumes whose voxels lie where the patient says; what cannot be is told in one sentence."""

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLSLossless, RLELossless, generate_uid

from nerf_core.contract.errors import Cancelled, DataError
from nerf_core.ct import read_ct
from nerf_core.ct.volume import AIR_HU

from .ct_files import ORIENTATIONS, SLOPE, placed, positions, telling, write_enhanced, write_series

SHAPE = (7, 5, 6)


def check(volume, affine, shape=SHAPE):
    """The voxels of a volume lie where those that were written lie, in millimetres, and hold their values."""
    np.testing.assert_allclose(
        np.sort(volume.corners, axis=0), np.sort(type(volume)(np.zeros(shape), affine).corners, axis=0), atol=1e-4
    )
    assert sorted(volume.shape) == sorted(shape)
    np.testing.assert_allclose(volume.values, telling(volume.shape, volume.affine), atol=0.5 * SLOPE + 1e-3)
    turned = volume.canonical()
    np.testing.assert_allclose(turned.values, telling(turned.shape, turned.affine), atol=0.5 * SLOPE + 1e-3)


@pytest.mark.parametrize("tilt", [0.0, 20.0])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_orientation_lies_where_it_lay(tmp_path, orientation, tilt):
    affine = placed(orientation, tilt=tilt)
    write_series(tmp_path / "ct", SHAPE, affine)
    volume = read_ct(tmp_path / "ct")
    check(volume, affine)
    np.testing.assert_allclose(volume.spacing, [0.7, 0.9, 2.5], atol=1e-5)
    assert volume.canonical().orientation == "RAS" and not volume.warnings
    assert "THORAX" in volume.name and "Nobody" not in volume.name


def test_a_file_of_a_series_stands_for_all_of_it(tmp_path):
    affine = placed("axial")
    write_series(tmp_path / "a", SHAPE, affine)
    write_series(tmp_path / "b", SHAPE, affine @ np.diag([1, 1, 2, 1]))
    for file in (tmp_path / "b").iterdir():
        file.rename(tmp_path / "a" / f"other{file.name}")
    volume = read_ct(next(file for file in (tmp_path / "a").iterdir() if file.name.startswith("IM")))
    check(volume, affine)


def test_series_are_chosen_by_their_uid(tmp_path):
    affine, other = placed("axial"), placed("axial", (1.0, 1.0, 1.0))
    first = write_series(tmp_path / "x" / "1", SHAPE, affine)
    second = write_series(tmp_path / "x" / "2", SHAPE, other, uid="1.2.3.4567")
    with pytest.raises(DataError, match="2 CT series") as told:
        read_ct(tmp_path / "x")
    assert first in str(told.value) and second in str(told.value) and "6 images, THORAX" in str(told.value)
    check(read_ct(tmp_path / "x", series="4567"), other)
    check(read_ct(tmp_path / "x", series=first), affine)
    for wrong in ("9.9.9", ""):
        with pytest.raises(DataError, match="series"):
            read_ct(tmp_path / "x", series=wrong)


def test_overviews_and_other_machines_beside_a_series_are_not_meant(tmp_path):
    affine = placed("sagittal")
    write_series(tmp_path, SHAPE, affine)
    write_series(
        tmp_path / "scout", (9, 9, 1), affine, edit=lambda d, k: setattr(d, "ImageType", ["A", "B", "LOCALIZER"])
    )
    write_series(tmp_path / "mr", (9, 9, 2), affine, edit=lambda d, k: setattr(d, "Modality", "MR"))
    (tmp_path / "notes.txt").write_text("no image")
    report = Dataset()
    report.SOPClassUID, report.SOPInstanceUID, report.Modality = "1.2.840.10008.5.1.4.1.1.88.11", generate_uid(), "SR"
    report.save_as(tmp_path / "report.dcm", implicit_vr=False, little_endian=True)
    check(read_ct(tmp_path), affine)


def test_one_file_with_all_frames(tmp_path):
    affine = placed("coronal", tilt=10.0)
    write_enhanced(tmp_path / "all.dcm", SHAPE, affine)
    check(read_ct(tmp_path / "all.dcm"), affine)
    check(read_ct(tmp_path), affine)


def test_padding_counts_as_air(tmp_path):
    affine = placed("axial")
    values = np.zeros(SHAPE)
    values[0], values[1] = -3000.0, 40.0

    def edit(data, k):
        data.PixelPaddingValue = 2128  # stored for 40 HU
        data["PixelPaddingValue"].VR = "SS"

    write_series(tmp_path / "plain", SHAPE, affine, values=values)
    write_series(tmp_path / "told", SHAPE, affine, values=values, edit=edit)
    assert np.unique(read_ct(tmp_path / "plain").values).tolist() == [AIR_HU, 0.0, 40.0]
    assert np.unique(read_ct(tmp_path / "told").values).tolist() == [AIR_HU, 0.0]


def test_rounded_positions_and_single_slices(tmp_path):
    affine = placed("axial", (0.7, 0.7, 0.625))
    affine[2, 3] = 0.0

    def rounded(data, k):
        data.ImagePositionPatient = [round(float(v), 1) + 0.0 for v in data.ImagePositionPatient]

    write_series(tmp_path / "rounded", (4, 4, 17), affine, edit=rounded)
    assert read_ct(tmp_path / "rounded").spacing[2] == pytest.approx(0.625, abs=1e-6)
    write_series(tmp_path / "one", (4, 4, 1), affine)
    one = read_ct(tmp_path / "one")
    assert one.spacing[2] == pytest.approx(0.625) and "single slice" in one.warnings[0]


def test_losslessly_compressed_pixels(tmp_path):
    affine = placed("axial")
    write_series(tmp_path, SHAPE, affine, edit=lambda data, k: data.compress(RLELossless, generate_instance_uid=False))
    check(read_ct(tmp_path), affine)


def test_a_folder_of_all_sorts_is_not_walked_through(tmp_path, monkeypatch):
    monkeypatch.setattr("nerf_core.ct.dicom.MAX_FILES", 3)
    for index in range(6):
        (tmp_path / f"{index}.txt").write_text("no image")
    with pytest.raises(DataError, match="more than 3 files; name the folder of one series"):
        read_ct(tmp_path)
    with pytest.raises(Cancelled):
        read_ct(tmp_path, should_stop=lambda: True)


def without(*names):
    def edit(data, k):
        for name in names:
            delattr(data, name)

    return edit


def changed(index, **values):
    def edit(data, k):
        if index in (k, None):
            for name, value in values.items():
                setattr(data, name, value)

    return edit


def tilted(data, k):
    x, y, z = data.ImagePositionPatient
    data.ImagePositionPatient = [x, y + 0.6 * k, z]


def undecodable(data, k):
    data.file_meta.TransferSyntaxUID = JPEGLSLossless
    data.PixelData = encapsulate([b"\xff\xd8\xff\xf7" + bytes(40)])
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True


BAD = {
    "missing slices": (lambda d, k: k not in (2, 3), "2 slices are missing"),
    "a missing slice": (lambda d, k: k != 4, "1 slice is missing.*IM"),
    "the same place twice": (changed(3, ImagePositionPatient=[-12.0, 34.0, 61.0]), "same place.*mixed"),
    "uneven": (changed(3, ImagePositionPatient=[-12.0, 34.0, 64.3]), "not evenly spaced"),
    "gantry tilt": (tilted, "sheared by 13.5 degrees.*gantry"),
    "no slope": (without("RescaleSlope", "RescaleIntercept"), "IM.*no rescale slope"),
    "no pixels": (without("PixelData"), "IM.*no pixels"),
    "no place": (without("ImagePositionPatient"), "IM.*ImagePositionPatient"),
    "no directions": (without("ImageOrientationPatient"), "IM.*ImageOrientationPatient"),
    "no size": (without("PixelSpacing"), "IM.*PixelSpacing"),
    "MR": (changed(None, Modality="MR"), "IM.*modality MR, not CT"),
    "colours": (changed(1, PhotometricInterpretation="RGB", SamplesPerPixel=3), "IM.*colour"),
    "other size": (changed(2, Rows=7, Columns=5), "differ in size"),
    "other spacing": (changed(2, PixelSpacing=[0.9, 0.8]), "size of their pixels"),
    "other direction": (changed(2, ImageOrientationPatient=[1, 0, 0, 0, 0, -1]), "different directions"),
    "crooked axes": (changed(2, ImageOrientationPatient=[1, 0, 0, 0.6, 0.8, 0]), "IM.*not square"),
    "no decoder": (undecodable, "IM.*compressed.*JPEG-LS.*decoder"),
    "short pixels": (changed(2, PixelData=bytes(10)), "IM.*cut short"),
    "frames without places": (changed(None, NumberOfFrames=2), "2 frames"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_is_told_in_a_sentence(tmp_path, what):
    edit, message = BAD[what]
    write_series(tmp_path / "some ct", SHAPE, placed("axial"), edit=edit)
    with pytest.raises(DataError, match=message) as told:
        read_ct(tmp_path / "some ct")
    assert "some ct" in str(told.value) or "IM" in str(told.value)
    assert "\n" not in str(told.value)


def test_what_is_no_dicom(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(DataError, match="1 files.*none is a DICOM"):
        read_ct(tmp_path)
    with pytest.raises(DataError, match="neither NIfTI"):
        read_ct(tmp_path / "a.txt")
    with pytest.raises(DataError, match="does not exist"):
        read_ct(tmp_path / "b")
    (tmp_path / "a.dcm").write_bytes(bytes(128) + b"DICM" + b"\x02\x00\x00\x00UL\x04\x00\xff")
    with pytest.raises(DataError, match="a.dcm"):
        read_ct(tmp_path / "a.dcm")
    with pytest.raises(DataError, match="a.dcm"):
        read_ct(tmp_path)


def test_cut_off_anywhere_it_is_told(tmp_path):
    write_series(tmp_path, (4, 4, 2), placed("axial"))
    file = sorted(tmp_path.iterdir())[1]
    whole = file.read_bytes()
    for length in range(132, len(whole), 37):
        file.write_bytes(whole[:length])
        with pytest.raises(DataError):
            read_ct(file)


def test_progress_grows_and_stop_is_heard(tmp_path):
    write_series(tmp_path, SHAPE, placed("axial"))
    told = []
    read_ct(tmp_path, progress=told.append)
    assert told == sorted(told) and told[-1] == 1.0 and len(told) == 12
    with pytest.raises(Cancelled):
        read_ct(tmp_path, should_stop=lambda: True)


def test_positions_of_single_voxels(tmp_path):
    """One bright voxel in a sagittal series is found at its place in the patient."""
    affine = placed("sagittal")
    values = np.full(SHAPE, -1000.0)
    values[5, 1, 4] = 1000.0
    write_series(tmp_path, SHAPE, affine, values=values)
    volume = read_ct(tmp_path)
    found = positions(volume.shape, volume.affine)[volume.values > 0]
    np.testing.assert_allclose(found, [affine[:3, :3] @ (5, 1, 4) + affine[:3, 3]], atol=1e-4)
    # By hand: first axis towards the back by 0.7, second down by 0.9, third to the left by 2.5.
    np.testing.assert_allclose(found[0], [12.0 - 4 * 2.5, -34.0 - 5 * 0.7, 56.0 - 0.9], atol=1e-4)
