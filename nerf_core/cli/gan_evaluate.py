"""Measure a generative system: FID and KID of its samples, and single-view inversion beside trivial baselines.

Of each instance in DATA one view is given and everything is measured on ALL of its other views. FID and KID are against
the images that the run was trained on. Not for diagnosis.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from .common import add_device, add_json, add_overwrite, progress_bar, say
from .gan_inversion import add_inversion, read_inversion, read_network

HELP = "FID, KID and single-view inversion beside the trivial baselines"
SHOWN = 8  # angles in a comparison


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `nerf gan evaluate` takes."""
    parser.add_argument("run_dir", metavar="RUN", help="run folder of 'nerf gan train'")
    parser.add_argument(
        "--data", metavar="DATA", help="instances to invert (default: those that it was trained on, and it is said)"
    )
    parser.add_argument("--training", metavar="DATA", help="what it was trained on, where that has moved")
    parser.add_argument("--instances", type=int, default=0, metavar="N", help="only the first N (default: all)")
    parser.add_argument("--angle", type=float, default=0.0, metavar="DEG", help="of the given view (default 0)")
    parser.add_argument("--fakes", type=int, default=1000, metavar="N", help="samples for FID and KID (default 1000)")
    parser.add_argument(
        "--prior",
        metavar="FOLDER",
        help="of 'nerf prior build', from the training's patients: what it makes of the given view stands beside",
    )
    parser.add_argument("--pictures", metavar="FOLDER", help="comparisons are written there, one for each instance")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of samples and starts (default 0)")
    add_inversion(parser)
    add_overwrite(parser)
    add_device(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure and print."""
    from ..contract.files import make_folder
    from ..export.ownership import check_writable
    from ..export.pictures import write_png
    from ..gan.dataset import load_radiographs
    from ..gan.evaluate import EvaluationSettings, comparison, evaluate, table
    from ..gan.prior_baseline import check_unseen, prior_baselines
    from ..gan.run import load_gan_run
    from ..xray.prior import load_prior

    settings = EvaluationSettings(
        arguments.fakes, arguments.angle, arguments.instances, arguments.seed, read_inversion(arguments)
    )
    settings.check()
    loaded = load_gan_run(arguments.run_dir, arguments.device)
    settings = replace(settings, inversion=read_inversion(arguments, loaded.system.settings))
    size = loaded.system.settings.image_size
    training = load_radiographs(arguments.training, size) if arguments.training else loaded.load_data()
    data = load_radiographs(arguments.data, size) if arguments.data else training
    network = read_network(arguments)
    more = {}
    if arguments.prior:
        prior = load_prior(arguments.prior)
        check_unseen(prior, data, settings.instances)
        more = prior_baselines(prior)
    folder = make_folder(arguments.pictures) if arguments.pictures else None
    written: list[str] = []

    def on_instance(result: Any, truth: Any, views: Any) -> None:
        if folder is None:
            return
        name = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in result.name)
        path = check_writable(Path(folder) / f"{name}.png", arguments.overwrite)
        write_png(path, comparison(truth, views, SHOWN))
        written.append(str(path))

    with _Bars() as bars:
        found = evaluate(loaded.system, training, data, network, settings, more, bars.update, on_instance=on_instance)
    for line in table(found):
        say(arguments, line)
    return {"run": arguments.run_dir, "system": loaded.system.name, "pictures": written, **found.to_dict()}


class _Bars:
    """One bar after the other, each for what is being done."""

    def __init__(self) -> None:
        self._label: str | None = None
        self._context: Any = None
        self._update: Any = None

    def __enter__(self) -> "_Bars":
        return self

    def __exit__(self, *error: Any) -> None:
        if self._context is not None:
            self._context.__exit__(*error)

    def update(self, label: str, done: float) -> None:
        if label != self._label:
            self.__exit__(None, None, None)
            self._label, self._context = label, progress_bar(label)
            self._update = self._context.__enter__()
        self._update(done)
