"""Inspect pixels: the rays of what is under the pointer, live; a click pins them, Esc ends."""

from collections.abc import Iterator

import bpy
from bpy.props import BoolProperty, IntVectorProperty

from ..inspect import plot_view, request, state
from ..inspect.rays import Aim, image_aim, viewport_aim
from ..inspect.settings import PATCH_SIDE
from ..objects import chosen
from ..vendor.nerf_core.contract.errors import NerfError
from . import common
from .render import camera_at

HELP = "Point: follow    Click or drag: pin    [ ]: patch    Esc or right click: end"
EDITORS = {"VIEW_3D", "IMAGE_EDITOR"}
MOVES = {"MOUSEMOVE", "INBETWEEN_MOUSEMOVE"}


class NERF_OT_inspect_pixel(bpy.types.Operator):
    """Show the rays of the pixel under the pointer, with every sample on them."""

    bl_idname = "nerf.inspect_pixel"
    bl_label = "Inspect Pixels"
    bl_description = (
        "Show where a NeRF looks: point at a pixel in a viewport or an Image Editor, and its ray stands in the scene; "
        "a click pins it, Esc ends"
    )

    drag: BoolProperty(
        name="Drag", description="End when the mouse button is released: how the tool calls it", options={"SKIP_SAVE"}
    )
    pixel: IntVectorProperty(
        name="Pixel",
        description="Without a window: column and row of the scene's camera's picture, counted from 0 at the top left",
        size=2,
        default=(0, 0),
        min=0,
        options={"SKIP_SAVE"},
    )

    _running = False

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a trained run."""
        if not chosen.has_run(context.scene):
            cls.poll_message_set("Nothing is trained yet")
            return False
        return True

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Show the rays of the scene's camera's `pixel`; without a window, wait for them."""
        scene = context.scene
        if scene.camera is None:
            raise NerfError("The scene has no camera to look through; add one.")
        camera = camera_at(scene, context.view_layer, scene.camera)
        x, y = self.pixel
        if x >= camera.width or y >= camera.height:
            raise NerfError(
                f"The pixel ({x}, {y}) lies outside the picture, which has {camera.width}x{camera.height} pixels."
            )
        request.ask(context, Aim(camera, (x + 0.5, y + 0.5), scene.camera.name), pinned=True)
        if common.waits(self):
            request.wait()
            if state.current().error:
                raise NerfError(state.current().error)
        return {"FINISHED"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Follow the pointer from now on."""
        if context.window is None or bpy.app.background:
            return self.execute(context)
        if NERF_OT_inspect_pixel._running:
            self.report({"INFO"}, "Inspect Pixels is under way already: Esc ends it")
            return {"CANCELLED"}
        try:
            chosen.chosen_run(context.scene)
        except NerfError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self._kept = _kept()
        self._pressed, self._last = self.drag, None
        state.current().pinned = False
        NERF_OT_inspect_pixel._running = True
        context.window.cursor_modal_set("CROSSHAIR")
        context.workspace.status_text_set(HELP)
        context.window_manager.modal_handler_add(self)
        if self.drag:
            self._aim(context, event)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Aim, pin, or end; everything else is for Blender."""
        if event.type in {"ESC", "RIGHTMOUSE"} and event.value == "PRESS":
            return self._end(context, restore=True)
        if event.type in MOVES:
            if self._pressed or not state.current().pinned:
                self._aim(context, event)
            return {"RUNNING_MODAL"} if self._pressed else {"PASS_THROUGH"}
        if event.type == "LEFTMOUSE":
            return self._button(context, event)
        if event.type in {"LEFT_BRACKET", "RIGHT_BRACKET"} and event.value == "PRESS" and _under(context, event):
            settings = context.scene.nerf.inspector
            step = 1 if event.type == "RIGHT_BRACKET" else -1
            settings.patch = min(max(settings.patch + step, 1), PATCH_SIDE)
            return {"RUNNING_MODAL"}
        return {"PASS_THROUGH"}

    def cancel(self, context: bpy.types.Context) -> None:
        """Blender ends it: another file, or the window is closed."""
        self._end(context, restore=False)

    def _button(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if event.value == "RELEASE" and self._pressed:
            self._pressed = False
            request.pin()
            self._kept = None
            return self._end(context, restore=False) if self.drag else {"RUNNING_MODAL"}
        if event.value not in {"PRESS", "DOUBLE_CLICK"} or _under(context, event) is None:
            return {"PASS_THROUGH"}
        self._pressed, self._last = True, None
        self._aim(context, event)
        return {"RUNNING_MODAL"}

    def _aim(self, context: bpy.types.Context, event: bpy.types.Event) -> None:
        """Ask for what is under the pointer, unless that was asked for already."""
        try:
            aim = aim_at(context, event)
            if aim is None:
                return
            # A view that was turned is another one, though the pointer rests.
            what = (aim.view, aim.pixel, aim.camera.c2w.tobytes())
            if what == self._last:
                return
            self._last = what
            request.ask(context, aim, pinned=self._pressed)
        except NerfError as error:
            request.fail(str(error))

    def _end(self, context: bpy.types.Context, restore: bool) -> set[str]:
        NERF_OT_inspect_pixel._running = False
        if context.window is not None:
            context.window.cursor_modal_restore()
        if context.workspace is not None:
            context.workspace.status_text_set(None)
        current = state.current()
        if restore and not current.pinned:
            request.forget()
            current.clear()
            if self._kept is not None:
                slots, named = self._kept
                current.show(slots, **named)
        return {"FINISHED"}


class NERF_OT_inspect_clear(bpy.types.Operator):
    """Show no rays any more."""

    bl_idname = "nerf.inspect_clear"
    bl_label = "Clear"
    bl_description = "Take away the rays that are shown; what was baked stays"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Needs something that is shown."""
        current = state.current()
        return bool(current.slots or current.error or request.waiting())

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Empty the state."""
        request.forget()
        state.current().clear()
        return {"FINISHED"}


def aim_at(context: bpy.types.Context, event: bpy.types.Event) -> Aim | None:
    """What is under the pointer; None beside editors that show something.

    Raises
    ------
    NerfError
        When it is a picture whose camera nobody knows.
    """
    found = _under(context, event)
    if found is None:
        return None
    area, region = found
    x, y = event.mouse_x - region.x + 0.5, event.mouse_y - region.y + 0.5
    space, scene, depsgraph = area.spaces.active, context.scene, context.evaluated_depsgraph_get()
    if area.type == "VIEW_3D":
        return viewport_aim(region, space, scene, depsgraph, x, y)
    return image_aim(region, space.image, scene, depsgraph, x, y)


def _kept() -> tuple[list[state.Slot], dict[str, object]] | None:
    """What is shown and pinned, to come back to."""
    current = state.current()
    if not current.slots:
        return None
    named = {name: value for name, value in vars(current).items() if name not in ("slots", "revision", "error")}
    return list(current.slots), {**named, "pinned": True}


def _under(context: bpy.types.Context, event: bpy.types.Event) -> tuple[bpy.types.Area, bpy.types.Region] | None:
    """The editor under the pointer whose picture lies free there: no header, toolbar, sidebar or plot over it."""
    for area in _editors(context):
        inside = [region for region in area.regions if _holds(region, event)]
        if inside and all(region.type == "WINDOW" for region in inside):
            region = inside[0]
            if plot_view.holds(context, area, region, event.mouse_x - region.x, event.mouse_y - region.y):
                return None
            return area, region
    return None


def _editors(context: bpy.types.Context) -> Iterator[bpy.types.Area]:
    for area in context.window.screen.areas if context.window is not None else ():
        if area.type in EDITORS and area.ui_type != "UV":
            yield area


def _holds(region: bpy.types.Region, event: bpy.types.Event) -> bool:
    across, up = event.mouse_x - region.x, event.mouse_y - region.y
    return region.width > 1 and region.height > 1 and 0 <= across < region.width and 0 <= up < region.height


CLASSES = (NERF_OT_inspect_pixel, NERF_OT_inspect_clear)


def unregister() -> None:
    """A tool that was under way is gone with its class."""
    NERF_OT_inspect_pixel._running = False
