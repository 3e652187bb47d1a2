"""Run the whole test suite: the core's tests, and the add-on's on real Blender modules.

    python tools/test.py                             core, and the Blender of .venv
    python tools/test.py --blender 4.2,4.5,5.0,5.2   core, and these Blender versions, each in its own environment
    python tools/test.py --window                    also a real Blender window (NERF_TEST_BLENDER names the program)
    python tools/test.py --gpu                       also tests/gpu, which run by themselves where torch sees a GPU
    python tools/test.py --jobs 2                    two of these runs at a time; each one's output comes when it ends
    python tools/test.py -- -k camera -x             what follows is passed to pytest

The environments are made on first use. Each Blender version runs in a process of its own, with a time limit. The
closing lines of all pytest runs are printed last; the exit code is 0 when nothing failed.
"""

import argparse
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import environment

ROOT = environment.ROOT
# A bpy process may hang when it ends, after all tests have passed: it gets this long after pytest's closing line.
SECONDS_TO_LEAVE = 20.0
# Between "=" signs, or alone on its line with `-q`.
CLOSING_LINE = re.compile(
    r"^(?:=+ )?((?:\d+|no) (?:passed|failed|errors?|skipped|tests ran|deselected|warnings?)\b.* in [\d.]+s.*?)(?: =+)?$"
)
NO_TESTS_COLLECTED = 5
FOLDERS = ("core", "gpu", "blender", "window")


@dataclass
class Outcome:
    """How one pytest process ended.

    Attributes
    ----------
    title : str
        Which tests, on what.
    line : str
        pytest's closing line, or what happened in its place.
    failed : bool
        Whether the whole shall fail.
    """

    title: str
    line: str
    failed: bool


def main() -> int:
    """Run the command line."""
    options, rest = _parse()
    environment.enter(("demo", "test"))
    python = Path(sys.executable)
    chosen, others = _chosen(rest)
    work: list[Callable[[TextIO], Outcome]] = []  # what can run beside each other

    def plan(title: str, interpreter: Path, folder: str) -> None:
        arguments = [*(chosen[folder] or [f"tests/{folder}"]), *others]
        work.append(lambda out: run_pytest(title, interpreter, arguments, options.limit, bool(rest), out))

    def known(outcome: Outcome) -> None:
        work.append(lambda _out: outcome)

    # Without named tests everything runs; else only the folders that hold a named one.
    folders = [folder for folder in FOLDERS if chosen[folder] or not any(chosen.values())]
    if "core" in folders:
        plan("core", python, "core")
    if "gpu" in folders and (options.gpu or chosen["gpu"] or sees_gpu(python)):
        plan("gpu", python, "gpu")
    for version in options.blender if "blender" in folders else ():
        own = environment.MAIN_BLENDER[environment.python_version()]
        title = f"Blender {version or own}"
        interpreter = python
        if version not in (None, own):
            try:
                made = environment.blender_environment(version)
            except LookupError as reason:
                known(Outcome(title, f"skipped: {reason}.", failed=False))
                continue
            made.make()
            interpreter = made.python
        if problem := environment.import_problem(interpreter, "bpy"):
            known(Outcome(title, problem, failed=True))
            continue
        plan(title, interpreter, "blender")
    outcomes = run_all(work, options.jobs)
    if "window" in folders and (options.window or chosen["window"]):
        # Alone: a person's hands are imitated there, and what they wait for must not be late.
        plan("window", python, "window")
        outcomes += run_all(work[-1:], 1)

    print("\nIn short:")
    for outcome in outcomes:
        print(f"{outcome.title}: {outcome.line}")
    print(f"===== {closing_line(outcomes)} =====", flush=True)
    return 1 if any(outcome.failed for outcome in outcomes) else 0


def run_all(work: list[Callable[[TextIO], Outcome]], jobs: int) -> list[Outcome]:
    """Run what `work` holds, at most `jobs` at a time; the outcomes in the order of `work`.

    One at a time writes as it goes; several each write into a buffer of their own, shown when they end.
    """
    if jobs == 1:
        return [each(sys.stdout) for each in work]
    shown = threading.Lock()

    def buffered(each: Callable[[TextIO], Outcome]) -> Outcome:
        buffer = io.StringIO()
        outcome = each(buffer)
        with shown:
            sys.stdout.write(buffer.getvalue())
            sys.stdout.flush()
        return outcome

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(buffered, work))


def sees_gpu(python: Path) -> bool:
    """Whether the torch of `python` sees an NVIDIA GPU; not asked where there is no driver, as it takes seconds."""
    if not (shutil.which("nvidia-smi") or Path("/dev/nvidiactl").exists()):
        return False
    code = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([str(python), "-c", code], capture_output=True).returncode == 0


def closing_line(outcomes: list[Outcome]) -> str:
    """Pytest's closing line for all runs together: "2 failed, 130 passed, 3 skipped in 61.20s"."""
    counts: dict[str, int] = {}
    seconds = 0.0
    for outcome in outcomes:
        found = re.findall(r"(\d+) (failed|passed|skipped|deselected|xfailed|xpassed|warnings?|errors?)", outcome.line)
        for number, kind in found:
            kind = {"errors": "error", "warnings": "warning"}.get(kind, kind)
            counts[kind] = counts.get(kind, 0) + int(number)
        if outcome.failed and not any(kind.startswith(("failed", "error")) for _, kind in found):
            counts["error"] = counts.get("error", 0) + 1  # a run that never reached its closing line
        if match := re.search(r" in ([\d.]+)s", outcome.line):
            seconds += float(match.group(1))
    order = ("failed", "passed", "skipped", "deselected", "xfailed", "xpassed", "warning", "error")
    plural = {kind: "s" if kind in ("warning", "error") and counts.get(kind) != 1 else "" for kind in order}
    shown = ", ".join(f"{counts[kind]} {kind}{plural[kind]}" for kind in order if kind in counts) or "no tests ran"
    return f"{shown} in {seconds:.2f}s"


def _chosen(arguments: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Split the arguments for pytest into tests that they name, by folder, and the others."""
    chosen: dict[str, list[str]] = {folder: [] for folder in FOLDERS}
    others = []
    for argument in arguments:
        path = Path(argument.split("::")[0]).resolve()
        parts = path.relative_to(ROOT / "tests").parts if path.is_relative_to(ROOT / "tests") else ()
        if path.exists() and parts and parts[0] in chosen:
            chosen[parts[0]].append(argument)
        elif argument != "--":
            others.append(argument)
    return chosen, others


def _parse() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--blender",
        type=_versions,
        default=[None],
        metavar="4.2,4.5,...",
        help=f"Blender versions to test on, of {', '.join(environment.BLENDER_VERSIONS)} (default: the one of .venv)",
    )
    parser.add_argument("--gpu", action="store_true", help="also run tests/gpu, whether or not torch sees a GPU")
    parser.add_argument("--window", action="store_true", help="also run tests/window (needs NERF_TEST_BLENDER)")
    parser.add_argument("--jobs", type=int, choices=range(1, 9), default=1, help="runs at a time (default: 1)")
    parser.add_argument("--limit", type=float, default=1500.0, help="seconds that one pytest process may take")
    return parser.parse_known_args()


def _versions(text: str) -> list[str]:
    versions = [part.strip() for part in text.split(",") if part.strip()]
    for version in versions:
        if version not in environment.BLENDER_VERSIONS:
            raise argparse.ArgumentTypeError(
                f"Blender {version} is not known here; choose from {', '.join(environment.BLENDER_VERSIONS)}"
            )
    return versions


def run_pytest(
    title: str, python: Path, arguments: list[str], limit: float, selective: bool = False, out: TextIO | None = None
) -> Outcome:
    """Run pytest in a process group of its own, pass its output on, and say how it ended.

    Parameters
    ----------
    title : str
        Shown above the output and in the summary.
    python : Path
        The interpreter whose pytest runs.
    arguments : list of str
        pytest's arguments.
    limit : float
        Seconds after which the process is ended and counts as failed.
    selective : bool
        Whether it is no failure that no test was selected.
    out : file, optional
        Where the output goes; standard output by default.
    """
    out = out or sys.stdout
    print(f"\n===== {title} =====", file=out, flush=True)
    own = environment.ROOT / ".venv"
    core = environment.main_environment(()).python if own.exists() else python
    variables = environment.child_environment(core_python=core)
    variables["PYTHONUNBUFFERED"] = "1"
    if sys.stdout.isatty():
        variables.setdefault("PYTEST_ADDOPTS", "--color=yes")
    process = subprocess.Popen(
        [str(python), "-m", "pytest", *arguments],
        cwd=ROOT,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=os.name != "nt",
    )
    closing: list[str] = []
    reader = threading.Thread(target=_pass_on, args=(process, closing, out), daemon=True)
    reader.start()
    deadline = time.monotonic() + limit
    leave_by: float | None = None
    timed_out = False
    while process.poll() is None:
        now = time.monotonic()
        if closing and leave_by is None:
            leave_by = now + SECONDS_TO_LEAVE
        if now > deadline or (leave_by is not None and now > leave_by):
            timed_out = leave_by is None
            break
        time.sleep(0.1)
    _end_group(process)
    reader.join(timeout=5.0)
    code = process.returncode
    if timed_out:
        return Outcome(title, f"ended after {limit:.0f} s: it took too long", failed=True)
    if not closing:
        return Outcome(title, f"pytest did not finish: the process ended with code {code}", failed=True)
    # pytest's verdict counts: bpy's own exit may crash after it.
    line = closing[-1]
    failed = bool(re.search(r"\b(failed|errors?)\b", line))
    if code == NO_TESTS_COLLECTED or re.match(r"no tests ran|\d+ deselected", line):
        failed = not selective
    return Outcome(title, line, failed or (code in (2, 3, 4)))


def _pass_on(process: subprocess.Popen, closing: list[str], out: TextIO) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        out.write(line)
        out.flush()
        if match := CLOSING_LINE.search(re.sub(r"\x1b\[[\d;]*m", "", line)):
            closing.append(match.group(1))


def _end_group(process: subprocess.Popen) -> None:
    """End what is left of the process and its children."""
    if os.name == "nt":
        if process.poll() is None:
            process.kill()
    else:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.wait()


if __name__ == "__main__":
    sys.exit(main())
