"""What `nerf render` may add to plain pictures: samples, lens, crop, linear colour, and files of other passes."""

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..contract.errors import NerfError
from .common import add_sampler, read_sampler
from .heat import add_against, add_heat, heat_files, read_heat

if TYPE_CHECKING:
    import numpy as np

    from ..contract.camera import Camera
    from ..contract.samplers import SamplerChoice
    from ..methods.base import Method
    from ..rendering.frame import Frame
    from ..rendering.layers import Layer
    from ..rendering.view import View

BLURRED_RAYS = 32
"""Rays a pixel with a lens, where nobody asks for a number."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument(
        "--rays",
        type=int,
        metavar="N",
        help=f"rays a pixel, for smooth edges (default 1, with a lens {BLURRED_RAYS})",
    )
    add_sampler(parser)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the samples' places (default 0)")
    parser.add_argument("--aperture", type=float, metavar="R", help="radius of a lens, in world units; needs --focus")
    parser.add_argument("--focus", type=float, metavar="D", help="distance that the lens is focused on")
    parser.add_argument("--blades", type=int, default=0, metavar="N", help="corners of the aperture (default 0: round)")
    parser.add_argument(
        "--crop",
        type=float,
        nargs=6,
        metavar=("X0", "Y0", "Z0", "X1", "Y1", "Z1"),
        help="show only what is inside this box of the world",
    )
    parser.add_argument(
        "--color",
        choices=("srgb", "linear"),
        default="srgb",
        help="srgb: PNG pictures; linear: scene-linear premultiplied OpenEXR pictures (default srgb)",
    )
    parser.add_argument(
        "--depth",
        nargs="?",
        const="distance",
        choices=("distance", "z"),
        help="also write NNNN_depth.exr: distance along the ray, or z along the viewing axis; 0 where nothing is",
    )
    parser.add_argument(
        "--normals",
        action="store_true",
        help="also write NNNN_normal.exr and .png: normals in the world (the PNG shows -1 to 1 as black to white)",
    )
    add_heat(parser, "NNNN_MAP.exr and .png")
    add_against(parser)


@dataclass(frozen=True)
class RenderOptions:
    """The options, checked."""

    rays: int
    sampler: "SamplerChoice | None"
    seed: int
    lens: tuple[float, float, int] | None
    crop: "np.ndarray | None"
    linear: bool
    depth: str | None
    normals: bool
    heat: dict[str, float | None] = field(default_factory=dict)

    @classmethod
    def read(cls, arguments: argparse.Namespace, is_video: bool) -> "RenderOptions":
        """Check what was given; `NerfError` says what does not fit."""
        import numpy as np  # `nerf --help` and `nerf doctor` work without it

        rays, aperture, focus = arguments.rays, arguments.aperture, arguments.focus
        if rays is not None and not 1 <= rays <= 1 << 16:
            raise NerfError(f"--rays must be from 1 to {1 << 16}, not {rays}.")
        if (aperture is None) != (focus is None):
            raise NerfError("A lens needs both --aperture and --focus.")
        lens = None
        if aperture is not None:
            if not (0.0 < aperture < 1e9 and 0.0 < focus < 1e9):
                raise NerfError("--aperture and --focus must be lengths above 0.")
            if not 0 <= arguments.blades <= 64:
                raise NerfError(f"--blades must be from 0 to 64, not {arguments.blades}.")
            if rays == 1:
                raise NerfError("A lens blurs nothing with one ray a pixel; ask for more --rays.")
            lens = (aperture, focus, arguments.blades)
        crop = None
        if arguments.crop is not None:
            low, high = np.array(arguments.crop[:3]), np.array(arguments.crop[3:])
            if not (np.isfinite(arguments.crop).all() and (low < high).all()):
                raise NerfError("--crop wants the smallest corner first: X0 < X1, Y0 < Y1, Z0 < Z1.")
            crop = np.diag([*(0.5 * (high - low)), 1.0])
            crop[:3, 3] = 0.5 * (low + high)
        for wanted, name in ((arguments.color == "linear", "--color linear"), (arguments.depth, "--depth"),
                             (arguments.normals, "--normals"), (arguments.heat, "--heat")):  # fmt: skip
            if wanted and is_video:
                raise NerfError(f"{name} makes pictures, not a video; name a folder with --out.")
        if arguments.color == "linear" and arguments.background:
            raise NerfError("Linear pictures keep their transparency; leave out --background.")
        return cls(
            rays or (BLURRED_RAYS if lens else 1),
            read_sampler(arguments),
            arguments.seed,
            lens,
            crop,
            arguments.color == "linear",
            arguments.depth,
            arguments.normals,
            read_heat(arguments),
        )

    def view(self, camera: "Camera") -> "View":
        """What a camera is to show."""
        from ..rendering.view import Lens, View

        return View(
            camera,
            lens=Lens(*self.lens) if self.lens else None,
            samples=self.rays,
            sampler=self.sampler,
            seed=self.seed,
            color="linear" if self.linear else "run",
            depth="z" if self.depth == "z" else "distance",
            normals=self.normals,
        )

    def layer(self, method: "Method") -> "Layer":
        """The run; always as if it were of sRGB images, which is what PNG pictures hold."""
        from ..rendering.layers import Layer

        return Layer(method, crops=() if self.crop is None else (self.crop,))

    def files(self, folder: Path, index: int) -> dict[str, Path]:
        """The files of one picture, by what is in them."""
        name = f"{index:04d}"
        files = {"picture": folder / f"{name}.{'exr' if self.linear else 'png'}"}
        if self.depth:
            files["depth"] = folder / f"{name}_depth.exr"
        if self.normals:
            files["normal"] = folder / f"{name}_normal.exr"
            files["normal picture"] = folder / f"{name}_normal.png"
        return {**files, **heat_files(folder, name, self.heat)}

    def write(self, files: dict[str, Path], frame: "Frame", background: tuple[float, float, float] | None) -> None:
        """Write all files of one picture."""
        from ..data.color import to_bytes
        from ..export.exr import normal_channels, rgba_channels, write_exr
        from ..export.pictures import to_picture, write_png

        if self.linear:
            write_exr(files["picture"], rgba_channels(frame.rgba))
        else:
            write_png(files["picture"], to_picture(frame.rgba, background))
        if self.depth:
            write_exr(files["depth"], {"Z": frame.depth})
        if self.normals and frame.normal is not None:
            write_exr(files["normal"], normal_channels(frame.normal))
            write_png(files["normal picture"], to_bytes(0.5 + 0.5 * frame.normal))
