"""The overlay on the graphics card: shaders and batches of the shapes, drawn into viewports. Batches are made once."""

from dataclasses import dataclass
from typing import Any

import gpu
import numpy as np
from mathutils import Matrix

from .shapes import Discs, Vertices, band_triangles

# Where a vertex appears, moved in pixels along its ray as it is seen and across it. What is behind the eye keeps its
# sense, so that a band that goes past the eye is cut where it should be.
_PLACE = """
vec4 placed()
{
  vec4 place = matrix * vec4(position, 1.0);
  vec4 slope = matrix * vec4(direction, 0.0);
  vec2 way = (slope.xy * place.w - place.xy * slope.w) * viewport.xy;
  float size = length(way);
  way = size > 1e-9 ? way / size : vec2(1.0, 0.0);
  vec2 moved = way * offset.x + vec2(-way.y, way.x) * offset.y;
  place.xy += moved * viewport.z * 2.0 / viewport.xy * place.w;
  return place;
}
"""
_BAND_VERTEX = (
    _PLACE
    + """
void main()
{
  tint = color;
  gl_Position = placed();
}
"""
)
# Blender sets `srgbTarget`, by its name, where what is drawn into wants linear values.
_TARGET = """
vec4 shown(vec3 encoded, float alpha)
{
  vec3 low = encoded / 12.92;
  vec3 high = pow((max(encoded, vec3(0.0)) + 0.055) / 1.055, vec3(2.4));
  return vec4(srgbTarget ? mix(low, high, step(vec3(0.04045), encoded)) : encoded, alpha * viewport.w);
}
"""
_BAND_FRAGMENT = (
    _TARGET
    + """
void main()
{
  result = shown(tint.rgb, tint.a);
}
"""
)
# A square about the place that stands upright on the screen: points have no sizes of their own everywhere.
_DISC_VERTEX = (
    _PLACE
    + """
void main()
{
  tint = color;
  shape = vec2(0.5 * disc.z * viewport.z + 1.0, disc.w);
  spot = disc.xy * shape.x;
  gl_Position = placed();
  gl_Position.xy += spot * 2.0 / viewport.xy * gl_Position.w;
}
"""
)
# A rim for contrast, dark about a bright colour and the other way round; a small disc has a thin and fainter one.
_DISC_FRAGMENT = (
    _TARGET
    + """
void main()
{
  float inside = shape.x - 1.0 - length(spot);
  float cover = clamp(inside + 1.0, 0.0, 1.0);
  float bright = dot(tint.rgb, vec3(0.299, 0.587, 0.114)) > 0.5 ? 1.0 : 0.0;
  float width = clamp(0.25 * shape.x, 0.7, 2.4);
  float rim = clamp(width - inside, 0.0, 1.0) * clamp(0.12 * shape.x, 0.3, 1.0);
  vec3 seen = mix(tint.rgb, vec3(1.0 - bright), rim);
  float alpha = tint.a;
  if (shape.y < 0.5) {
    seen = vec3(0.92);
    alpha = 0.85 * clamp(1.8 - inside, 0.0, 1.0);
  }
  result = shown(seen, alpha * cover);
}
"""
)

_PLAIN = {"position": 3, "direction": 3, "offset": 2, "color": 4}
_ATTRIBUTES = {"band": _PLAIN, "disc": {**_PLAIN, "disc": 4}}  # the last: corner, diameter, whether it is filled
_CORNERS = np.array([(-1, -1), (1, -1), (-1, 1), (1, 1)], dtype=np.float32)

_shaders: dict[str, Any] = {}


@dataclass(frozen=True)
class Batch:
    """Vertices on the graphics card, with the shader that draws them."""

    batch: Any
    shader: Any
    count: int


def band_batch(vertices: Vertices) -> Batch | None:
    """Bands of four vertices each; needs a graphics context. None for none."""
    if not len(vertices):
        return None
    triangles = gpu.types.GPUIndexBuf(type="TRIS", seq=band_triangles(len(vertices) // 4))
    return _batch("band", "TRIS", _filled("band", vertices), triangles, len(vertices))


def line_batch(vertices: Vertices) -> Batch | None:
    """Lines of two vertices each, a pixel wide."""
    if not len(vertices):
        return None
    return _batch("band", "LINES", _filled("band", vertices), None, len(vertices))


def disc_batch(discs: Discs) -> Batch | None:
    """A disc at each vertex."""
    count = len(discs.size)
    if not count:
        return None
    four = Vertices(*(np.repeat(getattr(discs.vertices, name), 4, axis=0) for name in Vertices.__dataclass_fields__))
    shape = np.empty((count, 4, 4), dtype=np.float32)
    shape[..., :2] = _CORNERS
    shape[..., 2], shape[..., 3] = discs.size[:, None], discs.filled[:, None]
    triangles = gpu.types.GPUIndexBuf(type="TRIS", seq=band_triangles(count))
    return _batch("disc", "TRIS", _filled("disc", four, shape.reshape(-1, 4)), triangles, 4 * count)


def draw(batch: Batch | None, matrix: Matrix, size: tuple[int, int], scale: float, opacity: float = 1.0) -> None:
    """Draw a batch.

    Parameters
    ----------
    batch : Batch or None
    matrix : (4, 4) Matrix
        World to clip space.
    size : (int, int)
        The region's, in pixels.
    scale : float
        Pixels of the screen per pixel of the offsets.
    opacity : float
    """
    if batch is None:
        return
    batch.shader.bind()
    batch.shader.uniform_float("matrix", matrix)
    batch.shader.uniform_float("viewport", (*size, scale, opacity))
    batch.batch.draw(batch.shader)


def forget() -> None:
    """Let go of what lies on the graphics card."""
    _shaders.clear()


def _batch(kind: str, primitive: str, buffer: Any, elements: Any, count: int) -> Batch:
    more = {} if elements is None else {"elem": elements}
    return Batch(gpu.types.GPUBatch(type=primitive, buf=buffer, **more), _shader(kind), count)


def _filled(kind: str, vertices: Vertices, shape: np.ndarray | None = None) -> Any:
    """A vertex buffer in the shader's own format; numpy arrays go in whole."""
    form = gpu.types.GPUVertFormat()
    for name, length in _ATTRIBUTES[kind].items():
        form.attr_add(id=name, comp_type="F32", len=length, fetch_mode="FLOAT")
    buffer = gpu.types.GPUVertBuf(form, len(vertices))
    for name in _ATTRIBUTES[kind]:
        values = shape if name == "disc" else getattr(vertices, name)
        buffer.attr_fill(name, np.ascontiguousarray(values, dtype=np.float32))
    return buffer


def _shader(kind: str) -> Any:
    if kind not in _shaders:
        info = gpu.types.GPUShaderCreateInfo()
        between = gpu.types.GPUStageInterfaceInfo(f"nerf_inspect_{kind}")
        between.smooth("VEC4", "tint")
        for slot, (name, length) in enumerate(_ATTRIBUTES[kind].items()):
            info.vertex_in(slot, f"VEC{length}", name)
        if kind == "disc":
            between.smooth("VEC2", "spot")
            between.flat("VEC2", "shape")
        info.vertex_out(between)
        info.push_constant("MAT4", "matrix")
        info.push_constant("VEC4", "viewport")  # width, height, scale, opacity
        info.push_constant("BOOL", "srgbTarget")
        info.fragment_out(0, "VEC4", "result")
        info.vertex_source(_BAND_VERTEX if kind == "band" else _DISC_VERTEX)
        info.fragment_source(_BAND_FRAGMENT if kind == "band" else _DISC_FRAGMENT)
        _shaders[kind] = gpu.shader.create_from_info(info)
    return _shaders[kind]
