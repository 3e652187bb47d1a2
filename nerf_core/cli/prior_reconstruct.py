"""Reconstruct a volume from one radiograph or a few by a prior; the mean of the population, optimised, beside it.

Writes the volume (NIfTI), radiographs at all of the data set's views (PNG, float EXR), a turntable, a picture of slices
and prior_report.json. Not for diagnosis.
"""

import argparse
from typing import Any

from ..contract.xray_words import NOT_FOR_DIAGNOSIS
from .common import add_json, progress_bar, say

HELP = "a volume and new radiographs from one radiograph or a few"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `nerf prior reconstruct` takes."""
    parser.add_argument("data", metavar="DATA", help="radiographs, as nerf drr makes them")
    parser.add_argument("--prior", metavar="PRIOR", required=True, help="folder of nerf prior build")
    parser.add_argument("--out", metavar="FOLDER", required=True, help="folder, new or of an earlier reconstruction")
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--views", type=int, metavar="K", help="K of the train split, spread out (default 1)")
    given.add_argument(
        "--view", action="append", default=[], metavar="SPLIT:INDEX", help="this one, such as train:0; repeatable"
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Reconstruct, measure and write; Ctrl-C leaves whole files."""
    from ..export.pictures import write_png
    from ..training.interrupt import stop_on_interrupt
    from ..xray.membership import population_words
    from ..xray.prior import load_prior
    from ..xray.prior_evaluation import OURS, PEER
    from ..xray.prior_pictures import labelled, slices
    from ..xray.prior_report import claim_report_folder, read_given, reconstruct_given, write_report
    from .prior_evaluate import prior_words, table

    prior = load_prior(arguments.prior)
    folder = claim_report_folder(arguments.out)
    with stop_on_interrupt() as interrupted:
        given = read_given(arguments.data, arguments.views, arguments.view, interrupted)
        population = population_words(arguments.data, prior.facts)
        with progress_bar("reconstructing") as progress:
            found, scores, case = reconstruct_given(given, prior, arguments.data, progress, interrupted)
        document = {
            "data": arguments.data,
            "prior": arguments.prior,
            "given": [given.names[index] for index in given.chosen],
            "error": found[OURS].error,
            "population": population,
            "scores": [score.to_dict() for score in scores],
        }
        with progress_bar("radiographs") as progress:
            write_report(folder, given, found[OURS], document, progress, interrupted)
    top = float(found[OURS].mu.max()) if case is None else float(case.truth.max())
    rows = [(way, slices(found[way].mu, top)) for way in (PEER, OURS)]
    if case is not None:
        rows.insert(0, ("truth", slices(case.truth, top)))
    write_png(folder / "slices.png", labelled(rows))
    if scores:
        say(arguments, table(scores, []))
    shown = ", ".join(document["given"])
    say(arguments, f"From {shown}: {folder}")
    if population is not None:
        say(arguments, population)
    say(arguments, f"{prior_words(prior)}. {NOT_FOR_DIAGNOSIS}")
    return {"out": str(folder), **document}
