"""Checkpoints: what goes in comes out, and every broken file ends in one sentence that names it."""

import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from nerf_core.contract.errors import CheckpointError, NerfError
from nerf_core.contract.run_folder import RunFolder
from nerf_core.methods.base import Normalisation
from nerf_core.methods.classic import ClassicMethod
from nerf_core.training.budget import Spent
from nerf_core.training.checkpoint import Checkpoint, Scene, load_checkpoint, save_checkpoint
from nerf_core.training.load import load_run

from . import tiny_scene

SETTINGS = {"depth": 1, "width": 8, "coarse_samples": 4, "fine_samples": 4, "rays_per_step": 16}
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def make_checkpoint() -> Checkpoint:
    method = ClassicMethod(Normalisation(tiny_scene.BOUNDS), "cpu", 3, SETTINGS)
    method.load_views(tiny_scene.views(2, 8))
    method.train_step(0.0)
    cameras = [view.camera for view in tiny_scene.views(2, 8).views]
    scene = Scene(tiny_scene.BOUNDS, "srgb", True, (1.0, 1.0, 1.0), cameras)
    return Checkpoint("classic", method.state(), scene, SETTINGS, 3, Spent(12.5, 1), {"nerf_core": "0.1.0"})


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "checkpoint.safetensors"
    save_checkpoint(path, make_checkpoint())
    return path


@pytest.fixture
def copy(written, tmp_path) -> Path:
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(written.read_bytes())
    return path


def refused(path: Path) -> str:
    """The sentence that a file is refused with; it names the file and is one line."""
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    sentence = str(caught.value)
    assert str(path) in sentence and "\n" not in sentence
    return sentence


def rewrite(path: Path, change) -> None:
    """Write the file again with its metadata changed, as another program might."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as opened:
        metadata = dict(opened.metadata())
    facts = json.loads(metadata["facts"])
    change(metadata, facts)
    metadata["facts"] = json.dumps(facts) if isinstance(facts, dict) else facts
    save_file(load_file(path), path, metadata=metadata)


def test_what_goes_in_comes_out(written):
    before, after = make_checkpoint(), load_checkpoint(written)
    assert sorted(before.state.arrays) == sorted(after.state.arrays)
    for key, array in before.state.arrays.items():
        np.testing.assert_array_equal(array, after.state.arrays[key])
    assert after.state.settings == before.state.settings
    assert (after.method, after.seed, after.spent, after.settings) == ("classic", 3, Spent(12.5, 1), SETTINGS)
    np.testing.assert_array_equal(after.scene.bounds, tiny_scene.BOUNDS)
    np.testing.assert_array_equal(after.scene.cameras[1].c2w, before.scene.cameras[1].c2w)
    assert after.scene.background == (1.0, 1.0, 1.0) and after.scene.has_alpha is True


def test_a_missing_file_and_a_folder(tmp_path):
    assert "There is no checkpoint" in refused(tmp_path / "checkpoint.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    refused(tmp_path / "folder.safetensors")


@FUZZ
@given(share=st.floats(0.0, 1.0, exclude_max=True))
def test_a_cut_off_file_is_refused(copy, written, share):
    data = written.read_bytes()
    copy.write_bytes(data[: int(share * len(data))])
    refused(copy)


@FUZZ
@given(place=st.integers(0, 10**9), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused_or_harmless(copy, written, place, bit):
    data = bytearray(written.read_bytes())
    data[place % len(data)] ^= 1 << bit
    copy.write_bytes(data)
    good = load_checkpoint(written)
    try:
        found = load_checkpoint(copy)
    except CheckpointError as error:
        assert str(copy) in str(error)
        return
    for key, array in good.state.arrays.items():  # a flipped bit in a number of the metadata can still be a number
        np.testing.assert_array_equal(array, found.state.arrays[key])


@FUZZ
@given(garbage=st.binary(max_size=300))
def test_garbage_is_refused(copy, garbage):
    copy.write_bytes(garbage)
    refused(copy)


@FUZZ
@given(header=st.binary(max_size=200))
def test_garbage_behind_a_right_length_is_refused(copy, header):
    copy.write_bytes(struct.pack("<Q", len(header)) + header)
    refused(copy)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = (
    "method settings method_settings seed spent bounds color_space has_alpha background cameras versions crc32".split()
)


@settings(FUZZ, max_examples=200)
@given(key=st.sampled_from(KEYS), value=json_values)
def test_any_other_value_in_the_metadata_is_refused_or_loads(copy, written, key, value):
    copy.write_bytes(written.read_bytes())
    rewrite(copy, lambda metadata, facts: facts.update({key: value}))
    run = RunFolder(copy.parent)
    run.write({})
    try:
        load_run(run.root, "cpu")
    except CheckpointError as error:
        assert str(copy) in str(error)


def test_another_version_says_so(copy):
    rewrite(copy, lambda metadata, facts: metadata.update(version="2"))
    sentence = refused(copy)
    assert "is a checkpoint of version 2" in sentence and "reads version 1" in sentence


def test_another_program_s_file_is_refused(copy):
    save_file({"weight": np.zeros(3, "f4")}, copy)
    assert "is not a checkpoint of NeRF Toolkit" in refused(copy)


def test_metadata_of_the_wrong_kind_is_refused(copy):
    rewrite(copy, lambda metadata, facts: facts.pop("bounds"))
    assert "no 'bounds'" in refused(copy)
    rewrite(copy, lambda metadata, facts: facts.update(bounds=[[1, 1, 1], [0, 0, 0]]))
    assert "the bounds are empty" in refused(copy)


def test_wrong_shapes_and_missing_arrays_are_named_with_the_file(tmp_path):
    run = RunFolder(tmp_path)
    run.write({})
    checkpoint = make_checkpoint()
    checkpoint.state.arrays["params/coarse.color.bias"] = np.zeros(7, "f4")
    save_checkpoint(run.checkpoint, checkpoint)
    with pytest.raises(CheckpointError, match=r"checkpoint\.safetensors.*'params/coarse.color.bias' has shape \(7,\)"):
        load_run(tmp_path, "cpu")
    del checkpoint.state.arrays["params/coarse.color.bias"]
    save_checkpoint(run.checkpoint, checkpoint)
    with pytest.raises(CheckpointError, match=r"checkpoint\.safetensors.*no array 'params/coarse.color.bias'"):
        load_run(tmp_path, "cpu")


def test_nothing_is_unpickled(copy, tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    copy.write_bytes(pickle.dumps(Trap()))
    refused(copy)
    assert not (tmp_path / "ran").exists()


def test_a_diverged_state_leaves_the_last_good_file(copy):
    before = copy.read_bytes()
    checkpoint = make_checkpoint()
    checkpoint.state.arrays["params/fine.color.bias"][1] = np.nan
    with pytest.raises(NerfError, match="'params/fine.color.bias' holds NaN"):
        save_checkpoint(copy, checkpoint)
    assert copy.read_bytes() == before and list(copy.parent.iterdir()) == [copy]


def test_a_full_disk_leaves_the_last_good_file(copy):
    """A limit on the size of files stands for the full disk: it fails in the middle of writing, too."""
    resource = pytest.importorskip("resource", reason="no file size limits on this system")
    before = copy.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(NerfError, match="Cannot write '.*checkpoint.safetensors'"):
            save_checkpoint(copy, make_checkpoint())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert copy.read_bytes() == before and list(copy.parent.iterdir()) == [copy]
