"""A picture on the graphics card: one texture, drawn over the whole region."""

from typing import Any

import gpu
import numpy as np
from gpu_extras.batch import batch_for_shader

_VERTEX = """
void main()
{
  place = vec2(0.5 + 0.5 * pos.x, 0.5 - 0.5 * pos.y);
  gl_Position = vec4(pos, 0.0, 1.0);
}
"""
# What is behind is put there while drawing: when the world changes nothing need be rendered anew.
_FRAGMENT = """
void main()
{
  vec4 seen = texture(picture, place);
  color = vec4(seen.rgb + (1.0 - seen.a) * world.a * world.rgb, mix(seen.a, 1.0, world.a));
}
"""

_shader: Any = None
_batch: Any = None


def pixel_buffer(rgba: np.ndarray) -> Any:
    """Pixels as the graphics card takes them, made in any thread: (H, W, 4) float32, top row first."""
    return gpu.types.Buffer("FLOAT", rgba.size, np.ascontiguousarray(rgba, dtype=np.float32).ravel())


def texture(width: int, height: int, buffer: Any) -> Any:
    """A new texture of a `pixel_buffer`; needs a graphics context."""
    return gpu.types.GPUTexture((width, height), format="RGBA32F", data=buffer)


def draw(picture: Any, world: tuple[float, float, float] | None) -> None:
    """Draw a texture of premultiplied scene-linear pixels over the region, with the world's colour behind."""
    shader, batch = _prepared()
    gpu.state.blend_set("NONE")
    shader.bind()
    shader.uniform_sampler("picture", picture)
    shader.uniform_float("world", (*world, 1.0) if world is not None else (0.0, 0.0, 0.0, 0.0))
    batch.draw(shader)


def _prepared() -> tuple[Any, Any]:
    global _shader, _batch
    if _shader is None:
        info = gpu.types.GPUShaderCreateInfo()
        between = gpu.types.GPUStageInterfaceInfo("nerf_picture")
        between.smooth("VEC2", "place")
        info.vertex_in(0, "VEC2", "pos")
        info.vertex_out(between)
        info.push_constant("VEC4", "world")
        info.sampler(0, "FLOAT_2D", "picture")
        info.fragment_out(0, "VEC4", "color")
        info.vertex_source(_VERTEX)
        info.fragment_source(_FRAGMENT)
        _shader = gpu.shader.create_from_info(info)
        corners = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))
        _batch = batch_for_shader(_shader, "TRI_FAN", {"pos": corners})
    return _shader, _batch


def forget() -> None:
    """Let go of what lies on the graphics card."""
    global _shader, _batch
    _shader = _batch = None
