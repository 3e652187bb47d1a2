"""Snapshots of a training: when they are kept, what they render, and what is said of ones that cannot be used."""

import numpy as np
import pytest

from nerf_core.contract.errors import CheckpointError, NerfError
from nerf_core.contract.messages import INVALID_PARAMS, USER_ERROR
from nerf_core.contract.run_folder import RunFolder
from nerf_core.training.load import load_run
from nerf_core.training.snapshots import Snapshots, list_snapshots, moments

from . import tiny_scene
from .small_training import train
from .worker_client import RemoteError, rgba

CAMERA = tiny_scene.camera(1, 7, 24)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_scene.write_dataset(tmp_path_factory.mktemp("scene") / "data", size=24)


@pytest.fixture(scope="module")
def fast(data, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "fast ünï"
    train(run, data, method="fast", settings={}, steps=120, snapshots=4)
    return run


def steps(run) -> list[int]:
    return [spent.steps for spent in list_snapshots(run)]


def error(run, snapshot=None) -> float:
    seen = load_run(run, "cpu", snapshot).render(CAMERA).rgba
    true = tiny_scene.picture(CAMERA) / 255.0
    return float(np.square(seen[..., :3] - true[..., :3] * true[..., 3:]).mean())


def test_moments_are_geometric_and_end_with_the_end():
    assert moments(0) == [] and moments(1) == [1.0]
    found = np.array(moments(8))
    assert found[0] == pytest.approx(0.01) and found[-1] == 1.0
    np.testing.assert_allclose(found[1:] / found[:-1], 100 ** (1 / 7))


def test_one_slow_step_past_several_moments_is_kept_once(tmp_path):
    kept = Snapshots(RunFolder(tmp_path), 8, 0.3)
    assert not kept.due(0.4) and kept.due(0.6)
    assert Snapshots(RunFolder(tmp_path), 0).due(1.0) is False


@pytest.mark.parametrize("method", ["fast", "classic"])
def test_both_methods_render_every_snapshot_without_their_data(method, fast, data, tmp_path):
    run = fast
    if method == "classic":
        run = tmp_path / "run"
        train(run, data, steps=120, snapshots=4)
        (run / "run.json").write_text((run / "run.json").read_text().replace(str(data), "/nowhere"))
    kept = steps(run)
    assert kept == [2, 6, 26, 120]  # 1.2, 5.6, 25.9 and 120 steps of 120
    errors = [error(run, step) for step in kept]
    assert errors[-1] < 0.7 * errors[0]
    last, whole = load_run(run, "cpu", kept[-1]), load_run(run, "cpu")
    assert last.spent == whole.spent and len(last.cameras) == 8
    # Halves: 11 bits of each parameter.
    np.testing.assert_allclose(last.render(CAMERA).rgba, whole.render(CAMERA).rgba, atol=0.02)
    sizes = [RunFolder(run).snapshot(step).stat().st_size for step in kept]
    assert max(sizes) < 0.35 * RunFolder(run).checkpoint.stat().st_size


def test_a_continued_run_keeps_the_old_ones_and_its_own_count(data, tmp_path):
    run = tmp_path / "run"
    train(run, data, steps=20, snapshots=3)
    assert steps(run) == [1, 2, 20]
    (RunFolder(run).snapshots / ".2-abc.safetensors").write_bytes(b"half written by a killed process")
    (RunFolder(run).snapshots / "mine.safetensors").write_bytes(b"not ours")
    train(run, steps=30)
    assert steps(run) == [1, 2, 20, 50]  # 0.5 and 5 of 50 steps are past
    assert sorted(path.name for path in RunFolder(run).snapshots.iterdir()) == [
        *("1.safetensors", "2.safetensors", "20.safetensors", "50.safetensors", "mine.safetensors")
    ]
    train(run, steps=10, snapshots=0)
    assert steps(run) == [1, 2, 20, 50]


def test_none_are_kept_where_none_are_wanted(data, tmp_path):
    run = tmp_path / "run"
    train(run, data, steps=3, snapshots=0)
    assert list_snapshots(run) == [] and not RunFolder(run).snapshots.exists()
    with pytest.raises(CheckpointError, match="no snapshot of step 2: it was trained without"):
        load_run(run, "cpu", 2)
    for wrong in (-1, 101, True, 2.5):
        with pytest.raises(NerfError, match="snapshots must be a whole number from 0 to 100"):
            train(run, steps=1, snapshots=wrong)


def test_a_broken_snapshot_is_left_out_of_the_list_and_refused_by_name(data, tmp_path):
    run = tmp_path / "run"
    train(run, data, steps=20, snapshots=3)
    path = RunFolder(run).snapshot(2)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert steps(run) == [1, 20]
    with pytest.raises(CheckpointError, match=r"2\.safetensors' is not a whole"):
        load_run(run, "cpu", 2)
    path.write_bytes(whole[:-4] + b"\1\2\3\4")
    with pytest.raises(CheckpointError, match=r"2\.safetensors' is damaged"):
        load_run(run, "cpu", 2)
    (RunFolder(run).snapshot(7)).write_bytes(whole)  # renamed: it is not of the step that its name says
    assert steps(run) == [1, 2, 20]


def test_the_worker_renders_and_traces_snapshots(start, fast):
    core = start()
    camera, run = CAMERA.to_dict(), str(fast)
    for step in (2, 120):
        seen = rgba(core.call("render", run=run, camera=camera, snapshot=step))
        np.testing.assert_allclose(seen, load_run(fast, "cpu", step).render(CAMERA).rgba, atol=1e-5)
        traced = core.call("trace", run=run, camera=camera, pixels=[[12.5, 12.5]], snapshot=step)
        np.testing.assert_allclose(traced.arrays["rgba"][0], seen[12, 12], atol=2e-3)
    whole = rgba(core.call("render", run=run, camera=camera))
    np.testing.assert_allclose(whole, load_run(fast, "cpu").render(CAMERA).rgba, atol=1e-5)

    def fails(**asked):
        with pytest.raises(RemoteError) as caught:
            core.call("render", camera=camera, **asked)
        return caught.value

    missing = fails(run=run, snapshot=3)
    assert missing.code == USER_ERROR and "no snapshot of step 3; it has 2, 6, 26, 120" in str(missing)
    assert fails(run=run, snapshot=-2).code == INVALID_PARAMS
    assert "'snapshot' with 'run'" in str(fails(layers=[{"run": run}], snapshot=2))
