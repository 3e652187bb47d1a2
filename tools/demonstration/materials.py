"""Procedural materials of the demo scene: no picture files, everything from Blender's own textures."""

from typing import Any

import bpy

Color = tuple[float, float, float]


class Nodes:
    """A material's node tree, written as nested calls instead of link by link."""

    def __init__(self, name: str) -> None:
        self.material = bpy.data.materials.new(name)
        if self.material.node_tree is None:  # from Blender 5.0 on materials have nodes from the start
            self.material.use_nodes = True
        self.tree = self.material.node_tree
        self.shader = next(node for node in self.tree.nodes if node.type == "BSDF_PRINCIPLED")

    def add(self, kind: str, inputs: dict[str | int, Any] | None = None, **properties: Any) -> Any:
        """Make a node; an input may be a value or another node's output socket."""
        node = self.tree.nodes.new(kind)
        for name, value in properties.items():
            setattr(node, name, value)
        for name, value in (inputs or {}).items():
            self.set(node, name, value)
        return node

    def set(self, node: Any, name: str | int, value: Any) -> None:
        """Give an input a value, or link an output socket to it."""
        if isinstance(value, bpy.types.NodeSocket):
            self.tree.links.new(value, node.inputs[name])
        elif isinstance(value, tuple) and len(value) == 3 and len(node.inputs[name].default_value) == 4:
            node.inputs[name].default_value = (*value, 1.0)
        else:
            node.inputs[name].default_value = value

    def surface(self, **inputs: Any) -> bpy.types.Material:
        """Set inputs of the principled shader ("Base Color" as base_color) and return the material."""
        for name, value in inputs.items():
            title = {"ior": "IOR"}.get(name, name.replace("_", " ").title())
            self.set(self.shader, title, value)
        return self.material

    def coordinates(self, kind: str = "Object", scale: tuple[float, float, float] = (1, 1, 1)) -> Any:
        """Texture coordinates ("Object", "UV" or "Generated"), scaled."""
        source = self.add("ShaderNodeTexCoord").outputs[kind]
        return self.add("ShaderNodeMapping", {"Vector": source, "Scale": scale}).outputs["Vector"]

    def noise(self, vector: Any, scale: float, detail: float = 4.0, roughness: float = 0.55) -> Any:
        """Fractal noise, 0 to 1."""
        inputs = {"Vector": vector, "Scale": scale, "Detail": detail, "Roughness": roughness}
        return self.add("ShaderNodeTexNoise", inputs).outputs[0]

    def ramp(self, factor: Any, stops: list[tuple[float, Color]], interpolation: str = "LINEAR") -> Any:
        """Map 0..1 to colours."""
        node = self.add("ShaderNodeValToRGB", {"Fac": factor})
        node.color_ramp.interpolation = interpolation
        elements = node.color_ramp.elements
        while len(elements) < len(stops):
            elements.new(0.5)
        for element, (place, color) in zip(elements, stops, strict=True):
            element.position = place
            element.color = (*color, 1.0)
        return node.outputs["Color"]

    def bump(self, height: Any, strength: float, distance: float = 0.02) -> Any:
        """A normal from a height."""
        inputs = {"Height": height, "Strength": strength, "Distance": distance}
        return self.add("ShaderNodeBump", inputs).outputs["Normal"]


def plain(name: str, color: Color, roughness: float = 0.5, **inputs: Any) -> bpy.types.Material:
    """One colour."""
    return Nodes(name).surface(base_color=color, roughness=roughness, **inputs)


def wood(name: str, dark: Color, light: Color) -> bpy.types.Material:
    """Long grain along X, with boards."""
    nodes = Nodes(name)
    grain = nodes.noise(nodes.coordinates("Object", (1.1, 9.0, 9.0)), 1.5, 5.0, 0.62)
    fine = nodes.noise(nodes.coordinates("Object", (2.0, 42.0, 42.0)), 1.0, 2.0, 0.5)
    mixed = nodes.add("ShaderNodeMapRange", {0: fine, 3: -0.09, 4: 0.09}).outputs[0]
    mixed = nodes.add("ShaderNodeMath", {0: grain, 1: mixed}, operation="ADD").outputs[0]
    middle = tuple(0.5 * (a + b) for a, b in zip(dark, light, strict=True))
    color = nodes.ramp(mixed, [(0.33, dark), (0.5, middle), (0.66, light)])
    boards = nodes.coordinates("Object", (1.0, 1.0, 1.0))
    brick_inputs = {
        "Vector": boards,
        "Color1": (1.0, 1.0, 1.0),
        "Color2": (0.66, 0.60, 0.56),
        "Mortar": (0.12, 0.08, 0.06),
        "Scale": 1.0,
        "Mortar Size": 0.006,
        "Brick Width": 1.7,
        "Row Height": 0.36,
    }
    brick = nodes.add("ShaderNodeTexBrick", brick_inputs).outputs["Color"]
    mix = nodes.add("ShaderNodeMix", data_type="RGBA", blend_type="MULTIPLY")
    for index, value in ((0, 1.0), (6, color), (7, brick)):
        nodes.set(mix, index, value)
    return nodes.surface(base_color=mix.outputs[2], roughness=0.5, normal=nodes.bump(mixed, 0.15))


def gingham(name: str, first: Color, second: Color, squares: int) -> bpy.types.Material:
    """A checked cloth: bands of the first colour in both directions on the second."""
    nodes = Nodes(name)
    uv = nodes.coordinates("UV", (squares, squares, 1.0))
    parts = nodes.add("ShaderNodeSeparateXYZ", {0: uv})
    bands = []
    for axis in ("X", "Y"):
        wrapped = nodes.add("ShaderNodeMath", {0: parts.outputs[axis], 1: 1.0}, operation="FRACT").outputs[0]
        bands.append(nodes.add("ShaderNodeMath", {0: wrapped, 1: 0.5}, operation="GREATER_THAN").outputs[0])
    total = nodes.add("ShaderNodeMath", {0: bands[0], 1: bands[1]}, operation="ADD").outputs[0]
    share = nodes.add("ShaderNodeMath", {0: total, 1: 0.5}, operation="MULTIPLY").outputs[0]
    between = tuple(0.5 * (a + b) for a, b in zip(first, second, strict=True))
    color = nodes.ramp(share, [(0.0, second), (0.3, between), (0.8, first)], "CONSTANT")
    return nodes.surface(base_color=color, roughness=0.85)


def glaze(name: str, deep: Color, pale: Color) -> bpy.types.Material:
    """A glossy ceramic glaze that pools: paler where a slow noise is high, with a fine speckle."""
    nodes = Nodes(name)
    place = nodes.coordinates("Object")
    pool = nodes.noise(place, 3.0, 3.0)
    color = nodes.ramp(pool, [(0.38, deep), (0.62, pale)])
    return nodes.surface(base_color=color, roughness=0.12, coat_weight=0.5, coat_roughness=0.05)


def earth(name: str) -> bpy.types.Material:
    """A globe: land, shallows and sea from fractal noise, white at the poles."""
    nodes = Nodes(name)
    place = nodes.coordinates("Object")
    height = nodes.noise(place, 3.1, 6.0, 0.55)
    color = nodes.ramp(
        height,
        [
            (0.0, (0.012, 0.06, 0.17)),
            (0.44, (0.02, 0.13, 0.30)),
            (0.505, (0.09, 0.36, 0.42)),
            (0.515, (0.62, 0.50, 0.25)),
            (0.57, (0.22, 0.33, 0.08)),
            (0.70, (0.40, 0.23, 0.09)),
        ],
    )
    parts = nodes.add("ShaderNodeSeparateXYZ", {0: place})
    latitude = nodes.add("ShaderNodeMath", {0: parts.outputs["Z"]}, operation="ABSOLUTE").outputs[0]
    cap = nodes.ramp(latitude, [(0.30, (0.0, 0.0, 0.0)), (0.34, (1.0, 1.0, 1.0))])
    mix = nodes.add("ShaderNodeMix", data_type="RGBA")
    for index, value in ((0, cap), (6, color), (7, (0.85, 0.88, 0.9))):
        nodes.set(mix, index, value)
    return nodes.surface(base_color=mix.outputs[2], roughness=0.3, coat_weight=0.3, coat_roughness=0.1)


def brass(name: str) -> bpy.types.Material:
    """Brushed brass; rough enough that a radiance field can follow its highlights."""
    nodes = Nodes(name)
    roughness = nodes.add(
        "ShaderNodeMapRange",
        {0: nodes.noise(nodes.coordinates("Object"), 18.0), 3: 0.22, 4: 0.38},
    ).outputs[0]
    return nodes.surface(base_color=(0.86, 0.58, 0.22), metallic=1.0, roughness=roughness)


def terracotta(name: str) -> bpy.types.Material:
    """Unglazed clay with a slight bloom."""
    nodes = Nodes(name)
    place = nodes.coordinates("Object")
    mottled = nodes.noise(place, 9.0, 6.0, 0.65)
    color = nodes.ramp(mottled, [(0.3, (0.42, 0.13, 0.05)), (0.7, (0.68, 0.28, 0.13))])
    return nodes.surface(base_color=color, roughness=0.8, normal=nodes.bump(mottled, 0.2))


def leaf_green(name: str) -> bpy.types.Material:
    """Leaves with a paler rib, from the leaf's own coordinates."""
    nodes = Nodes(name)
    parts = nodes.add("ShaderNodeSeparateXYZ", {0: nodes.coordinates("UV")})
    side = nodes.add("ShaderNodeMath", {0: parts.outputs["Y"], 1: 0.5}, operation="SUBTRACT").outputs[0]
    distance = nodes.add("ShaderNodeMath", {0: side}, operation="ABSOLUTE").outputs[0]
    stops = [(0.03, (0.45, 0.62, 0.18)), (0.09, (0.08, 0.27, 0.05)), (0.5, (0.16, 0.42, 0.08))]
    return nodes.surface(base_color=nodes.ramp(distance, stops), roughness=0.4)


def citrus(name: str, color: Color, pale: Color) -> bpy.types.Material:
    """Fruit skin with pores."""
    nodes = Nodes(name)
    place = nodes.coordinates("Object")
    shade = nodes.ramp(nodes.noise(place, 4.0), [(0.35, color), (0.7, pale)])
    pores = nodes.noise(place, 55.0, 2.0)
    return nodes.surface(base_color=shade, roughness=0.35, normal=nodes.bump(pores, 0.25))


def paper(name: str) -> bpy.types.Material:
    """The edge of a book's pages: thin lines across Z."""
    nodes = Nodes(name)
    inputs = {"Vector": nodes.coordinates("Object", (0.0, 0.0, 1.0)), "Scale": 60.0, "Distortion": 0.5}
    wave = nodes.add("ShaderNodeTexWave", inputs, bands_direction="Z").outputs["Fac"]
    color = nodes.ramp(wave, [(0.2, (0.62, 0.55, 0.42)), (0.8, (0.9, 0.86, 0.76))])
    return nodes.surface(base_color=color, roughness=0.9)
