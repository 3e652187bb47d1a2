"""The explainer: its scene in the window, and frames of its story."""

from pathlib import Path

# Of the story: in which part, counted from 0, and how far into it.
FRAMES = ((0, 0.45), (0, 0.95), (1, 0.37), (1, 0.72), (2, 0.6), (3, 0.5), (3, 0.97), (4, 0.42), (5, 0.97))
COLUMNS, SCALE, GAP = 3, 40, 6


def explainer(stage):
    """The scene through its camera, with its markers in the timeline."""
    yield from _explain(stage)
    yield from stage.panels("NERF_PT_results", "NERF_PT_explainer")
    story = stage.bpy.context.scene
    story.frame_set(_frames(story)[4])
    yield 1.0
    stage.part("window")


def explainer_story(stage):
    """Frames of the story beside and below each other."""
    import numpy as np

    yield from _explain(stage)
    bpy = stage.bpy
    story = bpy.context.scene
    pictures = []
    story.render.resolution_percentage = SCALE
    for number, frame in enumerate(_frames(story)):
        story.frame_set(frame)
        story.render.filepath = str(Path(stage.folder) / f"story-{number}.png")
        bpy.ops.render.render(write_still=True, scene=story.name)
        shown = bpy.data.images.load(story.render.filepath)
        width, height = shown.size
        pixels = np.empty(width * height * 4, dtype=np.float32)
        shown.pixels.foreach_get(pixels)
        pictures.append(pixels.reshape(height, width, 4))
    rows = -(-len(pictures) // COLUMNS)
    sheet = np.ones((rows * (height + GAP) - GAP, COLUMNS * (width + GAP) - GAP, 4), dtype=np.float32)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, COLUMNS)
        low = (rows - 1 - row) * (height + GAP)
        sheet[low : low + height, column * (width + GAP) : column * (width + GAP) + width] = picture
    image = bpy.data.images.new("Story", sheet.shape[1], sheet.shape[0])
    image.pixels.foreach_set(sheet.ravel())
    editor = _whole_viewport(stage)
    editor.spaces.active.image = image
    editor.spaces.active.show_gizmo = editor.spaces.active.show_region_toolbar = False
    yield 0.5
    stage.fit_image(editor)
    yield 1.0
    low = 0.5 - 0.5 * sheet.shape[0] / sheet.shape[1] * editor.width / editor.height
    stage.part("image_editor", height=(max(low - 0.02, 0.0), min(1.0 - low, 0.94)))


def _whole_viewport(stage):
    """The large viewport as an Image Editor; the outliner becomes the viewport that the stage works with."""
    screen = stage.bpy.context.window_manager.windows[0].screen
    large = max((area for area in screen.areas if area.type == "VIEW_3D"), key=lambda area: area.width * area.height)
    next(area for area in screen.areas if area.type == "OUTLINER").ui_type = "VIEW_3D"
    large.ui_type = "IMAGE_EDITOR"
    return large


def _explain(stage):
    stage.need("nerf.explain")
    stage.run_operator("nerf.explain")
    yield from stage.wait_task()


def _frames(story):
    begins = [marker.frame for marker in sorted(story.timeline_markers, key=lambda marker: marker.frame)]
    ends = [*begins[1:], story.frame_end]
    return [round(begins[part] + share * (ends[part] - begins[part])) for part, share in FRAMES]


PICTURES = {"explainer": explainer, "explainer_story": explainer_story}
