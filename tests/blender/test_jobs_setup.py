"""The managed environment as Blender sees it: refused offline, recognised when interrupted, used when ready."""

import json
import os

import bpy
import pytest

from .conftest import MODULE


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
