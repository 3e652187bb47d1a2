"""What the core renders beside the colour: normals, depth, and a lens."""

import numpy as np

SIDE = 300


def passes(stage):
    """Four renders of one view in an Image Editor: colour, normals, depth, and depth of field."""
    bpy = stage.bpy
    camera = stage.addon("operators.render").camera_at(stage.scene, bpy.context.view_layer, stage.scene.camera)
    camera = camera.resized(SIDE * camera.width // camera.height, SIDE)
    asked = {"run": str(stage.run), "camera": camera.to_dict(), "passes": ["normal"], "depth": "z"}
    lens = {"radius": 0.12, "focus": float(np.linalg.norm(camera.position)) - 1.0, "blades": 0}
    answers = []
    for more in ({}, {"lens": lens, "samples": 48}):
        call = stage.addon("jobs.core").request("render", {**asked, **more})
        yield from stage.wait(lambda call=call: call.done, "a render")
        if call.error is not None:
            raise call.error
        answers.append(call.arrays)
    shown = _sheet(*answers)
    image = bpy.data.images.new("Passes", shown.shape[1], shown.shape[0])
    image.pixels.foreach_set(np.ascontiguousarray(shown[::-1], dtype=np.float32).ravel())
    image.update()
    editor = stage.image_editor(large=True)
    editor.spaces.active.image = image
    with bpy.context.temp_override(window=bpy.context.window, area=editor):
        editor.spaces.active.show_region_header = False
    yield 0.5
    stage.fit_image(editor)
    yield 1.0
    share = (editor.width / shown.shape[1]) * shown.shape[0] / editor.height  # of the editor's height, as it is fit
    stage.part("image_editor", (0.5 - 0.5 * share, 0.5 + 0.5 * share))


def _sheet(sharp, soft):
    """(2 H, 2 W, 4) picture: colour and normals above, depth and depth of field below, on white."""
    alpha = sharp["rgba"][..., 3:]
    depth = sharp["depth"][..., None]
    seen = depth[alpha > 0.5]
    near, far = seen.min(), seen.max()
    grey = np.repeat(1.0 - 0.85 * np.clip((depth - near) / (far - near), 0.0, 1.0), 3, axis=-1)
    normal = 0.5 + 0.5 * sharp["normal"]
    parts = [_over(sharp["rgba"]), alpha * normal + 1.0 - alpha, alpha * grey + 1.0 - alpha, _over(soft["rgba"])]
    opaque = [np.concatenate([part, np.ones_like(alpha)], axis=-1) for part in parts]
    return np.concatenate([np.concatenate(opaque[:2], axis=1), np.concatenate(opaque[2:], axis=1)], axis=0)


def _over(rgba):
    return rgba[..., :3] + 1.0 - rgba[..., 3:]


PICTURES = {"passes": passes}
