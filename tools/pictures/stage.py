"""What a set-up works with inside Blender: the scene with its run, panels, views, waiting, and the part to cut out."""

import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import bpy
import hands

MODULE = "bl_ext.user_default.nerf_toolkit"
SUBJECT = "Tea table"  # the collection of the demonstration scene's objects
Pauses = Generator[float, None, None]


class Missing(Exception):  # noqa: N818 - it is told, not a mistake
    """The extension has not what a picture shows."""


class Stage:
    """One Blender window.

    Attributes
    ----------
    bpy : module
    folder, run : Path
        For files that are made on the way, and the trained run, which is a copy.
    crop : list of int
        Left, low, width, height of the part that is meant, in pixels from the screen's lower left corner.
    """

    def __init__(self, folder: Path, run: Path) -> None:
        self.bpy, self.folder, self.run = bpy, folder, run
        self.crop: list[int] = []
        self._part, self._height = "area", (0.0, 1.0)

    @property
    def scene(self) -> Any:
        """The scene."""
        return bpy.context.scene

    def begin(self) -> Pauses:
        """A calm window: no splash, the run known, the view tidy, only our area of interest large."""
        self.scene.nerf.run_folder = bpy.path.relpath(str(self.run))
        view = hands.view_area()[1].spaces.active
        view.overlay.show_cursor = view.overlay.show_text = view.overlay.show_stats = False
        view.show_region_toolbar = False
        view.show_object_viewport_light = False  # their lines would cross everything
        self.scene.camera.hide_set(True)
        self.look(azimuth=-60.0, elevation=28.0, distance=7.5)
        yield 0.5

    def end(self) -> None:
        """Let the core leave with Blender."""
        self.addon("jobs.core").stop()

    def addon(self, name: str) -> Any:
        """A module of the extension, such as "jobs.tasks"."""
        full = f"{MODULE}.{name}"
        if full not in sys.modules:
            raise Missing(f"This extension has no module '{name}'.")
        return sys.modules[full]

    def need(self, *operators: str) -> None:
        """Say what is missing when one of the operators (such as "nerf.render_turntable") is not there."""
        for name in operators:
            group, _, short = name.partition(".")
            if f"{group.upper()}_OT_{short}" not in dir(bpy.types):
                raise Missing(f"This extension has no operator '{name}'.")

    def has(self, operator: str) -> bool:
        """Whether there is such an operator."""
        try:
            self.need(operator)
        except Missing:
            return False
        return True

    def missing_note(self, sentence: str) -> None:
        """Say in the log what a picture lacks that it could have."""
        print(f"pictures: {sentence}", flush=True)

    def run_operator(self, name: str, **options: Any) -> None:
        """Call an operator in the viewport; a failure is an error."""
        self.need(name)
        group, _, short = name.partition(".")
        window, area, _ = hands.view_area()
        region = hands.view_region("WINDOW")
        with bpy.context.temp_override(window=window, area=area, region=region):
            outcome = getattr(getattr(bpy.ops, group), short)(**options)
        if not outcome & {"FINISHED", "RUNNING_MODAL"}:
            raise AssertionError(f"{name} did not finish: {outcome}")

    def wait(self, condition: Callable[[], bool], what: str, seconds: float = 180.0) -> Pauses:
        """Go on when `condition` holds."""
        yield from hands.wait_for(condition, seconds, what)

    def wait_task(self) -> Pauses:
        """Until what the core was asked for has arrived; a failure is an error."""
        tasks = self.addon("jobs.tasks")
        yield from self.wait(lambda: not tasks.running(), "the core's answer")
        if tasks.current() is not None and tasks.current().phase == "failed":
            raise AssertionError(tasks.current().text)
        yield 0.5

    def panels(self, *shown: str, closed: tuple[str, ...] = ()) -> Pauses:
        """Show the sidebar's tab with these panels alone, unfolded; `closed` ones folded."""
        known = {name: getattr(bpy.types, name) for name in dir(bpy.types) if name.startswith("NERF_PT_")}
        for name in (*shown, *closed):
            if name not in known:
                raise Missing(f"This extension has no panel '{name}'.")
        ours = {name: kind for name, kind in known.items() if getattr(kind, "bl_category", "") == "NeRF"}
        # Children go first, and come back last.
        ordered = sorted(ours, key=lambda name: bool(getattr(ours[name], "bl_parent_id", "")))
        for name in reversed(ordered):
            bpy.utils.unregister_class(ours[name])
        for name in ordered:
            if name in shown or name in closed:
                options = set(getattr(ours[name], "bl_options", set())) - {"DEFAULT_CLOSED"}
                ours[name].bl_options = options | ({"DEFAULT_CLOSED"} if name in closed else set())
                bpy.utils.register_class(ours[name])
        yield from hands.open_sidebar()

    def tab(self) -> Pauses:
        """Show the sidebar's tab as it is."""
        yield from hands.open_sidebar()

    def widen(self, pixels: int) -> Pauses:
        """Pull the sidebar's edge, so that long values are whole."""
        region = hands.view_area()[2]
        x, y = region.x, region.y + region.height * 0.3
        hands.move(x + 40, y)
        yield 0.2
        hands.move(x, y)
        yield 0.3
        hands.event("LEFTMOUSE", "PRESS", x, y)
        yield 0.2
        for step in range(1, 6):
            hands.move(x - pixels * step / 5, y)
            yield 0.1
        hands.event("LEFTMOUSE", "RELEASE", x - pixels, y)
        yield 0.4

    def look(self, azimuth: float, elevation: float, distance: float, center: tuple = (0.0, 0.0, 0.3)) -> None:
        """Put the viewport's eye there, in degrees about `center`."""
        from math import radians

        from mathutils import Euler

        region = hands.view_area()[1].spaces.active.region_3d
        region.view_perspective = "PERSP"
        region.view_location, region.view_distance = center, distance
        region.view_rotation = Euler((radians(90.0 - elevation), 0.0, radians(90.0 + azimuth))).to_quaternion()

    def hide_subject(self) -> None:
        """Hide what was captured, so that only what came back is seen."""
        collection = bpy.data.collections[SUBJECT]
        collection.hide_viewport = collection.hide_render = True

    def through_camera(self) -> None:
        """Look through the scene's camera."""
        hands.view_area()[1].spaces.active.region_3d.view_perspective = "CAMERA"

    def shade(self, kind: str) -> None:
        """The viewport's shading: 'SOLID', 'MATERIAL' or 'RENDERED'."""
        hands.view_area()[1].spaces.active.shading.type = kind

    def solid_color(self, kind: str) -> None:
        """What the Solid mode's colours come from, such as 'VERTEX'."""
        hands.view_area()[1].spaces.active.shading.color_type = kind

    def select(self, *items: Any) -> None:
        """Select these alone; the first becomes the active one."""
        for item in bpy.context.view_layer.objects:
            item.select_set(item in items)
        if items:
            bpy.context.view_layer.objects.active = items[0]

    def image_editor(self, large: bool = False) -> Any:
        """Turn an area into an Image Editor: the small one above the properties, or half of the viewport's."""
        window, area, _ = hands.view_area()
        if large:
            with bpy.context.temp_override(window=window, area=area):
                bpy.ops.screen.area_split(direction="VERTICAL", factor=0.42)
            # Of the two halves the one without the sidebar that is shown becomes the editor.
            halves = [a for a in window.screen.areas if a.type == "VIEW_3D"]
            editor = min(halves, key=lambda a: a.width)
        else:
            editor = next(a for a in window.screen.areas if a.type == "OUTLINER")
        editor.ui_type = "IMAGE_EDITOR"
        return editor

    def fit_image(self, editor: Any, enlarge: bool = True) -> None:
        """Show the whole image, as large as it may be, or no larger than it is."""
        region = next(r for r in editor.regions if r.type == "WINDOW")
        with bpy.context.temp_override(window=hands.view_area()[0], area=editor, region=region):
            bpy.ops.image.view_all(fit_view=enlarge)

    def spreadsheet(self, item: Any) -> Pauses:
        """Show an object's own data in a Spreadsheet below the viewport."""
        window, area, _ = hands.view_area()
        before = set(window.screen.areas)
        with bpy.context.temp_override(window=window, area=area):
            bpy.ops.screen.area_split(direction="HORIZONTAL", factor=0.36)
        made = next(each for each in window.screen.areas if each not in before)
        low = min(made, area, key=lambda each: each.y)
        if low == area:  # the viewport stays the upper one
            raise AssertionError("the viewport was put below")
        low.ui_type = "SPREADSHEET"
        self.select(item)
        item.select_set(False)  # active all the same, and without an outline
        yield 0.5
        space = low.spaces.active
        space.object_eval_state = "ORIGINAL"
        yield 0.5

    def properties(self, tab: str) -> None:
        """Which tab the Properties editor shows, such as 'RENDER' or 'OBJECT'."""
        for area in hands.view_area()[0].screen.areas:
            if area.type == "PROPERTIES":
                area.spaces.active.context = tab

    def part(self, name: str, height: tuple[float, float] = (0.0, 1.0)) -> None:
        """Which part of the screen is meant: 'area' (the viewport), 'view', 'sidebar', 'window' or another editor's.

        `height` is what is kept of it, from its lower edge (0) to its upper one (1).
        """
        self._part, self._height = name, height

    def shoot(self) -> Pauses:
        """Take the photograph and say which part is meant."""
        view = hands.view_region("WINDOW")
        hands.move(view.x + view.width / 3, view.y + view.height / 3)
        for area in hands.view_area()[0].screen.areas:
            area.tag_redraw()
        yield 2.0
        self.crop = self._rectangle()
        yield from hands.screenshot(self.folder / "screen.png")

    def _rectangle(self) -> list[int]:
        window, area, sidebar = hands.view_area()
        if self._part == "window":
            part = window
            left, low = window.x, window.y
        else:
            part = area
            if self._part in ("view", "sidebar"):
                part = sidebar if self._part == "sidebar" else hands.view_region("WINDOW")
            elif self._part != "area":
                part = next(a for a in window.screen.areas if a.type == self._part.upper())
            left, low = window.x + part.x, window.y + part.y
        begin, end = self._height
        return [int(left), int(low + begin * part.height), int(part.width), int((end - begin) * part.height)]
