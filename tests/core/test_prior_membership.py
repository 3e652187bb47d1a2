"""Whether a patient is in a prior's population: by voxels, by phantoms' names, and by files' names in older priors."""

import json

import numpy as np
import pytest

from nerf_core.cli import main
from nerf_core.ct import Volume, write_nifti
from nerf_core.ct.phantoms import ellipsoid_phantom
from nerf_core.xray.drr import STATE
from nerf_core.xray.membership import identity_of, population_words, role_of, voxels_of
from nerf_core.xray.prior import load_prior, save_prior
from nerf_core.xray.prior_build import BuildSettings, build_prior


def _patient(seed, shape=(13, 12, 11)):
    """A small CT of whole numbers, as a scanner's."""
    hu = np.round(ellipsoid_phantom("ellipsoids", seed).volume(shape).values)
    return Volume(hu, np.diag([20.0, 22.0, 24.0, 1.0]), "patient")


@pytest.fixture(scope="module")
def patients(tmp_path_factory):
    """Files of one name in folders of their own, and a prior that is made of some of them and tuned on another."""
    folder = tmp_path_factory.mktemp("patients")
    for seed in range(6):
        (folder / f"{seed}").mkdir()
        write_nifti(folder / f"{seed}" / "ct.nii.gz", _patient(seed))
    prior = build_prior([str(folder / f"{seed}") for seed in range(4)], BuildSettings(longest=8, held_out=1, modes=2))
    save_prior(folder / "prior", prior)
    return folder, prior


def test_volumes_are_told_apart_by_their_voxels(patients, tmp_path, capsys):
    folder, prior = patients
    told = load_prior(folder / "prior").facts["identities"]
    assert [len(told["volumes"]), len(told["held_out"])] == [3, 1]
    held = next(seed for seed in range(4) if identity_of(folder / f"{seed}" / "ct.nii.gz") in told["held_out"])
    # Renamed, unzipped, in another order of axes and elsewhere in the scanner: the same patient.
    volume = _patient(1 if held != 1 else 2)
    turned = np.array(volume.affine)[:, [1, 0, 2, 3]]
    turned[:3, 3] = 5.0, 6.0, 7.0
    write_nifti(tmp_path / "other.nii", Volume(volume.values.transpose(1, 0, 2), turned))
    assert role_of(prior.facts, [identity_of(tmp_path / "other.nii")]) == "volumes"
    assert main(["prior", "evaluate", str(folder / "prior"), "--held-out", str(tmp_path / "other.nii")]) == 2
    assert "own population" in capsys.readouterr().err
    assert role_of(prior.facts, [identity_of(folder / f"{held}" / "ct.nii.gz")]) == "held_out"
    # A file of the same name that holds another patient is another patient; so is one with a voxel changed.
    assert role_of(prior.facts, [identity_of(folder / "5" / "ct.nii.gz")], "ct.nii.gz") is None
    asked = ["--held-out", str(folder / "5" / "ct.nii.gz"), "--views", "1", "--turntable", "3", "--pixels", "12"]
    assert main(["prior", "evaluate", str(folder / "prior"), *asked]) == 0
    values = volume.values.copy()
    values[3, 4, 5] += 1
    assert voxels_of(Volume(values, volume.affine)) not in told["volumes"]
    assert identity_of("phantom:chest:007") == "phantom:chest:7"


def test_older_priors_tell_real_volumes_by_name(patients):
    folder, prior = patients
    older = {key: value for key, value in prior.facts.items() if key != "identities"}
    asked = [identity_of(folder / "5" / "ct.nii.gz")]
    assert role_of(older, asked, "ct.nii.gz") == "volumes" and role_of(older, asked, "another.nii.gz") is None
    assert role_of({"held_out": ["phantom:chest:7"]}, ["phantom:chest:7"]) == "held_out"


def test_a_reconstruction_says_that_its_patient_is_in_the_population(patients, tmp_path, capsys):
    folder, prior = patients
    for name, more in (("whole", ()), ("resampled", ("--grid=10",))):
        for seed, words in ((0, "is in the prior's own population"), (5, None)):
            out = tmp_path / f"{name}-{seed}"
            asked = ["--out", str(out), "--pixels=12", "--views=4", "--val=1", *more]
            assert main(["drr", str(folder / f"{seed}" / "ct.nii.gz"), *asked]) == 0
            found = population_words(out, prior.facts)
            assert (found is None) if words is None else (words in found and found.endswith("."))
            if not more:  # without what the command noted, the true volume says it
                (out / STATE).unlink()
                assert (population_words(out, prior.facts) is None) == (words is None)
    for seed, expected in ((0, True), (5, False)):
        capsys.readouterr()
        out = tmp_path / f"found-{seed}"
        asked = ["--prior", str(folder / "prior"), "--out", str(out)]
        assert main(["prior", "reconstruct", str(tmp_path / f"resampled-{seed}"), *asked]) == 0
        written = json.loads((out / "prior_report.json").read_text())["population"]
        said = capsys.readouterr()
        assert ("('ct.nii.gz') is in the prior's own population" in said.out + said.err) == expected
        assert (written is not None) == expected


def test_a_phantoms_radiographs_tell_it_by_name(tmp_path):
    assert main(["drr", "phantom:knee:3", "--out", str(tmp_path / "a"), "--pixels=8", "--views=1", "--no-volume"]) == 0
    for facts in ({"held_out": ["phantom:knee:3"]}, {"identities": {"held_out": ["phantom:knee:3"]}}):
        assert "('phantom:knee:3')" in population_words(tmp_path / "a", facts)
    assert population_words(tmp_path / "a", {"identities": {"volumes": ["phantom:knee:4"]}}) is None
