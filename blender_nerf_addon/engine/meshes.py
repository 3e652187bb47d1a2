"""The scene's meshes for the viewport, shaded simply: Blender itself draws none where another program renders.

They are drawn into a picture of their own: colours, and how deep each pixel lies. `drawing` puts it and the NeRF
together.
"""

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import bpy
import gpu
import numpy as np
from mathutils import Matrix

from .materials import surface_color

BUILD_SECONDS = 0.03  # on meshes new to the graphics card, a drawing
MOST_TRIANGLES = 1_000_000  # of one mesh; larger ones are shown as their bounding box
MOST_PLACES = 5_000  # meshes and instances in all
NOTHING = 2.0  # how deep a pixel without a mesh lies; 0 is the view's beginning, 1 its end

# The projection's rows, without what is always 0; beyond 128 bytes of constants Vulkan makes a detour.
_VERTEX = """
void main()
{
  vec4 seen = model_view * vec4(pos, 1.0);
  place = seen.xyz;
  // The cofactors turn normals as the inverse's transpose does, and no scale of 0 is in their way.
  mat3 turn = mat3(model_view);
  across = normal.x * cross(turn[1], turn[2]) + normal.y * cross(turn[2], turn[0]) + normal.z * cross(turn[0], turn[1]);
  gl_Position = vec4(
    row_x.x * seen.x + row_x.y * seen.z + row_x.z,
    row_y.x * seen.y + row_y.y * seen.z + row_y.z,
    row_z.x * seen.z + row_z.y,
    row_z.z * seen.z + row_z.w);
}
"""
_FRAGMENT = """
void main()
{
  vec3 toward = row_z.z == 0.0 ? vec3(0.0, 0.0, 1.0) : normalize(-place);
  vec3 facing = dot(across, across) > 0.0 ? normalize(across) : toward;
  facing = dot(facing, toward) < 0.0 ? -facing : facing;
  // One lamp over the left shoulder and one at the eye.
  float key = max(dot(facing, vec3(-0.37, 0.56, 0.74)), 0.0);
  float head = dot(facing, toward);
  color = vec4(tint.rgb * (0.08 + 0.62 * key + 0.3 * head), gl_FragCoord.z);
}
"""


@dataclass
class Shape:
    """A mesh on the graphics card.

    Attributes
    ----------
    parts : list of (int, GPUBatch)
        The triangles of each material slot.
    owners : set of int
        Addresses of the datablocks that it follows from.
    """

    parts: list[tuple[int, Any]]
    owners: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Placed:
    """Triangles of one colour somewhere in the world."""

    batch: Any
    matrix: Matrix
    color: tuple[float, float, float, float]


class Meshes:
    """The meshes that one viewport shows.

    Attributes
    ----------
    complete : bool
        Whether all are on the graphics card; where not, another drawing is needed.
    """

    def __init__(self) -> None:
        self.complete = False
        self._shapes: dict[tuple[int, ...], Shape] = {}
        self._building: dict[tuple[int, ...], Generator] = {}
        self._latest: dict[tuple[int, int], Shape] = {}  # of an object and its mesh, shown until a newer one is there
        self._placed: list[Placed] = []
        self._local = False
        self._frame: tuple[Any, Any, Any] | None = None  # framebuffer, colours, depth
        self._drawn: tuple[Any, ...] | None = None  # the view that the picture shows

    def changed(self, depsgraph: bpy.types.Depsgraph) -> None:
        """Forget what has changed in the scene."""
        updated = {update.id.original.as_pointer() for update in depsgraph.updates if update.is_updated_geometry}
        self._shapes = {key: shape for key, shape in self._shapes.items() if not shape.owners & updated}
        if updated:
            self._building.clear()
        self.complete = False

    def picture(
        self, size: tuple[int, int], space: bpy.types.SpaceView3D, view: Any, depsgraph: bpy.types.Depsgraph
    ) -> Any | None:
        """Draw the meshes.

        Parameters
        ----------
        size : (width, height)
            Of the region, in pixels.
        space : SpaceView3D
            Says what is visible in it.
        view : RegionView3D
            Its matrices.
        depsgraph : Depsgraph
            The evaluated scene.

        Returns
        -------
        GPUTexture or None
            Scene-linear colours, bottom row first; their alpha is how deep the mesh lies: as in a depth buffer, 0 to 1,
            and NOTHING where there is none. None where the view has no mesh at all.
        """
        local = space.local_view is not None or space.use_local_collections  # which tell nobody when they change
        if not self.complete or local or self._local:
            self._gather(space, depsgraph)
        self._local = local
        if not self._placed:
            self._frame = self._drawn = None
            return None
        seen = (size, view.window_matrix.copy(), view.view_matrix.copy())
        if self._frame is None or self._frame[1].width != size[0] or self._frame[1].height != size[1]:
            self._frame, self._drawn = _new_frame(size), None
        if self._drawn != seen:
            self._draw(view.window_matrix, view.view_matrix)
            self._drawn = seen
        return self._frame[1]

    def _gather(self, space: bpy.types.SpaceView3D, depsgraph: bpy.types.Depsgraph) -> None:
        until = time.perf_counter() + BUILD_SECONDS
        self._placed, self._drawn, self.complete = [], None, True
        used: dict[tuple[int, ...], Shape] = {}
        latest: dict[tuple[int, int], Shape] = {}
        colors: dict[int, tuple[float, float, float, float]] = {}
        for instance in _visible(space, depsgraph):
            item, mesh = instance.object, instance.object.data
            source = (item.original.as_pointer(), mesh.original.as_pointer())
            key = (mesh.as_pointer(), source[1], len(mesh.vertices), len(mesh.loops))
            shape = self._shapes.get(key) or self._build(key, item, until)
            if shape is None:
                self.complete = False
                shape = self._latest.get(source)
            else:
                used[key] = latest[source] = shape
                shape.owners |= {*source, (instance.parent or item).original.as_pointer()}
            if shape is None:
                continue
            matrix = instance.matrix_world.copy()
            for slot, batch in shape.parts:
                self._placed.append(Placed(batch, matrix, _color(item, slot, colors)))
            if len(self._placed) >= MOST_PLACES:
                break
        self._shapes = used
        self._latest = latest if self.complete else {**self._latest, **latest}

    def _build(self, key: tuple[int, ...], item: bpy.types.Object, until: float) -> Shape | None:
        """Go on with a mesh as long as there is time."""
        while time.perf_counter() < until:
            steps = self._building.get(key)
            if steps is None:
                steps = self._building[key] = _steps()
                next(steps)
            try:
                steps.send(item)
            except StopIteration as done:
                del self._building[key]
                return Shape(done.value)
        return None

    def _draw(self, window: Matrix, view: Matrix) -> None:
        frame = self._frame[0]
        shader = _shader()
        with frame.bind():
            frame.clear(color=(0.0, 0.0, 0.0, NOTHING), depth=1.0)
            gpu.state.blend_set("NONE")
            gpu.state.face_culling_set("NONE")
            gpu.state.depth_mask_set(True)
            gpu.state.depth_test_set("LESS_EQUAL")
            try:
                shader.bind()
                shader.uniform_float("row_x", (window[0][0], window[0][2], window[0][3], 0.0))
                shader.uniform_float("row_y", (window[1][1], window[1][2], window[1][3], 0.0))
                shader.uniform_float("row_z", (window[2][2], window[2][3], window[3][2], window[3][3]))
                for placed in self._placed:
                    shader.uniform_float("model_view", view @ placed.matrix)
                    shader.uniform_float("tint", placed.color)
                    placed.batch.draw(shader)
            finally:
                gpu.state.depth_mask_set(False)
                gpu.state.depth_test_set("NONE")


def forget() -> None:
    """Let go of what lies on the graphics card for all viewports."""
    _shaders.clear()


def _visible(
    space: bpy.types.SpaceView3D, depsgraph: bpy.types.Depsgraph
) -> Iterator[bpy.types.DepsgraphObjectInstance]:
    """What is drawn shaded: curves, texts and metaballs come as meshes, too."""
    shown: dict[int, bool] = {}
    for instance in depsgraph.object_instances:
        item = instance.object
        if item.type != "MESH" or not instance.show_self or not item.visible_camera:
            continue
        if item.display_type in {"WIRE", "BOUNDS"}:  # Blender draws their lines
            continue
        owner = instance.parent or item  # evaluated: the original knows nothing of the local view
        pointer = owner.as_pointer()
        if pointer not in shown:
            shown[pointer] = owner.visible_in_viewport_get(space)
        if shown[pointer]:
            yield instance


def _color(
    item: bpy.types.Object, slot: int, known: dict[int, tuple[float, float, float, float]]
) -> tuple[float, float, float, float]:
    slots = item.material_slots
    material = slots[min(slot, len(slots) - 1)].material if slots else None
    if material is None:
        return tuple(item.color)
    pointer = material.as_pointer()
    if pointer not in known:
        known[pointer] = (*surface_color(material), 1.0)
    return known[pointer]


def _steps() -> Generator[None, bpy.types.Object, list[tuple[int, Any]]]:
    """Bring a mesh to the graphics card step by step, none of which takes long.

    Takes the evaluated object at each step, the same every time; returns the triangles of each material slot.
    """
    item = yield
    mesh = item.data
    if len(mesh.loops) - 2 * len(mesh.polygons) > MOST_TRIANGLES:
        return [(0, _box(item))]
    if not len(mesh.polygons):
        return []
    corner_vertices = _attribute(mesh, ".corner_vert", "value", np.int32)
    if corner_vertices is None:
        corner_vertices = _read(mesh.loops, "vertex_index", np.int32)
    vertices = _attribute(mesh, "position", "vector", np.float32, 3)
    if vertices is None:
        vertices = _read(mesh.vertices, "co", np.float32, 3)
    positions = vertices[corner_vertices]
    item = yield
    normals = _read(item.data.corner_normals, "vector", np.float32, 3)
    item = yield
    if 3 * len(item.data.polygons) == len(positions):
        triangles = np.arange(len(positions), dtype=np.int32).reshape(-1, 3)
    else:
        item.data.calc_loop_triangles()
        item = yield
        triangles = _read(item.data.loop_triangles, "loops", np.int32, 3)
    item = yield
    slots = None
    if len(item.material_slots) > 1:
        slots = _attribute(item.data, "material_index", "value", np.int32)
    if slots is not None and 3 * len(slots) != len(positions):
        slots = slots[_read(item.data.loop_triangle_polygons, "value", np.int32)]
    item = yield
    points = _points(positions, normals)
    item = yield
    if slots is None:
        return [(0, _batch(points, triangles))]
    return [(int(slot), _batch(points, triangles[slots == slot])) for slot in np.unique(slots)]


def _box(item: bpy.types.Object) -> Any:
    corners = np.array(item.bound_box, dtype=np.float32)
    sides = np.array([(0, 1, 2, 3), (4, 5, 6, 7), (0, 1, 5, 4), (3, 2, 6, 7), (0, 3, 7, 4), (1, 2, 6, 5)])
    normals = np.eye(3, dtype=np.float32)[[0, 0, 1, 1, 2, 2]]
    first = 4 * np.arange(6)[:, None]
    triangles = np.concatenate([first + (0, 1, 2), first + (0, 2, 3)])
    return _batch(_points(corners[sides.ravel()], np.repeat(normals, 4, axis=0)), triangles)


def _attribute(mesh: bpy.types.Mesh, name: str, field: str, kind: type, columns: int = 1) -> np.ndarray | None:
    """An attribute's values, much faster than through what Blender wraps them in; None where it does not exist."""
    found = mesh.attributes.get(name)
    return None if found is None or not len(found.data) else _read(found.data, field, kind, columns)


def _read(items: Any, name: str, kind: type, columns: int = 1) -> np.ndarray:
    values = np.empty(len(items) * columns, dtype=kind)
    items.foreach_get(name, values)
    return values.reshape(-1, columns) if columns > 1 else values


def _points(positions: np.ndarray, normals: np.ndarray) -> Any:
    layout = gpu.types.GPUVertFormat()
    layout.attr_add(id="pos", comp_type="F32", len=3, fetch_mode="FLOAT")
    layout.attr_add(id="normal", comp_type="F32", len=3, fetch_mode="FLOAT")
    points = gpu.types.GPUVertBuf(layout, len(positions))
    points.attr_fill("pos", np.ascontiguousarray(positions))
    points.attr_fill("normal", np.ascontiguousarray(normals))
    return points


def _batch(points: Any, triangles: np.ndarray) -> Any:
    order = gpu.types.GPUIndexBuf(type="TRIS", seq=np.ascontiguousarray(triangles, dtype=np.int32))
    return gpu.types.GPUBatch(type="TRIS", buf=points, elem=order)


def _new_frame(size: Sequence[int]) -> tuple[Any, Any, Any]:
    colors = gpu.types.GPUTexture(size, format="RGBA32F")
    depth = gpu.types.GPUTexture(size, format="DEPTH_COMPONENT32F")
    return gpu.types.GPUFrameBuffer(depth_slot=depth, color_slots=(colors,)), colors, depth


_shaders: list[Any] = []


def _shader() -> Any:
    if not _shaders:
        info = gpu.types.GPUShaderCreateInfo()
        between = gpu.types.GPUStageInterfaceInfo("nerf_meshes")
        between.smooth("VEC3", "place")
        between.smooth("VEC3", "across")
        info.vertex_in(0, "VEC3", "pos")
        info.vertex_in(1, "VEC3", "normal")
        info.vertex_out(between)
        info.push_constant("MAT4", "model_view")
        for name in ("row_x", "row_y", "row_z", "tint"):
            info.push_constant("VEC4", name)
        info.fragment_out(0, "VEC4", "color")
        info.vertex_source(_VERTEX)
        info.fragment_source(_FRAGMENT)
        _shaders.append(gpu.shader.create_from_info(info))
    return _shaders[0]
