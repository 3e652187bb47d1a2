"""The legend of a heat map over a viewport's region, drawn by the engine: its colours are shown as the map's are."""

from typing import Any

import blf
import gpu
import numpy as np
from gpu_extras.batch import batch_for_shader

from .heat_view import Legend

WIDTH, BAR, TEXT = 280, 12, 12  # at an interface scale of 1
PAPER, INK = (0.012, 0.012, 0.014, 0.85), (0.85, 0.85, 0.85, 1.0)

_shader: Any = None


def draw(legend: Legend, size: tuple[int, int], scale: float) -> None:
    """Draw a legend at the lower edge of a region.

    Parameters
    ----------
    legend : Legend
    size : (int, int)
        Of the region, whose framebuffer is bound.
    scale : float
        Of the interface.
    """
    width, bar, text = (round(value * scale) for value in (WIDTH, BAR, TEXT))
    gap = text // 2
    if size[0] < width + 4 * gap or size[1] < 8 * text:
        return
    left, low = (size[0] - width) // 2, 2 * gap
    middle = low + text + gap
    gpu.state.depth_test_set("NONE")
    gpu.state.depth_mask_set(False)
    gpu.state.blend_set("ALPHA")
    _quads(size, [(left - gap, low - gap, left + width + gap, middle + bar + text + 2 * gap)], [PAPER])
    edges = left + np.linspace(0, width, 257)
    colours = np.concatenate([legend.table(), np.ones((256, 1), np.float32)], axis=1)
    _quads(size, [(a, middle, b, middle + bar) for a, b in zip(edges[:-1], edges[1:], strict=True)], colours.tolist())
    _pixel_space(size)
    try:
        top = middle + bar + gap
        _write(legend.title, left, top, text)
        if legend.mean is not None:
            _write(f"on the subject {legend.mean:.3g}", left + width, top, text, 1.0)
        for place, words in legend.ticks():
            _write(words, left + place * width, low, text, place)
    finally:
        gpu.matrix.pop_projection()
        gpu.matrix.pop()
    gpu.state.blend_set("NONE")


def forget() -> None:
    """Let go of what lies on the graphics card."""
    global _shader
    _shader = None


def _write(words: str, x: float, y: float, size: int, align: float = 0.0) -> None:
    """Write with the left end (0), the middle (0.5) or the right end (1) of the words at `x`."""
    blf.size(0, size)
    blf.color(0, *INK)
    blf.position(0, x - align * blf.dimensions(0, words)[0], y, 0)
    blf.draw(0, words)


def _pixel_space(size: tuple[int, int]) -> None:
    gpu.matrix.push()
    gpu.matrix.push_projection()
    gpu.matrix.load_identity()
    width, height = size
    gpu.matrix.load_projection_matrix(
        ((2.0 / width, 0.0, 0.0, -1.0), (0.0, 2.0 / height, 0.0, -1.0), (0.0, 0.0, -1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    )


def _quads(size: tuple[int, int], boxes: list[tuple[float, ...]], colours: Any) -> None:
    """Fill boxes (left, low, right, top in pixels), each with a colour as the framebuffer has it."""
    corners, shades = [], []
    for (left, low, right, top), colour in zip(boxes, colours, strict=True):
        a, b, c, d = (left, low), (right, low), (right, top), (left, top)
        corners += [a, b, c, a, c, d]
        shades += [colour] * 6
    places = (np.array(corners, np.float32) / np.array(size, np.float32) * 2.0 - 1.0).tolist()
    shader = _flat()
    shader.bind()
    batch_for_shader(shader, "TRIS", {"pos": places, "shade": shades}).draw(shader)


def _flat() -> Any:
    global _shader
    if _shader is None:
        info = gpu.types.GPUShaderCreateInfo()
        between = gpu.types.GPUStageInterfaceInfo("nerf_legend")
        between.flat("VEC4", "filled")
        info.vertex_in(0, "VEC2", "pos")
        info.vertex_in(1, "VEC4", "shade")
        info.vertex_out(between)
        info.fragment_out(0, "VEC4", "color")
        info.vertex_source("void main() { filled = shade; gl_Position = vec4(pos, 0.0, 1.0); }")
        info.fragment_source("void main() { color = filled; }")
        _shader = gpu.shader.create_from_info(info)
    return _shader
