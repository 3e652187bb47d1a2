"""Build a prior: the mean of a population of volumes, or a template with modes of shape and appearance.

SOURCES are phantoms (phantom:chest:0-63), CTs (NIfTI files, DICOM folders) and folders of CTs. Some are held out, to
choose the settings on. Not for diagnosis.
"""

import argparse
from typing import Any

from ..contract.xray_words import NOT_FOR_DIAGNOSIS, RIGS
from .common import add_json, progress_bar, say

HELP = "build a prior from phantoms and CTs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `nerf prior build` takes."""
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="phantom:KIND:FIRST-LAST, a CT, a folder of CTs")
    parser.add_argument("--out", metavar="PRIOR", required=True, help="folder, new or with a prior to write over")
    parser.add_argument(
        "--kind", choices=("mean", "low_rank"), default="low_rank", help="default: low_rank, which holds the mean, too"
    )
    parser.add_argument("--grid", type=int, default=64, metavar="N", help="voxels along the longest side (default 64)")
    parser.add_argument(
        "--modes", type=int, metavar="N", help="of shape, at most (default: as many as help on held-out volumes)"
    )
    parser.add_argument(
        "--augment", type=int, default=0, metavar="N", help="N warped copies of each CT beside it (default 0)"
    )
    parser.add_argument(
        "--held-out",
        type=int,
        default=4,
        metavar="N",
        help="volumes to choose settings on, at most a quarter (default 4; 0: none)",
    )
    parser.add_argument(
        "--preset", choices=RIGS, help="the rig that settings are chosen for (default: as the phantom's kind)"
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Build and write; Ctrl-C leaves what was there as it was."""
    from ..contract.errors import NerfError
    from ..export.pictures import write_png
    from ..training.interrupt import stop_on_interrupt
    from ..xray.prior import claim_prior_folder, save_prior
    from ..xray.prior_build import BuildSettings, build_prior, contact_sheet

    for name, least in (("modes", 1), ("augment", 0), ("held_out", 0)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise NerfError(f"--{name.replace('_', '-')} must be {least} or more, not {value}.")
    claim_prior_folder(arguments.out)
    settings = BuildSettings(
        kind=arguments.kind,
        longest=arguments.grid,
        modes=arguments.modes,
        augment=arguments.augment,
        held_out=arguments.held_out,
        rig=arguments.preset,
    )
    with stop_on_interrupt() as interrupted, progress_bar("building") as progress:
        prior = build_prior(arguments.sources, settings, lambda done, _: progress(done), interrupted)
    folder = save_prior(arguments.out, prior)
    write_png(folder / "prior.png", contact_sheet(prior))
    facts = prior.facts
    kinds = [f"{facts[kind]} {kind}" for kind in ("synthetic", "real", "augmented") if facts[kind]]
    modes = f", {len(prior.displacement)} modes of shape and {len(prior.appearance)} of appearance"
    say(
        arguments,
        f"{prior.kind} prior of {' and '.join(kinds)} volumes on {'x'.join(map(str, prior.shape))} voxels"
        f"{modes if prior.kind == 'low_rank' else ''}; {len(facts['held_out'])} held out: {folder}",
    )
    say(arguments, NOT_FOR_DIAGNOSIS)
    return {
        "prior": str(folder),
        "kind": prior.kind,
        "shape": list(prior.shape),
        "spacing": prior.spacing.tolist(),
        "shape_modes": len(prior.displacement),
        "appearance_modes": len(prior.appearance),
        "tuned": prior.tuned,
        **{key: facts[key] for key in ("synthetic", "real", "augmented", "held_out", "mirrored")},
    }
