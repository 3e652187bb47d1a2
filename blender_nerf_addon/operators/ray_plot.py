"""The plots of a ray: opened in an Image Editor, read with the pointer, walked through, saved as a picture."""

from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, StringProperty

from ..importers import encode
from ..inspect import plot_draw, plot_hover, plot_view, state
from ..inspect.plot_layout import compose
from ..inspect.plot_shapes import Rect
from ..jobs import tasks
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.files import make_folder, write_bytes
from . import common

SAVED_NAME = "NeRF Ray Plot"
SAVED_KEY = "nerf_saved_ray_plot"
ZOOM = 0.8  # of the length that is shown, for one notch of the wheel
CORE_PLOT = "nerf trace RUN ... --plot FILE.png"


class NERF_OT_open_ray_plots(bpy.types.Operator):
    """Show the plots of the inspected ray in an Image Editor: a free one, or a part of the viewport."""

    bl_idname = "nerf.open_ray_plots"
    bl_label = "Open Ray Plots"
    bl_description = (
        "Show density, weight, transmittance, PDF and CDF along the inspected ray in an Image Editor: one that shows "
        "nothing, or a part of this area"
    )

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Find or make the editor, and have it show the plots."""
        if bpy.app.background or context.window is None:
            raise NerfError(f"Blender has no window to show plots in; write them with: {CORE_PLOT}")
        areas = list(context.screen.areas)
        if any(plot_view.shows_plot(area) for area in areas):
            self.report({"INFO"}, "An Image Editor shows the plots already")
            return {"FINISHED"}
        free = [area for area in areas if area.ui_type == "IMAGE_EDITOR" and area.spaces.active.image is None]
        area = free[0] if free else _split(context)
        area.ui_type = "IMAGE_EDITOR"
        space = area.spaces.active
        space.image = plot_view.plot_image()
        space.show_region_toolbar = space.show_region_ui = space.show_gizmo = False
        area.tag_redraw()
        return {"FINISHED"}


def _split(context: bpy.types.Context) -> bpy.types.Area:
    """A new area: the right half, or the lower one, of the viewport that was clicked in, or of the largest."""
    areas = list(context.screen.areas)
    views = [area for area in areas if area.type == "VIEW_3D"]
    area = max(views or areas, key=lambda each: each.width * each.height)
    if context.area is not None and context.area.type == "VIEW_3D":
        area = context.area
    wide = area.width > 1.1 * area.height
    before = {each.as_pointer() for each in areas}
    with context.temp_override(area=area, region=next(each for each in area.regions if each.type == "WINDOW")):
        # The smaller part is the new one: the right one beyond the middle, the lower one below it.
        bpy.ops.screen.area_split(direction="VERTICAL" if wide else "HORIZONTAL", factor=0.51 if wide else 0.49)
    made = [each for each in context.screen.areas if each.as_pointer() not in before]
    if not made:
        raise NerfError("There is no room for another area; make the window larger, or close an area.")
    return made[0]


class NERF_OT_ray_plot_hover(bpy.types.Operator):
    """Read a plot where the pointer is."""

    bl_idname = "nerf.ray_plot_hover"
    bl_label = "Read Ray Plot"
    bl_options = {"INTERNAL"}  # noqa: RUF012

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only where there is a plot, or the pointer was on one."""
        return plot_hover.current() is not None or plot_view.place_of(context) is not None

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Keep what is there; the event goes on to whoever else wants it."""
        x, y = event.mouse_region_x, event.mouse_region_y
        layout = plot_view.layout_at(context, x, y)
        t = layout.t_at(x, y) if layout is not None else None
        if t is None:
            plot_hover.place(None)
        else:
            part = layout.frame_at(x, y).part
            plot_hover.place(plot_hover.Hover(t, part, context.region.as_pointer(), float(x), float(y)))
        return {"PASS_THROUGH"}


class _OnPlot:
    """Does something with the plot below the pointer; elsewhere the event goes on."""

    bl_options = {"INTERNAL"}  # noqa: RUF012

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only where there is a plot."""
        return plot_view.place_of(context) is not None

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Only on the plot itself."""
        if plot_view.layout_at(context, event.mouse_region_x, event.mouse_region_y) is None:
            return {"PASS_THROUGH"}
        return self.execute(context)


class NERF_OT_ray_plot_step(_OnPlot, bpy.types.Operator):
    """Have the plots show the next or the one before of the traced rays."""

    bl_idname = "nerf.ray_plot_step"
    bl_label = "Next Ray"
    bl_description = "Show the plots of the next or the previous of the traced rays"

    step: IntProperty(name="Step", default=1)
    or_zoom: BoolProperty(name="Or Zoom", description="Zoom instead where there is only one ray", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Needs a ray."""
        return bool(state.current().slots)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Go round: behind the last comes the first."""
        shown = state.current()
        if len(shown.pixels) < 2:
            hover = plot_hover.current()
            if self.or_zoom and hover is not None:
                plot_view.zoom(hover.t, ZOOM if self.step < 0 else 1.0 / ZOOM, context.scene)
            return {"FINISHED"}
        context.scene.nerf.ray_plot.mean = False
        shown.choose((shown.chosen_ray + self.step) % len(shown.pixels))
        return {"FINISHED"}


class NERF_OT_ray_plot_zoom(_OnPlot, bpy.types.Operator):
    """Show a shorter or longer part of the ray around the pointer."""

    bl_idname = "nerf.ray_plot_zoom"
    bl_label = "Zoom Ray Plot"
    bl_description = "Show a shorter or longer part of the ray around the pointer; 0: all of it again"

    factor: FloatProperty(name="Factor", description="How much longer; 0: all of the ray", default=ZOOM, min=0.0)

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Needs a ray."""
        return bool(state.current().slots)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Zoom about where the pointer reads the plot."""
        hover = plot_hover.current()
        if self.factor <= 0.0:
            plot_view.zoom(None, 1.0, context.scene)
        elif hover is not None:
            plot_view.zoom(hover.t, self.factor, context.scene)
        return {"FINISHED"}


class NERF_OT_ray_plot_switch(_OnPlot, bpy.types.Operator):
    """Switch something about the plot below the pointer."""

    bl_idname = "nerf.ray_plot_switch"
    bl_label = "Switch Ray Plot"
    bl_description = "Switch the mean of all rays, or the zoom to the surface"

    what: EnumProperty(name="What", items=(("mean", "Mean of All Rays", ""), ("focus", "Zoom to the Surface", "")))

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Switch it."""
        settings = context.scene.nerf.ray_plot
        setattr(settings, self.what, not getattr(settings, self.what))
        return {"FINISHED"}


class NERF_OT_ray_plot_hold(_OnPlot, bpy.types.Operator):
    """A click on the plot in a viewport is no click on what lies behind it."""

    bl_idname = "nerf.ray_plot_hold"
    bl_label = "Ray Plot"

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Do nothing."""
        return {"FINISHED"}


class NERF_OT_save_ray_plot(bpy.types.Operator):
    """Draw the plots into an image, and save it."""

    bl_idname = "nerf.save_ray_plot"
    bl_label = "Save Plot"
    bl_description = "Draw the plots of the inspected ray into an image of this size, and save it as PNG"

    filepath: StringProperty(
        name="File", description="A PNG file; without a window also an SVG file", subtype="FILE_PATH"
    )
    filter_glob: StringProperty(default="*.png", options={"HIDDEN"})
    check_existing: BoolProperty(default=True, options={"HIDDEN"})
    width: IntProperty(name="Width", description="In pixels", default=1600, min=300, max=8192)
    height: IntProperty(name="Height", description="In pixels", default=1000, min=200, max=8192)
    scale: FloatProperty(name="Scale", description="Of texts and lines", default=1.5, min=0.5, max=8.0)

    _asked = False

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Needs a traced ray."""
        if not state.current().slots:
            cls.poll_message_set("No ray is inspected")
            return False
        return True

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Ask for the file."""
        if not self.filepath:
            beside = Path(bpy.data.filepath).parent if bpy.data.filepath else Path.home()
            self.filepath = str(beside / "ray.png")
        self._asked = True
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Draw off the screen, write beside and rename."""
        target = _target(self.filepath)
        check_free(target, self.filepath if self._asked else None)
        if bpy.app.background:  # where Blender cannot draw, the core does
            scene = context.scene
            return common.begin_task(self, "Plot", [lambda: plot_step(scene, target)], undo=False)
        if target.suffix.lower() != ".png":
            raise NerfError(f"Blender draws plots as PNG; the core writes SVG: {CORE_PLOT}")
        pixels = draw_plot(context.scene, self.width, self.height, self.scale)
        make_folder(target.parent)
        write_bytes(target, encode.png(pixels[::-1].astype("float32") / 255.0))
        show_saved(target)
        self.report({"INFO"}, f"The plot is in '{target}'")
        return {"FINISHED"}


def check_free(target: Path, chosen: str | None) -> None:
    """Refuse a file that is not ours, unless it is the very one that was chosen where Blender shows what is there.

    Parameters
    ----------
    target : Path
        Where the plot goes: what was chosen, with an ending where it had none.
    chosen : str or None
        The path in the file browser; None: there was none.
    """
    shown = chosen is not None and Path(bpy.path.abspath(chosen.strip())).expanduser().absolute() == target
    if target.exists() and not shown and not encode.is_ours(target):
        raise NerfError(f"'{target}' exists and was not made by NeRF Toolkit; choose another name.")


def show_saved(target: Path) -> bpy.types.Image:
    """The image of the plot that was saved last, now with this file.

    One that was renamed, painted on or packed is the person's own by then, and stays as it is.
    """
    image = next((each for each in bpy.data.images if _is_free(each)), None)
    if image is None:
        image = bpy.data.images.load(str(target))
        image.name = SAVED_NAME
        image[SAVED_KEY] = image.name  # which a copy has not
    else:
        image.filepath = str(target)
        image.reload()
    return image


def _is_free(image: bpy.types.Image) -> bool:
    ours = image.get(SAVED_KEY) == image.name and image.library is None
    return ours and not image.is_dirty and image.packed_file is None


def plot_step(scene: bpy.types.Scene, target: Path) -> tasks.Step:
    """The step that has the core trace what the inspector shows again, and draw it into a file."""
    shown, settings = state.current(), scene.nerf.ray_plot
    ray = None if settings.mean else shown.chosen_ray
    params = {
        "run": shown.run,
        "camera": shown.camera.to_dict(),
        "pixels": shown.pixels.tolist(),
        "samplers": [slot.used or None for slot in shown.slots],
        "ray": ray,
        "out": str(target),
        "overwrite": False,  # by now something else may be there
        "focus": settings.focus,
        "heading": plot_view.heading(shown, settings.mean),
    }
    if shown.matrix is not None:
        params["matrix"] = shown.matrix.tolist()
    if shown.snapshot is not None:
        params["snapshot"] = shown.snapshot
    depths = shown.slots[0].arrays.get("true_depth")
    if depths is not None:
        params["true_depth"] = depths.tolist()

    def handle(result: dict[str, Any], _arrays: dict[str, Any]) -> Path:
        written = Path(result["out"])
        if written.suffix.lower() == ".png":
            show_saved(written)
        return written

    return tasks.Step("plot", params, handle, "Plotting a ray")


def draw_plot(scene: bpy.types.Scene, width: int, height: int, scale: float) -> Any:
    """(H, W, 4) bytes of what the plots show, the lowest row first.

    Raises
    ------
    NerfError
        When there is no ray.
    """
    plot = plot_view.ray_plot(scene)
    if plot is None:
        raise NerfError("No ray is inspected: click a pixel of a NeRF with the inspector first.")
    rect, rows = Rect(0, 0, width, height), scene.nerf.ray_plot.rows
    layout = compose(plot, rect, scale, rows, plot_view.unit_of(scene), plot_draw.measure)
    return plot_draw.pixels(layout.shapes, width, height)


def _target(text: str) -> Path:
    text = text.strip()
    if not text:
        raise NerfError("Choose a PNG file for the plot.")
    if text.startswith("//") and not bpy.data.filepath:
        raise NerfError(f"'{text}' is relative to the .blend file, which is not saved yet; save it first.")
    path = Path(bpy.path.abspath(text)).expanduser().absolute()
    if path.is_dir():
        raise NerfError(f"'{path}' is a folder; name a file.")
    return path if path.suffix.lower() in (".png", ".svg") else path.with_name(path.name + ".png")


CLASSES = (
    NERF_OT_open_ray_plots,
    NERF_OT_ray_plot_hover,
    NERF_OT_ray_plot_step,
    NERF_OT_ray_plot_zoom,
    NERF_OT_ray_plot_switch,
    NERF_OT_ray_plot_hold,
    NERF_OT_save_ray_plot,
)

_keys: list[tuple[Any, Any]] = []


def register() -> None:
    """Listen to the pointer and some keys over the plots; without a window there are none."""
    manager = bpy.context.window_manager
    config = manager.keyconfigs.addon if manager is not None else None
    if config is None:
        return
    for name, space in (("Image", "IMAGE_EDITOR"), ("3D View", "VIEW_3D")):
        keymap = config.keymaps.new(name=name, space_type=space)
        for operator, kind, value, options, held in _bindings(name):
            item = keymap.keymap_items.new(operator, kind, value, head=True, **held)
            for option, what in options.items():
                setattr(item.properties, option, what)
            _keys.append((keymap, item))
    keymap = config.keymaps.new(name="Window")
    _keys.append((keymap, keymap.keymap_items.new("nerf.ray_plot_hover", "MOUSEMOVE", "ANY", any=True)))


def _bindings(keymap: str) -> list[tuple[str, str, str, dict[str, Any], dict[str, bool]]]:
    bindings: list[tuple[str, str, str, dict[str, Any], dict[str, bool]]] = [
        ("nerf.ray_plot_step", "WHEELUPMOUSE", "PRESS", {"step": -1, "or_zoom": True}, {}),
        ("nerf.ray_plot_step", "WHEELDOWNMOUSE", "PRESS", {"step": 1, "or_zoom": True}, {}),
        ("nerf.ray_plot_zoom", "WHEELUPMOUSE", "PRESS", {"factor": ZOOM}, {"ctrl": True}),
        ("nerf.ray_plot_zoom", "WHEELDOWNMOUSE", "PRESS", {"factor": 1.0 / ZOOM}, {"ctrl": True}),
        ("nerf.ray_plot_step", "LEFT_ARROW", "PRESS", {"step": -1}, {}),
        ("nerf.ray_plot_step", "RIGHT_ARROW", "PRESS", {"step": 1}, {}),
        ("nerf.ray_plot_zoom", "HOME", "PRESS", {"factor": 0.0}, {}),
        ("nerf.ray_plot_switch", "M", "PRESS", {"what": "mean"}, {}),
        ("nerf.ray_plot_switch", "F", "PRESS", {"what": "focus"}, {}),
    ]
    if keymap == "3D View":
        bindings += [("nerf.ray_plot_hold", "LEFTMOUSE", value, {}, {}) for value in ("PRESS", "CLICK", "DOUBLE_CLICK")]
    return bindings


def unregister() -> None:
    """Stop listening."""
    while _keys:
        keymap, item = _keys.pop()
        keymap.keymap_items.remove(item)
