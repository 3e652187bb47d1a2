"""The stage of a story: a scene of its own with a camera, and signs that stay before the camera."""

from collections.abc import Sequence

import bpy
import numpy as np
from mathutils import Matrix

from .. import compat
from ..importers.point_display import KIND_KEY
from . import keys, look
from .facts import Story
from .keys import KIND
from .shots import HIGH, LENS, SENSOR, WIDE, Shot

SCENE = "NeRF Explained"
FPS = 24
PARTS = ("Backdrop", "1 March Rays and Sample", "2 Colours and Densities", "3 Composite and Compare", "Signs")
STEPS = ("1  Sample", "2  Ask", "3  Add up", "Training")
BAND_TOP = -2.72


class Stage:
    """A scene to build a story in.

    Parameters
    ----------
    story : Story

    Attributes
    ----------
    scene : Scene
    camera : Object
    """

    def __init__(self, story: Story) -> None:
        self.story = story
        self.scene = _scene()
        self._parts = {name: _part(self.scene, name) for name in PARTS}
        self._shots: list[tuple[float, Shot]] = []
        self._chosen: list[tuple[float, int]] = []
        size = story.size
        self.scene.world = _world()
        self.camera = self._camera(size)
        far = 0.01 * size
        unit = far * SENSOR / LENS / WIDE
        self._signs = look.add(self._parts["Signs"], "Signs", None, parent=self.camera, at=(0.0, 0.0, -far))
        self._signs.scale = (unit, unit, unit)
        self._signs.empty_display_size = 0.5
        self._band()

    def part(self, name: str) -> bpy.types.Collection:
        """The collection of a part whose name begins so."""
        return next(part for key, part in self._parts.items() if key.startswith(name))

    def sign(
        self,
        part: str,
        name: str,
        data: bpy.types.ID,
        at: Sequence[float],
        color: Sequence[float] = look.TEXT,
        depth: float = 0.0,
    ) -> bpy.types.Object:
        """An object before the camera; x from -8 to 8, y from -4.5 to 4.5, `depth` towards the camera."""
        return look.add(self.part(part), name, data, color, self._signs, (*at[:2], 0.02 * depth))

    def word(
        self,
        part: str,
        name: str,
        text: str,
        at: Sequence[float],
        size: float,
        color: Sequence[float] = look.TEXT,
        align: str = "LEFT",
        spans: Sequence[tuple[float, float | None]] = (),
    ) -> bpy.types.Object:
        """Text before the camera, there in the given spans of frames (none: always)."""
        item = self.sign(part, name, look.words(name, text, size, align), at, color, depth=4.0)
        if spans:
            keys.show(item, spans)
        return item

    def say(self, begin: float, end: float | None, text: str) -> None:
        """A sentence in the band below the picture."""
        item = self.word("Signs", f"Text: {text[:40]}", text, (-7.5, -4.05), 0.47, spans=[(begin, end)])
        keys.key(item, "location", [(begin, (-7.5, -4.2, 0.08)), (begin + 8, (-7.5, -4.05, 0.08))])

    def chapter(self, begin: float, end: float | None, text: str, number: int | None = None) -> None:
        """A headline in the band, with a marker in the timeline; `number` counts the steps from 0."""
        self.word("Signs", f"Title: {text}", text, (-7.5, -3.36), 0.62, look.YELLOW, spans=[(begin, end)])
        self.scene.timeline_markers.new(text, frame=int(begin))
        if number is not None:
            self._chosen.append((begin, number))

    def shot(self, frame: float, shot: Shot) -> None:
        """Have the camera stand so at a frame; between two frames it moves."""
        self._shots.append((frame, shot))

    def finish(self, end: float) -> None:
        """Write the camera's keyframes and the scene's range."""
        turns = [shot.quaternion for _, shot in self._shots]
        for i in range(1, len(turns)):
            turns[i] = turns[i] if np.dot(turns[i], turns[i - 1]) >= 0 else -turns[i]
        keys.key(self.camera, "location", [(frame, shot.position) for frame, shot in self._shots])
        keys.key(
            self.camera, "rotation_quaternion", [(f, turn) for (f, _), turn in zip(self._shots, turns, strict=True)]
        )
        self.scene.frame_start, self.scene.frame_end = 1, int(end)
        for number, (text, x) in enumerate(zip(STEPS, (1.55, 3.3, 4.65, 6.4), strict=True)):
            item = self.word("Signs", f"Step {text}", text, (x, -3.33), 0.35, look.DARK)
            colors = [(0.0, look.linear(look.DARK))]
            colors += [
                (frame, look.linear(look.YELLOW if chosen == number else (look.GREY if chosen > number else look.DARK)))
                for frame, chosen in self._chosen
            ]
            look.key_color(item, colors, "CONSTANT")
            keys.show(item, [(min((frame for frame, _ in self._chosen), default=0.0), None)])
        self.scene.frame_set(1)

    def _camera(self, size: float) -> bpy.types.Object:
        data = bpy.data.cameras.new("Story Camera")
        data[KIND_KEY] = KIND
        data.lens, data.sensor_width, data.sensor_fit = LENS, SENSOR, "HORIZONTAL"
        data.clip_start, data.clip_end = 0.002 * size, 100.0 * size
        data.passepartout_alpha = 1.0
        item = look.add(self._parts["Signs"], "Story Camera", data)
        item.rotation_mode = "QUATERNION"
        self.scene.camera = item
        return item

    def _band(self) -> None:
        height = BAND_TOP + HIGH / 2
        middle = (0.0, BAND_TOP - height / 2)
        self.sign("Signs", "Band", look.panel("Band", WIDE + 0.2, height), middle, look.BAND)
        line = look.panel("Band Line", WIDE + 0.2, 0.03)
        self.sign("Signs", "Band Line", line, (0.0, BAND_TOP), look.DARK, depth=1.0)


def place(item: bpy.types.Object, position: np.ndarray, rotation: np.ndarray) -> None:
    """Put an object somewhere, turned by a (3, 3) matrix; its scale stays."""
    item.rotation_mode = "QUATERNION"
    item.location = np.asarray(position, dtype=float).tolist()
    item.rotation_quaternion = Matrix(np.asarray(rotation, dtype=float).tolist()).to_quaternion()


def along(direction: np.ndarray) -> np.ndarray:
    """(3, 3) rotation whose x axis is a direction."""
    x = np.asarray(direction, dtype=float) / np.linalg.norm(direction)
    up = np.array([0.0, 0.0, 1.0]) if abs(x[2]) < 0.9 else np.array([0.0, 1.0, 0.0])
    y = np.cross(up, x)
    y /= np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def find() -> bpy.types.Scene | None:
    """The scene of an earlier story in this file."""
    return next((scene for scene in bpy.data.scenes if scene.get(KIND_KEY) == KIND), None)


def _scene() -> bpy.types.Scene:
    """A scene for a story: the earlier one, emptied of what was made here, or a new one."""
    scene = find()
    if scene is None:
        scene = bpy.data.scenes.new(SCENE)
        scene[KIND_KEY] = KIND
    else:
        _empty(scene)
    render = scene.render
    render.engine = "BLENDER_WORKBENCH"
    render.resolution_x, render.resolution_y, render.resolution_percentage = 1280, 720, 100
    render.fps, render.fps_base = FPS, 1.0
    render.film_transparent = False
    render.dither_intensity = 0.0
    render.use_compositing = render.use_sequencer = False
    scene.display.render_aa = "8"
    shading = scene.display.shading
    shading.light, shading.color_type = "FLAT", "VERTEX"
    shading.show_object_outline = shading.show_cavity = shading.show_shadows = False
    scene.display_settings.display_device = "sRGB"
    scene.view_settings.view_transform = "Standard"
    scene.view_settings.look = "None"
    scene.view_settings.exposure, scene.view_settings.gamma = 0.0, 1.0
    if hasattr(scene, "cycles"):
        scene.cycles.samples, scene.cycles.use_denoising = 12, False
    scene.eevee.taa_render_samples = 16
    return scene


def _empty(scene: bpy.types.Scene) -> None:
    """Remove what an earlier story left in its scene; what somebody else put there stays."""
    for item in [item for item in scene.objects if item.get(KIND_KEY) == KIND]:
        bpy.data.objects.remove(item)
    for part in [part for part in scene.collection.children if part.get(KIND_KEY) == KIND and not part.all_objects]:
        bpy.data.collections.remove(part)
    scene.timeline_markers.clear()
    for kind in ("meshes", "curves", "cameras", "materials", "worlds", "actions"):
        group = getattr(bpy.data, kind)
        for data in [data for data in group if data.get(KIND_KEY) == KIND and data.users == int(data.use_fake_user)]:
            group.remove(data)


def _part(scene: bpy.types.Scene, name: str) -> bpy.types.Collection:
    found = next(
        (part for part in scene.collection.children if part.get(KIND_KEY) == KIND and part["part"] == name), None
    )
    if found is None:
        found = bpy.data.collections.new(f"NeRF Explained: {name}")
        found[KIND_KEY], found["part"] = KIND, name
        scene.collection.children.link(found)
    return found


def _world() -> bpy.types.World:
    world = next((world for world in bpy.data.worlds if world.get(KIND_KEY) == KIND), None)
    if world is None:
        world = bpy.data.worlds.new("NeRF Explained")
        world[KIND_KEY] = KIND
    color = look.linear(look.GROUND)
    world.color = color[:3]
    compat.use_nodes(world)
    nodes = world.node_tree.nodes
    nodes.clear()
    back, out = nodes.new("ShaderNodeBackground"), nodes.new("ShaderNodeOutputWorld")
    back.inputs["Color"].default_value = color
    out.location = (250, 0)
    world.node_tree.links.new(back.outputs["Background"], out.inputs["Surface"])
    return world


def choose_engine(scene: bpy.types.Scene, name: str) -> None:
    """Have a story rendered by 'workbench', 'eevee' or 'cycles': the colours are the same in all."""
    scene.render.engine = {"workbench": "BLENDER_WORKBENCH", "cycles": "CYCLES", "eevee": compat.eevee_engine()}[name]
