"""What a picture is to show: cameras over the shutter's time, lens, samples a pixel, and what comes out."""

from dataclasses import dataclass
from typing import Literal

from ..contract.camera import Camera
from ..contract.samplers import SamplerChoice


@dataclass(frozen=True)
class Lens:
    """A thin lens.

    Attributes
    ----------
    radius : float
        Of the aperture, world units.
    focus : float
        Distance along the viewing axis (panoramic: from the camera) at which things are sharp, world units.
    blades : int
        Corners of the aperture; a disc below 3.
    rotation : float
        Of the aperture, radians, counterclockwise as the camera sees it.
    ratio : float
        How many times as high as wide the aperture is (an anamorphic lens has 2).
    """

    radius: float
    focus: float
    blades: int = 0
    rotation: float = 0.0
    ratio: float = 1.0


@dataclass(frozen=True)
class View:
    """A picture to be made.

    Attributes
    ----------
    camera : Camera
        World space; its size is the picture's.
    shutter : tuple of Camera
        Its places while the shutter is open, in order; samples are spread over them. Empty: it stands still.
    lens : Lens or None
    samples : int
        Rays a pixel. A single one goes through the pixel's centre and the lens's, from `camera`.
    seed : int
        Of the samples' places in pixel, lens and time.
    color : {'run', 'linear'}
        'run': as the runs' images were, encoded or linear (linear as soon as one of several runs is); 'linear':
        scene-linear.
    depth : {'distance', 'z'}
        'distance' along the ray, or 'z' along the viewing axis (panoramic: distance all the same).
    normals : bool
        Whether they are wanted.
    clip : bool
        Whether rays end at the camera's `clip_start` and `clip_end`.
    sampler : SamplerChoice or None
        What places the samples along rays; None: what each run was trained with.
    """

    camera: Camera
    shutter: tuple[Camera, ...] = ()
    lens: Lens | None = None
    samples: int = 1
    seed: int = 0
    color: Literal["run", "linear"] = "run"
    depth: Literal["distance", "z"] = "distance"
    normals: bool = False
    clip: bool = False
    sampler: SamplerChoice | None = None

    @property
    def is_plain(self) -> bool:
        """Whether each pixel is one whole ray through its centre."""
        return self.samples == 1 and not self.clip
