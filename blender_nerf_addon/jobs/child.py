"""What every child process of the add-on is started with, and what to say when one ends. No bpy here."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def core_environment(vendor: Path, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables to start a core with: the vendored core comes first, the person's own site-packages never.

    Parameters
    ----------
    vendor : Path
        The folder that holds `nerf_core`.
    base : mapping, optional
        The variables to start from; `os.environ` by default.
    """
    variables = dict(os.environ if base is None else base)
    for name in ("PYTHONHOME", "PYTHONSTARTUP", "PYTHONINSPECT", "__PYVENV_LAUNCHER__", "VIRTUAL_ENV"):
        variables.pop(name, None)
    variables.update(
        PYTHONPATH=str(vendor),
        PYTHONNOUSERSITE="1",
        PYTHONSAFEPATH="1",  # a torch.py in the current folder must not be taken for torch
        PYTHONUNBUFFERED="1",
        PYTHONUTF8="1",
    )
    return variables


def process_options() -> dict[str, Any]:
    """`Popen` options of every child: no console window, a process group of its own."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    # Ctrl-C in the terminal that Blender was started from must not end the core before it has saved.
    return {"start_new_session": True}


def end_group(child: subprocess.Popen, hard: bool) -> None:
    """Ask a child and all that it started to end, or have them ended; returns at once, also when they are gone.

    Parameters
    ----------
    child : Popen
        Started with :func:`process_options`.
    hard : bool
        Whether they are not asked. On Windows they never are: nothing there asks a program without a window.
    """
    if child.poll() is not None:
        return
    try:
        if sys.platform == "win32":
            tree = ["taskkill", "/F", "/T", "/PID", str(child.pid)]
            quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            subprocess.Popen(tree, creationflags=subprocess.CREATE_NO_WINDOW, **quiet)
        else:
            os.killpg(child.pid, signal.SIGKILL if hard else signal.SIGTERM)
    except OSError:
        pass  # it went by itself, or there is no taskkill


def obituary(command: str, log: Path, exit_code: int | None, silent: bool, fault: str | None) -> str:
    """One sentence about why the core is gone.

    Parameters
    ----------
    command : str
        The interpreter.
    log : Path
        What it printed.
    exit_code : int or None
        As `Popen` gives it: a negative one is a signal.
    silent : bool
        Whether it never said hello.
    fault : str or None
        What was wrong with its last message.
    """
    last = last_line(log)
    said = f" Its last words: {last}" if last else ""
    if exit_code is not None and -exit_code == getattr(signal, "SIGKILL", 9):
        return "The NeRF core was killed by the system; it may have run out of memory."
    if silent and fault is not None:
        return f"'{command}' does not answer as a NeRF core ({fault}); choose another Python in the preferences."
    if silent:
        return f"The NeRF core did not start with '{command}' (exit code {exit_code}).{said}"
    if exit_code is not None and exit_code < 0:
        return f"The NeRF core crashed ({_signal_name(-exit_code)}); its log is '{log}'."
    return f"The NeRF core ended unexpectedly (exit code {exit_code}).{said}"


def last_line(log: Path) -> str:
    try:
        with open(log, "rb") as stream:
            stream.seek(max(0, log.stat().st_size - 4096))
            lines = [line.strip() for line in stream.read().decode("utf-8", "replace").splitlines() if line.strip()]
    except OSError:
        return ""
    return lines[-1][:300] if lines else ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
