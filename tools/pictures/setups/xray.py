"""X-rays: a torso of simple solids with the rig around it, and what its trained field shows."""

CENTIMETRE = 0.01
BODY = "X-Ray Torso"


def xray_rig(stage):
    """The rig in the viewport, and the panel."""
    stage.need("nerf.xray_capture")
    torso(stage)
    settings = stage.scene.nerf_xray
    settings.show_rig, settings.shown_view, settings.views, settings.val_views = True, 64, 72, 8
    stage.select()
    yield from stage.panels("NERF_PT_xray", "NERF_PT_xray_subject", "NERF_PT_xray_rig")
    stage.look(azimuth=-62.0, elevation=24.0, distance=2.7, center=(0.12, 0.0, 0.0))
    stage.solid_color("OBJECT")
    yield 1.0
    stage.part("window")


def xray_render(stage):
    """Radiographs taken and trained on, seen through the scene's camera beside the truth's slice of the rig."""
    stage.need("nerf.xray_capture")
    bpy = stage.bpy
    torso(stage)
    scene = stage.scene
    settings = scene.nerf_xray
    settings.views, settings.val_views, settings.pixels = 72, 6, (128, 128)
    scene.nerf.capture.folder, scene.nerf.capture.name = str(stage.folder), "torso"
    scene.nerf.training.budget, scene.nerf.training.seconds = "SECONDS", 30.0
    stage.run_operator("nerf.xray_capture", then_train=True)
    radiographs, training = stage.addon("xray.radiographs"), stage.addon("jobs.training")
    yield from stage.wait(lambda: not radiographs.running(), "the radiographs", 300)
    if radiographs.current().phase != "done":
        raise AssertionError(radiographs.current().text)
    yield from stage.wait(lambda: training.current() is not None and not training.under_way(), "the training", 300)
    bpy.data.collections[BODY].hide_viewport = bpy.data.collections[BODY].hide_render = True
    scene.view_settings.view_transform = "Standard"
    scene.render.film_transparent = False
    for node in scene.world.node_tree.nodes:
        if node.type == "BACKGROUND":
            node.inputs["Color"].default_value = (0.0, 0.0, 0.0, 1.0)
    scene.render.engine = "NERF_TOOLKIT"
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 512, 512, 100
    camera = scene.camera
    camera.location, camera.rotation_euler = (0.9, -1.35, 0.25), (1.42, 0.0, 0.588)
    camera.data.lens, camera.data.sensor_width = 95.0, 36.0
    nerf = next(item for item in scene.objects if item.nerf.is_nerf)
    nerf.nerf_xray.use_window, nerf.nerf_xray.level, nerf.nerf_xray.width = True, 3.0, 5.0
    stage.select(nerf)
    yield from stage.panels("NERF_PT_xray", "NERF_PT_xray_results")
    bpy.ops.render.render()
    editor = stage.image_editor(large=True)
    editor.spaces.active.image = next(image for image in bpy.data.images if image.type == "RENDER_RESULT")
    stage.look(azimuth=-50.0, elevation=12.0, distance=1.3, center=(0.0, 0.0, 0.0))
    stage.shade("RENDERED")
    yield 0.5
    stage.fit_image(editor, enlarge=False)
    yield 3.0
    stage.part("window")


def torso(stage):
    """A torso of closed solids in true size: soft tissue, lungs, spine, ribs, and a screw of titanium."""
    bpy = stage.bpy
    stage.hide_subject()
    collection = bpy.data.collections.new(BODY)
    stage.scene.collection.children.link(collection)

    colors = {"SOFT_TISSUE": (0.8, 0.2, 0.15, 1), "LUNG": (0.75, 0.5, 0.5, 1), "TITANIUM": (0.3, 0.4, 0.5, 1)}
    colors["BONE"] = colors["CORTICAL_BONE"] = (0.9, 0.85, 0.7, 1)

    def add(name, material, priority, size, place, turn=(0.0, 0.0, 0.0), make=None):
        (make or bpy.ops.mesh.primitive_uv_sphere_add)()
        item = bpy.context.object
        item.name, item.nerf_xray.material, item.nerf_xray.priority = name, material, priority
        item.scale, item.rotation_euler = [CENTIMETRE * side for side in size], turn
        item.location = [CENTIMETRE * at for at in place]
        item.display_type = "BOUNDS" if name == "Body" else "TEXTURED"
        item.display_bounds_type = "CAPSULE"
        item.color = colors[material]
        for other in list(item.users_collection):
            other.objects.unlink(item)
        collection.objects.link(item)
        return item

    def ball():
        bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=4)

    add("Body", "SOFT_TISSUE", 0, (17, 11, 22), (0, 0, 0), make=ball)
    for side in (-1, 1):
        add("Lung", "LUNG", 1, (6, 7, 13), (8 * side, -0.5, 2), make=ball)
    add("Heart", "SOFT_TISSUE", 2, (4.5, 4, 5), (2.5, -3, -1), (0.0, 0.5, 0.3), make=ball)
    for level in range(-8, 9):
        add("Vertebra", "BONE", 3, (1.9, 1.6, 1.0), (0, 7, 2.4 * level), make=bpy.ops.mesh.primitive_cylinder_add)
    for level in range(-3, 5):
        ring = lambda: bpy.ops.mesh.primitive_torus_add(major_radius=1.0, minor_radius=0.045)  # noqa: E731
        width = (1.0 - (2.6 * level / 24.0) ** 2) ** 0.5
        add("Rib", "CORTICAL_BONE", 3, (15 * width, 9.4 * width, 10), (0, 0, 2.6 * level), (0.28, 0.0, 0.0), ring)
    add("Screw", "TITANIUM", 4, (0.35, 0.35, 2.6), (0, 5.6, 3), (1.45, 0.0, 0.2), bpy.ops.mesh.primitive_cylinder_add)


PICTURES = {"xray-rig": xray_rig, "xray-render": xray_render}
