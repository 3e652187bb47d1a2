"""The options of single-view inversion, which `nerf gan invert` and `nerf gan evaluate` share."""

import argparse
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ..contract.errors import NerfError
from .train import parse_settings

if TYPE_CHECKING:
    from ..gan.invert import InversionSettings
    from ..gan.perceptual import FeatureNetwork
    from ..gan.settings import Settings

NETWORKS = ("auto", "efficientnet-lite0", "inception")  # as in gan.perceptual, which is heavy to import


def add_inversion(parser: argparse.ArgumentParser) -> None:
    """`--setting` of the inversion, `--features` and `--weights`."""
    parser.add_argument(
        "--setting",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="of the inversion: starts, kept, turns, code_steps, steps, code_rate, generator_rate, last_rate, "
        "perceptual, mse, likelihood; repeatable",
    )
    parser.add_argument(
        "--features",
        choices=NETWORKS,
        default="auto",
        help="the network of perceptual distances (and FID); auto: inception where its weights are on this machine, "
        "else efficientnet-lite0; nothing is downloaded",
    )
    parser.add_argument("--weights", metavar="FILE", help="inception's weights, where they are not in torch's cache")


def read_network(arguments: argparse.Namespace) -> "FeatureNetwork":
    """The feature network that was asked for."""
    from ..gan.perceptual import feature_network

    return feature_network(arguments.features, arguments.weights)


def read_inversion(arguments: argparse.Namespace, system: "Settings | None" = None) -> "InversionSettings":
    """The inversion's settings, over those for a system's; a NerfError names one that is unknown or mistyped."""
    from ..gan.invert import InversionSettings

    known = {entry.name: entry.type for entry in fields(InversionSettings)}
    values: dict[str, Any] = {}
    for name, value in parse_settings(arguments.setting).items():
        if name not in known:
            raise NerfError(f"The inversion has no setting '{name:.80}'; it has {', '.join(known)}.")
        wanted = int if known[name] in (int, "int") else float
        if isinstance(value, bool) or not isinstance(value, int | float) or wanted is int and value != int(value):
            words = "a whole number" if wanted is int else "a number"
            raise NerfError(f"The inversion's setting '{name}' is {value!r:.80}; it must be {words}.")
        values[name] = wanted(value)
    settings = InversionSettings.of(system, **values) if system else InversionSettings(**values)
    settings.check()
    return settings
