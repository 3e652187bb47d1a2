"""Make radiographs: of a CT (NIfTI, DICOM), of a phantom (phantom:KIND:SEED), or new ones of a run of the method xray.

Writes a data set as 'nerf train DATA --method xray' takes it. Not for diagnosis.
"""

import argparse
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contract.errors import NerfError
from ..contract.xray_words import DEFAULT_VIEWS, NOT_FOR_DIAGNOSIS, PHANTOM, RIGS, SCALINGS
from .common import add_device, add_json, progress_bar, say, status_line

if TYPE_CHECKING:
    from ..contract.xray import ConeBeam
    from ..xray.drr import RadiographJob
    from ..xray.sources import RadiographSource
    from ..xray.turntable import RadiographView

HELP = "radiographs of a CT, a phantom or an X-ray run"
MOST_SOURCES = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `nerf drr` takes."""
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="a NIfTI file, a DICOM folder, phantom:KIND:SEED (or phantom:KIND:FIRST-LAST), or a run folder; several "
        "make a data set each in a folder of --out",
    )
    parser.add_argument("--series", metavar="UID", help="which series of a DICOM folder: its UID, or the UID's end")
    parser.add_argument("--out", metavar="DATA", required=True, help="new folder; one that was begun is gone on with")
    rig = parser.add_argument_group("the rig (millimetres)")
    rig.add_argument(
        "--preset",
        choices=RIGS,
        help="chest and knee: 541 mm to the axis, 949 mm to a detector of 500 or 350 mm; volume: R2-Gaussian's, in "
        "which nothing is cut off (default: as the phantom is called, else volume)",
    )
    rig.add_argument("--source-axis", type=float, metavar="MM", help="from the source to the axis")
    rig.add_argument("--source-detector", type=float, metavar="MM", help="from the source to the detector")
    rig.add_argument("--detector", type=float, nargs="+", metavar="MM", help="its width, or width and height")
    rig.add_argument("--pixels", type=int, nargs="+", metavar="N", help="a side, or width and height (default 128)")
    views = parser.add_argument_group("views")
    views.add_argument(
        "--views", type=int, default=DEFAULT_VIEWS, metavar="N", help=f"about z (default {DEFAULT_VIEWS})"
    )
    views.add_argument("--start", type=float, default=0.0, metavar="DEG", help="of the first view (default 0)")
    views.add_argument("--arc", type=float, default=360.0, metavar="DEG", help="that they cover (default 360)")
    views.add_argument(
        "--train-views", type=int, metavar="K", help="train on K of them, evenly spread; the others are the test split"
    )
    views.add_argument(
        "--val", type=int, metavar="N", help="held-out views half a step off (default 8, or all there are)"
    )
    views.add_argument(
        "--cameras", metavar="FILE", help="of a run: cameras.json, transforms.json or nerfstudio's path, not the rig"
    )
    parser.add_argument(
        "--grid", type=int, metavar="N", help="resample a CT to a cube of N^3 voxels, which are then the truth"
    )
    parser.add_argument(
        "--projector", choices=("joseph", "siddon"), default="joseph", help="linear between voxels, or constant in each"
    )
    parser.add_argument(
        "--noise",
        default="none",
        metavar="KIND",
        help="none, poisson:I0,SIGMA (photons a pixel, readout), or r2-gaussian (its protocol, 1e4 and 10); of the "
        "train split",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the noise (default 0)")
    parser.add_argument(
        "--scaling",
        choices=SCALINGS,
        default="physical",
        help="per_view: pictures alone, each stretched by itself, as in the MedNeRF protocol (default physical)",
    )
    parser.add_argument(
        "--window",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="line integrals of black and white (default: all)",
    )
    parser.add_argument("--no-volume", action="store_true", help="do not write the truth's volume beside them")
    add_device(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Make them."""
    sources = _expanded(arguments.sources)
    out = Path(arguments.out)
    if arguments.cameras and not all(_is_run(source) for source in sources):
        raise NerfError("--cameras is for runs; CTs and phantoms are taken by the rig.")
    places = [out] if len(sources) == 1 else [out / name for name in _names(sources)]
    made = []
    for number, (source, place) in enumerate(zip(sources, places, strict=True)):
        label = "radiographs" if len(sources) == 1 else f"radiographs {number + 1}/{len(sources)}"
        made.append(_make(arguments, source, place, label))
    say(arguments, NOT_FOR_DIAGNOSIS)
    return made[0] if len(made) == 1 else {"out": str(out), "sets": made, "seconds": sum(s["seconds"] for s in made)}


def _make(arguments: argparse.Namespace, text: str, out: Path, label: str) -> dict[str, Any]:
    from ..xray.drr import RadiographPlan, make_radiographs, with_meters
    from ..xray.noise import Noise

    began = time.perf_counter()
    window = tuple(arguments.window) if arguments.window else None
    noise = Noise.parse(arguments.noise, arguments.seed)
    with status_line(f"reading {Path(text).name}"):
        source, meters, rig = _open(arguments, text)
    for warning in getattr(getattr(source, "volume", None), "warnings", ()):
        say(arguments, f"{source.name}: {warning}")
    placed = with_meters(rig, meters)
    if arguments.cameras:
        from ..export.camera_paths import read_cameras
        from ..xray.turntable import named

        size = (arguments.pixels * 2)[:2] if arguments.pixels else (None, None)
        views: Sequence[RadiographView] = named(
            [("train", camera) for camera in read_cameras(arguments.cameras, *size)]
        )
    else:
        views = _turntable(arguments, placed, source)
    plan = RadiographPlan(
        source,
        views,
        None if arguments.cameras else placed,
        window,
        noise,
        arguments.scaling,
        meters,
        with_truth=not arguments.no_volume,
    )
    with status_line("preparing the kernels (the first time compiles them)"):
        source.line_integrals(views[0].camera.resized(1, 1))
    with progress_bar(label) as progress:
        job = make_radiographs(plan, out, on_progress=lambda done, total: progress(done / total))
    seconds = time.perf_counter() - began
    _tell(arguments, job, source, seconds)
    return {
        "out": str(out),
        "source": source.name,
        "views": job.total,
        "resumed": job.resumed,
        "splits": {split: sum(view.split == split for view in views) for split in ("train", "val", "test")},
        "truncated": job.truncated,
        "seconds": seconds,
    }


def _tell(arguments: argparse.Namespace, job: "RadiographJob", source: "RadiographSource", seconds: float) -> None:
    views = job.plan.views
    width, height = views[0].camera.width, views[0].camera.height
    kept = f", {job.resumed} of them from before" if job.resumed else ""
    say(
        arguments,
        f"{job.total} radiographs of {width}x{height} of {source.name}{kept}, in {seconds:.1f} s "
        f"({seconds / job.total * 1000:.0f} ms each): {job.out}",
    )
    low, high = source.bounds
    inside = sum(bool(((low < each.camera.position) & (each.camera.position < high)).all()) for each in views)
    if inside:
        say(
            arguments,
            f"The X-ray source stands inside the subject's box in {inside} of the {len(views)} views, where what lies "
            "behind it does not count: a larger --source-axis moves it out.",
        )
    if job.truncated:
        say(
            arguments,
            "Parts of it stand out of the detector in some views, as a real scanner's rig may have it: a volume is "
            "found well only where every view sees it. A larger --detector, or --preset volume, sees all of it.",
        )


def _open(arguments: argparse.Namespace, text: str) -> "tuple[RadiographSource, float, ConeBeam]":
    """What is taken, metres a unit of its world, and the rig in millimetres."""
    from ..xray.sources import FieldSource, open_radiograph_source

    if _is_run(text):
        from ..contract.xray import ConeBeam
        from ..data.documents import read_documents
        from ..training.load import load_run

        if arguments.grid is not None:
            raise NerfError("--grid is for CTs and phantoms; a run's radiographs are integrals of its field.")
        loaded = load_run(text, arguments.device)
        source = FieldSource(loaded)
        facts = None
        if loaded.data is not None and loaded.data.exists():
            facts = read_documents(loaded.data).xray
        meters = 1.0 if facts is None else facts.meters_per_unit
        known = None
        if facts is not None and facts.source_axis and facts.source_detector and facts.detector:
            known = ConeBeam(facts.source_axis, facts.source_detector, facts.detector, (128, 128)).scaled(1e3 * meters)
        return source, meters, _rig(arguments, None, source, meters, known)
    found = open_radiograph_source(text, arguments.grid, model=arguments.projector, series=arguments.series)
    kind = text.split(":")[1] if text.startswith(PHANTOM) else None
    return found, 1.0, _rig(arguments, kind, found, 1.0, None)


def _rig(
    arguments: argparse.Namespace,
    kind: str | None,
    source: "RadiographSource",
    meters: float,
    known: "ConeBeam | None",
) -> "ConeBeam":
    """The preset's rig, with what was asked for in its place; millimetres."""
    from ..contract.xray import ConeBeam, preset

    name = arguments.preset or (kind if kind in RIGS else "volume")
    longest = float((source.bounds[1] - source.bounds[0]).max()) * 1e3 * meters
    base = known if known is not None and arguments.preset is None else preset(name, longest)
    detector = _pair(arguments.detector, "--detector") or base.detector
    pixels = _pair(arguments.pixels, "--pixels") or base.pixels
    return ConeBeam(
        arguments.source_axis or base.source_axis,
        arguments.source_detector or base.source_detector,
        (float(detector[0]), float(detector[1])),
        (int(pixels[0]), int(pixels[1])),
    )


def _turntable(arguments: argparse.Namespace, rig: "ConeBeam", source: "RadiographSource") -> "list[RadiographView]":
    from ..xray.turntable import DEFAULT_VAL, turntable

    val = min(DEFAULT_VAL, arguments.views) if arguments.val is None else arguments.val
    center = source.bounds.mean(axis=0)
    return turntable(rig, center, arguments.views, val, arguments.train_views, arguments.start, arguments.arc)


def _pair(values: Sequence[Any] | None, option: str) -> tuple[Any, Any] | None:
    if not values:
        return None
    if len(values) > 2:
        raise NerfError(f"{option} takes one number, or width and height.")
    return values[0], values[-1]


def _is_run(text: str) -> bool:
    return (Path(text) / "run.json").is_file()


def _expanded(texts: Sequence[str]) -> list[str]:
    """The sources, with phantom:KIND:FIRST-LAST as one for each seed."""
    found: list[str] = []
    for text in texts:
        span = re.fullmatch(r"(phantom:[a-z-]+:)(\d{1,9})-(\d{1,9})", text)
        if span is None:
            found.append(text)
            continue
        first, last = int(span[2]), int(span[3])
        if not first <= last < first + MOST_SOURCES:
            raise NerfError(f"'{text}' names no seeds: write FIRST-LAST, at most {MOST_SOURCES} of them.")
        found += [f"{span[1]}{seed}" for seed in range(first, last + 1)]
    return found


def _names(sources: Sequence[str]) -> list[str]:
    """A folder's name for each source; those that are called the same are numbered."""
    names: list[str] = []
    for source in sources:
        plain = re.sub(r"\.(nii|nii\.gz|dcm)$", "", source.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1])
        name = base = re.sub(r"[^\w.-]+", "-", plain).strip("-.") or "source"
        number = 2
        while name in names:
            name, number = f"{base}-{number}", number + 1
        names.append(name)
    return names
