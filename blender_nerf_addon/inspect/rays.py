"""From a click to rays: the camera of a viewport or of a picture, and the pixel coordinates of a patch in it."""

from dataclasses import dataclass

import bpy
import numpy as np

from ..capture.cameras import Frame, camera_from_blender
from ..engine.view_camera import view_camera
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.errors import NerfError
from .picture_camera import camera_of_picture


@dataclass(frozen=True)
class Aim:
    """What was pointed at.

    Attributes
    ----------
    camera : Camera
        In Blender's world.
    pixel : (float, float)
        The centre of the pixel that was pointed at: x, y from the picture's top left corner.
    view : str
        What the picture is called, for a person.
    """

    camera: Camera
    pixel: tuple[float, float]
    view: str

    def patch(self, side: int, spacing: int) -> tuple[np.ndarray, int]:
        """The pixels of a square patch about the pixel, and which of them is the pixel itself.

        Parameters
        ----------
        side : int
            Pixels along the patch's sides; an even one reaches one pixel farther to the left and upwards.
        spacing : int
            From one to the next.

        Returns
        -------
        pixels : (R, 2) float64 array
            Row by row; what would lie outside the picture is left out, so R is at most side * side.
        chosen : int
        """
        offsets = (np.arange(side) - side // 2) * float(spacing)
        x, y = np.meshgrid(offsets, offsets)
        pixels = np.stack([x.ravel(), y.ravel()], axis=-1)
        itself = (pixels == 0.0).all(axis=-1)
        pixels = pixels + self.pixel
        size = (self.camera.width, self.camera.height)
        kept = itself | ((pixels > 0.0) & (pixels < size)).all(axis=-1)
        return pixels[kept], int(np.argmax(itself[kept]))


def viewport_aim(
    region: bpy.types.Region,
    space: bpy.types.SpaceView3D,
    scene: bpy.types.Scene,
    depsgraph: bpy.types.Depsgraph,
    x: float,
    y: float,
) -> Aim:
    """What lies under a place in a 3D viewport.

    In a camera's view, inside its frame, the camera is that one in the render's size; elsewhere it is the viewport's
    own, whose pixels are the region's.

    Parameters
    ----------
    region, space
        Of the viewport; the region is its WINDOW, or one of a quad view's.
    scene : Scene
    depsgraph : Depsgraph
    x, y : float
        In the region, from its lower left corner.

    Raises
    ------
    NerfError
        When the viewport has no size.
    """
    view = region.data  # of a quad view each region has its own
    own = view_camera(region.width, region.height, view.window_matrix, view.view_matrix)
    column, row = _centre(x, region.width), _centre(region.height - y, region.height)
    item = space.camera if space.use_local_camera else scene.camera
    if view.view_perspective == "CAMERA" and item is not None and item.type == "CAMERA":
        try:
            camera = camera_from_blender(item, depsgraph, Frame.of_render(scene.render))
        except NerfError:  # a lens that there is no model of: the viewport shows an ordinary one
            camera = None
        if camera is not None:
            origin, direction = own.rays(np.array([[column, row]]))
            # A point of the ray that both cameras see, as far from them as the scene is.
            pixel = camera.project(origin + direction * max(1.0, camera.clip_start * 10.0))[0][0]
            if np.isfinite(pixel).all() and (pixel >= 0.0).all() and (pixel < (camera.width, camera.height)).all():
                return Aim(camera, (float(np.floor(pixel[0])) + 0.5, float(np.floor(pixel[1])) + 0.5), item.name)
    return Aim(own, (column, row), "Viewport")


def image_aim(
    region: bpy.types.Region,
    image: bpy.types.Image | None,
    scene: bpy.types.Scene,
    depsgraph: bpy.types.Depsgraph,
    x: float,
    y: float,
) -> Aim | None:
    """What lies under a place in an Image Editor; None beside the picture.

    Parameters
    ----------
    region : Region
        The editor's WINDOW.
    image : Image or None
        That it shows.
    scene : Scene
    depsgraph : Depsgraph
    x, y : float
        In the region, from its lower left corner.

    Raises
    ------
    NerfError
        When there is no image, or nobody knows the camera that it was made with.
    """
    if image is None:
        raise NerfError("This Image Editor shows no picture; choose one, such as 'NeRF Preview' or a novel view.")
    across, up = region.view2d.region_to_view(x, y)
    if not (0.0 <= across < 1.0 and 0.0 < up <= 1.0):
        return None
    camera = camera_of_picture(image, scene, depsgraph)
    column, row = _centre(across * camera.width, camera.width), _centre((1.0 - up) * camera.height, camera.height)
    return Aim(camera, (column, row), image.name)


def _centre(at: float, size: int) -> float:
    """The centre of the pixel that holds a coordinate."""
    return float(min(max(int(np.floor(at)), 0), size - 1)) + 0.5
