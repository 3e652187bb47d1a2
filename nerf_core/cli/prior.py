"""Build a prior of volumes, reconstruct from one radiograph or a few by it, measure it on volumes it was not made of.

Not for diagnosis: what is shown is computed, not measured, and may be wrong.
"""

import argparse
from importlib import import_module
from typing import Any

HELP = "volumes from one or two radiographs, by a prior of other volumes"
# One module a subcommand, `prior_NAME.py`, each with HELP, `add_arguments` and `run`; nothing heavy at import.
SUBCOMMANDS = ("build", "reconstruct", "evaluate")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands of `nerf prior`."""
    commands = parser.add_subparsers(dest="prior_command", required=True, metavar="COMMAND")
    for name in SUBCOMMANDS:
        module = import_module(f".prior_{name}", __package__)
        command = commands.add_parser(name, help=module.HELP, description=module.__doc__)
        module.add_arguments(command)
        command.set_defaults(run_prior=module.run)


def run(arguments: argparse.Namespace) -> Any:
    """Run the subcommand."""
    return arguments.run_prior(arguments)
