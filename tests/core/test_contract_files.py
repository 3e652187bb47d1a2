"""Files and run folders: whole or untouched, and never somebody else's."""

import json
import os
import stat
import subprocess
import sys

import numpy as np
import pytest

from nerf_core.contract import files
from nerf_core.contract.camera import Camera, look_at
from nerf_core.contract.errors import CheckpointError, NerfError
from nerf_core.contract.files import make_folder, write_beside, write_bytes, write_json
from nerf_core.contract.run_folder import RunFolder, claim_run_folder
from nerf_core.contract.transforms import DatasetFacts, FrameRecord, write_transforms

as_root = os.name != "nt" and os.geteuid() == 0


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = tmp_path / "a b é.bin"
    write_bytes(path, b"old")

    def half(temporary):
        temporary.write_bytes(b"ne")
        raise OSError(28, os.strerror(28))

    with pytest.raises(NerfError, match=r"a b é\.bin.*[Ff]ree some disk space"):
        write_beside(path, half)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(ZeroDivisionError):
        write_beside(path, lambda temporary: 1 // 0)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_on_windows_a_file_that_is_open_elsewhere_is_waited_for(tmp_path, monkeypatch):
    """Played: os.replace refuses as Windows does while the old file is open in another process."""
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")
    real, refusals = os.replace, [3]

    def replace(source, target):
        refusals[0] -= 1
        if refusals[0] >= 0:
            raise PermissionError(13, "Access is denied", str(source))
        real(source, target)

    monkeypatch.setattr(files.os, "replace", replace)
    with pytest.raises(NerfError, match=r"a\.bin"):
        write_bytes(path, b"new")  # elsewhere that is no matter of waiting
    monkeypatch.setattr(files.sys, "platform", "win32")
    refusals[0] = 3
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    refusals[0] = 10**9
    monkeypatch.setattr(files, "REPLACE_SECONDS", 0.1)
    with pytest.raises(NerfError, match=r"a\.bin': Access is denied"):
        write_bytes(path, b"newer")
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]


def test_files_are_ordinary_ones(tmp_path):
    write_bytes(tmp_path / "a", b"x")
    (tmp_path / "b").write_bytes(b"x")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == stat.S_IMODE((tmp_path / "b").stat().st_mode)


def test_json_keeps_letters_and_undecodable_paths_and_refuses_nan(tmp_path):
    odd = b"/data/\xff".decode("utf-8", "surrogateescape")
    write_json(tmp_path / "a.json", {"path": "数据 é"})
    assert "数据 é" in (tmp_path / "a.json").read_text(encoding="utf-8")
    write_json(tmp_path / "b.json", {"path": odd})
    assert json.loads((tmp_path / "b.json").read_text(encoding="utf-8")) == {"path": odd}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert "数据 é" in (tmp_path / "a.json").read_text(encoding="utf-8")


def test_a_file_in_the_way_of_a_folder(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(NerfError, match="in the way"):
        make_folder(tmp_path / "a" / "b")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 256 KiB; `small_disk("ro")` makes it read-only."""
    point = tmp_path / "disk"
    point.mkdir()

    def mount(*options):
        command = ["mount", "-t", "tmpfs", "-o", ",".join(("size=256k", *options)), "tmpfs", str(point)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"this user may not mount a small disk: {done.stderr.strip()}")
        return point

    if sys.platform != "linux":
        pytest.skip("small disks are mounted on Linux alone")
    mount()
    yield lambda option: mount("remount", option) if option else point
    subprocess.run(["umount", str(point)], check=True)


def test_a_full_disk_keeps_the_old_file(small_disk):
    path = small_disk("") / "checkpoint.bin"
    write_bytes(path, b"old" * 1000)
    with pytest.raises(NerfError, match=r"checkpoint\.bin.*No space left.*Free some disk space"):
        write_bytes(path, bytes(1_000_000))
    assert path.read_bytes() == b"old" * 1000 and list(path.parent.iterdir()) == [path]


def test_a_read_only_disk(small_disk):
    folder = small_disk("ro")
    with pytest.raises(NerfError, match=r"a\.bin.*Read-only.*may write to"):
        write_bytes(folder / "a.bin", b"x")
    with pytest.raises(NerfError, match="may write to"):
        claim_run_folder(folder / "run")


@pytest.mark.skipif(as_root, reason="root may write anywhere; see test_a_read_only_disk")
def test_a_folder_that_may_not_be_written(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(NerfError, match="may write to"):
            write_bytes(tmp_path / "a", b"x")
    finally:
        tmp_path.chmod(0o700)


def test_claiming_a_run_folder(tmp_path):
    run = claim_run_folder(tmp_path / "new" / "run")
    assert run.read()["format"] == "nerf_toolkit.run"
    run.write({"method": "fast"})
    assert claim_run_folder(run.root).read()["method"] == "fast"
    (tmp_path / "logged").mkdir()
    for name in ("core.log", ".DS_Store"):
        (tmp_path / "logged" / name).touch()
    assert claim_run_folder(tmp_path / "logged").settings.exists()


def test_somebody_elses_folder_is_refused_untouched(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(NerfError, match=r"thesis\.txt"):
        claim_run_folder(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"] and (tmp_path / "thesis.txt").read_text() == "mine"
    (tmp_path / "run.json").write_text('{"their": "own"}')
    with pytest.raises(CheckpointError, match="not written by NeRF Toolkit"):
        claim_run_folder(tmp_path)
    assert (tmp_path / "run.json").read_text() == '{"their": "own"}'


def test_broken_run_files_name_themselves(tmp_path):
    run = RunFolder(tmp_path)
    with pytest.raises(CheckpointError, match="no run.json"):
        run.read()
    for text in ('{"format": ', "[" * 100_000, "", "\xff"):
        run.settings.write_text(text, encoding="latin-1")
        with pytest.raises(CheckpointError, match=r"run\.json"):
            run.read()
    run.settings.write_text('{"format": "nerf_toolkit.run", "version": 99}')
    with pytest.raises(CheckpointError, match="version 99"):
        run.read()


def test_data_set_files_hold_full_intrinsics_in_every_split(tmp_path):
    same = Camera(64, 48, 70.0, 71.0, 30.0, 25.0, look_at((4, 0, 1), (0, 0, 0)))
    other = Camera(32, 48, 70.0, 71.0, 16.0, 25.0, look_at((0, 4, 1), (0, 0, 0)))
    records = [
        FrameRecord("train/a.png", "train", same),
        FrameRecord("train/b.exr", "train", other),
        FrameRecord("val/a.png", "val", same),
    ]
    written = write_transforms(tmp_path, records, DatasetFacts(np.array([[-1.0] * 3, [1.0] * 3])))
    assert [path.name for path in written] == ["transforms.json", "transforms_train.json", "transforms_val.json"]
    whole, train, val = (json.loads(path.read_text()) for path in written)
    assert whole["train_filenames"] == ["train/a.png", "train/b.exr"] and whole["test_filenames"] == []
    assert [f["file_path"] for f in train["frames"]] == ["./train/a", "train/b.exr"]
    for document in (whole, train, val):
        for frame in document["frames"]:
            values = {**document, **frame}
            assert set(values) >= {"fl_x", "fl_y", "cx", "cy", "w", "h", "camera_angle_x", "k1", "p2"}
    assert {**train, **train["frames"][1]}["w"] == 32 and val["w"] == 64
    assert val["nerf_toolkit"] == {"color_space": "srgb", "has_alpha": True, "bounds": [[-1.0] * 3, [1.0] * 3]}


def test_a_run_keeps_its_id_when_it_is_moved_and_old_runs_get_one(tmp_path):
    run = claim_run_folder(tmp_path / "run")
    identity = run.identity()
    assert len(identity) == 32 and int(identity, 16) >= 0
    run.root.rename(tmp_path / "moved")
    moved = RunFolder(tmp_path / "moved")
    assert moved.identity() == identity
    moved.write({"seed": 7})  # as it was before runs had ids
    made = moved.identity()
    assert made != identity and moved.identity() == made and moved.read()["seed"] == 7
