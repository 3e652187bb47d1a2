"""The checkout's own Python environments: made on first use, kept up to date, with progress; standard library only.

`.venv` holds the core, its dependencies and Blender as a Python module (bpy); `.venv-bpy-VERSION` holds one other
Blender version each, for the tests. All versions come from `constraints.txt`.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
STAMP = "nerf-toolkit-environment.json"

# Blender's module per Blender version: (release, the Python that it is built for).
BLENDER_VERSIONS = {
    "4.2": ("4.2.23", "3.11"),
    "4.5": ("4.5.15", "3.11"),
    "5.0": ("5.0.1", "3.11"),
    "5.2": ("5.2.3", "3.13"),
}
# Blender of `.venv`, by the Python that runs.
MAIN_BLENDER = {"3.11": "4.5", "3.13": "5.2"}
# What tests on another Blender version need beside bpy; no torch: the core runs in `.venv`.
TEST_REQUIREMENTS = ("pytest", "pytest-timeout", "hypothesis", "numpy", "pillow", "imageio", "OpenEXR")
# Debian's and Ubuntu's packages with the system libraries that bpy is linked with.
SYSTEM_PACKAGES = "libgl1 libsm6 libxfixes3 libxi6 libxkbcommon0 libxrender1 libegl1 libgomp1"

_INSIDE = "NERF_TOOLKIT_INSIDE_ENVIRONMENT"


@dataclass(frozen=True)
class Environment:
    """One virtual environment of the checkout: where it is, who makes it, what goes in.

    Attributes
    ----------
    folder : Path
        The environment's folder.
    base_python : str
        The interpreter that it is made with.
    requirements : tuple of str
        What pip is asked to install.
    constraints : str
        Text of the constraints file to install with.
    """

    folder: Path
    base_python: str
    requirements: tuple[str, ...]
    constraints: str

    @property
    def python(self) -> Path:
        """The environment's own interpreter."""
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def fingerprint(self) -> str:
        """A hash of everything that decides what is installed."""
        parts = [self.constraints, (ROOT / "pyproject.toml").read_text(encoding="utf-8"), str(self.folder)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def missing(self) -> list[str]:
        """The requirements that are not installed as they should be; empty when all is up to date."""
        try:
            stamp = json.loads((self.folder / STAMP).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            stamp = {}
        if not self.python.exists() or stamp.get("fingerprint") != self.fingerprint:
            return list(self.requirements)
        return [name for name in self.requirements if name not in stamp.get("requirements", [])]

    def make(self) -> bool:
        """Create the environment where it is missing, and install what is missing in it; returns whether it did."""
        wanted = self.missing()
        if not wanted:
            return False
        began = time.perf_counter()
        if not self.python.exists():
            print(f"Making the Python environment {self.folder.name} ...", flush=True)
            _create(self)
        print(f"Installing into {self.folder.name}: {', '.join(map(_shown, wanted))}", flush=True)
        with tempfile.TemporaryDirectory(prefix="nerf-toolkit-") as scratch:
            constraints = Path(scratch) / "constraints.txt"
            constraints.write_text(self.constraints, encoding="utf-8")
            _pip(self.python, ["install", "-c", str(constraints), *_arguments(wanted)])
        self._write_stamp(wanted)
        print(f"{self.folder.name} is ready ({time.perf_counter() - began:.0f} s).", flush=True)
        return True

    def _write_stamp(self, installed: list[str]) -> None:
        path = self.folder / STAMP
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            before = {}
        kept = before.get("requirements", []) if before.get("fingerprint") == self.fingerprint else []
        content = {"fingerprint": self.fingerprint, "requirements": sorted({*kept, *installed})}
        beside = path.with_suffix(".part")
        beside.write_text(json.dumps(content, indent=1), encoding="utf-8")
        beside.replace(path)


def python_version() -> str:
    """The running interpreter's version as "3.11"."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def main_environment(extras: Sequence[str]) -> Environment:
    """The checkout's `.venv` with these extras of `pyproject.toml`.

    Raises
    ------
    SystemExit
        When the running Python is one that Blender's module does not exist for.
    """
    version = python_version()
    if version not in MAIN_BLENDER:
        raise SystemExit(
            f"This is Python {version}, but Blender's Python module exists for 3.11 and 3.13 only: install one of "
            f"them and run it by name, for example: python3.11 {Path(sys.argv[0]).as_posix()}"
        )
    extra_names = tuple(f"nerf-toolkit[{name}]" for name in extras)
    base = getattr(sys, "_base_executable", sys.executable) if sys.prefix != sys.base_prefix else sys.executable
    return Environment(ROOT / ".venv", base, extra_names, CONSTRAINTS.read_text(encoding="utf-8"))


def make_main(extras: Sequence[str]) -> Environment:
    """Make `.venv` ready, its kernels compiled."""
    environment = main_environment(extras)
    if environment.make():
        _warm_up(environment.python)
    return environment


def blender_environment(version: str) -> Environment:
    """The environment of one Blender version, "4.2" to "5.2".

    Raises
    ------
    LookupError
        When no Python of the version that it needs is found here.
    """
    if version not in BLENDER_VERSIONS:
        raise SystemExit(f"Blender {version} is not known here; choose from {', '.join(BLENDER_VERSIONS)}.")
    release, needed = BLENDER_VERSIONS[version]
    python = find_python(needed)
    if python is None:
        raise LookupError(f"Blender {version} needs Python {needed}, and no python{needed} is on the PATH")
    lines = [line for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines() if not line.startswith("bpy")]
    text = "\n".join([*lines, f"bpy=={release}", ""])
    return Environment(ROOT / f".venv-bpy-{version}", python, ("bpy", *TEST_REQUIREMENTS), text)


def find_python(version: str) -> str | None:
    """A working interpreter of `version` ("3.13"): the running one, on the PATH, pyenv's, or Windows' launcher's."""
    candidates: list[list[str]] = []
    if python_version() == version:
        candidates.append([getattr(sys, "_base_executable", sys.executable)])
    if (found := shutil.which(f"python{version}")) is not None:
        candidates.append([found])
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates += [[str(path)] for path in sorted(pyenv.glob(f"versions/{version}*/bin/python{version}"))]
    if os.name == "nt":
        candidates.append(["py", f"-{version}"])
    for command in candidates:
        try:
            answer = subprocess.run(
                [*command, "-c", "import sys; print(sys.executable, '%d.%d' % sys.version_info[:2], sep='|')"],
                capture_output=True,
                text=True,
                timeout=60,
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        path, _, found_version = answer.stdout.strip().rpartition("|")
        if answer.returncode == 0 and found_version == version:
            return path
    return None


def enter(extras: Sequence[str]) -> None:
    """Make `.venv` ready and go on inside it: the calling script starts again there, with the same arguments.

    Parameters
    ----------
    extras : sequence of str
        Extras of `pyproject.toml` to install, such as ("demo", "test").
    """
    environment = make_main(extras)
    if Path(sys.prefix).resolve() == environment.folder.resolve() and os.environ.get(_INSIDE) == "1":
        return
    if "demo" in extras and (problem := import_problem(environment.python, "bpy")):
        raise SystemExit(problem)
    arguments = [str(environment.python), *sys.argv]
    os.environ[_INSIDE] = "1"
    if os.name != "nt":
        sys.stdout.flush()
        os.execv(arguments[0], arguments)
    # Windows' exec returns to the shell at once; a child that is waited for keeps the terminal in order.
    sys.exit(subprocess.run(arguments).returncode)


def import_problem(python: Path, module: str) -> str | None:
    """One sentence about why `module` cannot be imported by `python`, or None when it can."""
    # bpy may hang or crash when the interpreter ends; by then the import has been reported.
    code = f"import {module}, os, sys; sys.stdout.write('imported'); sys.stdout.flush(); os._exit(0)"
    answer = subprocess.run([str(python), "-c", code], capture_output=True, text=True)
    if answer.stdout.endswith("imported"):
        return None
    text = answer.stderr.strip().splitlines()[-1:] or [f"it ended with code {answer.returncode}"]
    if library := re.search(r"(lib[\w.+-]+\.so[\d.]*)", text[0]):
        return (
            f"The Python module '{module}' needs the system library {library.group(1)}. On Debian or Ubuntu: "
            f"apt install {SYSTEM_PACKAGES}"
        )
    return f"The Python module '{module}' in {python.parent.parent} cannot be imported: {text[0]}"


def child_environment(core_python: Path | None = None) -> dict[str, str]:
    """`os.environ` for a child that is not this script started again; `core_python` is named as the core's Python."""
    variables = {name: value for name, value in os.environ.items() if name != _INSIDE}
    if core_python is not None:
        variables["NERF_CORE_PYTHON"] = str(core_python)
    return variables


def _shown(requirement: str) -> str:
    return requirement.removeprefix("nerf-toolkit")


def _arguments(requirements: Iterable[str]) -> list[str]:
    """Turn the extras of the checkout itself into one editable install of it."""
    others = [name for name in requirements if not name.startswith("nerf-toolkit[")]
    extras = [name[len("nerf-toolkit[") : -1] for name in requirements if name not in others]
    return (["-e", f"{ROOT}[{','.join(extras)}]"] if extras else []) + others


def _create(environment: Environment) -> None:
    answer = subprocess.run(
        [environment.base_python, "-m", "venv", str(environment.folder)], capture_output=True, text=True
    )
    if answer.returncode != 0:
        text = (answer.stdout + answer.stderr).strip()
        if "ensurepip" in text:
            version = python_version()
            raise SystemExit(
                f"This Python cannot make virtual environments. On Debian or Ubuntu: apt install python{version}-venv"
            )
        raise SystemExit(f"Cannot make the Python environment '{environment.folder}': {text}")


def _pip(python: Path, arguments: list[str]) -> None:
    """Run pip, showing what it does in one line that changes (in a terminal) or a line a package (in a log)."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments, "--progress-bar=off"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    tail: deque[str] = deque(maxlen=25)
    line = _ProgressLine("starting pip")
    assert process.stdout is not None
    try:
        for raw in process.stdout:
            text = raw.strip()
            if text:
                tail.append(text)
            if shown := _summary(text):
                line.show(shown)
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    finally:
        line.close()
    if code != 0:
        print("\n".join(tail), file=sys.stderr)
        raise SystemExit(f"Installing failed (pip ended with code {code}); what it said is above.")


def _warm_up(python: Path) -> None:
    """Compile the kernels as part of the installation, so that no training waits for it."""
    print("Compiling the kernels, once (about a minute)", flush=True)
    line = _ProgressLine("compiling")
    try:
        answer = subprocess.run([str(python), "-m", "nerf_core", "warm-up"], cwd=ROOT, capture_output=True, text=True)
    finally:
        line.close()
    if answer.returncode != 0:
        raise SystemExit(f"The kernels could not be compiled: {(answer.stderr or answer.stdout).strip()}")


def _summary(text: str) -> str | None:
    """What a line of pip's output says, for a person; None for a line that says nothing new."""
    if match := re.match(r"Collecting ([^\s(]+)", text):
        return f"finding {match.group(1)}"
    if match := re.match(r"Downloading (\S+?)(?:\.metadata)? \((.+)\)", text):
        return None if ".metadata" in text else f"downloading {match.group(1).rsplit('/')[-1]} ({match.group(2)})"
    if match := re.match(r"Installing collected packages: (.+)", text):
        return f"unpacking {len(match.group(1).split(','))} packages"
    if text.startswith("Building"):
        return text
    return None


class _ProgressLine:
    """The installer's one line: rewritten in a terminal each second, or printed with the time when it changes."""

    def __init__(self, text: str) -> None:
        self._began = time.perf_counter()
        self._text = text
        self._terminal = sys.stdout.isatty()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def show(self, text: str) -> None:
        self._text = text
        self._print()

    def close(self) -> None:
        self._done.set()
        self._thread.join()
        if self._terminal:
            print("\r\033[K", end="", flush=True)

    def _beat(self) -> None:
        # A log gets a sign of life every 20 s while pip is silent, a terminal a running clock.
        while not self._done.wait(1.0 if self._terminal else 20.0):
            self._print()

    def _print(self) -> None:
        text = f"  {time.perf_counter() - self._began:4.0f} s  {self._text}"
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\033[K{text[:width]}", end="", flush=True)
        else:
            print(text, flush=True)


if __name__ == "__main__":
    # `python tools/environment.py demo test` makes .venv with these extras and nothing else.
    make_main(sys.argv[1:])
