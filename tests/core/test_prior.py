"""Priors: a known population is recovered from radiographs, broken files are refused, the command line end to end."""

import json
import shutil

import numpy as np
import pytest

from nerf_core.contract.errors import Cancelled, DataError, NerfError
from nerf_core.contract.xray import NOT_FOR_DIAGNOSIS, PRESETS
from nerf_core.ct import Volume, read_ct, write_nifti
from nerf_core.data import exr
from nerf_core.xray.grid import Grid
from nerf_core.xray.population import Member, list_members, load_population
from nerf_core.xray.population_modes import mean_prior
from nerf_core.xray.prior import Prior, load_prior, save_prior
from nerf_core.xray.prior_build import BuildSettings, build_prior, divided
from nerf_core.xray.prior_fit import Model
from nerf_core.xray.prior_report import _reduced
from nerf_core.xray.projector import project_camera
from nerf_core.xray.registration import one_sided
from nerf_core.xray.residual import ResidualSettings
from nerf_core.xray.single_view import ReconstructSettings, mean_plus_optimisation, mirrored, reconstruct

from ..seeds import fresh_seed

SHAPE = (16, 14, 18)
BEAM = PRESETS["knee"].scaled(1e-3).with_pixels(48, 48)


def ball(center, radius, mu):
    axes = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in SHAPE), indexing="ij"), axis=-1)
    distance = np.linalg.norm(axes - np.array(center), axis=-1)
    return (mu / (1 + np.exp(2.0 * (distance - radius)))).astype(np.float32)


def known_prior(**changes) -> Prior:
    """A body with two balls; one mode moves everything along x, one squeezes it, one changes one ball's attenuation."""
    matrix = np.diag([0.01, 0.01, 0.01, 1.0])
    matrix[:3, 3] = -0.01 * (np.array(SHAPE) - 1) / 2
    template = ball((0, 0, 0), 6, 20) + ball((2.5, 0, 3), 2, 20) + ball((-2, 1, -3), 1.5, 15)
    displacement = np.zeros((2, 3, 3, 3, 3), np.float32)
    displacement[0, 0] = 1.0
    displacement[1, 2] = np.linspace(1, -1, 3)[None, None]
    appearance = ball((2.5, 0, 3), 2, 6)[None]
    deviation = np.full(SHAPE, 0.5, np.float32)
    return Prior(
        **{
            "kind": "low_rank",
            "world_from_index": matrix,
            "mean": template,
            "template": template,
            "displacement": displacement,
            "appearance": appearance,
            "deviation": deviation,
            "facts": {"volumes": ["a"], "synthetic": 1, "real": 0, "augmented": 0},
            **changes,
        }
    )


def radiographs(mu, matrix, cameras):
    return [project_camera(mu, matrix, camera, "siddon") for camera in cameras]


def test_a_known_population_is_recovered_from_one_and_two_views():
    rng = np.random.default_rng(fresh_seed())
    prior = known_prior()
    model = Model(prior)
    wanted = np.zeros(model.size)
    wanted[:3] = rng.uniform(-1.5, 1.5, 3)
    truth = model.volume(wanted)[0]
    for views in ([0.0], [0.0, 90.0]):
        cameras = [BEAM.camera(np.zeros(3), angle) for angle in views]
        told = []
        found = reconstruct(
            radiographs(truth, prior.world_from_index, cameras),
            cameras,
            prior,
            np.eye(4),
            settings=ReconstructSettings(fit_noise=0.01, alignment=0.0, residual=None),
            progress=told.append,
        )
        assert np.allclose(found.coefficients[:3], wanted[:3], atol=0.15), (found.coefficients, wanted)
        assert np.sqrt(np.mean((found.mu - truth) ** 2)) < 0.02 * truth.max()
        assert found.error < 0.05 and told == sorted(told) and not found.mirrored


def test_the_world_may_be_turned_moved_and_in_other_units():
    prior = known_prior()
    model = Model(prior)
    theta = np.zeros(model.size)
    theta[:3] = 1.0, -1.0, 0.8
    truth = model.volume(theta)[0]
    cameras = [BEAM.camera(np.zeros(3), angle) for angle in (20.0, 100.0)]
    views = radiographs(truth, prior.world_from_index, cameras)
    turn = np.linalg.qr(np.random.default_rng(fresh_seed()).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    # A world whose unit is a centimetre, and that was moved and turned as a whole.
    world = np.eye(4)
    world[:3, :3], world[:3, 3] = 100.0 * turn, (7.0, -3.0, 2.0)
    moved = []
    for camera in cameras:
        c2w = np.eye(4)
        c2w[:3, :3], c2w[:3, 3] = turn @ camera.c2w[:3, :3], world[:3, :3] @ camera.position + world[:3, 3]
        moved.append(type(camera)(**{**camera.__dict__, "c2w": c2w}))
    settings = ReconstructSettings(fit_noise=0.02, alignment=0.0, residual=None)
    found = reconstruct(views, moved, prior, world, 0.01, settings)
    assert np.allclose(found.coefficients[:3], theta[:3], atol=0.1)
    assert np.sqrt(np.mean((found.mu * 100 - truth) ** 2)) < 0.02 * truth.max()  # 1 / m from 1 / cm
    again = found.radiographs([moved[0]])[0]
    assert np.sqrt(np.mean((again - views[0]) ** 2)) < 0.05 * views[0].max()


def test_the_residual_finds_what_no_mode_holds_and_the_peer_less():
    """A ball that is in no mode: the prior says where it is unsure, and two views say what is there."""
    prior = known_prior()
    extra = ball((-3, -2, 3), 1.6, 18)
    truth = prior.template + extra
    unsure = np.full(SHAPE, 0.1, np.float32) + 8.0 * (ball((-3, -2, 3), 2.5, 1) > 0.3)
    prior = known_prior(deviation=unsure.astype(np.float32))
    cameras = [BEAM.camera(np.zeros(3), angle) for angle in (0.0, 90.0)]
    views = radiographs(truth, prior.world_from_index, cameras)
    common = {"fit_noise": 0.5, "alignment": 0.0}
    settings = ResidualSettings(noise=0.05, steps=60)

    def error(mu):
        return np.sqrt(np.mean((mu - truth) ** 2))

    modes = reconstruct(views, cameras, prior, np.eye(4), settings=ReconstructSettings(**common, residual=None))
    ours = reconstruct(views, cameras, prior, np.eye(4), settings=ReconstructSettings(**common, residual=settings))
    peer = mean_plus_optimisation(views, cameras, prior, np.eye(4), settings=settings)
    assert error(ours.mu) < 0.6 * error(modes.mu) and error(ours.mu) < 0.8 * error(peer.mu)
    assert ours.error < modes.error and ours.mu.min() >= 0
    assert ours.deviation[unsure > 4].mean() > 5 * ours.deviation[unsure < 1].mean()


def test_a_body_that_lies_elsewhere_is_found():
    """Off by voxels and of another size, which no mode is: the error surprises, and the alignment is set free."""
    prior = known_prior()
    model = Model(prior, alignment=3.0)
    theta = np.zeros(model.size)
    theta[-9:-6] = 0.8, -0.6, 0.5  # 24, -18 and 15 mm
    theta[-6:-3] = -0.7
    truth = model.volume(theta)[0]
    cameras = [BEAM.camera(np.zeros(3), angle) for angle in (0.0, 90.0)]
    views = radiographs(truth, prior.world_from_index, cameras)
    fast = ReconstructSettings(fit_noise=0.1, alignment=0.0, residual=None)
    free = ReconstructSettings(fit_noise=0.1, alignment=0.0, residual=None, expected_error=0.02)
    held, found = (reconstruct(views, cameras, prior, np.eye(4), settings=each) for each in (fast, free))
    assert found.error < 0.6 * held.error
    assert np.mean((found.mu - truth) ** 2) < 0.6 * np.mean((held.mu - truth) ** 2)


def test_the_other_side_is_seen():
    prior = known_prior(facts={"mirrored": True})
    other = mirrored(prior)
    assert np.array_equal(other.template, prior.template[::-1])
    theta = np.zeros(Model(prior).size)
    theta[:2] = 1.2, -0.7
    assert np.allclose(Model(other).volume(theta)[0], Model(prior).volume(theta)[0][::-1], atol=1e-4)
    cameras = [BEAM.camera(np.zeros(3), 0.0)]
    views = radiographs(Model(other).volume(theta)[0], prior.world_from_index, cameras)
    settings = ReconstructSettings(fit_noise=0.05, alignment=0.0, residual=None)
    assert reconstruct(views, cameras, prior, np.eye(4), settings=settings).mirrored
    sides = np.stack([ball((3, 0, z), 3, 1) if z % 2 else ball((-3, 0, z), 3, 1) for z in range(-2, 3)])
    assert list(one_sided(sides)) == [False, True, False, True, False]


def test_coefficients_have_the_derivative_that_they_say():
    rng = np.random.default_rng(fresh_seed())
    model = Model(known_prior())
    theta = rng.normal(scale=0.3, size=model.size)
    _, gradient, modes = model.volume(theta)
    derivative = model.derivative(gradient, modes)
    for index in range(model.size):
        step = np.zeros(model.size)
        step[index] = 1e-3
        rise = (model.volume(theta + step)[0] - model.volume(theta - step)[0]).reshape(-1) / 2e-3
        # A volume between voxels has kinks: up to 0.035 of it in 60 draws.
        assert np.linalg.norm(derivative[:, index] - rise) < 0.08 * np.linalg.norm(rise)


def test_stop_ends_it():
    prior = known_prior()
    cameras = [BEAM.camera(np.zeros(3), 0.0)]
    views = radiographs(1.1 * prior.template, prior.world_from_index, cameras)
    with pytest.raises(Cancelled):
        reconstruct(views, cameras, prior, np.eye(4), should_stop=lambda: True)
    with pytest.raises(Cancelled):
        mean_plus_optimisation(views, cameras, prior, np.eye(4), should_stop=lambda: True)
    with pytest.raises(Cancelled):
        build_prior(["phantom:knee:0-5"], BuildSettings(longest=8), should_stop=lambda: True)


def test_views_that_do_not_fit_are_told():
    prior = known_prior()
    camera = BEAM.camera(np.zeros(3), 0.0)
    with pytest.raises(DataError, match="1 radiographs and 2 cameras"):
        reconstruct([np.zeros((48, 48))], [camera] * 2, prior)
    with pytest.raises(DataError, match="20x20 pixels and its camera 48x48"):
        reconstruct([np.zeros((20, 20))], [camera], prior)
    with pytest.raises(DataError, match="NaN"):
        reconstruct([np.full((48, 48), np.nan)], [camera], prior)
    with pytest.raises(DataError, match="one direction alone"):
        reconstruct([np.zeros((48, 48))], [camera], prior)
    away = np.eye(4)
    away[:3, 3] = 50.0
    with pytest.raises(DataError, match="No ray"):
        reconstruct([np.zeros((48, 48))], [camera], prior, away)


def test_files_come_back_and_broken_ones_are_told(tmp_path):
    prior = known_prior(tuned={"fit_noise.1": 0.5})
    save_prior(tmp_path / "p", prior)
    again = load_prior(tmp_path / "p")
    for name in ("mean", "template", "displacement", "appearance", "deviation", "world_from_index"):
        assert np.array_equal(getattr(again, name), getattr(prior, name)), name
    assert (again.kind, again.tuned, again.facts) == (prior.kind, prior.tuned, prior.facts)
    with pytest.raises(DataError, match="not a prior"):
        load_prior(tmp_path)

    def broken(change, match):
        shutil.rmtree(tmp_path / "q", ignore_errors=True)
        shutil.copytree(tmp_path / "p", tmp_path / "q")
        change(tmp_path / "q")
        with pytest.raises(DataError, match=match):
            load_prior(tmp_path / "q")

    def with_document(**values):
        def change(folder):
            document = json.loads((folder / "prior.json").read_text())
            (folder / "prior.json").write_text(json.dumps({**document, **values}))

        return change

    def cut(folder):
        data = (folder / "prior.safetensors").read_bytes()
        (folder / "prior.safetensors").write_bytes(data[: len(data) // 2])

    def flipped(folder):
        data = bytearray((folder / "prior.safetensors").read_bytes())
        data[-3] ^= 1
        (folder / "prior.safetensors").write_bytes(bytes(data))

    broken(cut, "not a whole safetensors file")
    broken(flipped, "damaged")
    broken(lambda folder: (folder / "prior.safetensors").unlink(), "Cannot read")
    broken(lambda folder: (folder / "prior.json").write_text("{"), "not valid JSON")
    broken(with_document(version=99), "version 99")
    broken(with_document(format="x"), "not written by nerf prior")
    broken(with_document(kind="nonsense"), "kind is unknown")
    broken(with_document(world_from_index=[[1]]), "4x4")
    broken(with_document(tuned={"a": "b"}), "broken")
    broken(with_document(facts={"volumes": 3}), "'volumes' is no list of names")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("keep")
    with pytest.raises(NerfError, match=r"mine\.txt"):
        save_prior(tmp_path / "other", prior)
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["mine.txt"]


def test_sources_are_listed_divided_and_warped(tmp_path):
    members = list_members(["phantom:chest:3-5"])
    assert [m.source for m in members] == ["phantom:chest:3", "phantom:chest:4", "phantom:chest:5"]
    for bad, match in (("phantom:chest:5-3", "no range"), ("phantom:liver:0-3", "not known")):
        with pytest.raises(NerfError, match=match):
            list_members([bad])
    affine = np.diag([10.0, 10.0, 10.0, 1.0])
    affine[:3, 3] = -300.0, 50.0, 10.0  # the body is anywhere in the scanner
    hu = np.full((24, 22, 20), -1000.0, np.float32)
    hu[6:18, 5:16, 2:18] = 0.0
    hu[10:13, 9:12, :] = 600.0
    for name in ("a", "b"):
        write_nifti(tmp_path / f"{name}.nii.gz", Volume(hu, affine))
    members = list_members([str(tmp_path)], augment=2)
    assert [m.origin for m in members] == ["real", "augmented", "augmented"] * 2
    kept, held = divided(members + list_members(["phantom:knee:0-5"]), 2)
    assert not {m.source for m in kept} & {m.source for m in held} and len(held) == 2
    population = load_population(members[:3], 16)
    body = population.volumes > 10
    for volume in body:
        middle = np.argwhere(volume).mean(axis=0)
        assert np.allclose(middle, (np.array(volume.shape) - 1) / 2, atol=1.5)
    assert population.volumes[0].max() == pytest.approx(100 * 0.206 * 1.6, rel=0.1)
    assert not np.allclose(population.volumes[1], population.volumes[0], atol=5)
    assert np.array_equal(load_population(members[1:2], 16, population.grid).volumes[0], population.volumes[1])


def test_a_truth_that_ends_within_a_voxel_is_not_thinned():
    own = Grid.of_bounds(np.array([[-1.0] * 3, [1.0] * 3]), 8)
    found = _reduced(own, np.full(own.shape, 3.0, np.float32), Grid.of_bounds(np.array([[-1.1] * 3, [1.1] * 3]), 9))
    assert np.allclose(found, 3.0, atol=1e-5)


@pytest.fixture(scope="module")
def knees(nerf, tmp_path_factory):
    """A tiny prior of synthetic knees, and radiographs of one that it has not seen."""
    folder = tmp_path_factory.mktemp("prior")
    done = nerf(
        "prior", "build", "phantom:knee:0-7", "--out", folder / "knees", "--grid", 12, "--held-out", 0, "--json"
    )
    nerf("drr", "phantom:knee:50", "--out", folder / "data", "--pixels", 24, "--views", 8, "--val", 2, "--grid", 24)
    return folder, json.loads(done.stdout.splitlines()[-1])


def test_the_command_line_builds_a_prior(knees):
    folder, told = knees
    assert told["synthetic"] == 8 and told["real"] == 0 and told["held_out"] == [] and told["shape_modes"] == 7
    prior = load_prior(folder / "knees")
    assert prior.kind == "low_rank" and max(prior.shape) == 12
    assert json.loads((folder / "knees" / "prior.json").read_text())["not_for_diagnosis"] == NOT_FOR_DIAGNOSIS
    assert (folder / "knees" / "prior.png").stat().st_size > 1000


def test_the_command_line_reconstructs(nerf, knees):
    folder, _ = knees
    out = folder / "found"
    done = nerf(
        "prior",
        "reconstruct",
        folder / "data",
        "--prior",
        folder / "knees",
        "--view",
        "train:1",
        "--out",
        out,
        "--json",
    )
    told = json.loads(done.stdout.splitlines()[-1])
    ways = {score["way"]: score for score in told["scores"]}
    assert told["given"] == ["train/0001"] and set(ways) == {"low-rank + residual", "mean + optimisation"}
    assert ways["low-rank + residual"]["volume_psnr"] > 15
    assert NOT_FOR_DIAGNOSIS in done.stderr
    volume, truth = read_ct(out / "volume.nii.gz"), read_ct(folder / "data" / "volume.nii.gz")
    assert np.allclose(volume.bounds.mean(axis=0), truth.bounds.mean(axis=0), atol=0.5)
    assert -1005 <= volume.values.min() and 0 < volume.values.max() < 3000
    pictures = sorted((out / "radiographs").rglob("*.png"))
    assert len(pictures) == len(list((out / "radiographs").rglob("*.exr"))) == 10
    # The view that was given is explained, in the data set's own numbers.
    given = exr.read_depth(out / "radiographs" / "train" / "0001.exr")
    asked = exr.read_depth(folder / "data" / "line_integral" / "train" / "0001.exr")
    assert np.sqrt(np.mean((given - asked) ** 2)) < 0.15 * asked.max()
    assert (out / "turntable.mp4").stat().st_size > 1000 and (out / "slices.png").exists()
    nerf("prior", "reconstruct", folder / "data", "--prior", folder / "knees", "--views", 2, "--out", out)
    report = json.loads((out / "prior_report.json").read_text())
    assert report["not_for_diagnosis"] == NOT_FOR_DIAGNOSIS and len(report["given"]) == 2


def test_the_command_line_measures(nerf, knees, tmp_path):
    folder, _ = knees
    done = nerf(
        *("prior", "evaluate", folder / "knees", "--held-out", "phantom:knee:60-61", "--views", "1,2"),
        *("--turntable", 6, "--pixels", 24, "--pictures", tmp_path / "pictures", "--json"),
    )
    told = json.loads(done.stdout.splitlines()[-1])
    assert len(told["volumes"]) == 2 * 2 * 5 and len(told["means"]) == 2 * 5
    for row in told["means"]:
        ours = [score for score in told["volumes"] if (score["views"], score["way"]) == (row["views"], row["way"])]
        assert row["volume_psnr"] == pytest.approx(np.mean([score["volume_psnr"] for score in ours]))
        assert row["volume_psnr_deviation"] == pytest.approx(np.std([score["volume_psnr"] for score in ours]))
    by_way = {(row["views"], row["way"]): row["volume_psnr"] for row in told["means"]}
    for views in (1, 2):
        assert by_way[views, "no prior"] < by_way[views, "low-rank + residual"]
    assert len(list((tmp_path / "pictures").iterdir())) == 4


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("evaluate", "{}/knees", "--held-out", "phantom:knee:3"), "own population"),
        (("evaluate", "{}/knees", "--held-out", "phantom:knee:60", "--views", "0"), "--views takes numbers"),
        (("evaluate", "{}/data", "--held-out", "phantom:knee:60"), "not a prior"),
        (("build", "phantom:knee:0-3", "--out", "{}/data"), "is not a prior of NeRF Toolkit"),
        (("build", "phantom:knee:0-3", "--out", "{}/new", "--grid", "4"), "8 to 256 voxels"),
        (("build", "phantom:knee:0", "--out", "{}/new2"), "needs 2 volumes or more"),
        (("build", "{}/nothing", "--out", "{}/new3"), "does not exist"),
        (
            ("reconstruct", "{}/data", "--prior", "{}/knees", "--view", "train:99", "--out", "{}/x"),
            "train:0 to train:7",
        ),
        (("reconstruct", "{}/data", "--prior", "{}/knees", "--views", "9", "--out", "{}/x"), "has 8 views"),
        (("reconstruct", "{}/data", "--prior", "{}/knees", "--out", "{}/data"), "already holds other files"),
    ],
)
def test_mistakes_are_told(capsys, knees, arguments, sentence):
    from nerf_core.cli import main

    folder, _ = knees
    assert main(["prior", *(argument.format(folder) for argument in arguments)]) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert sentence in told and told.startswith("nerf: ") and told.endswith((".", ")."))


def test_settings_are_chosen_on_held_out_volumes():
    prior = build_prior(["phantom:knee:0-5"], BuildSettings(longest=8, held_out=1, modes=3))
    assert len(prior.facts["held_out"]) == 1 and len(prior.displacement) <= 3
    assert {key.rpartition(".")[2] for key in prior.tuned} == {"1", "2"}
    assert {"fit_noise.1", "residual_tv.2", "mean_tv.1", "mean_steps.2"} <= set(prior.tuned)


def test_a_mean_prior_reconstructs():
    members = [Member(f"phantom:knee:{seed}", "synthetic") for seed in range(3)]
    population = load_population(members, 8)
    prior = mean_prior(population.volumes, population.grid.world_from_index)
    assert np.allclose(prior.mean, population.volumes.mean(axis=0), atol=1e-4) and prior.modes == 0
    camera = BEAM.camera(np.zeros(3), 0.0)
    views = [project_camera(population.volumes[0], population.grid.world_from_index, camera)]
    found = reconstruct(views, [camera], prior, np.eye(4))
    before = project_camera(prior.mean, prior.world_from_index, camera) - views[0]
    after = found.radiographs([camera])[0] - views[0]
    assert np.square(after).mean() < 0.7 * np.square(before).mean()
    assert isinstance(found.grid, Grid)
