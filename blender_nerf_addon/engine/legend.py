"""The legend of a heat map over a viewport's region.

The engine draws its bar, so that its colours are shown as the map's are, through the scene's view transform. Words can
be drawn only after that, by a handler.
"""

from typing import Any

import blf
import gpu
import numpy as np
from gpu_extras.batch import batch_for_shader

from .heat_view import Legend

WIDTH, BAR, TEXT = 300, 12, 12  # at an interface scale of 1
PAPER, INK = (0.01, 0.01, 0.012, 0.95), (0.93, 0.93, 0.93, 1.0)

_shader: Any = None


class _Layout:
    """Where things are, in pixels; `fits` says whether there is room."""

    def __init__(self, size: tuple[int, int], scale: float) -> None:
        self.width, self.bar, self.text = (round(value * scale) for value in (WIDTH, BAR, TEXT))
        self.gap = self.text // 2
        self.fits = size[0] >= self.width + 4 * self.gap and size[1] >= 8 * self.text
        self.left, self.low = (size[0] - self.width) // 2, 3 * self.gap
        self.middle = self.low + self.text + self.gap
        self.top = self.middle + self.bar + self.gap


def covered(size: tuple[int, int], scale: float) -> tuple[float, float]:
    """The left edge of a legend in a region, and how high it reaches; it has no place in a small one: its width, 0.

    Parameters
    ----------
    size : (int, int)
        Of the region.
    scale : float
        Of the interface.
    """
    at = _Layout(size, scale)
    left, _, _, top = _paper(at)
    return (left, top) if at.fits else (size[0], 0)


def draw_bar(legend: Legend, size: tuple[int, int], scale: float) -> None:
    """Draw a legend's bar at the lower edge of a region whose framebuffer is bound.

    Parameters
    ----------
    legend : Legend
    size : (int, int)
        Of the region.
    scale : float
        Of the interface.
    """
    at = _Layout(size, scale)
    if not at.fits:
        return
    gpu.state.depth_test_set("NONE")
    gpu.state.depth_mask_set(False)
    gpu.state.blend_set("ALPHA")
    _quads(size, [_paper(at)], [PAPER])
    edges = at.left + np.linspace(0, at.width, 257)
    colours = np.concatenate([legend.table(), np.ones((256, 1), np.float32)], axis=1)
    boxes = [(a, at.middle, b, at.middle + at.bar) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    _quads(size, boxes, colours.tolist())
    gpu.state.blend_set("NONE")


def draw_words(legend: Legend, size: tuple[int, int], scale: float) -> None:
    """Draw a legend's words, in a region's pixel space."""
    at = _Layout(size, scale)
    if not at.fits:
        return
    _write(legend.title, at.left, at.top, at.text)
    if legend.mean is not None:
        _write(f"on the subject {legend.mean:.3g}", at.left + at.width, at.top, at.text, 1.0)
    for place, words in legend.ticks():
        _write(words, at.left + place * at.width, at.low, at.text, place)


def forget() -> None:
    """Let go of what lies on the graphics card."""
    global _shader
    _shader = None


def _paper(at: _Layout) -> tuple[float, float, float, float]:
    return at.left - 2 * at.gap, at.low - at.gap, at.left + at.width + 2 * at.gap, at.top + at.text + at.gap


def _write(words: str, x: float, y: int, size: int, align: float = 0.0) -> None:
    """Write with the left end (0), the middle (0.5) or the right end (1) of the words at `x`."""
    blf.size(0, size)
    blf.color(0, *INK)
    blf.position(0, x - align * blf.dimensions(0, words)[0], y, 0)
    blf.draw(0, words)


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
