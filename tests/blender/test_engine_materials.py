"""The one colour that a mesh is drawn with beside a NeRF."""

import bpy
import pytest


@pytest.fixture
def surface_color(addon_module):
    return addon_module("engine.materials").surface_color


def test_a_surface_s_colour_is_its_shader_s_and_else_the_viewport_s(surface_color):
    material = bpy.context.scene.objects["Cube"].active_material
    material.diffuse_color = (0.1, 0.2, 0.3, 1.0)
    tree = material.node_tree
    shader = tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = (0.8, 0.4, 0.05, 1.0)
    assert surface_color(material) == pytest.approx((0.8, 0.4, 0.05))
    picture = tree.nodes.new("ShaderNodeTexImage")
    tree.links.new(picture.outputs["Color"], shader.inputs["Base Color"])
    assert surface_color(material) == pytest.approx((0.1, 0.2, 0.3))
    output = tree.get_output_node("ALL")
    mix = tree.nodes.new("ShaderNodeMixShader")
    tree.links.new(mix.outputs["Shader"], output.inputs["Surface"])
    assert surface_color(material) == pytest.approx((0.1, 0.2, 0.3))
    tree.nodes.remove(output)
    assert surface_color(material) == pytest.approx((0.1, 0.2, 0.3))
