"""Import a CT, make a phantom that stands in for one, and move a CT's slices."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, FloatVectorProperty, IntProperty, StringProperty

from .. import compat
from ..capture import folders
from ..jobs import tasks
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.xray import NOT_FOR_DIAGNOSIS, WINDOWS
from ..vendor.nerf_core.contract.xray_words import PHANTOM
from ..xray import ct
from ..xray.gather import ct_source
from . import common

IMPORT, SLICES = "Import CT", "CT Slices"  # titles of their tasks
SKIN_HU = -300.0
SKIN_FACES = 60_000
WINDOW_ITEMS = tuple(
    (name.upper().replace(" ", "_"), name.capitalize(), f"{low:g} to {high:g} HU")
    for name, (low, high) in WINDOWS.items()
)
_WINDOWS = dict(zip((item[0] for item in WINDOW_ITEMS), WINDOWS.values(), strict=True))
PHANTOMS = (
    ("chest", "Chest", "Body, lungs, heart, spine and ribs"),
    ("knee", "Knee", "Femur, tibia, fibula and patella in muscle and fat"),
    ("shepp-logan", "Shepp-Logan", "The head of Kak and Slaney, in three dimensions"),
    ("ellipsoids", "Ellipsoids", "Random ellipsoids in a body"),
)


class _Shown:
    """What is made of a CT."""

    use_volume: BoolProperty(
        name="Volume", description="A volume to look through: bone white, soft tissue faint", default=True
    )
    use_surface: BoolProperty(name="Bone", description="A mesh of the bones' surface", default=True)
    use_skin: BoolProperty(name="Skin", description="A mesh of the body's surface, to look through", default=False)
    use_slices: BoolProperty(
        name="Slices", description="Three planes through the middle: axial, coronal, sagittal", default=False
    )
    level: FloatProperty(
        name="Bone From", description="Hounsfield units of the bones' surface", default=250.0, min=-1000.0, max=30000.0
    )
    resolution: IntProperty(
        name="Resolution",
        description="Voxels along the longest side of volume and meshes; radiographs always see all of the CT",
        default=192, min=16, max=1024,
    )  # fmt: skip
    faces: IntProperty(name="Faces", description="Of the bones' mesh, about", default=150_000, min=100, max=5_000_000)
    window: EnumProperty(name="Window", description="What slices show", items=WINDOW_ITEMS, default="SOFT_TISSUE")
    centered: BoolProperty(
        name="To the Origin",
        description="Put the middle of the CT to the world's origin, instead of where the scanner had it",
        default=False,
    )
    wait: BoolProperty(
        name="Wait", description="Return when all is there; always so without a window", options={"SKIP_SAVE", "HIDDEN"}
    )

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """One task at a time."""
        return _poll(cls)

    def _draw_shown(self, layout: bpy.types.UILayout) -> None:
        column = layout.column(heading="Show As")
        if compat.reads_volumes():
            column.prop(self, "use_volume")
        column.prop(self, "use_surface")
        column.prop(self, "use_skin")
        column.prop(self, "use_slices")
        column = layout.column()
        for name, used in (
            ("level", self.use_surface),
            ("faces", self.use_surface),
            ("resolution", self.use_volume or self.use_surface or self.use_skin),
            ("window", self.use_slices),
        ):
            row = column.row()
            row.active = used
            row.prop(self, name)
        layout.prop(self, "centered")
        layout.label(text=NOT_FOR_DIAGNOSIS.partition(":")[0], icon="INFO")

    def _begin(
        self, context: bpy.types.Context, source: str, series: str, name: str = "", seen: bool = True
    ) -> set[str]:
        step = self._step(context.scene, source, series, name, seen)
        outcome = common.begin_task(self, IMPORT, [lambda: step], undo=True, on_end=_ended)
        task = tasks.current()
        if outcome == {"FINISHED"} and not task.running and task.results:
            made = task.results[-1]
            _select(made)
            for warning in made.warnings:
                self.report({"WARNING"}, f"'{made.name}': {warning}")
            self.report({"INFO"}, made.words)
        return outcome

    def _step(self, scene: bpy.types.Scene, source: str, series: str, name: str, seen: bool) -> tasks.Step:
        uid, centered = scene.session_uid, self.centered
        surfaces = []
        if self.use_surface:
            surfaces.append({"name": "bone", "level": self.level, "faces": self.faces})
        if self.use_skin:
            surfaces.append({"name": "skin", "level": SKIN_HU, "faces": SKIN_FACES})
        slices = None
        if self.use_slices:
            slices = {"window": list(_WINDOWS[self.window]), "places": dict.fromkeys(ct.PLANES, 0.5)}
        volume = None
        if self.use_volume and compat.reads_volumes():
            volume = str(_volume_file(scene, source, series, self.resolution))
        params = {
            "source": source,
            "series": series.strip() or None,
            "resolution": self.resolution,
            "volume": volume,
            "surfaces": surfaces,
            "slices": slices,
        }

        def handle(result: dict[str, Any], prepared: ct.Prepared) -> Iterator[float]:
            return ct.build(uid, result, prepared, centered, name, seen)

        return tasks.Step("ct", params, handle, "Reading the CT", ct.prepare)


class NERF_OT_xray_import_ct(_Shown, bpy.types.Operator):
    """Bring a CT in at true size."""

    bl_idname = "nerf.xray_import_ct"
    bl_label = "Import CT"
    bl_description = (
        "Bring in a CT at true size: a NIfTI file, or any file or the folder of a DICOM series. Not for diagnosis"
    )
    # Not REGISTER: its redo panel would start the core again while the first answer is still on its way.
    bl_options = {"UNDO"}

    filepath: StringProperty(
        name="CT", description="A NIfTI file, a DICOM folder or one of its files", subtype="FILE_PATH"
    )
    filter_glob: StringProperty(default="*", options={"HIDDEN"})  # DICOM files may end in anything, or nothing
    series: StringProperty(
        name="Series", description="Where a DICOM folder holds several series: the one's UID, or the end of it"
    )
    name: StringProperty(
        name="Name", description="Of the CT's object; by default after its file", options={"HIDDEN", "SKIP_SAVE"}
    )
    seen: BoolProperty(
        name="In Radiographs", description="Have radiographs taken of it", default=True, options={"HIDDEN", "SKIP_SAVE"}
    )

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Ask for the file or folder."""
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def draw(self, _context: bpy.types.Context) -> None:
        """Draw the options beside the file browser."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        self._draw_shown(layout)
        layout.prop(self, "series")

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Have the core read it, and make the objects."""
        return self._begin(context, _chosen(self.filepath), self.series, self.name, self.seen)


class NERF_OT_xray_add_phantom(_Shown, bpy.types.Operator):
    """Add a phantom that stands in for a patient's CT."""

    bl_idname = "nerf.xray_add_phantom"
    bl_label = "Add Phantom"
    bl_description = "Add a synthetic CT that stands in for a patient's, where there is none at hand"
    bl_options = {"UNDO"}

    kind: EnumProperty(name="Phantom", items=PHANTOMS, default="chest")
    seed: IntProperty(name="Patient", description="Another number, another patient", default=0, min=0)

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Ask which."""
        return context.window_manager.invoke_props_dialog(self)

    def draw(self, _context: bpy.types.Context) -> None:
        """Draw which, and how it is shown."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(self, "kind")
        layout.prop(self, "seed")
        self._draw_shown(layout)

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Have the core make it, and make the objects."""
        return self._begin(context, f"{PHANTOM}{self.kind}:{self.seed}", "")


class NERF_OT_xray_ct_slices(bpy.types.Operator):
    """Show slices of a CT, or move those that are there."""

    bl_idname = "nerf.xray_ct_slices"
    bl_label = "Slices"
    bl_description = "Show three slices of the active CT, or move them and choose another window. Not for diagnosis"
    bl_options = {"UNDO"}

    window: EnumProperty(name="Window", items=WINDOW_ITEMS, default="SOFT_TISSUE")
    places: FloatVectorProperty(
        name="Places",
        description="Where the axial, coronal and sagittal slice lie: from feet to head, back to front, left to right",
        size=3, default=(0.5, 0.5, 0.5), min=0.0, max=1.0, subtype="NONE",
    )  # fmt: skip
    wait: BoolProperty(name="Wait", options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a CT."""
        if ct.of(context.object) is None:
            cls.poll_message_set("Select a CT")
            return False
        return _poll(cls)

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Ask where."""
        return context.window_manager.invoke_props_dialog(self)

    def draw(self, _context: bpy.types.Context) -> None:
        """Draw window and places."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(self, "window")
        column = layout.column(align=True)
        for index, plane in enumerate(ct.PLANES):
            column.prop(self, "places", index=index, text=plane.capitalize(), slider=True)

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Have the core cut, and make or renew the planes."""
        item, scene_uid = ct.of(context.object), context.scene.session_uid
        uid, source = item.session_uid, ct_source(item)
        slices = {
            "window": list(_WINDOWS[self.window]),
            "places": dict(zip(ct.PLANES, map(float, self.places), strict=True)),
        }
        params = {"source": source, "resolution": 192, "slices": slices}

        def handle(result: dict[str, Any], prepared: ct.Prepared) -> list[str]:
            return ct.show_slices(scene_uid, uid, result["slices"], prepared)

        step = tasks.Step("ct", params, handle, "Reading the CT", ct.prepare)
        return common.begin_task(self, SLICES, [lambda: step], undo=True, on_end=lambda _task: _texture_views())


def _poll(cls: Any) -> bool:
    if tasks.running():
        cls.poll_message_set(f"{tasks.current().title} is under way")
        return False
    return True


def _chosen(text: str) -> str:
    """The absolute path of what was chosen, or a phantom's name."""
    text = text.strip()
    if text.startswith(PHANTOM):
        return text
    if not text:
        raise NerfError("Choose a CT: a NIfTI file, a DICOM folder or one of its files.")
    if text.startswith("//") and not bpy.data.filepath:
        raise NerfError(f"'{text}' is relative to the .blend file, which is not saved yet; save it first.")
    path = Path(bpy.path.abspath(text)).expanduser().absolute()
    if not path.exists():
        raise NerfError(f"The CT '{path}' does not exist; choose another one.")
    return str(path)


def _volume_file(scene: bpy.types.Scene, source: str, series: str, resolution: int) -> Path:
    """Where the volume goes: a name of its own for each state of a CT, since Blender keeps what it has read by name."""
    stamp = ""
    if not source.startswith(PHANTOM):
        about = Path(source).stat()
        stamp = f"{about.st_mtime_ns} {about.st_size}"
    digest = hashlib.sha256(f"{source} {series} {stamp}".encode("utf-8", "surrogatepass")).hexdigest()[:10]
    stem = folders.run_name(source.removeprefix(PHANTOM) if not stamp else Path(source).name.split(".")[0], scene)
    return folders.runs_folder(scene.nerf.capture.folder) / "ct" / f"{stem[:40]}-{digest}-{resolution}.vdb"


def _ended(task: tasks.Task) -> None:
    """When it ended in whatever manner, where somebody watches: select what there is, and look at it."""
    made = next((result for result in task.results if isinstance(result, ct.Made)), None)
    if made is None or task.phase != "done":
        return
    _select(made)
    if any(name.endswith(plane.capitalize()) for name in made.parts for plane in ct.PLANES):
        _texture_views()
    _look_at_selected()
    if made.warnings:
        common.show_error(f"'{made.name}': {' '.join(made.warnings)}")


def _select(made: ct.Made) -> None:
    item = ct.find(made.uid)
    layer = bpy.context.view_layer
    layer.update()  # from 5.0 on it knows of new objects only then
    if layer.objects.get(item.name) != item:
        return
    for other in layer.objects:
        other.select_set(other == item)
    layer.objects.active = item


def _look_at_selected() -> None:
    """Have the 3D viewports show what is selected: at true size a body is small beside Blender's cube."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            region = next((each for each in area.regions if each.type == "WINDOW"), None)
            if area.type == "VIEW_3D" and region is not None and area.spaces.active.region_3d is not None:
                with bpy.context.temp_override(window=window, area=area, region=region):
                    bpy.ops.view3d.view_selected()


def _texture_views() -> None:
    """Have solid viewports show pictures, as they must for slices to be seen there."""
    manager = bpy.context.window_manager
    for window in manager.windows if manager is not None else ():
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.spaces.active.shading.color_type = "TEXTURE"


def _draw_import(self: bpy.types.Menu, _context: bpy.types.Context) -> None:
    self.layout.operator(NERF_OT_xray_import_ct.bl_idname, text="CT for X-Rays (NIfTI, DICOM)")


CLASSES = (NERF_OT_xray_import_ct, NERF_OT_xray_add_phantom, NERF_OT_xray_ct_slices)


def register() -> None:
    """Join File > Import."""
    bpy.types.TOPBAR_MT_file_import.append(_draw_import)


def unregister() -> None:
    """Leave it."""
    bpy.types.TOPBAR_MT_file_import.remove(_draw_import)
