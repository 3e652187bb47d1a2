"""Puts a drawing of shapes on the graphics card once, and draws it into whatever region or picture is bound."""

from typing import Any

import blf
import gpu
import numpy as np
from gpu_extras.batch import batch_for_shader
from mathutils import Matrix

from .plot_shapes import Shapes, Text

FONT = 0  # Blender's interface font


def measure(text: str, size: float) -> float:
    """How wide a text is in Blender's interface font, in pixels."""
    blf.size(FONT, size)
    return blf.dimensions(FONT, text)[0]


class Drawing:
    """Shapes as batches; making one needs a graphics context, as drawing does.

    Parameters
    ----------
    shapes : Shapes
    """

    def __init__(self, shapes: Shapes) -> None:
        self._texts: list[Text] = shapes.texts
        self._batches: list[tuple[Any, float | None, Any]] = []
        for number in sorted(shapes.layers):
            layer = shapes.layers[number]
            if layer.corners:
                shader = gpu.shader.from_builtin("SMOOTH_COLOR")
                self._add(shader, "TRIS", layer.corners, layer.corner_colors, None)
            for width in layer.ends:
                shader = gpu.shader.from_builtin("POLYLINE_SMOOTH_COLOR")
                self._add(shader, "LINES", layer.ends[width], layer.end_colors[width], width)

    def _add(self, shader: Any, kind: str, places: list[Any], colors: list[Any], width: float | None) -> None:
        flat = np.concatenate(places)
        deep = np.zeros((len(flat), 3), dtype=np.float32)  # the line shaders want three coordinates
        deep[:, :2] = flat
        attributes = {"pos": deep, "color": np.ascontiguousarray(np.concatenate(colors), dtype=np.float32)}
        self._batches.append((shader, width, batch_for_shader(shader, kind, attributes)))

    def draw(self, width: int, height: int, left: float = 0.0, low: float = 0.0) -> None:
        """Draw into what is bound, in its pixels.

        Parameters
        ----------
        width, height : int
            Of the viewport that is bound.
        left, low : float
            By how much the drawing is moved.
        """
        gpu.state.blend_set("ALPHA")
        gpu.state.depth_test_set("NONE")
        with gpu.matrix.push_pop():
            gpu.matrix.translate((left, low))
            for shader, thickness, batch in self._batches:
                shader.bind()
                if thickness is not None:
                    shader.uniform_float("viewportSize", (float(width), float(height)))
                    shader.uniform_float("lineWidth", thickness)
                batch.draw(shader)
        gpu.state.blend_set("NONE")
        for text in self._texts:
            blf.size(FONT, text.size)
            blf.color(FONT, *text.color)
            x = text.x + left
            if text.anchor != "left":
                x -= blf.dimensions(FONT, text.text)[0] * (0.5 if text.anchor == "center" else 1.0)
            blf.position(FONT, round(x), round(text.y + low), 0.0)
            blf.draw(FONT, text.text)


def pixels(shapes: Shapes, width: int, height: int) -> np.ndarray:
    """A drawing as (H, W, 4) bytes, the lowest row first, drawn off the screen.

    Raises
    ------
    SystemError, RuntimeError
        When Blender has no graphics here.
    """
    target = gpu.types.GPUOffScreen(width, height)
    try:
        with target.bind():
            frame = gpu.state.active_framebuffer_get()
            frame.clear(color=(0.0, 0.0, 0.0, 1.0))
            with gpu.matrix.push_pop(), gpu.matrix.push_pop_projection():
                gpu.matrix.load_matrix(Matrix.Identity(4))
                gpu.matrix.load_projection_matrix(_pixel_projection(width, height))
                Drawing(shapes).draw(width, height)
            buffer = frame.read_color(0, 0, width, height, 4, 0, "UBYTE")
        buffer.dimensions = width * height * 4
        return np.array(buffer, dtype=np.uint8).reshape(height, width, 4)
    finally:
        target.free()


def _pixel_projection(width: int, height: int) -> Matrix:
    """Pixels from the lower left corner to the screen's unit cube."""
    return Matrix(
        ((2.0 / width, 0.0, 0.0, -1.0), (0.0, 2.0 / height, 0.0, -1.0), (0.0, 0.0, -0.01, 0.0), (0.0, 0.0, 0.0, 1.0))
    )
