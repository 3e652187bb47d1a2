"""Run, stop and go on with experiments; edit their grid, open their report, compare their turntables."""

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty

from ..experiments import compare, places, state
from ..jobs import runs, training
from ..vendor.nerf_core.contract.errors import NerfError
from . import common, live_preview

_scene_uid = 0
_keys: list[tuple[bpy.types.KeyMap, bpy.types.KeyMapItem]] = []


class NERF_OT_experiment_run(bpy.types.Operator):
    """Train and measure a grid of settings, one after another; what is done already is kept."""

    bl_idname = "nerf.experiment_run"
    bl_label = "Run Experiment"
    bl_description = (
        "Train and measure the grid's settings one after another in a process of its own; what is done already in the "
        "folder is kept"
    )

    only: StringProperty(name="Only", description="Names of cells, with commas between them", options={"SKIP_SAVE"})
    wait: BoolProperty(name="Wait", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Needs nothing else in training: both would be slow, and the times of neither would mean anything."""
        if state.under_way():
            cls.poll_message_set("An experiment is under way")
            return False
        if training.under_way():
            cls.poll_message_set("A training is under way")
            return False
        return True

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start; wait for the end where nobody watches."""
        global _scene_uid
        scene = context.scene
        out, plan = places.out_folder(scene), places.plan_file(scene)
        device = runs.preferences().device.lower()
        # An experiment keeps the data set that it was begun with.
        data = None if state.is_experiment(out) and not scene.nerf.experiment.data else places.data_set(scene)
        _scene_uid = scene.session_uid
        if _show not in state.on_change:
            state.on_change.append(_show)
        started = state.start(plan, out, data, device, self.only)
        if not common.waits(self):
            return {"FINISHED"}
        common.wait_for(lambda: not started.under_way)
        if started.phase == "failed":
            raise NerfError(started.text)
        self.report({"INFO"}, started.text)
        return {"FINISHED"}


class NERF_OT_experiment_stop(bpy.types.Operator):
    """Stop the experiment; everything so far is kept, and it can be gone on with."""

    bl_idname = "nerf.experiment_stop"
    bl_label = "Stop"
    bl_description = "Stop the experiment; everything so far is kept, and Resume goes on"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Needs one under way."""
        return state.under_way()

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Have it save and leave."""
        state.stop()
        return {"FINISHED"}


class NERF_OT_experiment_results(bpy.types.Operator):
    """Show the results that lie in the experiment's folder."""

    bl_idname = "nerf.experiment_results"
    bl_label = "Show Results"
    bl_description = "Show the results that lie in the experiment's folder"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Read them."""
        out = places.out_folder(context.scene)
        if not state.is_experiment(out):
            raise NerfError(f"There is no experiment in '{out}' yet.")
        places.fill_rows(context.scene, out, state.read_rows(out))
        return {"FINISHED"}


class NERF_OT_experiment_edit(bpy.types.Operator):
    """Open the grid in the Text Editor, as a text of this file that can be changed."""

    bl_idname = "nerf.experiment_edit"
    bl_label = "Edit Grid"
    bl_description = "Open the grid in a Text Editor, as a text of this .blend that can be changed and run"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Make the text, unless the chosen grid is one, and show it."""
        settings = context.scene.nerf.experiment
        if settings.plan != "TEXT" or settings.text is None:
            path = places.plan_file(context.scene)
            try:
                content = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise NerfError(f"'{path}' cannot be read as text: {error}.") from error
            text = bpy.data.texts.new(f"{places.plan_name(context.scene)}.toml")
            text.write(content)
            text.cursor_set(0)
            settings.text, settings.plan = text, "TEXT"
        if bpy.app.background or context.window is None:
            return {"FINISHED"}
        areas = [area for window in context.window_manager.windows for area in window.screen.areas]
        area = next((area for area in areas if area.type == "TEXT_EDITOR"), None)
        if area is None:
            area = live_preview.new_window(context)
            area.ui_type = "TEXT_EDITOR"
        if area.spaces.active.text != settings.text:
            area.spaces.active.text = settings.text
            area.spaces.active.top = 0
        area.tag_redraw()
        return {"FINISHED"}


class NERF_OT_experiment_open(bpy.types.Operator):
    """Open the report in the browser, or the experiment's folder."""

    bl_idname = "nerf.experiment_open"
    bl_label = "Open Report"
    bl_description = "Open the report with its table, plot and turntables in the browser"

    place: EnumProperty(
        name="Place",
        items=(("REPORT", "Report", "report.html"), ("FOLDER", "Folder", "The experiment's folder")),
        options={"SKIP_SAVE"},
    )

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Open it."""
        folder = places.results_folder(context.scene)
        path = folder / "report.html" if self.place == "REPORT" else folder
        if not path.exists():
            raise NerfError(f"'{path}' does not exist: the report is written when an experiment ends or is stopped.")
        if self.place == "REPORT":
            bpy.ops.wm.url_open(url=path.as_uri())
        else:
            bpy.ops.wm.path_open(filepath=str(path))
        return {"FINISHED"}


class NERF_OT_compare_choose(bpy.types.Operator):
    """Compare the chosen result's turntable as A or B."""

    bl_idname = "nerf.compare_choose"
    bl_label = "Choose"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    side: EnumProperty(name="Side", items=(("A", "A", "Left of the wipe"), ("B", "B", "Right of the wipe")))
    cell: StringProperty(name="Cell", description="Empty: the one that is chosen in the list", options={"SKIP_SAVE"})

    @classmethod
    def description(cls, _context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """Say which."""
        return f"Compare the turntable of the result that is chosen in the list as {properties.side}"

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Set it."""
        settings = context.scene.nerf.experiment
        name = self.cell
        if not name and 0 <= settings.active < len(settings.rows):
            name = settings.rows[settings.active].name
        compare.pictures(context.scene, name)
        setattr(settings, self.side.lower(), name)
        return {"FINISHED"}


class NERF_OT_compare_load(bpy.types.Operator):
    """Show the two turntables in an Image Editor, in step with the scene's frame."""

    bl_idname = "nerf.compare_load"
    bl_label = "Load Turntables"
    bl_description = (
        "Load the turntables of A and B as the image sequences 'NeRF A' and 'NeRF B', and compare them in the image "
        "'NeRF Compare' in an Image Editor, in step with the scene's frame"
    )
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Load, then find an Image Editor or open one."""
        scene = context.scene
        compare.load(scene)
        areas = list(compare.editors())
        ours = [area for area in areas if compare.which(area.spaces.active.image)]
        empty = [area for area in areas if area.spaces.active.image is None]
        if ours:
            compare.show(scene, "BOTH", ours[0])
        elif empty or (not bpy.app.background and context.window is not None):
            area = empty[0] if empty else live_preview.new_window(context)
            area.ui_type = "IMAGE_EDITOR"
            compare.show(scene, "BOTH", area)
            live_preview.fit(area)
        return {"FINISHED"}


class NERF_OT_compare_show(bpy.types.Operator):
    """Show one turntable, or the comparison of both, in this Image Editor."""

    bl_idname = "nerf.compare_show"
    bl_label = "Show"
    bl_description = "Show this in this Image Editor, in step with the scene's frame"

    kind: EnumProperty(
        name="What",
        items=(
            ("BOTH", "Comparison", "The image that flips and wipes"),
            ("A", "A", "The sequence of A"),
            ("B", "B", "The sequence of B"),
        ),
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs an Image Editor."""
        return isinstance(context.space_data, bpy.types.SpaceImageEditor)

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Show it."""
        compare.show(context.scene, self.kind, context.area)
        return {"FINISHED"}


class NERF_OT_compare_flip(bpy.types.Operator):
    """Flip between the turntables A and B."""

    bl_idname = "nerf.compare_flip"
    bl_label = "Flip"
    bl_description = "Flip between the turntables A and B (F in the Image Editor that shows them)"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs turntables; in an Image Editor, their comparison: the key is its own elsewhere."""
        space = context.space_data
        if isinstance(space, bpy.types.SpaceImageEditor) and compare.which(space.image) != "BOTH":
            return False
        if not context.scene.nerf.experiment.loaded:
            cls.poll_message_set("Load the turntables first")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Show the other one."""
        settings = context.scene.nerf.experiment
        settings.shown = "B" if settings.shown == "A" else "A"
        return {"FINISHED"}


def _show(experiment: state.Experiment) -> None:
    """What the experiment has to say goes to the scene that it was started for."""
    try:
        scene = runs.scene_again(_scene_uid)
    except NerfError:
        return
    shown = [(item.name, item.psnr, item.error) for item in scene.nerf.experiment.rows]
    xray = places.is_of_radiographs(experiment.rows)
    came = [(row["cell"], places.texts(row, xray)["psnr"], str(row.get("error") or "")) for row in experiment.rows]
    if shown != came and experiment.rows:
        places.fill_rows(scene, experiment.out, experiment.rows)
    if experiment.phase == "failed" and not bpy.app.background:
        common.show_error(experiment.text)


CLASSES = (
    NERF_OT_experiment_run,
    NERF_OT_experiment_stop,
    NERF_OT_experiment_results,
    NERF_OT_experiment_edit,
    NERF_OT_experiment_open,
    NERF_OT_compare_choose,
    NERF_OT_compare_load,
    NERF_OT_compare_show,
    NERF_OT_compare_flip,
)


def register() -> None:
    """Give the Image Editor the key F for flipping."""
    configuration = bpy.context.window_manager.keyconfigs.addon if bpy.context.window_manager else None
    if configuration is None:  # without a window there are no keys
        return
    keymap = configuration.keymaps.new(name="Image", space_type="IMAGE_EDITOR")
    _keys.append((keymap, keymap.keymap_items.new(NERF_OT_compare_flip.bl_idname, "F", "PRESS")))


def unregister() -> None:
    """Take the key away."""
    while _keys:
        keymap, item = _keys.pop()
        keymap.keymap_items.remove(item)
