"""The managed environment: a Python environment for the core, made on request, with progress, log and cancel.

A thread of its own makes it with a Python that is found, lets pip install what `vendor/pyproject.toml` asks for at the
versions of `vendor/constraints.txt`, and has the core compile its kernels. A state file tells a set-up that was
interrupted from one that is ready.
"""

import atexit
import errno
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.files import make_folder, write_json
from .child import core_environment, end_group, last_line, process_options

# Blender's own Python comes without some system libraries of a full one; what is asked for here is all that is needed.
PROBE = "import sys, venv, ensurepip; sys.exit(0 if (3, 11) <= sys.version_info[:2] < (3, 14) else 3)"
PYTHON_NAMES = ("python3.13", "python3.12", "python3.11", "python3", "python")
PIP_STEPS = 60  # lines such as "Collecting numpy" that an installation gives, roughly
END_SECONDS = 2.0
DISK_FULL = "Free some disk space (the core's packages take about 2 GB), then press Set Up Core again."


class Cancelled(Exception):  # noqa: N818 - a signal, not a mistake
    """The person pressed Cancel."""


@dataclass
class Places:
    """Where a set-up works.

    Attributes
    ----------
    environment : Path
        The folder of the environment; what an earlier set-up left in it is cleared.
    state : Path
        The state file.
    log : Path
        Everything that was said.
    vendor : Path
        Holds `nerf_core`, `pyproject.toml` and `constraints.txt`.
    fingerprint : str
        Written into the state file when all is ready.
    """

    environment: Path
    state: Path
    log: Path
    vendor: Path
    fingerprint: str

    @property
    def python(self) -> Path:
        """The environment's own interpreter."""
        return self.environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


class Setup:
    """One set-up under way, or the last one; fields are written by its thread and read by the panels.

    Parameters
    ----------
    places : Places
    candidates : sequence of str
        Pythons to make the environment with, the best first.
    on_change : callable, optional
        Called on the thread whenever something changed.

    Attributes
    ----------
    phase : str
        'running', then 'ready', 'failed' (its error is in `text`) or 'cancelled'.
    text : str
    fraction : float
        0 to 1.
    """

    def __init__(self, places: Places, candidates: Sequence[str], on_change: Callable[[], None] | None = None) -> None:
        self.places = places
        self.candidates = list(candidates)
        self.phase, self.text, self.fraction = "running", "Looking for a Python", 0.0
        self._on_change = on_change or (lambda: None)
        self._cancelled = threading.Event()
        self._child: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="nerf-setup")

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.phase == "running"

    def start(self) -> None:
        """Begin on a thread of its own."""
        atexit.register(self._at_exit)
        self._thread.start()

    def cancel(self) -> None:
        """End it soon, without waiting; what was downloaded so far is cleared by the next set-up."""
        first = not self._cancelled.is_set()
        self._cancelled.set()
        if first and self.running:
            threading.Thread(target=self._end_child, daemon=True, name="nerf-setup-end").start()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for its end; returns whether it ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._make()
            self._say("The NeRF core is set up", 1.0)
            self.phase = "ready"
        except Cancelled:
            self.phase, self.text = "cancelled", "Setting up was cancelled"
        except NerfError as error:
            self.phase, self.text = "failed", str(error)
        except OSError as error:
            advice = DISK_FULL if error.errno == errno.ENOSPC else "Press Set Up Core again."
            place = error.filename or self.places.log
            self.phase, self.text = "failed", f"Cannot write '{place}': {error.strerror or error}. {advice}"
        except Exception as error:
            self.phase, self.text = "failed", f"Setting up failed: {error}; the log is '{self.places.log}'."
        atexit.unregister(self._at_exit)
        self._on_change()

    def _make(self) -> None:
        places = self.places
        make_folder(places.state.parent)
        make_folder(places.log.parent)
        places.log.write_text("", encoding="utf-8")
        python = self._find_python()
        write_json(places.state, {"state": "running"})
        self._say("Making the environment", 0.03)
        code = self._child_says([python, "-m", "venv", "--clear", str(places.environment)], lambda line: None)
        if code != 0:
            raise NerfError(f"'{python}' cannot make an environment: {last_line(places.log)}")
        self._install()
        self._warm_up()
        write_json(places.state, {"state": "ready", "fingerprint": places.fingerprint})

    def _find_python(self) -> str:
        for candidate in self.candidates:
            if self._child_says([candidate, "-c", PROBE], lambda line: None) == 0:
                return candidate
        raise NerfError(
            "No Python 3.11 to 3.13 with 'venv' was found to set the core up with; install one (on Debian or Ubuntu "
            "with its package python3-venv), or name an own Python in the preferences."
        )

    def _install(self) -> None:
        places = self.places
        seen = 0

        def on_line(line: str) -> None:
            nonlocal seen
            shown = _pip_says(line)
            if shown:
                seen += 1
                self._say(shown, 0.05 + 0.75 * min(1.0, seen / PIP_STEPS))

        self._say("Installing", 0.05)
        command = [str(places.python), "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
        command += ["--progress-bar", "off", "-c", str(places.vendor / "constraints.txt"), *requirements(places.vendor)]
        if self._child_says(command, on_line) != 0:
            if _disk_was_full(places.log):
                raise NerfError(f"Installing the core's packages failed: the disk is full. {DISK_FULL}")
            raise NerfError(
                f"Installing the core's packages failed ({_pip_error(places.log)}); check the network connection, then "
                f"press Set Up Core again. The log is '{places.log}'."
            )

    def _warm_up(self) -> None:
        self._say("Compiling the kernels, which takes a minute", 0.82)
        fraction = 0.82

        def on_line(line: str) -> None:
            nonlocal fraction
            fraction = min(0.98, fraction + 0.02)
            self._say(f"Compiling the kernels: {line[:80]}", fraction)

        if self._child_says([str(self.places.python), "-m", "nerf_core", "warm-up"], on_line) != 0:
            raise NerfError(f"The installed core does not run: {last_line(self.places.log)}")

    def _child_says(self, command: Sequence[str], on_line: Callable[[str], None]) -> int:
        """Run a child, hand each line that it prints to `on_line` and the log; returns its exit code."""
        if self._cancelled.is_set():
            raise Cancelled
        with open(self.places.log, "a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(command)}\n")
            log.flush()
            try:
                child = subprocess.Popen(
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    encoding="utf-8",
                    errors="replace",
                    env=core_environment(self.places.vendor),
                    **process_options(),
                )
            except OSError as error:
                log.write(f"{error}\n")
                return -1
            self._child = child
            try:
                if self._cancelled.is_set():
                    raise Cancelled
                for line in child.stdout or ():
                    log.write(line)
                    log.flush()
                    if line.strip():
                        on_line(line.strip())
                code = child.wait()
            finally:
                self._end_child()  # it still runs when its output could not be handled: the disk is full, say
                self._child = None
                if child.stdout is not None:
                    child.stdout.close()
        if self._cancelled.is_set():
            raise Cancelled
        return code

    def _end_child(self) -> None:
        """Have the child that runs, if any, end: asked first, forced soon after. Not on the main thread: it waits."""
        child = self._child
        if child is None:
            return
        for hard in (False, True):
            end_group(child, hard)
            try:
                child.wait(END_SECONDS)
                return
            except subprocess.TimeoutExpired:
                pass

    def _at_exit(self) -> None:
        # Blender ends, and no thread can be started any more: here waiting is right.
        self._cancelled.set()
        self._end_child()

    def _say(self, text: str, fraction: float) -> None:
        self.text, self.fraction = text, max(self.fraction, fraction)
        self._on_change()


def requirements(vendor: Path) -> list[str]:
    """The core's dependencies, by `pyproject.toml`, with the reader of COLMAP's models and what X-ray mode needs."""
    project = tomllib.loads((vendor / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project.get("optional-dependencies", {})
    wanted = [*project["dependencies"], *extras.get("colmap", ()), *extras.get("xray", ())]
    return [str(requirement) for requirement in wanted]


def find_pythons() -> list[str]:
    """Pythons to try, the best first: the one that Blender brings, then those on the PATH."""
    own = Path(sys.executable) if sys.executable else None
    found = []
    if own is not None and re.fullmatch(r"python[\d.]*(\.exe)?", own.name.lower()):
        base = getattr(sys, "_base_executable", None)
        found += [str(own), *([base] if base else [])]
    found += [path for name in PYTHON_NAMES if (path := shutil.which(name))]
    return list(dict.fromkeys(found))


def _pip_says(line: str) -> str | None:
    """What a line of pip's says to a person; None for what is of no interest."""
    if match := re.match(r"Collecting ([^\s(;]+)", line):
        return f"Finding {match.group(1)}"
    if (match := re.match(r"Downloading (\S+) \((.+)\)", line)) and ".metadata" not in match.group(1):
        return f"Downloading {match.group(1).rsplit('/')[-1].split('-')[0]} ({match.group(2)})"
    if match := re.match(r"Installing collected packages: (.+)", line):
        return f"Unpacking {len(match.group(1).split(','))} packages"
    return None


def _disk_was_full(log: Path) -> bool:
    try:
        said = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "No space left on device" in said or "not enough space on the disk" in said


def _pip_error(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "see the log"
    if any("Could not fetch URL" in line or "NewConnectionError" in line for line in lines):
        return "the package index cannot be reached"
    errors = [line.partition("ERROR:")[2].strip() for line in lines if line.startswith("ERROR:")]
    return (errors[0] if errors else last_line(log))[:200]
