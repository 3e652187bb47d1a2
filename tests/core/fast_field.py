"""What the fast method's tests share: small fields, random inputs, and a ball that is rendered analytically."""

import numpy as np

from nerf_core.contract.camera import Camera, look_at
from nerf_core.contract.lens import Distortion
from nerf_core.data.views import View, Views
from nerf_core.fields.hash_grid import FastSettings
from nerf_core.methods.base import Normalisation

from ..seeds import fresh_seed as fresh_seed

BOUNDS = np.array([[-1.0, -1.0, -0.5], [1.0, 1.0, 1.0]])
NORMALISATION = Normalisation(BOUNDS)
BALL_CENTRE = np.array([0.2, -0.1, 0.3])
BALL_RADIUS = 0.5

SMALL = FastSettings(
    levels=4,
    base_resolution=4,
    max_resolution=32,
    log2_table_size=11,
    occupancy_resolution=16,
    ray_steps=64,
    density_width=32,
    color_width=48,
)
"""Two dense and two hashed levels, widths that differ, few samples."""


def random_parameters(layout, generator, table=0.5, density_shift=0.0) -> dict[str, np.ndarray]:
    """Parameters that are far from zero everywhere, so that every path carries a gradient."""
    parameters = layout.initial(int(generator.integers(2**31)))
    parameters["table"] = generator.uniform(-table, table, layout.shapes["table"]).astype(np.float32)
    parameters["density_1"][:, 0] += np.float32(density_shift)
    return parameters


def state_arrays(backend, parameters) -> dict[str, np.ndarray]:
    """The backend's own state with other parameters."""
    return {**backend.arrays(), **{f"params/{name}": array for name, array in parameters.items()}}


def random_rays(generator, count) -> tuple[np.ndarray, np.ndarray]:
    """Unit-cube rays from around the cube towards points in it; about one in eight misses everything."""
    origins = generator.normal(size=(count, 3))
    origins = 0.5 + 1.5 * origins / np.linalg.norm(origins, axis=1, keepdims=True)
    directions = generator.uniform(0, 1, (count, 3)) - origins
    directions[::8] *= -1
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return origins.astype(np.float32), directions.astype(np.float32)


def ball_rgba(camera: Camera) -> np.ndarray:
    """(H, W, 4) uint8: an opaque ball coloured by its normal, on transparent, straight alpha."""
    origins, directions = camera.rays()
    offset = origins - BALL_CENTRE
    b = (offset * directions).sum(-1)
    c = (offset**2).sum(-1) - BALL_RADIUS**2
    inside = b * b - c
    hit = inside > 0
    t = -b - np.sqrt(np.where(hit, inside, 0))
    normal = (offset + t[..., None] * directions) / BALL_RADIUS
    rgba = np.zeros((*hit.shape, 4))
    rgba[..., :3] = 0.5 + 0.4 * normal
    rgba[..., 3] = 1
    return np.round(255 * rgba * hit[..., None]).astype(np.uint8)


def ball_views(count: int, size: int, phase: float = 0.0) -> Views:
    """Views of the ball from a Fibonacci sphere: pinholes of two sizes, a distorted lens, and orthographic ones."""
    views = []
    for index in range(count):
        height = 1 - 2 * (index + 0.5) / count
        angle = 2.399963 * index + phase
        side = np.sqrt(1 - height * height)
        c2w = look_at(3.0 * np.array([side * np.cos(angle), side * np.sin(angle), height]), np.array([0, 0, 0.25]))
        w, h = (size, size) if index % 3 else (size + 8, size - 4)
        common = {"width": w, "height": h, "cx": w / 2 + 0.5, "cy": h / 2, "c2w": c2w}
        if index % 5 == 1:
            lens = Distortion(k1=0.1, k2=-0.02, p1=0.005)
            camera = Camera(fl_x=1.4 * size, fl_y=1.4 * size, distortion=lens, **common)
        elif index % 5 == 3:
            camera = Camera(fl_x=size / 2.2, fl_y=size / 2.2, kind="orthographic", **common)
        else:
            camera = Camera(fl_x=1.4 * size, fl_y=1.5 * size, **common)
        views.append(View(f"view {index}", camera, ball_rgba(camera)))
    return Views(views, "srgb", True)


def view_psnr(method, views: Views) -> float:
    """Mean over views, of premultiplied colour and alpha together."""
    values = []
    for view in views.views:
        origins, directions = view.camera.rays()
        rgba = method.render_rays(origins.reshape(-1, 3), directions.reshape(-1, 3)).rgba
        truth = view.rgba.reshape(-1, 4) / 255.0
        truth[:, :3] *= truth[:, 3:]
        values.append(-10 * np.log10(np.mean((rgba - truth) ** 2)))
    return float(np.mean(values))
