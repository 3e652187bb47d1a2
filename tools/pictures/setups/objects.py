"""The NeRF as an object: moved, copied and cropped; the render engine; one picture with meshes."""


def nerf_object(stage):
    """A NeRF object and a smaller, turned copy that is cropped by a box."""
    item = _add(stage)
    bpy = stage.bpy
    twin = item.copy()
    stage.scene.collection.objects.link(twin)
    twin.location, twin.scale, twin.rotation_euler[2] = (3.0, -0.3, 0.0), (0.8, 0.8, 0.8), 0.9
    item.select_set(False)
    twin.select_set(True)
    bpy.context.view_layer.objects.active = twin
    stage.run_operator("nerf.add_crop")
    crop = twin.nerf.crop
    crop.scale[0] *= 0.5
    crop.location[0] -= 0.4
    stage.select(twin)
    yield from stage.panels("NERF_PT_object")
    stage.look(azimuth=-70.0, elevation=30.0, distance=9.0, center=(1.3, 0.0, 0.3))
    yield from _rendered(stage)


def viewport(stage):
    """The viewport's Rendered mode with the engine, and its settings."""
    _add(stage)
    stage.select()
    yield from stage.panels("NERF_PT_object")
    stage.through_camera()
    stage.properties("RENDER")
    yield from _rendered(stage)
    stage.part("window")


def compositing(stage):
    """A ring of metal around the NeRF's teapot, rendered by Cycles: it is hidden and hides where it should."""
    stage.need("nerf.set_up_compositing")
    bpy = stage.bpy
    _add(stage)
    bpy.ops.mesh.primitive_torus_add(location=(-0.1, 0.0, 0.45), rotation=(0.3, 0.2, 0.0), minor_radius=0.09)
    torus = bpy.context.active_object
    paint = bpy.data.materials.new("Paint")
    paint.use_nodes = True
    paint.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (0.55, 0.03, 0.02, 1.0)
    torus.data.materials.append(paint)
    torus.data.polygons.foreach_set("use_smooth", [True] * len(torus.data.polygons))
    scene = stage.scene
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising = 8, False
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 540, 405, 100
    stage.run_operator("nerf.set_up_compositing")
    yield from stage.panels("NERF_PT_compositing")
    stage.select()
    bpy.ops.render.render()
    editor = stage.image_editor(large=True)
    editor.spaces.active.image = next(image for image in bpy.data.images if image.type == "RENDER_RESULT")
    yield 0.5
    stage.fit_image(editor, enlarge=False)
    yield 1.0
    stage.part("window")


def mesh(stage):
    """The surface as a mesh with vertex colours."""
    stage.need("nerf.import_mesh")
    stage.scene.nerf.mesh.resolution = 160
    yield from stage.panels("NERF_PT_results", "NERF_PT_mesh")
    stage.run_operator("nerf.import_mesh")
    yield from stage.wait_task()
    stage.hide_subject()
    stage.shade("SOLID")
    stage.solid_color("VERTEX")
    stage.select()
    stage.look(azimuth=-65.0, elevation=28.0, distance=5.2)
    yield 1.0


def _add(stage):
    stage.need("nerf.add_object")
    stage.hide_subject()
    stage.run_operator("nerf.add_object", choose=False)
    return stage.bpy.context.active_object


def _rendered(stage):
    """Show the NeRF itself where this extension can, else its box."""
    if stage.has("nerf.use_engine"):
        stage.run_operator("nerf.use_engine")
        stage.scene.render.film_transparent = False
        stage.shade("RENDERED")
        yield 25.0
    else:
        stage.missing_note("The viewport shows boxes only: there is no operator nerf.use_engine.")
        yield 1.0


PICTURES = {"nerf-object": nerf_object, "viewport": viewport, "compositing": compositing, "mesh": mesh}
