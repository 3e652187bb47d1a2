"""The demo's still life: a tea table with glossy, textured and thin things on it, its lights and its camera."""

import math

import bmesh
import bpy
import numpy as np
from mathutils import Euler, Vector

from . import materials, shapes

TABLE_RADIUS = 1.45
# Everything of the subject lies in this collection; the lights do not.
COLLECTION = "Tea table"

_collection: bpy.types.Collection | None = None


def build(samples: int) -> None:
    """Make the scene in the open (empty) file.

    Parameters
    ----------
    samples : int
        Cycles samples per pixel.
    """
    global _collection
    _collection = bpy.data.collections.new(COLLECTION)
    bpy.context.scene.collection.children.link(_collection)
    _table()
    _teapot(Vector((-0.12, -0.02, 0.0)))
    _cup(Vector((0.52, -0.62, 0.0)))
    _globe(Vector((0.55, 0.55, 0.0)))
    _plant(Vector((-0.72, 0.55, 0.0)))
    _books(Vector((0.95, -0.02, 0.0)))
    _fruit()
    _lights()
    _render_settings(samples)


def _add(name: str, shape: shapes.Shape, material: bpy.types.Material, smooth: bool = True) -> bpy.types.Object:
    """Turn a shape into an object of the subject."""
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(shape.vertices.tolist(), [], shape.faces.tolist())
    layer = mesh.uv_layers.new(name="UVMap")
    layer.data.foreach_set("uv", shape.uv[shape.faces.reshape(-1)].astype(np.float32).ravel())
    # A lathe's poles are many vertices in one place; merged, the shading is smooth over them.
    work = bmesh.new()
    work.from_mesh(mesh)
    bmesh.ops.remove_doubles(work, verts=work.verts, dist=1e-6)
    bmesh.ops.recalc_face_normals(work, faces=work.faces)
    work.to_mesh(mesh)
    work.free()
    mesh.polygons.foreach_set("use_smooth", np.full(len(mesh.polygons), smooth))
    mesh.materials.append(material)
    thing = bpy.data.objects.new(name, mesh)
    assert _collection is not None
    _collection.objects.link(thing)
    return thing


def _place(
    thing: bpy.types.Object,
    location: tuple[float, float, float] | Vector,
    rotation: tuple[float, float, float] = (0.0, 0.0, 0.0),
    scale: float = 1.0,
) -> bpy.types.Object:
    thing.location = location
    thing.rotation_euler = Euler(rotation)
    thing.scale = (scale, scale, scale)
    return thing


def _box(size: tuple[float, float, float]) -> shapes.Shape:
    x, y, z = (0.5 * side for side in size)
    corners = np.array([(i, j, k) for k in (-z, z) for j in (-y, y) for i in (-x, x)])
    faces = np.array([(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)])
    return shapes.Shape(corners, faces, np.zeros((8, 2)))


def _table() -> None:
    edge = TABLE_RADIUS
    top = [(0.0, -0.12), (edge - 0.06, -0.12), (edge - 0.01, -0.09), (edge, -0.04), (edge - 0.005, -0.012)]
    profile = np.array([*top, (edge - 0.02, 0.0), (0.0, 0.0)])
    _add("Table", shapes.lathe(profile, 128), materials.wood("Oak", (0.16, 0.075, 0.03), (0.50, 0.29, 0.14)))
    rim = _add("Table rim", shapes.ring(edge + 0.003, 0.018, 160), materials.brass("Rim brass"))
    _place(rim, (0.0, 0.0, -0.065))
    cloth = shapes.draped_cloth(1.25, (0.28, -0.95), 0.35, edge, 0.045)
    linen = materials.gingham("Gingham", (0.40, 0.03, 0.03), (0.86, 0.82, 0.74), 9)
    thing = _add("Cloth", cloth, linen)
    thickness = thing.modifiers.new("Thickness", "SOLIDIFY")
    thickness.thickness = 0.008
    thickness.offset = 1.0


def _teapot(base: Vector) -> None:
    clay = materials.glaze("Celadon glaze", (0.01, 0.13, 0.14), (0.10, 0.42, 0.38))
    body = [
        (0.0, 0.012),
        (0.2, 0.0),
        (0.23, 0.02),
        (0.345, 0.13),
        (0.40, 0.27),
        (0.36, 0.42),
        (0.235, 0.515),
        (0.2, 0.53),
    ]
    _place(_add("Teapot", shapes.lathe(np.array(body), 96, rows=60), clay), base)
    lid = [
        (0.215, 0.525),
        (0.21, 0.545),
        (0.12, 0.595),
        (0.04, 0.615),
        (0.028, 0.635),
        (0.055, 0.665),
        (0.04, 0.70),
        (0.0, 0.708),
    ]
    _place(_add("Teapot lid", shapes.lathe(np.array(lid), 64, rows=48), clay), base)
    spout = shapes.smooth_curve(
        np.array([(0.30, 0, 0.17), (0.46, 0, 0.22), (0.53, 0, 0.36), (0.60, 0, 0.49), (0.66, 0, 0.53)]), 40
    )
    radius = shapes.smooth_curve(np.array([(0.115,), (0.082,), (0.055,), (0.042,), (0.04,)]), 40)[:, 0]
    turn = (0.0, 0.0, -2.45)
    _place(_add("Teapot spout", shapes.tube(spout, radius, 24), clay), base, turn)
    handle = shapes.smooth_curve(
        np.array([(-0.30, 0, 0.44), (-0.48, 0, 0.50), (-0.60, 0, 0.40), (-0.57, 0, 0.24), (-0.36, 0, 0.14)]), 48
    )
    _place(_add("Teapot handle", shapes.tube(handle, 0.03, 20), clay), base, turn)
    band = _add("Teapot band", shapes.ring(0.402, 0.008), materials.brass("Band brass"))
    _place(band, base + Vector((0, 0, 0.265)))


def _cup(base: Vector) -> None:
    white = materials.plain("Porcelain", (0.85, 0.83, 0.78), 0.15, coat_weight=0.4)
    blue = materials.plain("Cobalt", (0.02, 0.05, 0.30), 0.15, coat_weight=0.4)
    on_cloth = base + Vector((0, 0, 0.036))
    saucer = np.array(
        [(0.0, 0.0), (0.12, 0.0), (0.25, 0.035), (0.26, 0.045), (0.25, 0.05), (0.12, 0.015), (0.0, 0.014)]
    )
    _place(_add("Saucer", shapes.lathe(saucer, 64, rows=40), white), on_cloth)
    _place(_add("Saucer edge", shapes.ring(0.254, 0.009), blue), on_cloth + Vector((0, 0, 0.044)))
    wall = [
        (0.0, 0.02),
        (0.075, 0.02),
        (0.09, 0.035),
        (0.15, 0.1),
        (0.17, 0.2),
        (0.172, 0.21),
        (0.16, 0.2),
        (0.14, 0.11),
    ]
    _place(_add("Cup", shapes.lathe(np.array([*wall, (0.08, 0.045), (0.0, 0.04)]), 64, rows=50), white), on_cloth)
    _place(_add("Cup edge", shapes.ring(0.167, 0.008), blue), on_cloth + Vector((0, 0, 0.207)))
    tea = np.array([(0.0, 0.165), (0.153, 0.165)])
    _place(_add("Tea", shapes.lathe(tea, 48), materials.plain("Tea", (0.30, 0.09, 0.015), 0.05)), on_cloth)
    ear = shapes.smooth_curve(
        np.array([(0.16, 0, 0.175), (0.23, 0, 0.185), (0.26, 0, 0.13), (0.22, 0, 0.085), (0.14, 0, 0.085)]), 30
    )
    _place(_add("Cup handle", shapes.tube(ear, 0.016, 14), white), on_cloth, (0, 0, 0.7))


def _globe(base: Vector) -> None:
    metal = materials.brass("Globe brass")
    foot = [(0.0, 0.0), (0.2, 0.0), (0.21, 0.02), (0.19, 0.035), (0.07, 0.06), (0.035, 0.1), (0.03, 0.15), (0.05, 0.18)]
    profile = np.array([*foot, (0.03, 0.21), (0.022, 0.3)])
    _place(_add("Globe foot", shapes.lathe(profile, 48, rows=50), metal), base)
    middle = base + Vector((0, 0, 0.68))
    tilt = (math.radians(23.4), 0.0, 0.5)
    angle = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 48)
    ball = np.stack([0.335 * np.cos(angle), 0.335 * np.sin(angle)], axis=-1)
    _place(_add("Globe", shapes.lathe(ball, 96), materials.earth("Earth")), middle, tilt)
    meridian = _add("Meridian", shapes.ring(0.385, 0.014), metal)
    _place(meridian, middle, (math.radians(90), 0.0, 0.5))
    _place(_add("Horizon", shapes.ring(0.43, 0.011), metal), middle, (math.radians(14), 0.0, 0.2))
    for sign in (-1.0, 1.0):
        pin = shapes.tube(np.array([(0, 0, 0.33 * sign), (0, 0, 0.36 * sign), (0, 0, 0.40 * sign)]), 0.012, 10)
        _place(_add("Axis pin", pin, metal), middle, (0.0, 0.0, 0.5))


def _plant(base: Vector) -> None:
    clay = materials.terracotta("Terracotta")
    pot = [
        (0.0, 0.0),
        (0.15, 0.0),
        (0.155, 0.01),
        (0.205, 0.25),
        (0.235, 0.252),
        (0.24, 0.32),
        (0.205, 0.322),
        (0.2, 0.27),
    ]
    _place(_add("Pot", shapes.lathe(np.array([*pot, (0.0, 0.27)]), 64), clay, smooth=False), base)
    soil = np.array([(0.0, 0.285), (0.1, 0.283), (0.203, 0.275)])
    _place(_add("Soil", shapes.lathe(soil, 32), materials.plain("Soil", (0.035, 0.02, 0.012), 1.0)), base)
    green, stem_green = materials.leaf_green("Leaf"), materials.plain("Stem", (0.13, 0.25, 0.05), 0.6)
    random = np.random.default_rng(5)
    for stalk in range(9):
        around = stalk * 2.399963 + random.uniform(-0.2, 0.2)  # the golden angle, as plants do
        lean, height = random.uniform(0.08, 0.36), random.uniform(0.42, 0.80)
        direction = np.array([math.cos(around), math.sin(around), 0.0])
        points = [np.array([0, 0, 0.27]) + 0.05 * direction]
        points += [np.array([0, 0, 0.27 + height * t]) + direction * (0.05 + lean * t * t) for t in (0.35, 0.7, 1.0)]
        path = shapes.smooth_curve(np.array(points), 24)
        _place(_add("Stem", shapes.tube(path, np.linspace(0.011, 0.006, 24), 8), stem_green), base)
        for index, place in enumerate((11, 17, 23)):
            length = random.uniform(0.24, 0.34) * (1.0 - 0.12 * index)
            blade = _add("Leaf", shapes.leaf(length, 0.42 * length, random.uniform(0.5, 1.1)), green)
            heading = around + (index - 1) * 1.9 + random.uniform(-0.3, 0.3)
            rise = random.uniform(0.35, 0.8)
            _place(blade, base + Vector(path[place]), (random.uniform(-0.3, 0.3), -rise, heading))
    blossom = materials.plain("Blossom", (0.9, 0.32, 0.30), 0.55)
    for x, y, z in ((0.10, -0.16, 0.98), (-0.2, 0.05, 1.06), (0.16, 0.14, 1.12)):
        path = shapes.smooth_curve(np.array([(0.1 * x, 0.1 * y, 0.28), (0.5 * x, 0.5 * y, 0.7), (x, y, z)]), 24)
        _place(_add("Stem", shapes.tube(path, 0.006, 8), stem_green), base)
        heart = np.array([(0.0, -0.02), (0.022, -0.01), (0.024, 0.008), (0.0, 0.02)])
        yellow = bpy.data.materials.get("Pollen") or materials.plain("Pollen", (0.85, 0.5, 0.05), 0.7)
        _place(_add("Heart", shapes.lathe(heart, 20, rows=12), yellow), base + Vector((x, y, z)))
        for petal in range(7):
            blade = _add("Petal", shapes.leaf(0.11, 0.07, 0.5, 8, 5), blossom)
            _place(blade, base + Vector((x, y, z)), (0.0, -0.35, petal * math.tau / 7))


def _books(base: Vector) -> None:
    pages = materials.paper("Pages")
    stack = [
        ((0.34, 0.48, 0.085), (0.018, 0.06, 0.13), 0.30),
        ((0.31, 0.44, 0.065), (0.45, 0.14, 0.03), 0.52),
    ]
    height = 0.0
    for number, (size, color, turn) in enumerate(stack):
        cover = materials.plain(f"Cover {number}", color, 0.45)
        middle = base + Vector((0, 0, height + 0.5 * size[2]))
        inner = (size[0] - 0.02, size[1] - 0.03, size[2] - 0.024)
        _place(_add("Pages", _box(inner), pages, smooth=False), middle, (0, 0, turn))
        for sign in (-1.0, 1.0):
            board = _add("Board", _box((size[0], size[1], 0.012)), cover, smooth=False)
            _place(board, middle + Vector((0, 0, sign * 0.5 * (size[2] - 0.012))), (0, 0, turn))
        spine = _add("Spine", _box((0.012, size[1], size[2])), cover, smooth=False)
        offset = Euler((0, 0, turn)).to_matrix() @ Vector((-0.5 * size[0], 0, 0))
        _place(spine, middle + offset, (0, 0, turn))
        height += size[2]
    knot = np.linspace(0.0, math.tau, 240)
    trefoil = np.stack(
        [np.sin(knot) + 2 * np.sin(2 * knot), np.cos(knot) - 2 * np.cos(2 * knot), -np.sin(3 * knot)], axis=-1
    )
    wire = _add("Wire knot", shapes.tube(0.062 * trefoil, 0.012, 12), materials.brass("Knot brass"))
    _place(wire, base + Vector((0, 0, height + 0.19)), (math.radians(78), 0.0, 0.9))


def _fruit() -> None:
    angle = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 32)
    tip = 0.3 * np.exp(-(((np.abs(angle) - 0.5 * np.pi) / 0.35) ** 2))
    lemon_profile = np.stack([0.1 * np.cos(angle), 0.125 * np.sin(angle) * (1 + tip)], axis=-1)
    lemon_skin = materials.citrus("Lemon", (0.80, 0.52, 0.02), (0.90, 0.68, 0.06))
    _place(_add("Lemon", shapes.lathe(lemon_profile, 48), lemon_skin), (-0.88, -0.12, 0.1), (1.45, 0.2, 0.4))
    _place(_add("Lemon", shapes.lathe(lemon_profile, 48), lemon_skin), (-1.02, -0.38, 0.1), (1.6, 0.0, 1.9))
    orange = np.stack([0.135 * np.cos(angle), 0.13 * np.sin(angle)], axis=-1)
    orange_skin = materials.citrus("Orange", (0.75, 0.20, 0.01), (0.88, 0.32, 0.02))
    _place(_add("Orange", shapes.lathe(orange, 48), orange_skin), (-0.74, -0.42, 0.13), (0.3, 0.2, 0.0))


def _lights() -> None:
    scene = bpy.context.scene
    for name, location, power, size, color in (
        ("Key", (3.2, -2.6, 4.2), 330.0, 2.2, (1.0, 0.93, 0.84)),
        ("Fill", (-4.0, -1.5, 2.6), 110.0, 3.0, (0.80, 0.89, 1.0)),
        ("Rim", (-0.8, 4.2, 3.2), 190.0, 1.8, (1.0, 0.90, 0.80)),
    ):
        data = bpy.data.lights.new(name, "AREA")
        data.energy, data.size, data.color = power, size, color
        light = bpy.data.objects.new(name, data)
        light.location = location
        light.rotation_euler = (Vector((0, 0, 0.3)) - light.location).to_track_quat("-Z", "Y").to_euler()
        scene.collection.objects.link(light)
    world = bpy.data.worlds.new("Soft room")
    if world.node_tree is None:
        world.use_nodes = True
    scene.world = world
    background = next(node for node in world.node_tree.nodes if node.type == "BACKGROUND")
    background.inputs["Color"].default_value = (0.62, 0.68, 0.78, 1.0)
    background.inputs["Strength"].default_value = 0.45
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.data.lens = 50.0
    camera.location = (2.9, -3.9, 2.55)
    camera.rotation_euler = (Vector((0, 0, 0.28)) - camera.location).to_track_quat("-Z", "Y").to_euler()
    scene.collection.objects.link(camera)
    scene.camera = camera


def _render_settings(samples: int) -> None:
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples = samples
    scene.cycles.use_adaptive_sampling = True
    scene.cycles.adaptive_threshold = 0.03
    scene.cycles.use_denoising = True
    scene.cycles.use_light_tree = False  # three lights: choosing among them evenly is faster
    scene.cycles.max_bounces = 5
    scene.cycles.caustics_reflective = False
    scene.cycles.caustics_refractive = False
    scene.render.film_transparent = True
    scene.view_settings.view_transform = "Standard"
