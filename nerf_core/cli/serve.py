"""Serve a Blender session over stdin and stdout; Blender starts this, a person does not."""

import argparse

HELP = "serve a Blender session over stdin and stdout"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `nerf serve` takes: nothing."""


def run(arguments: argparse.Namespace) -> int:
    """Serve until the end of stdin."""
    from ..worker.serve import main

    return int(main() or 0)
