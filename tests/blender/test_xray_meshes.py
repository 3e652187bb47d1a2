"""What X-rays see of a scene: modifiers, instances, curves, materials; which meshes are not closed."""

import bmesh
import bpy
import numpy as np
import pytest

from .xray_scenes import cube, gathered, made_of, only, volume


@pytest.fixture
def solids(addon_module):
    return addon_module("xray.solids")


def faults(item, solids):
    mesh = item.data
    mesh.calc_loop_triangles()
    vertices = np.array([v.co for v in mesh.vertices])
    faces = np.array([t.vertices for t in mesh.loop_triangles])
    return solids.find_faults(vertices, faces)


def test_only_what_has_a_material_takes_part_evaluated_and_in_world_space(addon_module):
    scene = bpy.context.scene  # its cube has no material
    array = cube("Row", size=2.0, location=(5, 0, 0))
    array.scale = (1, 1, 3)
    modifier = array.modifiers.new("Array", "ARRAY")
    modifier.count, modifier.relative_offset_displace = 2, (2.0, 0, 0)
    hidden = cube("Hidden")
    hidden.hide_render = True
    mirrored = cube("Mirrored", mu=0.5, location=(-5, 0, 0))
    mirrored.scale = (-1, 1, 1)
    parts = {part.name: part for part in gathered(addon_module)}
    assert set(parts) == {"Row", "Mirrored"}
    row = parts["Row"]
    np.testing.assert_allclose(row.vertices.min(axis=0), (4, -1, -3), atol=1e-6)
    np.testing.assert_allclose(row.vertices.max(axis=0), (10, 1, 3), atol=1e-6)
    assert volume(row) == pytest.approx(2 * 24) and volume(parts["Mirrored"]) == pytest.approx(8)
    assert parts["Mirrored"].made_of.mu == pytest.approx(0.5) and row.made_of.priority == 0
    assert scene.objects["Cube"].nerf_xray.material == "NONE"


def test_instances_take_their_own_material_or_that_of_what_makes_them(addon_module):
    scene = only()
    source = cube("Source")
    collection = bpy.data.collections.new("Kept")
    collection.objects.link(source)
    bpy.data.collections["Collection"].objects.unlink(source)
    for x in (0, 4):
        empty = bpy.data.objects.new("Instance", None)
        empty.instance_type, empty.instance_collection = "COLLECTION", collection
        empty.location.x = x
        scene.collection.objects.link(empty)
    parts = gathered(addon_module)
    assert [part.name for part in parts] == ["Source", "Source"]
    assert sorted(round(part.vertices[:, 0].mean()) for part in parts) == [0, 4]
    assert all(volume(part) == pytest.approx(8) for part in parts)


def test_curves_texts_and_metaballs_come_once_each(addon_module, solids):
    only()
    bpy.ops.surface.primitive_nurbs_surface_torus_add()
    made_of(bpy.context.object, "Torus")
    bpy.ops.object.metaball_add(radius=1.0, location=(5, 0, 0))
    made_of(bpy.context.object, "Ball")
    bpy.ops.curve.primitive_bezier_circle_add(location=(-5, 0, 0))
    bpy.context.object.data.bevel_depth = 0.3
    made_of(bpy.context.object, "Ring")
    parts = gathered(addon_module)
    assert sorted(part.name for part in parts) == ["Ball", "Ring", "Torus"]
    for part in parts:
        assert solids.find_faults(part.vertices, part.faces).is_solid, part.name
    ring = next(part for part in parts if part.name == "Ring")
    assert volume(ring) == pytest.approx(np.pi * 0.3**2 * 2 * np.pi, rel=0.05)


def test_a_blender_material_may_have_an_attenuation_of_its_own(addon_module, solids):
    only()
    bpy.ops.mesh.primitive_uv_sphere_add(radius=1.0)
    outer = bpy.context.object
    bpy.ops.mesh.primitive_cube_add(size=0.5)
    inner = bpy.context.object
    flesh, bone = bpy.data.materials.new("Flesh"), bpy.data.materials.new("Bone")
    outer.data.materials.append(flesh)
    inner.data.materials.append(bone)
    outer.select_set(True)
    bpy.context.view_layer.objects.active = outer
    bpy.ops.object.join()
    made_of(outer, "Leg", "SOFT_TISSUE")
    bone.nerf_xray.material, bone.nerf_xray.priority = "CORTICAL_BONE", 3
    parts = {part.name: part for part in gathered(addon_module)}
    materials = addon_module("vendor.nerf_core.contract.xray").MATERIALS
    assert set(parts) == {"Leg", "Leg / Bone"}
    assert parts["Leg"].made_of.mu == materials["soft tissue"] and parts["Leg"].made_of.priority == 0
    assert parts["Leg / Bone"].made_of.mu == materials["cortical bone"] and parts["Leg / Bone"].made_of.priority == 3
    assert volume(parts["Leg / Bone"]) == pytest.approx(0.125) and len(parts["Leg / Bone"].vertices) == 8
    assert all(solids.find_faults(part.vertices, part.faces).is_solid for part in parts.values())
    outer.nerf_xray.material = "NONE"
    assert [part.name for part in gathered(addon_module)] == ["Leg / Bone"]


def test_what_is_not_closed_is_said_in_words(solids):
    only()
    item = cube("Box")
    assert faults(item, solids).is_solid
    mesh = bmesh.new()
    mesh.from_mesh(item.data)
    mesh.faces.ensure_lookup_table()
    mesh.faces[0].normal_flip()
    mesh.to_mesh(item.data)
    assert faults(item, solids).words == "4 edges between flipped faces"
    mesh.faces[0].normal_flip()
    bmesh.ops.reverse_faces(mesh, faces=mesh.faces)
    mesh.to_mesh(item.data)
    assert faults(item, solids).words == "normals point inward"
    bmesh.ops.delete(mesh, geom=[mesh.faces[0]], context="FACES_ONLY")
    mesh.to_mesh(item.data)
    assert faults(item, solids).words == "4 edges open"
    assert faults(item, solids).open_edges == 4
    assert solids.find_faults(np.zeros((3, 3)), np.zeros((0, 3), int)).words == "no faces"
    three = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, -1, 0]], float)
    fan = np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4]])
    assert "1 edge with more than two faces" in solids.find_faults(three, fan).words


def test_corners_at_the_same_place_close_a_mesh_and_spheres_are_round(solids):
    only()
    bpy.ops.mesh.primitive_uv_sphere_add(radius=2.0, location=(1e3, 0, 0))
    item = bpy.context.object
    bpy.ops.object.transform_apply()
    mesh = bmesh.new()
    mesh.from_mesh(item.data)
    bmesh.ops.split_edges(mesh, edges=mesh.edges)  # as many file formats leave it
    mesh.to_mesh(item.data)
    assert len(item.data.vertices) > 1900
    assert faults(item, solids).is_solid


def test_the_scene_may_change_while_it_is_read_and_that_is_told(addon_module):
    only()
    big = cube("A")
    other = cube("B", location=(4, 0, 0))
    errors = addon_module("vendor.nerf_core.contract.errors")
    gather = addon_module("xray.gather")
    work = gather.gather(bpy.context.scene.session_uid, bpy.context.view_layer.name)
    next(work)
    bpy.data.objects.remove(other)
    big.location.x = 1
    bpy.context.view_layer.update()
    with pytest.raises(errors.NerfError, match="The scene changed while its meshes were read"):
        while True:
            next(work)
