"""Which settings make FDK, SART and CG of itk-rtk best: volume PSNR on phantoms that nothing else is compared on.

    python tools/solver_settings.py                        40 voxels and pixels a side; 2, 10 and 50 views
    python tools/solver_settings.py --voxels 64 --views 25

Line integrals are a phantom's exact ones, and those of its own voxels: with these a volume can explain everything, so
that more iterations pay. What came of it stands in `nerf_core/xray/solver_cache.py` and in `docs/xray-evaluation.md`.
"""

import argparse
import sys
from types import SimpleNamespace
from typing import Any

import environment
import numpy as np

PATIENTS = (("chest", 901), ("knee", 902))
WINDOWS = (0.0, 0.5, 1.0)
RELAXATIONS = (0.1, 0.3, 1.0)
CG = (5, 10, 20)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voxels", type=int, default=40, metavar="N", help="and pixels, a side (default 40)")
    parser.add_argument("--views", default="2,10,50", metavar="N,N,...", help="default 2,10,50")
    parser.add_argument("--most", type=int, default=30, metavar="N", help="iterations of SART (default 30)")
    options = parser.parse_args()
    sys.path.insert(0, str(environment.ROOT))
    for patient in PATIENTS:
        for exact in (True, False):
            for views in map(int, options.views.split(",")):
                _measure(patient, exact, views, options)
    return 0


def _measure(patient: tuple[str, int], exact: bool, count: int, options: argparse.Namespace) -> None:
    from nerf_core.xray.metrics import volume_psnr
    from nerf_core.xray.solvers import cg, fdk, sart

    views, grid, truth = _scan(patient, exact, count, options.voxels)
    kind, seed = patient
    print(f"phantom:{kind}:{seed}, {'exact' if exact else 'voxels'}, {count} views", flush=True)
    found = (f"hann {hann:g} {volume_psnr(fdk(views, grid, hann), truth):.2f}" for hann in WINDOWS)
    print("  FDK   " + ", ".join(found), flush=True)
    for relaxation in RELAXATIONS:
        trace: list[float] = []
        keep = lambda _done, volume: trace.append(volume_psnr(volume, truth))  # noqa: E731, B023 - called at once
        sart(views, grid, options.most, relaxation, on_iteration=keep)
        told = ", ".join(f"{index + 1}: {trace[index]:.2f}" for index in range(len(trace)) if index + 1 in SHOWN)
        best = int(np.argmax(trace))
        print(f"  SART  relaxation {relaxation:g}, {told}; best {best + 1}: {trace[best]:.2f}", flush=True)
    found = (f"{iterations}: {volume_psnr(cg(views, grid, iterations), truth):.2f}" for iterations in CG)
    print("  CG    " + ", ".join(found), flush=True)


SHOWN = (1, 2, 4, 8, 16, 30)


def _scan(patient: tuple[str, int], exact: bool, count: int, voxels: int) -> tuple[list[Any], Any, np.ndarray]:
    """Radiographs about z by the rig "volume"; the truth per metre, and its grid."""
    from nerf_core.contract.xray import preset
    from nerf_core.ct.phantoms import ellipsoid_phantom
    from nerf_core.xray.grid import Grid
    from nerf_core.xray.projector import project_camera

    phantom = ellipsoid_phantom(*patient)
    volume = phantom.volume(voxels)
    grid = Grid(volume.shape, np.diag([0.001, 0.001, 0.001, 1.0]) @ volume.affine)
    truth = volume.mu().astype(np.float32) * np.float32(100.0)
    longest = float((phantom.bounds[1] - phantom.bounds[0]).max())
    rig = preset("volume", longest).with_pixels(voxels, voxels).scaled(0.001)
    views = []
    for camera in rig.cameras(grid.center, count):
        if exact:
            origins, directions = camera.rays()
            p = phantom.line_integrals(1000.0 * origins, directions).astype(np.float32)
        else:
            p = project_camera(truth, grid.world_from_index, camera)
        views.append(SimpleNamespace(camera=camera, line_integral=p))
    return views, grid, truth


if __name__ == "__main__":
    sys.exit(main())
