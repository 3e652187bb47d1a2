"""A field that is known exactly: balls of even density and colour, with what rays see of them in closed form."""

from dataclasses import dataclass

import numpy as np

from nerf_core.methods.base import Method, MethodState, Normalisation, RayColors, StepStats

SOFTNESS = 0.01


@dataclass(frozen=True)
class Ball:
    center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    radius: float = 0.5
    color: tuple[float, float, float] = (0.8, 0.4, 0.2)


class Balls(Method):
    """Balls that do not touch each other, in a box; see `Method`."""

    name = "balls"
    backend = "numpy"

    def __init__(self, *balls: Ball, density: float = 1e4, bounds=((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))) -> None:
        self.balls, self.density = balls or (Ball(),), density
        self.normalisation = Normalisation(np.array(bounds))

    def render_rays(self, origins, directions, limits=None, sampler=None, true_depth=None) -> RayColors:
        origins, directions = np.asarray(origins, np.float64), np.asarray(directions, np.float64)
        limits = np.array([[0.0, np.inf]]) if limits is None else np.asarray(limits)
        pieces = []
        for ball in self.balls:
            offset = origins - ball.center
            middle = -np.sum(offset * directions, axis=-1)
            half = np.sqrt(np.maximum(ball.radius**2 - (np.sum(offset * offset, axis=-1) - middle**2), 0.0))
            near, far = np.maximum(middle - half, limits[:, 0]), np.minimum(middle + half, limits[:, 1])
            near, far = np.maximum(near, 0.0), np.maximum(far, near)
            pieces.append((near, far, np.array(ball.color)))
        rgba, distance = np.zeros((len(origins), 4)), np.zeros(len(origins))
        for near, far, color in sorted(pieces, key=lambda piece: float(np.median(piece[0]))):
            length = far - near
            through = np.exp(-self.density * length)
            # The mean place of what an even density stops, seen from where it begins.
            mean = np.where(length > 0, 1 / self.density - length * through / np.maximum(1 - through, 1e-12), 0.0)
            weight = (1 - rgba[:, 3]) * (1 - through)
            rgba += weight[:, None] * np.append(color, 1.0)
            distance += weight * (near + mean)
        depth = np.where(rgba[:, 3] > 0, distance / np.maximum(rgba[:, 3], 1e-12), 0.0)
        return RayColors(rgba.astype(np.float32), depth.astype(np.float32), len(origins))

    def query_density(self, points):
        """With edges as soft as those of a trained field."""
        depths = [ball.radius - np.linalg.norm(points - np.array(ball.center), axis=-1) for ball in self.balls]
        inside = 1.0 / (1.0 + np.exp(np.clip(-np.max(depths, axis=0) / SOFTNESS, -50, 50)))
        return (self.density * inside).astype(np.float32)

    def query_color(self, points, directions):
        return np.tile(np.float32(self.balls[0].color), (len(points), 1))

    def load_views(self, views) -> None: ...

    def train_step(self, progress: float) -> StepStats:
        raise NotImplementedError

    def trace_rays(self, origins, directions, sampler=None, true_depth=None):
        raise NotImplementedError

    def state(self) -> MethodState:
        return MethodState()

    def load_state(self, state) -> None: ...
