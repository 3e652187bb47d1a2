"""Measure a run on views that it was not trained on: PSNR and SSIM of each, errors of depth, the mean last."""

import argparse
import posixpath
import re
from pathlib import Path
from typing import Any

from ..contract.errors import NerfError
from .common import add_device, add_json, add_overwrite, add_sampler, progress_bar, read_sampler, say
from .heat import add_heat, heat_files, read_heat, write_heat

HELP = "PSNR and SSIM of a run on held-out views"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `nerf evaluate` takes."""
    parser.add_argument("run_dir", metavar="DIR", help="run folder")
    parser.add_argument("--data", metavar="DATA", help="data set (default: the one the run was trained on)")
    parser.add_argument("--split", choices=("train", "val", "test"), default="val", help="default: val")
    parser.add_argument("--downscale", type=int, metavar="N", help="shrink the images (default: as in training)")
    parser.add_argument("--views", type=int, metavar="N", help="only N views, evenly spread (default: all)")
    parser.add_argument("--pictures", metavar="FOLDER", help="write truth | NeRF | error pictures there")
    parser.add_argument(
        "--solvers",
        metavar="NAME,...",
        help="of an attenuation field: what to measure beside it, of fdk, sart, sirt, cg; or none (default: fdk,sart)",
    )
    add_heat(parser, "VIEW_MAP.exr and .png beside the pictures")
    add_sampler(parser)
    add_overwrite(parser)
    add_device(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Evaluate, and write pictures where asked."""
    from ..contract.files import make_folder
    from ..evaluation.evaluate import ViewResult, evaluate_run
    from ..export.ownership import check_writable
    from ..export.pictures import side_by_side, write_png

    names = read_heat(arguments)
    if names and not arguments.pictures:
        raise NerfError("--heat writes its maps beside the pictures: name a folder with --pictures.")
    folder = make_folder(arguments.pictures) if arguments.pictures else None
    written: list[str] = []
    heat_maps: list[dict[str, Any]] = []

    def on_view(view: Any, truth: Any, image: Any, result: ViewResult) -> None:
        if folder is None:
            return
        path = check_writable(folder / picture_name(view.name, written), arguments.overwrite)
        write_png(path, side_by_side(truth, image, f"{result.psnr:.2f} dB"))
        written.append(str(path))

    def on_heat(_view: Any, heat: Any) -> None:
        if folder is None or not names:
            return
        files = heat_files(folder, Path(written[-1]).stem, names)
        for path in files.values():
            check_writable(path, arguments.overwrite)
        heat_maps.append(write_heat(files, heat, names))

    with progress_bar("evaluating") as progress:
        evaluation = evaluate_run(
            arguments.run_dir,
            arguments.data,
            arguments.split,
            arguments.device,
            arguments.downscale,
            arguments.views,
            progress=progress,
            on_view=on_view,
            sampler=read_sampler(arguments),
            heat=tuple(names),
            on_heat=on_heat,
            solvers=_solvers(arguments.solvers),
        )
    width = max(4, *(len(view.name) for view in evaluation.views))
    deep = evaluation.depth_error is not None
    say(arguments, f"{'view':{width}}   PSNR dB    SSIM" + ("   depth error    95 %" if deep else ""))
    rows: list[tuple[str, Any]] = [*((view.name, view) for view in evaluation.views), ("mean", evaluation)]
    for name, row in rows:
        errors = f"   {_number(row.depth_error, 11, 4)}  {_number(row.depth_error_95, 6, 4)}" if deep else ""
        say(arguments, f"{name:{width}}  {row.psnr:8.3f}  {_number(row.ssim, 6, 4)}{errors}")
    if evaluation.cost is not None:
        say(arguments, cost_words(evaluation.cost.to_dict(), evaluation.seconds))
    if deep:
        say(arguments, "depth error: median of |rendered - known distance|, and 95th percentile, in world units")
    for line in evaluation.xray.lines() if evaluation.xray is not None else ():
        say(arguments, line)
    return {
        "run": arguments.run_dir,
        **({"pictures": written} if arguments.pictures else {}),
        **({"heat": heat_maps} if names else {}),
        **evaluation.to_dict(),
    }


def cost_words(cost: dict[str, Any], seconds: float) -> str:
    """What a sampler took, in a line."""
    beside = [f"{cost[key]:.1f} {words}" for key, words in BESIDE if cost[key]]
    return (
        f"evaluations a ray: {cost['s_hit']:.2f} where it hits, {cost['s_all']:.2f} on the mean, "
        f"{cost['s_max']} at most"
        + (f"; beside them {' and '.join(beside)}" if beside else "")
        + f"; {1000.0 * seconds:.0f} ms a view"
    )


def _solvers(given: str | None) -> list[str] | None:
    """The names of a list with commas; None where nothing is asked for, and no names for 'none'."""
    if given is None:
        return None
    names = list(dict.fromkeys(filter(None, (part.strip() for part in given.split(",")))))
    return [] if names == ["none"] else names


BESIDE = (("density_only", "of density alone"), ("proposal", "of what proposes"))


def picture_name(view: str, taken: list[str]) -> str:
    """A plain file name for a view's picture: its path with other separators, numbered when it is taken."""
    stem = (
        posixpath.splitext(posixpath.normpath(view.replace("\\", "/")))[0] if "." in posixpath.basename(view) else view
    )
    stem = re.sub(r"[^\w.-]+", "_", stem.replace("/", "_")).strip("._")[-80:] or "view"
    names = {Path(path).name for path in taken}
    name, number = f"{stem}.png", 2
    while name in names:
        name, number = f"{stem}-{number}.png", number + 1
    return name


def _number(value: float | None, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width}.{digits}f}"
