"""A picture on the graphics card: its colours among the meshes over the whole region, and the depth of both.

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
from .meshes import NOTHING

_VERTEX = """
void main()
{
  place = vec2(0.5 + 0.5 * pos.x, 0.5 - 0.5 * pos.y);
  gl_Position = vec4(pos, 0.0, 1.0);
}
"""
# How deep a picture's pixel lies, as in Blender's depth buffer; 2 where it is transparent. Between texels the
# transparent ones do not count: they have no distance.
# projection: the view's window matrix in its rows and columns 2,2 and 2,3 and 3,2; then where the camera stands.
_DEEP = """
float deep()
{
  ivec2 size = textureSize(distances, 0);
  vec2 at = place * vec2(size) - 0.5;
  vec2 part = fract(at);
  float sum = 0.0;
  float weights = 0.0;
  for (int i = 0; i < 4; i++) {
    ivec2 off = ivec2(i % 2, i / 2);
    ivec2 texel = clamp(ivec2(floor(at)) + off, ivec2(0), size - 1);
    vec2 near = mix(1.0 - part, part, vec2(off));
    float weight = near.x * near.y * texelFetch(picture, texel, 0).a;
    sum += weight * texelFetch(distances, texel, 0).r;
    weights += weight;
  }
  if (weights <= 0.0) {
    return 2.0;
  }
  float z = -(sum / weights + projection.w);
  float w = projection.z == 0.0 ? 1.0 : -z;
  return clamp(0.5 + 0.5 * (projection.x * z + projection.y) / w, 0.0, 1.0);
}

vec4 mesh()
{
  return texelFetch(meshes, min(ivec2(gl_FragCoord.xy), textureSize(meshes, 0) - 1), 0);  // of the whole region
}
"""
# What is behind is put there while drawing: when the world or a mesh changes nothing need be rendered anew.
_COLOR = """
void main()
{
  vec4 seen = texture(picture, place);
  vec4 solid = mesh();
  vec4 behind = solid.a > 1.0 ? vec4(world.a * world.rgb, world.a) : vec4(solid.rgb, 1.0);
  if (solid.a < deep()) {
    seen = vec4(0.0);
  }
  color = seen + (1.0 - seen.a) * behind;
}
"""
# Blender's own depth of a mesh, which it has to the last bit, goes before ours.
_DEPTH = """
void main()
{
  float depth = mesh().a + 2.5e-7;
  if (texture(picture, place).a >= 0.5) {
    depth = min(depth, deep());
  }
  if (depth > 1.0) {
    discard;
  }
  gl_FragDepth = depth;
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
_nothing: list[tuple[Textures, Any]] = []
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
    textures: Textures | None,
    meshes: Any | None,
    world: tuple[float, float, float] | None,
    window: Sequence[Sequence[float]],
    begins: float,
) -> None:
    """Draw a picture over the region.

    Parameters
    ----------
    textures : Textures or None
        Colours are scene-linear and premultiplied, depths are along the viewing axis. None is a transparent picture.
    meshes : GPUTexture or None
        What `meshes.Meshes.picture` gave.
    world : (r, g, b) or None
        What is behind.
    window : (4, 4) matrix
        `RegionView3D.window_matrix`.
    begins : float
        Where the depths count from: the camera's distance in front of the view's own place.
    """
    textures, meshes = textures or _blank()[0], meshes or _blank()[1]
    gpu.state.blend_set("NONE")
    gpu.state.depth_mask_set(False)
    gpu.state.depth_test_set("NONE")
    projection = (window[2][2], window[2][3], window[3][2], begins)
    shader = _bound("color", textures, meshes, projection)
    shader.uniform_float("world", (*world, 1.0) if world is not None else (0.0, 0.0, 0.0, 0.0))
    _corners(shader).draw(shader)

    gpu.state.color_mask_set(False, False, False, False)
    gpu.state.depth_mask_set(True)
    gpu.state.depth_test_set("LESS_EQUAL")  # what is in front stays in front
    try:
        shader = _bound("depth", textures, meshes, projection)
        _corners(shader).draw(shader)
    finally:
        gpu.state.color_mask_set(True, True, True, True)
        gpu.state.depth_mask_set(False)
        gpu.state.depth_test_set("NONE")


def forget() -> None:
    """Let go of what lies on the graphics card."""
    global _batch
    _shaders.clear()
    _nothing.clear()
    _batch = None


def _buffer(values: np.ndarray) -> Any:
    return gpu.types.Buffer("FLOAT", values.size, np.ascontiguousarray(values, dtype=np.float32).ravel())


def _blank() -> tuple[Textures, Any]:
    """A transparent picture, and a picture of no mesh."""
    if not _nothing:
        pixel = np.zeros((1, 1, 4), dtype=np.float32)
        no_mesh = gpu.types.GPUTexture((1, 1), format="RGBA32F", data=_buffer(pixel + (0.0, 0.0, 0.0, NOTHING)))
        _nothing.append((Textures.of(Pixels.of(pixel, pixel[..., 0])), no_mesh))
    return _nothing[0]


def _bound(kind: str, textures: Textures, meshes: Any, projection: tuple[float, float, float, float]) -> Any:
    shader = _shader(kind)
    shader.bind()
    shader.uniform_sampler("picture", textures.rgba)
    shader.uniform_sampler("distances", textures.depth)
    shader.uniform_sampler("meshes", meshes)
    shader.uniform_float("projection", projection)
    return shader


def _shader(kind: str) -> Any:
    if kind not in _shaders:
        info = gpu.types.GPUShaderCreateInfo()
        between = gpu.types.GPUStageInterfaceInfo(f"nerf_{kind}")
        between.smooth("VEC2", "place")
        info.vertex_in(0, "VEC2", "pos")
        info.vertex_out(between)
        for slot, name in enumerate(("picture", "distances", "meshes")):
            info.sampler(slot, "FLOAT_2D", name)
        info.push_constant("VEC4", "projection")
        if kind == "depth":
            compat.declare_depth_write(info)
        else:
            info.push_constant("VEC4", "world")
        info.fragment_out(0, "VEC4", "color")
        info.vertex_source(_VERTEX)
        info.fragment_source(_DEEP + (_DEPTH if kind == "depth" else _COLOR))
        _shaders[kind] = gpu.shader.create_from_info(info)
    return _shaders[kind]


def _corners(shader: Any) -> Any:
    global _batch
    if _batch is None:
        corners = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))
        _batch = batch_for_shader(shader, "TRI_FAN", {"pos": corners})
    return _batch
