"""A captured room for tests and measurements: cameras inside, textured walls, a window and a skylight, no alpha.

Everything is traced analytically: a room of 6 x 5 x 3 m with a tiled floor, three boxes, three balls, and outside of
the openings a ground, houses 12 to 45 m away and a sky. Written as PNGs and a `transforms.json` as instant-ngp has
them, `aabb_scale` 16: its unit cube reaches 1.5 m from the middle of the room, which the walls lie beyond.

    python -m tests.core.room_scene FOLDER [--size 160] [--train 90] [--val 12] [--path walk|round]
"""

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

from nerf_core.contract.camera import Camera, look_at
from nerf_core.data.views import View, Views

LOW, HIGH = np.array([-3.0, -2.5, 0.0]), np.array([3.0, 2.5, 3.0])
MIDDLE = np.array([0.0, 0.0, 1.4])
WINDOW = (np.array([-1.4, 0.8]), np.array([1.4, 2.2]))  # y and z, in the wall at x = 3
SKYLIGHT = (np.array([-1.2, -1.0]), np.array([0.6, 1.0]))  # x and y, in the ceiling
SUN = np.array([0.5, -0.35, 0.79])
BOXES = np.array(
    [
        [[-1.1, 0.6, 0.0], [-0.1, 1.6, 0.7]],
        [[0.7, -1.9, 0.0], [1.3, -0.9, 1.2]],
        [[-2.9, -1.6, 0.0], [-2.3, 0.4, 1.9]],
        [[14.0, -9.0, -1.0], [18.0, -3.0, 6.0]],  # houses
        [[12.0, 3.0, -1.0], [17.0, 7.0, 3.5]],
        [[40.0, -8.0, -1.0], [45.0, 10.0, 14.0]],
    ]
)
BOX_COLORS = np.array(
    [[0.8, 0.5, 0.3], [0.3, 0.5, 0.8], [0.6, 0.4, 0.25], [0.8, 0.6, 0.5], [0.9, 0.85, 0.6], [0.5] * 3]
)
BALLS = np.array([[-0.6, 1.1, 1.0, 0.3], [0.2, -0.6, 0.35, 0.35], [1.9, 1.5, 0.5, 0.5]])  # centre, radius
BALL_COLORS = np.array([[0.9, 0.2, 0.2], [0.2, 0.75, 0.35], [0.9, 0.8, 0.2]])
GROUND = -1.0
FOV = np.radians(72.0)


def camera(index: int, count: int, size: int, path: str = "walk") -> Camera:
    """One of `count` cameras: walking about the room and looking everywhere, or in a ring and looking at its middle."""
    angle = 2.0 * np.pi * index / count
    focal = 0.5 * size / np.tan(0.5 * FOV)
    if path == "round":
        place = np.array([2.0 * np.cos(angle), 1.8 * np.sin(angle), 1.5 + 0.5 * np.sin(5.0 * angle)])
        target = np.array([0.0, 0.1, 0.6])
    else:
        place = np.array([1.0 * np.cos(angle), 0.45 * np.sin(angle), 1.45 + 0.3 * np.sin(3.0 * angle)])
        # The golden angle spreads the views over all directions wherever one is on the way.
        turn, tilt = 2.399963 * index + 0.3, 0.75 * np.sin(1.7 * index + 0.5)
        target = place + (np.cos(turn) * np.cos(tilt), np.sin(turn) * np.cos(tilt), np.sin(tilt))
    return Camera(size, size, focal, focal, 0.5 * size, 0.5 * size, look_at(place, target))


def picture(view: Camera, samples: int = 3) -> np.ndarray:
    """(height, width, 4) uint8 with alpha 255: what the camera sees, the mean of `samples` squared rays a pixel."""
    offsets = (np.arange(samples) + 0.5) / samples
    x, y = np.meshgrid(np.arange(view.width), np.arange(view.height))
    total = np.zeros((view.height * view.width, 3))
    for dx in offsets:
        for dy in offsets:
            pixels = np.stack([x + dx, y + dy], axis=-1).reshape(-1, 2)
            total += radiance(*view.rays(pixels))
    rgba = np.full((view.height, view.width, 4), 255, np.uint8)
    rgba[..., :3] = np.round(255.0 * np.clip(total / samples**2, 0.0, 1.0)).reshape(view.height, view.width, 3)
    return rgba


def radiance(origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """(N, 3) sRGB-encoded colours seen along (N, 3) rays from inside the room."""
    color, nearest = _sky(directions), np.full(len(origins), np.inf)
    for distance, paint in (*_ground(origins, directions), *_walls(origins, directions), *_things(origins, directions)):
        seen = distance < nearest
        if seen.any():
            color[seen] = paint(origins[seen] + distance[seen, None] * directions[seen])
            nearest[seen] = distance[seen]
    return color


def _sky(directions):
    x, y, z = directions.T
    high = np.clip(z, 0.0, 1.0)[:, None] ** 0.6
    color = (1.0 - high) * (0.85, 0.88, 0.9) + high * (0.25, 0.45, 0.85)
    clouds = np.sin(7 * x + 2 * np.sin(5 * y)) * np.sin(6 * y + 1.3) * np.sin(9 * z + 3 * x) + 0.3 * np.sin(
        21 * x - 17 * y
    )
    sun = np.exp(40.0 * (directions @ (SUN / np.linalg.norm(SUN)) - 1.0))[:, None]
    return np.clip(color + 0.35 * np.clip(clouds, 0.0, 1.0)[:, None] + sun * (0.6, 0.5, 0.2), 0.0, 1.0)


def _ground(origins, directions):
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = (GROUND - origins[:, 2]) / directions[:, 2]

    def paint(point):
        stripes = 0.08 * np.sin(0.9 * point[:, :1]) * np.sin(0.7 * point[:, 1:2])
        fade = np.clip(np.linalg.norm(point, axis=1) / 200.0, 0.0, 1.0)[:, None]
        return (1 - fade) * (np.array([0.35, 0.5, 0.25]) + stripes) + fade * np.array([0.85, 0.88, 0.9])

    return [(np.where(distance > 0, distance, np.inf), paint)]


def _walls(origins, directions):
    """The room's six inner faces; where one is open its distance is infinite."""
    found = []
    for axis in range(3):
        for side, bound in enumerate((LOW[axis], HIGH[axis])):
            with np.errstate(divide="ignore", invalid="ignore"):
                distance = (bound - origins[:, axis]) / directions[:, axis]
                point = origins + distance[:, None] * directions
            others = [k for k in range(3) if k != axis]
            at = point[:, others]
            with np.errstate(invalid="ignore"):
                hit = (distance > 0) & (at >= LOW[others] - 1e-9).all(axis=1) & (at <= HIGH[others] + 1e-9).all(axis=1)
                hole = {(0, 1): WINDOW, (2, 1): SKYLIGHT}.get((axis, side))
                if hole is not None:
                    hit &= ~((at > hole[0]) & (at < hole[1])).all(axis=1)
            found.append((np.where(hit, distance, np.inf), _Wall(axis, side, others)))
    return found


class _Wall:
    """The paint of one inner face of the room."""

    def __init__(self, axis: int, side: int, others: list[int]) -> None:
        self.axis, self.side, self.others = axis, side, others

    def __call__(self, point: np.ndarray) -> np.ndarray:
        u, v = point[:, self.others].T
        shade = 0.75 + 0.25 * np.exp(-0.4 * np.linalg.norm(point - (2.0, 0.0, 2.0), axis=1))[:, None]
        if self.axis == 2 and self.side == 0:  # tiles, with joints
            tile = np.floor(u / 0.5) + np.floor(v / 0.5)
            joint = np.minimum(np.abs(u / 0.5 - np.round(u / 0.5)), np.abs(v / 0.5 - np.round(v / 0.5))) < 0.03
            color = np.where((tile % 2 == 0)[:, None], (0.75, 0.7, 0.62), (0.45, 0.4, 0.36))
            color = np.where(joint[:, None], 0.25, color) + 0.04 * np.sin(9 * u + 5 * np.sin(3 * v))[:, None]
        elif self.axis == 2:
            color = np.array([0.9, 0.9, 0.88]) - 0.15 * (np.abs(v / 0.8 - np.round(v / 0.8)) < 0.06)[:, None]
        elif self.axis == 0:  # wallpaper
            color = np.array([0.55, 0.68, 0.6]) + 0.12 * (np.sin(12 * u) * np.sin(12 * v))[:, None] * (1.0, 0.5, -0.6)
        else:  # bricks, and a picture on each wall
            row = np.floor(v / 0.2)
            across = u / 0.45 + 0.5 * (row % 2)
            joint = (np.abs(across - np.round(across)) < 0.04) | (np.abs(v / 0.2 - np.round(v / 0.2)) < 0.08)
            brick = 0.06 * np.sin(37.0 * np.floor(across + 0.5) + 11.0 * row)[:, None]
            color = np.where(joint[:, None], 0.7, np.array([0.66, 0.36, 0.28]) + brick)
            framed = (np.abs(u - 0.4) < 0.9) & (np.abs(v - 1.7) < 0.55)
            art = 0.5 + 0.4 * np.stack(
                [np.sin(5 * u + 3 * self.side), np.sin(6 * v + u * u), np.cos(4 * u - 7 * v)], axis=-1
            )
            color = np.where(framed[:, None], art, color)
        return np.clip(color * shade, 0.0, 1.0)


def _things(origins, directions):
    found = []
    for center, radius, base in zip(BALLS[:, :3], BALLS[:, 3], BALL_COLORS, strict=True):
        offset = origins - center
        middle = -np.sum(offset * directions, axis=1)
        inside = radius**2 - (np.sum(offset * offset, axis=1) - middle**2)
        distance = middle - np.sqrt(np.maximum(inside, 0.0))
        hit = (inside > 0) & (distance > 0)

        def ball(point, center=center, radius=radius, base=base):
            normal = (point - center) / radius
            bands = 0.85 + 0.15 * np.sign(np.sin(9 * normal[:, 2:] + 2 * normal[:, :1]))
            return base * bands * (0.55 + 0.45 * np.clip(normal @ SUN, 0.0, 1.0))[:, None]

        found.append((np.where(hit, distance, np.inf), ball))
    for (low, high), base in zip(BOXES, BOX_COLORS, strict=True):
        with np.errstate(divide="ignore", invalid="ignore"):
            a, b = (low - origins) / directions, (high - origins) / directions
        near, far = np.minimum(a, b).max(axis=1), np.maximum(a, b).min(axis=1)

        def box(point, low=low, high=high, base=base):
            place = (point - low) / (high - low)
            face = np.abs(place - 0.5)
            axis = face.argmax(axis=1)
            windows = np.sin(np.pi * 6 * place).prod(axis=1, where=np.arange(3) != axis[:, None])
            light = np.array([0.75, 0.6, 1.0])[axis][:, None]
            return np.clip(base * light * (1.0 - 0.35 * (windows > 0.25))[:, None], 0.0, 1.0)

        found.append((np.where((near < far) & (near > 0), near, np.inf), box))
    return found


def views(count: int, size: int, path: str = "walk", samples: int = 2) -> Views:
    """Posed images in memory."""
    cameras = [camera(i, count, size, path) for i in range(count)]
    return Views([View(f"{i:04}.png", c, picture(c, samples)) for i, c in enumerate(cameras)], "srgb", False)


def write_dataset(
    folder: Path, train: int = 24, val: int = 3, size: int = 48, path: str = "walk", samples: int = 2
) -> Path:
    """The same as files, as instant-ngp has them; returns the folder. Held-out views lie between training views."""
    (folder / "images").mkdir(parents=True)
    frames, held_out = [], []
    for split, count in (("train", train), ("val", val)):
        for i in range(count):
            view = camera(i, count, size, path)
            if split == "val":
                view = camera((i * train) // val + 0.5, train, size, path)
            name = f"images/{split}_{i:04}.png"
            Image.fromarray(picture(view, samples)[..., :3]).save(folder / name)
            frames.append({"file_path": name, "transform_matrix": view.c2w.tolist()})
            if split == "val":
                held_out.append(name)
    document = {
        "w": size, "h": size, "fl_x": view.fl_x, "fl_y": view.fl_y, "cx": view.cx, "cy": view.cy,
        "aabb_scale": 16, "scale": 0.33, "offset": (0.5 - 0.33 * MIDDLE).tolist(),
        "train_filenames": [frame["file_path"] for frame in frames if frame["file_path"] not in held_out],
        "val_filenames": held_out,
        "frames": frames,
    }  # fmt: skip
    (folder / "transforms.json").write_text(json.dumps(document, indent=1))
    return folder


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--train", type=int, default=90)
    parser.add_argument("--val", type=int, default=12)
    parser.add_argument("--path", choices=("walk", "round"), default="walk")
    arguments = parser.parse_args()
    write_dataset(arguments.folder, arguments.train, arguments.val, arguments.size, arguments.path, samples=3)


if __name__ == "__main__":
    _main()
