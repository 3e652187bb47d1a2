"""The managed environment as Blender sees it: refused offline, recognised when interrupted, used when ready."""

import errno
import json
import os
import sys
from pathlib import Path

import bpy
import pytest

from .conftest import MODULE
from .small_run import process_gone


@pytest.fixture
def environment(addon_module, monkeypatch):
    monkeypatch.delenv("NERF_CORE_PYTHON", raising=False)
    module = addon_module("jobs.environment")
    yield module
    module.setup_state_file().unlink(missing_ok=True)
    module.managed_python().unlink(missing_ok=True)


@pytest.fixture
def calls(addon_module):
    return addon_module("jobs.calls")


def pretend(environment, state):
    """A Python where the managed one would be, and a state file."""
    environment.managed_python().parent.mkdir(parents=True, exist_ok=True)
    environment.managed_python().write_text("")
    environment.setup_state_file().write_text(json.dumps(state))


def test_lives_in_the_extension_s_own_user_folder(environment):
    folder = bpy.utils.extension_path_user(MODULE)
    assert str(environment.managed_folder()).startswith(folder)
    assert str(environment.setup_state_file()).startswith(folder)


def test_set_up_is_refused_offline_in_one_sentence(environment):
    assert not bpy.app.online_access
    with pytest.raises(RuntimeError, match="turn on Allow Online Access in Preferences > System"):
        bpy.ops.nerf.setup_core()
    assert environment.managed_state() == "absent"


@pytest.mark.parametrize(
    ("state", "expected", "sentence"),
    [
        ({"state": "running"}, "interrupted", "was interrupted; press Set Up Core again"),
        ([], "interrupted", "was interrupted"),
        ({"state": "ready", "fingerprint": "of another version"}, "outdated", "another version of this add-on"),
    ],
)
def test_what_is_not_ready_is_not_used(environment, calls, state, expected, sentence):
    pretend(environment, state)
    assert environment.managed_state() == expected
    with pytest.raises(calls.CoreError, match=sentence):
        environment.find_interpreter()


def test_the_order_is_preferences_then_variable_then_managed(environment, calls, monkeypatch, tmp_path):
    with pytest.raises(calls.CoreError, match="not set up yet; press Set Up Core"):
        environment.find_interpreter()
    pretend(environment, {"state": "ready", "fingerprint": environment.fingerprint()})
    found = environment.find_interpreter()
    assert (found.path, found.source) == (environment.managed_python(), "managed")
    named, own = tmp_path / "named", tmp_path / "own"
    named.write_text(""), own.write_text("")
    monkeypatch.setenv("NERF_CORE_PYTHON", str(named))
    assert environment.find_interpreter().path == named
    preferences = bpy.context.preferences.addons[MODULE].preferences
    preferences.interpreter = str(own)
    try:
        assert environment.find_interpreter().path == own
        preferences.interpreter = str(tmp_path / "gone")
        with pytest.raises(calls.CoreError, match="gone' named in the preferences does not exist"):
            environment.find_interpreter()
    finally:
        preferences.interpreter = ""


def test_an_interrupted_set_up_is_told_by_the_status(environment, addon_module):
    pretend(environment, {"state": "running"})
    status = addon_module("jobs.core").status()
    assert status.kind == "missing" and "interrupted" in status.text


def test_registering_starts_and_writes_nothing(environment, addon_module):
    folder = bpy.utils.extension_path_user(MODULE)
    before = sorted(os.listdir(folder)) if os.path.isdir(folder) else None
    bpy.ops.preferences.addon_disable(module=MODULE)
    bpy.ops.preferences.addon_enable(module=MODULE)
    assert (sorted(os.listdir(folder)) if os.path.isdir(folder) else None) == before
    assert addon_module("jobs.core").running() is None


def test_a_home_folder_may_be_written_as_a_tilde(environment, addon_module, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "python").write_text("")
    preferences = bpy.context.preferences.addons[MODULE].preferences
    preferences.interpreter = "~/python"
    try:
        assert environment.find_interpreter().path == tmp_path / "python"
    finally:
        preferences.interpreter = ""
    bpy.context.scene.nerf.run_folder = "~/runs/one"
    assert addon_module("jobs.runs").run_folder(bpy.context.scene).root == tmp_path / "runs" / "one"


STUBBORN = """#!/bin/sh
trap '' TERM
echo $$ > "{pid}"
echo working
while :; do sleep 0.1; done
"""


@pytest.fixture
def stubborn(addon_module, tmp_path):
    """A set-up whose Python never ends by itself, nor when it is asked to; and where that one writes its id."""
    setup = addon_module("jobs.setup")
    python, pid = tmp_path / "python", tmp_path / "pid"
    python.write_text(STUBBORN.format(pid=pid))
    python.chmod(0o755)
    vendor = addon_module("jobs.environment").VENDOR
    places = setup.Places(tmp_path / "environment", tmp_path / "setup.json", tmp_path / "setup.log", vendor, "")
    return setup.Setup(places, [str(python)]), pid


posix = pytest.mark.skipif(sys.platform == "win32", reason="the pretended Python is a shell script")


@posix
def test_cancel_ends_a_child_that_does_not_listen(stubborn, addon_module):
    setup, pid = stubborn
    setup.start()
    assert addon_module("jobs.pump").pump_until(lambda: pid.exists() and pid.read_text().strip() != "", 30)
    setup.cancel()
    assert setup.wait(30) and setup.phase == "cancelled"
    assert process_gone(int(pid.read_text()))


@posix
def test_a_log_that_cannot_be_written_leaves_no_child(stubborn):
    setup, pid = stubborn

    def disk_full(_line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):
        setup._child_says([setup.candidates[0]], disk_full)
    assert process_gone(int(pid.read_text()))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_sentence(stubborn):
    setup, _pid = stubborn
    setup.places.log.symlink_to("/dev/full")
    setup.start()
    assert setup.wait(30) and setup.phase == "failed"
    assert setup.text.startswith("Cannot write") and "Free some disk space" in setup.text
