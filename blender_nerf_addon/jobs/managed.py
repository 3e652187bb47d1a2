"""The session's one set-up of the managed environment, as Blender's buttons start, show and cancel it."""

import os

import bpy

from ..vendor.nerf_core.contract.errors import NerfError
from . import core, pump
from .calls import CoreError
from .environment import (
    VARIABLE,
    VENDOR,
    find_interpreter,
    fingerprint,
    managed_folder,
    setup_state_file,
    user_folder,
)
from .runs import preferences
from .setup import Places, Setup, find_pythons

_current: Setup | None = None
_told = ""


def current() -> Setup | None:
    """The set-up under way, or the session's last one."""
    return _current


def running() -> bool:
    """Whether one is under way."""
    return _current is not None and _current.running


def start() -> Setup:
    """Begin to make the managed environment; returns at once.

    Raises
    ------
    NerfError
        When Blender is not allowed to go online, or one is under way.
    """
    global _current, _told
    if running():
        raise NerfError("The NeRF core is being set up already.")
    if not bpy.app.online_access:
        raise NerfError(
            "Setting the core up downloads packages, and Blender is not allowed to go online: turn on Allow Online "
            "Access in Preferences > System, or name an own Python."
        )
    core.stop()
    log = user_folder("logs", create=True) / "setup.log"
    places = Places(managed_folder(), setup_state_file(), log, VENDOR, fingerprint())
    _current, _told = Setup(places, find_pythons()), ""
    pump.add_source(_watch)
    _current.start()
    return _current


def cancel() -> None:
    """End the set-up under way."""
    if _current is not None:
        _current.cancel()


def overrides() -> str:
    """What is used instead of the managed environment; empty when nothing is."""
    if preferences().interpreter.strip():
        return "The own Python named below is used instead of the one that is set up here."
    if os.environ.get(VARIABLE):
        return f"The Python named by {VARIABLE} is used instead of the one that is set up here."
    return ""


def _watch(_seconds: float) -> int:
    """Have the panels drawn again when the set-up has something new to say."""
    global _told
    if _current is None:
        return 0
    state = f"{_current.phase}{_current.text}"
    if state != _told:
        _told = state
        if _current.phase == "ready":
            core.forget_trouble()
            _greet()
        pump.redraw()
        return 1
    return 0


def _greet() -> None:
    """Start what was made, so that the preferences show what it found."""
    try:
        if find_interpreter().source == "managed":
            core.start()
    except CoreError as error:
        print(f"NeRF Toolkit: {error}")  # the core's state says it, too


def unregister() -> None:
    """Cancel and forget."""
    global _current
    cancel()
    _current = None
