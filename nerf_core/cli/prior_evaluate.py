"""Measure a prior on volumes it was not made of, from one radiograph or a few, beside simpler ways.

Volumes are measured on the prior's grid, radiographs on all views that were not given. Not for diagnosis.
"""

import argparse
from pathlib import Path
from typing import Any

from ..contract.xray_words import NOT_FOR_DIAGNOSIS, RIGS
from .common import add_json, progress_bar, say

HELP = "a prior on volumes it was not made of: PSNR and SSIM beside simpler ways"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `nerf prior evaluate` takes."""
    parser.add_argument("prior", metavar="PRIOR", help="folder of nerf prior build")
    parser.add_argument(
        "--held-out",
        nargs="+",
        required=True,
        metavar="SOURCE",
        help="phantom:KIND:FIRST-LAST, a CT, a folder of CTs: none that the prior was made of",
    )
    parser.add_argument(
        "--views", default="1,2", metavar="K,K", help="how many are given; quarter turns apart (default 1,2)"
    )
    parser.add_argument("--turntable", type=int, default=72, metavar="N", help="radiographs all around (default 72)")
    parser.add_argument("--pixels", type=int, default=128, metavar="N", help="of a radiograph's side (default 128)")
    parser.add_argument("--preset", choices=RIGS, help="the rig (default: as the phantom's kind, else chest)")
    parser.add_argument("--pictures", metavar="FOLDER", help="slices of the truth and of every way, a PNG a volume")
    add_json(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure, and print each volume's numbers and their means."""
    from ..contract.errors import NerfError
    from ..contract.files import make_folder
    from ..export.ownership import check_writable
    from ..export.pictures import write_png
    from ..training.interrupt import stop_on_interrupt
    from ..xray.grid import Grid
    from ..xray.membership import identity_of, role_of
    from ..xray.population import list_members
    from ..xray.prior import load_prior
    from ..xray.prior_cases import make_case
    from ..xray.prior_evaluation import evaluate_prior, summary
    from ..xray.prior_pictures import labelled, slices

    views = read_views(arguments.views, arguments.turntable)
    prior = load_prior(arguments.prior)
    members = list_members(arguments.held_out)
    for member in members:
        if role_of(prior.facts, [identity_of(member.source)], Path(member.name).name):
            raise NerfError(f"'{member.name}' is of the prior's own population; name volumes that it has not seen.")
    folder = make_folder(arguments.pictures) if arguments.pictures else None
    grid = Grid(prior.shape, prior.world_from_index)
    scores = []
    with stop_on_interrupt() as interrupted, progress_bar("measuring") as progress:
        for index, member in enumerate(members):
            case = make_case(member, grid, arguments.preset, arguments.turntable, arguments.pixels, interrupted)
            rows: dict[int, list[tuple[str, Any]]] = {}
            top = float(case.truth.max())

            def keep(case: Any, found: Any, score: Any, rows: Any = rows, top: float = top) -> None:
                label = f"{score.way}: {score.volume_psnr:.2f} dB"
                rows.setdefault(score.views, []).append((label, slices(found.mu, top)))

            def told(done: float, index: int = index) -> None:
                progress((index + 0.2 + 0.8 * done) / len(members))

            scores += evaluate_prior(prior, [case], views, told, interrupted, keep)
            if folder is not None:
                for count, shown in rows.items():
                    stem = "".join(c if c.isalnum() else "-" for c in Path(case.name).name)
                    path = check_writable(folder / f"{stem}-{count}.png")
                    write_png(path, labelled([(f"truth: {case.name}", slices(case.truth, top)), *shown]))
    means = summary(scores)
    say(arguments, table(scores, means))
    say(arguments, f"{prior_words(prior)}. {NOT_FOR_DIAGNOSIS}")
    return {
        "prior": arguments.prior,
        "volumes": [score.to_dict() for score in scores],
        "means": means,
        **({"pictures": str(folder)} if folder else {}),
    }


def read_views(text: str, most: int) -> list[int]:
    """`1,2` as numbers."""
    from ..contract.errors import NerfError

    try:
        views = [int(part) for part in text.split(",")]
    except ValueError:
        views = []
    if not views or min(views) < 1 or max(views) > most:
        raise NerfError(f"--views takes numbers from 1 to {most} with commas between them, such as 1,2, not '{text}'.")
    return list(dict.fromkeys(views))


def prior_words(prior: Any) -> str:
    """What a prior is made of, in words."""
    facts = prior.facts
    kinds = [f"{facts[kind]} {kind}" for kind in ("synthetic", "real", "augmented") if facts.get(kind)]
    return f"The prior: {prior.kind}, of {' and '.join(kinds) or 'unknown'} volumes"


def table(scores: Any, means: Any) -> str:
    """Each volume's numbers, then means with standard deviations."""
    width = max(len(Path(score.volume).name) for score in scores)
    lines = [f"{'volume':{width}}  views  {'way':20}  volume dB   SSIM  radiographs dB   SSIM"]
    for score in scores:
        lines.append(
            f"{Path(score.volume).name:{width}}  {score.views:5}  {score.way:20}  {_cell(score.volume_psnr, 9, 2)}  "
            f"{_cell(score.volume_ssim, 5, 3)}  {_cell(score.radiograph_psnr, 14, 2)}  "
            f"{_cell(score.radiograph_ssim, 5, 3)}"
        )
    several = len({score.volume for score in scores}) > 1
    for row in means if several else ():
        spread = f"+-{row['volume_psnr_deviation']:.2f}"
        lines.append(
            f"{'mean':{width}}  {row['views']:5}  {row['way']:20}  {_cell(row['volume_psnr'], 9, 2)}  "
            f"{_cell(row['volume_ssim'], 5, 3)}  {_cell(row['radiograph_psnr'], 14, 2)}  "
            f"{_cell(row['radiograph_ssim'], 5, 3)}  ({spread} dB of the volumes)"
        )
    return "\n".join(lines)


def _cell(value: float | None, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width}.{digits}f}"
