"""The demo: builds a scene, captures it, trains a NeRF and brings it back into Blender; leaves everything in out/demo/.

    python tools/demo.py                      everything, about 4 minutes on 2 cores after the installation
    python tools/demo.py --seconds 300        train longer
    python tools/demo.py --out /tmp/my-demo   another folder

Run again with the same settings, it goes on where it was stopped.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import environment

TURNTABLE_VIEWS, TURNTABLE_SIZE = 36, 400
POINTS = 100_000


def main() -> int:
    """Run the command line."""
    options = _parse()
    began = time.perf_counter()
    environment.enter(("demo",))
    return _run(options, began)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=environment.ROOT / "out" / "demo", help="default: out/demo")
    parser.add_argument("--resolution", type=int, default=200, metavar="N", help="side of the pictures (default 200)")
    parser.add_argument("--seconds", type=float, default=75.0, metavar="S", help="of training (default 75)")
    parser.add_argument(
        "--blender-samples", type=int, default=20, metavar="N", help="Cycles samples a pixel (default 20)"
    )
    options = parser.parse_args()
    if not 32 <= options.resolution <= 2048:
        parser.error("--resolution must lie between 32 and 2048")
    if not 1 <= options.seconds <= 86400:
        parser.error("--seconds must lie between 1 and 86400")
    if not 1 <= options.blender_samples <= 4096:
        parser.error("--blender-samples must lie between 1 and 4096")
    return options


def _run(options: argparse.Namespace, began: float) -> int:
    """All stages; runs inside `.venv`."""
    from demonstration.stages import OutputFolder, Stages

    out = OutputFolder(options.out)
    stages = Stages(out, total=7)
    with stages.stage("Build the scene") as stage:
        from demonstration import addon

        blender = addon.BlenderWithAddon(sys.executable)
        try:
            from demonstration import blend, capture, core, report, scene

            scene.build(options.blender_samples)
            capture.set_up(out.path, options.resolution, options.blender_samples, options.seconds)
        except BaseException:
            blender.close()
            raise
    try:
        with stages.stage(
            f"Capture {capture.TRAIN_VIEWS} training and {capture.HELD_OUT_VIEWS} held-out views"
        ) as stage:
            run, stage.skipped = capture.capture(blender)
            stage.outcome = f"{run / 'dataset'}" + (" (there already)" if stage.skipped else "")
        with stages.stage(f"Train for {options.seconds:.0f} s") as stage:
            stage.skipped = capture.train(blender, run)
            facts = capture.facts(blender, run)
            stage.outcome = f"{facts['spent']['steps']} steps on {facts['device']} ({facts['backend']} kernels)"
        with stages.stage("Render the held-out views and compare") as stage:
            evaluation = core.evaluate(run, out.path / "held-out")
            stage.outcome = f"PSNR {evaluation['psnr']:.2f} dB, SSIM {evaluation['ssim']:.4f}"
        with stages.stage(f"Render a turntable of {TURNTABLE_VIEWS} views"):
            turntable = out.path / "turntable.mp4"
            core.turntable(run, turntable, TURNTABLE_VIEWS, TURNTABLE_SIZE)
        with stages.stage("Bring cameras, a view and density points into Blender") as stage:
            points = core.points(run, out.path / "points.ply", POINTS)
            blend_file, picture = out.place_for("demo.blend"), out.path / "blender.png"
            blend.bring_back(blender, run, blend_file, picture, POINTS)
            out.wrote(blend_file)
            stage.outcome = f"{points['count']} points"
        with stages.stage("Write the report"):
            rows = stages.rows()
            content = {
                "machine": report.machine(),
                "device": f"the {facts['device'].upper()}",
                "train_views": capture.TRAIN_VIEWS,
                "train_seconds": facts["spent"]["seconds"],
                "steps": facts["spent"]["steps"],
                "resolution": options.resolution,
                "evaluation": evaluation,
                "pictures": list(zip(evaluation["pictures"], evaluation["views"], strict=True)),
                "points": points,
                "turntable": turntable,
                "turntable_views": TURNTABLE_VIEWS,
                "blend_picture": picture,
                "stages": rows,
            }
            out.write_text("report.html", report.render(content))
    finally:
        blender.close()
    _sum_up(stages, out.path, run, blend_file, evaluation)
    # Blender as a module may crash when the interpreter ends; everything is written.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _sum_up(stages, out: Path, run: Path, blend_file: Path, evaluation: dict) -> None:  # noqa: ANN001 - imported inside .venv only
    print("\nTimes:")
    for row in stages.rows():
        before = "  (by an earlier run)" if row["before"] else ""
        print(f"  {row['seconds']:6.1f} s  {row['title']}{before}")
    print(f"  {stages.seconds:6.1f} s  in all\n")
    print(
        f"{len(evaluation['views'])} held-out views: PSNR {evaluation['psnr']:.2f} dB, SSIM {evaluation['ssim']:.4f}."
    )
    for name, words in (
        ("report.html", "everything on one page: open it in a browser"),
        (blend_file.name, "the scene with the NeRF's cameras, view and points in it"),
        ("turntable.mp4", "a turn around the scene, rendered from the NeRF"),
        ("held-out", "truth | NeRF | error of each held-out view"),
        ("points.ply", "the density points"),
        (run.name, "the run folder: pictures, cameras, checkpoint"),
    ):
        print(f"  {out / name}  ({words})")


if __name__ == "__main__":
    sys.exit(main())
