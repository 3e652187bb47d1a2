"""Takes a plan's pictures one at a time, so that a capture can be watched, stopped and gone on with."""

import time
from pathlib import Path
from typing import Any

import bpy

from ..importers.point_display import RESULT_KEY
from ..jobs import runs
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.files import make_folder, write_json
from ..vendor.nerf_core.contract.run_folder import RunFolder
from ..vendor.nerf_core.contract.transforms import DatasetFacts, FrameRecord, write_transforms
from . import folders, passes, picture
from .bounds import GEOMETRY, with_sources
from .cameras import Frame, apply_frame, camera_from_blender, camera_to_blender
from .plan import CapturePlan, View
from .rig_views import output_frame
from .scene_guard import SceneGuard


class CaptureJob:
    """One capture: make it, call :meth:`step` until it returns False, and always :meth:`close` it.

    Between two steps the scene is as the person left it, except that rendered data is kept for the next view; after
    :meth:`close` that is restored too.

    Parameters
    ----------
    scene, view_layer
        What is captured.
    settings : NERF_PG_capture
    plan : CapturePlan

    Raises
    ------
    NerfError
        When no run folder can be made; nothing has been changed then.

    Attributes
    ----------
    run : RunFolder
    statement : str
        What the person should know about the choice of the folder; may be empty.
    done, total : int
        Views.
    """

    def __init__(
        self, scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer, settings: Any, plan: CapturePlan
    ) -> None:
        self.plan = plan
        self._scene_uid = scene.session_uid
        self._layer_name = view_layer.name
        self._frame = output_frame(scene, settings)
        chosen = folders.choose_run(planned_run(scene, settings), plan.fingerprint())
        self.run: RunFolder = chosen.folder
        self.statement = chosen.statement
        self.resumed = chosen.resumes
        self._cameras: dict[str, Camera] = {}
        make_folder(self.run.dataset)
        for split in {view.split for view in plan.views}:
            make_folder(self.run.dataset / split)
        if chosen.resumes:
            self._find_finished()
        self._pending = [view for view in plan.views if view.file_path not in self._cameras]
        self._complete = False
        self._spent = 0.0
        self._taken = 0
        self._write_state()
        self._kept_data = bool(scene.render.use_persistent_data)
        settings.last_run = runs.stored_path(self.run.root)
        runs.set_run_folder(scene, self.run.root)

    @property
    def total(self) -> int:
        """Views of the whole plan."""
        return len(self.plan.views)

    @property
    def done(self) -> int:
        """Views whose pictures are there."""
        return len(self._cameras)

    @property
    def complete(self) -> bool:
        """Whether all pictures and the data set's description are written."""
        return self._complete

    @property
    def seconds_left(self) -> float | None:
        """Estimated time to the end; None before the first view."""
        return self._spent / self._taken * len(self._pending) if self._taken else None

    @property
    def text(self) -> str:
        """Progress in words."""
        left = self.seconds_left
        return f"{self.done} of {self.total} views" + ("" if left is None else f", {_clock(left)} left")

    def step(self) -> bool:
        """Render the next view; after the last one write the data set's description.

        Returns
        -------
        bool
            Whether there is more to do.

        Raises
        ------
        NerfError
            When the scene is gone, rendering fails, or a file cannot be written. The scene is as before, and what was
            captured until then stays.
        """
        if not self._pending:
            self._finish()
            return False
        started = time.monotonic()
        view = self._pending[0]
        scene = self.scene
        scene.render.use_persistent_data = True
        layer = scene.view_layers.get(self._layer_name)
        if layer is None:
            raise NerfError(f"The view layer '{self._layer_name}' was removed during the capture; start it again.")
        camera = self._take(scene, layer, view)
        self._cameras[view.file_path] = camera
        self._pending.pop(0)
        if view.camera is None:  # otherwise the plan knows it, and the picture itself says that it is done
            self._write_state()
        self._taken += 1
        self._spent += time.monotonic() - started
        if not self._pending:
            self._finish()
        return not self._complete

    def close(self) -> None:
        """Let go of what rendering kept; call it however the capture ends, as often as you like."""
        for scene in bpy.data.scenes:
            if scene.session_uid == self._scene_uid and scene.render.use_persistent_data != self._kept_data:
                scene.render.use_persistent_data = self._kept_data

    @property
    def scene(self) -> bpy.types.Scene:
        """What is captured; a NerfError when it was removed meanwhile."""
        for scene in bpy.data.scenes:
            if scene.session_uid == self._scene_uid:
                return scene
        raise NerfError("The scene was removed during the capture; what was captured so far is kept.")

    def _take(self, scene: bpy.types.Scene, layer: bpy.types.ViewLayer, view: View) -> Camera:
        with SceneGuard(scene) as guard:
            camera = self._resolve(scene, layer, view)
            self._prepare(scene, layer, guard)
            _put_camera(scene, camera, guard)
            picture.take(scene, layer, self.run.dataset / view.file_path, camera)
            if self.plan.passes:
                passes.take(scene, layer, guard, self.run, self.plan, view.file_path, camera)
        return camera

    def _resolve(self, scene: bpy.types.Scene, layer: bpy.types.ViewLayer, view: View) -> Camera:
        """The view's camera, after going to its frame."""
        if view.frame is not None:
            scene.frame_set(view.frame)
        if view.camera is not None:
            return view.camera
        layer.update()
        depsgraph = layer.depsgraph or bpy.context.evaluated_depsgraph_get()
        return camera_from_blender(scene.camera, depsgraph, self._frame)

    def _prepare(self, scene: bpy.types.Scene, layer: bpy.types.ViewLayer, guard: SceneGuard) -> None:
        picture.choose_output(scene, transparent=self.plan.transparent)
        picture.choose_quality(scene, self.plan.samples, self.plan.denoise)
        for other in scene.view_layers:
            other.use = other == layer
        for marker in scene.timeline_markers:  # rendering would switch to their cameras
            if marker.camera is not None:
                guard.set(marker, "camera", None)
        for item in layer.objects:
            if item.get(RESULT_KEY):  # points and samples of an earlier NeRF
                guard.set(item, "hide_render", True)
        if self.plan.only is not None:
            only = set(self.plan.only)
            keep = with_sources(item for item in layer.objects if item.name_full in only)
            for item in layer.objects:
                if item not in keep and (item.type in GEOMETRY or item.is_instancer):
                    guard.set(item, "hide_render", True)

    def _find_finished(self) -> None:
        """Views of an earlier start whose pictures are whole and whose cameras are known; unfinished files go."""
        for suffix in ("png", "exr"):  # what `write_beside` left when Blender was killed
            for path in self.run.dataset.rglob(f".*-*.{suffix}"):
                path.unlink(missing_ok=True)
        state = folders.read_state(self.run.root) or {}
        known = state.get("cameras") or {}
        for view in self.plan.views:
            camera = view.camera
            if camera is None and view.file_path in known:
                camera = Camera.from_dict(known[view.file_path])
            if camera is None or not picture.is_whole(self.run.dataset / view.file_path, camera):
                continue
            if passes.are_whole(self.run, self.plan.passes, view.file_path, camera):
                self._cameras[view.file_path] = camera

    def _write_state(self) -> None:
        write_json(
            self.run.dataset / folders.STATE_NAME,
            {
                "format": folders.STATE_FORMAT,
                "version": folders.STATE_VERSION,
                "complete": self._complete,
                "plan": self.plan.fingerprint(),
                "cameras": {
                    view.file_path: self._cameras[view.file_path].to_dict()
                    for view in self.plan.views
                    if view.camera is None and view.file_path in self._cameras
                },
            },
        )

    def _finish(self) -> None:
        plan = self.plan
        frames = [
            FrameRecord(
                view.file_path,
                view.split,
                self._cameras[view.file_path],
                passes.frame_keys(plan.passes, view.file_path),
            )
            for view in plan.views
        ]
        facts = DatasetFacts(
            bounds=plan.bounds,
            color_space=plan.color_space,
            has_alpha=plan.transparent,
            object_index=plan.object_index if "index" in plan.passes else None,
        )
        write_transforms(self.run.dataset, frames, facts)
        self._complete = True
        self._write_state()


def planned_run(scene: bpy.types.Scene, settings: Any) -> Path:
    """Where a capture would go when the folder is free, or was stopped in it; see :func:`folders.choose_run`."""
    return folders.runs_folder(settings.folder) / folders.run_name(settings.name, scene)


def _put_camera(scene: bpy.types.Scene, camera: Camera, guard: SceneGuard) -> None:
    """A camera of our own looks: the person's keep their places, and depth of field does not blur the data set."""
    data = guard.temporary(bpy.data.cameras, bpy.data.cameras.new("NeRF Capture"))
    item = guard.temporary(bpy.data.objects, bpy.data.objects.new("NeRF Capture", data))
    frame: Frame = camera_to_blender(camera, item)
    apply_frame(scene.render, frame)
    scene.camera = item


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
