"""The prior as a baseline: its volume is seen from the right places, in the right order, in the pictures' own scale."""

from dataclasses import replace

import numpy as np
import pytest

from nerf_core.cli import main
from nerf_core.contract.errors import DataError, NerfError
from nerf_core.ct.phantoms import ellipsoid_phantom
from nerf_core.gan.dataset import load_radiographs
from nerf_core.gan.prior_baseline import MEAN_OPTIMISED, check_unseen, prior_baselines
from nerf_core.xray.population_modes import mean_prior

from .gan_data import write_pictures
from .radiograph_scene import TO_METRES, write_radiographs


def test_a_prior_that_knows_the_patient_shows_all_views(tmp_path) -> None:
    """The mean is the truth itself: then every view is right, though one was given alone."""
    write_radiographs(tmp_path / "patients" / "a", kind="ellipsoids", seed=3, views=9, held_out=1, pixels=32)
    volume = ellipsoid_phantom("ellipsoids", 3).volume(32)
    centred = volume.affine.copy()
    centred[:3, 3] -= volume.bounds.mean(axis=0)
    world_from_index = np.diag([*[TO_METRES] * 3, 1.0]) @ centred
    prior = mean_prior((volume.mu() * 100.0)[None].astype(np.float32), world_from_index)
    prior = replace(prior, tuned={"mean_tv.1": 1e-4, "mean_steps.1": 2})  # hardly any smoothing: nothing is lacking
    (name,) = baselines = prior_baselines(prior)
    assert name == MEAN_OPTIMISED
    for path in (tmp_path / "patients", tmp_path / "patients" / "a"):
        data = load_radiographs(path, 16)
        truth, azimuths = data.of(0)
        found = baselines[name](data, 0, 4, azimuths)
        assert found.shape == truth.shape == (9, 16, 16)
        errors = np.sqrt(np.square(found[:, None] - truth[None]).mean(axis=(2, 3)))
        assert np.diag(errors).max() < 0.03
        assert (errors.argmin(axis=1) == np.arange(9)).all()  # each is nearest to its own angle's


def test_a_prior_that_was_made_of_the_patient_is_refused(tmp_path) -> None:
    for seed in (1, 2):
        out = str(tmp_path / "patients" / f"p{seed}")
        asked = ["--views=2", "--pixels=16", "--val=0", "--no-volume"]
        assert main(["drr", f"phantom:ellipsoids:{seed}", "--out", out, *asked]) == 0
    data = load_radiographs(tmp_path / "patients", 16)
    plain = mean_prior(np.zeros((1, 8, 8, 8), np.float32), np.eye(4))
    for known in ("volumes", "held_out"):
        prior = replace(plain, facts={known: ["phantom:ellipsoids:2"]})
        with pytest.raises(NerfError, match=r"'p2' \(phantom:ellipsoids:2\) is of the prior's own population"):
            check_unseen(prior, data)
        check_unseen(prior, data, 1)  # the first alone, which it does not know
        with pytest.raises(NerfError, match="own population"):
            check_unseen(prior, load_radiographs(tmp_path / "patients" / "p2", 16))
    check_unseen(replace(plain, facts={"volumes": ["phantom:ellipsoids:3"]}), data)


def test_pictures_alone_are_not_enough(tmp_path) -> None:
    data = load_radiographs(write_pictures(tmp_path, instances=1, views=4), 16)
    prior = mean_prior(np.zeros((1, 8, 8, 8), np.float32), np.eye(4))
    with pytest.raises(DataError):
        prior_baselines(prior)[MEAN_OPTIMISED](data, 0, 0, data.azimuths)
