"""Show what is installed, which device there is, and what is missing."""

import argparse
from typing import Any

from .common import add_json, say

HELP = "what is installed, which device, what is missing"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `nerf doctor` takes."""
    add_json(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Examine; exit code 1 when something that is needed is missing."""
    from ..doctor import examine, report_lines

    report = examine()
    for line in report_lines(report):
        say(arguments, line)
    return {**report, "exit_code": 0 if report["ready"] else 1}
