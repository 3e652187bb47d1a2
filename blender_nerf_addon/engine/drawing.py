"""A picture on the graphics card: its colours drawn over the whole region, and its depth for what Blender draws after.

Blender binds its own depth buffer while an engine draws a viewport, and tests grid, empties, wires and outlines against
what is in it.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gpu
import numpy as np
from gpu_extras.batch import batch_for_shader

from .. import compat

_VERTEX = """
void main()
{
  place = vec2(0.5 + 0.5 * pos.x, 0.5 - 0.5 * pos.y);
  gl_Position = vec4(pos, 0.0, 1.0);
}
"""
# What is behind is put there while drawing: when the world changes nothing need be rendered anew.
_COLOR = """
void main()
{
  vec4 seen = texture(picture, place);
  color = vec4(seen.rgb + (1.0 - seen.a) * world.a * world.rgb, mix(seen.a, 1.0, world.a));
}
"""
# projection: the view's window matrix in its rows and columns 2,2 and 2,3 and 3,2; then where the camera stands.
_DEPTH = """
void main()
{
  if (texture(picture, place).a < 0.5) {
    discard;
  }
  float z = -(texture(distances, place).r + projection.w);
  float w = projection.z == 0.0 ? 1.0 : -z;
  gl_FragDepth = clamp(0.5 + 0.5 * (projection.x * z + projection.y) / w, 0.0, 1.0);
  color = vec4(0.0);
}
"""


@dataclass(frozen=True)
class Pixels:
    """Pixels as the graphics card takes them; made in any thread."""

    width: int
    height: int
    rgba: Any
    depth: Any

    @classmethod
    def of(cls, rgba: np.ndarray, depth: np.ndarray) -> "Pixels":
        """Of (H, W, 4) premultiplied colours and (H, W) depths, top row first."""
        height, width = depth.shape
        return cls(width, height, _buffer(rgba), _buffer(depth))


@dataclass(frozen=True)
class Textures:
    """A picture on the graphics card; making one needs a graphics context."""

    rgba: Any
    depth: Any

    @classmethod
    def of(cls, pixels: Pixels) -> "Textures":
        """New textures of these pixels."""
        size = (pixels.width, pixels.height)
        return cls(
            gpu.types.GPUTexture(size, format="RGBA32F", data=pixels.rgba),
            gpu.types.GPUTexture(size, format="R32F", data=pixels.depth),
        )


_shaders: dict[str, Any] = {}
_batch: Any = None


@contextlib.contextmanager
def into(part: tuple[int, int, int, int] | None) -> Iterator[None]:
    """Have what is drawn fill a part of the region (left, low, width, height in pixels), or all of it."""
    if part is None:
        yield
        return
    whole = gpu.state.viewport_get()
    gpu.state.viewport_set(whole[0] + part[0], whole[1] + part[1], *part[2:])
    try:
        yield
    finally:
        gpu.state.viewport_set(*whole)


def draw(
    textures: Textures, world: tuple[float, float, float] | None, window: Sequence[Sequence[float]], begins: float
) -> None:
    """Draw a picture over the region.

    Parameters
    ----------
    textures : Textures
        Colours are scene-linear and premultiplied, depths are along the viewing axis.
    world : (r, g, b) or None
        What is behind.
    window : (4, 4) matrix
        `RegionView3D.window_matrix`.
    begins : float
        Where the depths count from: the camera's distance in front of the view's own place.
    """
    gpu.state.blend_set("NONE")
    gpu.state.depth_mask_set(False)
    gpu.state.depth_test_set("NONE")
    shader = _shader("color")
    shader.bind()
    shader.uniform_sampler("picture", textures.rgba)
    shader.uniform_float("world", (*world, 1.0) if world is not None else (0.0, 0.0, 0.0, 0.0))
    _corners(shader).draw(shader)

    gpu.state.color_mask_set(False, False, False, False)
    gpu.state.depth_mask_set(True)
    gpu.state.depth_test_set("LESS_EQUAL")  # a mesh in front stays in front
    try:
        shader = _shader("depth")
        shader.bind()
        shader.uniform_sampler("picture", textures.rgba)
        shader.uniform_sampler("distances", textures.depth)
        shader.uniform_float("projection", (window[2][2], window[2][3], window[3][2], begins))
        _corners(shader).draw(shader)
    finally:
        gpu.state.color_mask_set(True, True, True, True)
        gpu.state.depth_mask_set(False)
        gpu.state.depth_test_set("NONE")


def forget() -> None:
    """Let go of what lies on the graphics card."""
    global _batch
    _shaders.clear()
    _batch = None


def _buffer(values: np.ndarray) -> Any:
    return gpu.types.Buffer("FLOAT", values.size, np.ascontiguousarray(values, dtype=np.float32).ravel())


def _shader(kind: str) -> Any:
    if kind not in _shaders:
        info = gpu.types.GPUShaderCreateInfo()
        between = gpu.types.GPUStageInterfaceInfo(f"nerf_{kind}")
        between.smooth("VEC2", "place")
        info.vertex_in(0, "VEC2", "pos")
        info.vertex_out(between)
        info.sampler(0, "FLOAT_2D", "picture")
        if kind == "depth":
            info.sampler(1, "FLOAT_2D", "distances")
            info.push_constant("VEC4", "projection")
            compat.declare_depth_write(info)
        else:
            info.push_constant("VEC4", "world")
        info.fragment_out(0, "VEC4", "color")
        info.vertex_source(_VERTEX)
        info.fragment_source(_DEPTH if kind == "depth" else _COLOR)
        _shaders[kind] = gpu.shader.create_from_info(info)
    return _shaders[kind]


def _corners(shader: Any) -> Any:
    global _batch
    if _batch is None:
        corners = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))
        _batch = batch_for_shader(shader, "TRI_FAN", {"pos": corners})
    return _batch
