"""The `nerf` command: one module a subcommand, each with `HELP`, `add_arguments` and `run`.

Nothing heavy is imported until a subcommand runs, so that `nerf --help` answers at once. Exit codes: 0 done, 2 a
mistake in what was asked or given (one sentence on stderr), 130 stopped by Ctrl-C (what can be saved is saved).
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from .. import __version__
from ..contract.errors import Cancelled, NerfError, error_sentence

COMMANDS = (
    "train",
    "evaluate",
    "experiment",
    "render",
    "trace",
    "points",
    "mesh",
    "volume",
    "ct",
    "gan",
    "prior",
    "cameras",
    "drr",
    "doctor",
    "warm-up",
    "serve",
)
USER_ERROR, INTERRUPTED = 2, 130


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="nerf",
        description="Train neural radiance fields from posed images, measure them, render new views, "
        "and write points, meshes and volumes.",
    )
    parser.add_argument("--version", action="version", version=f"nerf {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = _module(name)
        command = commands.add_parser(name, help=module.HELP, description=module.__doc__)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a console that lacks a letter of a path still shows the sentence
            stream.reconfigure(errors="backslashreplace")
    # Read when torch is first imported: threads that spin while they wait make a step ten times slower as soon as
    # Blender, or anything else, holds one of the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    arguments = build_parser().parse_args(argv)
    try:
        result = arguments.run(arguments)
    except NerfError as error:
        print(f"nerf: {error}", file=sys.stderr)
        return USER_ERROR
    except (KeyboardInterrupt, Cancelled):
        print("nerf: stopped.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # such as `nerf evaluate ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # such as a path that is too long: whatever no nearer place has a better sentence for
        print(f"nerf: {error_sentence(error)}", file=sys.stderr)
        return USER_ERROR
    except MemoryError:
        print("nerf: there is not enough memory for that; ask for less, or close other programs.", file=sys.stderr)
        return USER_ERROR
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith(__package__.partition(".")[0]):
            raise
        print(
            f"nerf: the package '{error.name}' is not installed; run 'nerf doctor' to see what is missing.",
            file=sys.stderr,
        )
        return USER_ERROR
    if isinstance(result, int):
        return result
    code = int(result.pop("exit_code", 0)) if result else 0
    if getattr(arguments, "json", False):
        print(json.dumps(result, ensure_ascii=False, allow_nan=False), flush=True)
    return code


def _module(name: str) -> Any:
    return import_module(f".{name.replace('-', '_')}", __package__)
