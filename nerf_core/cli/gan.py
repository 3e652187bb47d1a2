"""Train generative systems on radiographs (MedNeRF, HyperNeRFGAN), sample them, invert single views, measure them.

Not for diagnosis: what is shown is computed, not measured, and may be wrong.
"""

import argparse
from importlib import import_module
from typing import Any

HELP = "train, sample, invert and measure generative systems on radiographs (MedNeRF, HyperNeRFGAN)"
# One module a subcommand, `gan_NAME.py`, each with HELP, `add_arguments` and `run`; nothing heavy at import.
SUBCOMMANDS = ("train", "sample", "invert", "evaluate")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands of `nerf gan`."""
    commands = parser.add_subparsers(dest="gan_command", required=True, metavar="COMMAND")
    for name in SUBCOMMANDS:
        module = import_module(f".gan_{name}", __package__)
        command = commands.add_parser(name, help=module.HELP, description=module.__doc__)
        module.add_arguments(command)
        command.set_defaults(run_gan=module.run)


def run(arguments: argparse.Namespace) -> Any:
    """Run the subcommand."""
    return arguments.run_gan(arguments)
