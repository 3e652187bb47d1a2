"""What a `render` request asks for, checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..contract.camera import Camera
from ..contract.heat import HEAT_NAMES
from ..contract.messages import MAX_LAYERS
from ..rendering.view import Lens, View
from .params import ParamError, Params

MAX_SAMPLES = 1 << 16
MAX_POSES = 1 << 12
PASSES = ("normal", "line_integral", *HEAT_NAMES)


@dataclass(frozen=True)
class WantedLayer:
    """A layer whose run is not loaded yet; see `rendering.layers.Layer`."""

    run: str
    matrix: np.ndarray
    crops: tuple[np.ndarray, ...]
    window: tuple[float, float] | None = None  # of line integrals, where it is not the run's own


@dataclass(frozen=True)
class WantedPicture:
    """A `render` request.

    Attributes
    ----------
    view : View
    layers : list of WantedLayer
    shutter_layers : list of lists of WantedLayer
        One for each of `view.shutter`, or none at all.
    snapshot : int or None
        The step of the snapshot that is rendered instead of the run itself.
    heat : tuple of str
        Heat maps.
    heat_pictures : bool
        Whether they are wanted as pictures with legends, too.
    heat_top : mapping of str to float
        Where their scales end; the others' are chosen.
    heat_reference : {'auto', 'full'}
        What errors are measured against: the data set's view where there is one, or full sampling always.
    line_integral : bool
        Whether line integrals of attenuation fields are wanted, too.
    """

    view: View
    layers: list[WantedLayer]
    shutter_layers: list[list[WantedLayer]]
    snapshot: int | None = None
    heat: tuple[str, ...] = ()
    heat_pictures: bool = False
    heat_top: Mapping[str, float] = field(default_factory=dict)
    heat_reference: str = "auto"
    line_integral: bool = False

    @property
    def runs(self) -> list[str]:
        """Every run that is needed, once."""
        every = [layer for group in (self.layers, *self.shutter_layers) for layer in group]
        return list(dict.fromkeys(layer.run for layer in every))


def wanted_picture(params: Params) -> WantedPicture:
    """Read a `render` request; `ParamError` names what is wrong with it."""
    view = _view(params)
    if params.values.get("layers") is None:
        layers = [WantedLayer(params.text("run"), np.eye(4), (), _window(params.values.get("window"), "window"))]
    elif params.values.get("run") is not None:
        raise ParamError("'render' wants either 'run' or 'layers', and got both.")
    else:
        layers = _layers(params.values["layers"], "layers")
        if not layers:
            raise ParamError("'render' wants at least one layer in 'layers', and got none.")
    shutter_layers: list[list[WantedLayer]] = []
    given = params.values.get("layers_shutter")
    if given is not None:
        groups = _sequence(given, "layers_shutter", "a list of lists of layers")
        if len(groups) != len(view.shutter):
            raise ParamError(
                f"'render' wants as many lists in 'layers_shutter' as cameras in 'shutter': got {len(groups)} and "
                f"{len(view.shutter)}."
            )
        shutter_layers = [_layers(group, f"layers_shutter[{i}]") for i, group in enumerate(groups)]
    snapshot = params.snapshot()
    if snapshot is not None and params.values.get("layers") is not None:
        raise ParamError("'render' wants 'snapshot' with 'run', and got it with 'layers'.")
    heat = tuple(name for name in HEAT_NAMES if name in (params.values.get("passes") or ()))
    return WantedPicture(
        view,
        layers,
        shutter_layers,
        snapshot,
        heat,
        params.flag("heat_pictures"),
        _heat_top(params),
        params.choice("heat_reference", ("auto", "full")),
        "line_integral" in (params.values.get("passes") or ()),
    )


def _heat_top(params: Params) -> dict[str, float]:
    given = params.mapping("heat_top")
    unknown = sorted(set(given) - set(HEAT_NAMES))
    if unknown:
        raise ParamError(f"'render' does not know the heat map {unknown[0]!r:.80} in 'heat_top'.")
    tops = Params("render", {f"heat_top.{name}": value for name, value in given.items()})
    return {name: tops.number_above(f"heat_top.{name}", 0.0) for name in given}


def _view(params: Params) -> View:
    camera = params.camera()
    samples = 1 if params.values.get("samples") is None else params.count("samples", MAX_SAMPLES)
    passes = params.values.get("passes") or []
    for name in _sequence(passes, "passes", "a list of names"):
        if name not in PASSES:
            raise ParamError(f"'render' knows the passes {', '.join(PASSES)}, and got {name!r:.80} in 'passes'.")
    return View(
        camera,
        _shutter(params, camera),
        _lens(params),
        samples,
        params.optional_integer("seed") or 0,
        params.choice("color", ("run", "linear")),
        params.choice("depth", ("distance", "z")),
        "normal" in passes,
        params.flag("clip"),
        params.sampler(),
    )


def _shutter(params: Params, camera: Camera) -> tuple[Camera, ...]:
    given = params.values.get("shutter")
    if given is None:
        return ()
    poses = _sequence(given, "shutter", "a list of cameras")
    if len(poses) > MAX_POSES:
        raise ParamError(f"'render' takes at most {MAX_POSES} cameras in 'shutter', and got {len(poses)}.")
    cameras = tuple(Params("render", {f"shutter[{i}]": pose}).camera(f"shutter[{i}]") for i, pose in enumerate(poses))
    for i, pose in enumerate(cameras):
        if (pose.width, pose.height) != (camera.width, camera.height):
            raise ParamError(
                f"'render' wants the cameras in 'shutter' to be of the picture's size, {camera.width}x{camera.height}, "
                f"and shutter[{i}] is {pose.width}x{pose.height}."
            )
    return cameras


def _lens(params: Params) -> Lens | None:
    given = params.mapping("lens")
    if not given:
        return None
    lens = Params("render", {f"lens.{key}": value for key, value in given.items()})
    unknown = sorted(set(given) - {"radius", "focus", "blades", "rotation", "ratio"})
    if unknown:
        raise ParamError(f"'render' does not know '{unknown[0]}' in 'lens'.")
    radius, focus = lens.number_above("lens.radius", 0.0, or_equal=True), lens.number_above("lens.focus", 0.0)
    blades = lens.optional_integer("lens.blades") or 0
    if not 0 <= blades <= 64:
        raise ParamError(f"'render' wants 'lens.blades' as a whole number from 0 to 64, and got {blades}.")
    rotation = lens.optional_number("lens.rotation") or 0.0
    ratio = 1.0 if given.get("ratio") is None else lens.number_above("lens.ratio", 0.0)
    return Lens(radius, focus, blades, rotation, ratio) if radius > 0.0 else None


def _layers(given: Any, name: str) -> list[WantedLayer]:
    entries = _sequence(given, name, "a list of layers")
    if len(entries) > MAX_LAYERS:
        raise ParamError(f"'render' takes at most {MAX_LAYERS} layers in '{name}', and got {len(entries)}.")
    return [_layer(entry, f"{name}[{i}]") for i, entry in enumerate(entries)]


def _layer(given: Any, name: str) -> WantedLayer:
    if not isinstance(given, Mapping):
        raise ParamError(f"'render' wants '{name}' as an object with 'run', 'matrix' and 'crops'.")
    run = Params("render", {f"{name}.run": given.get("run")}).text(f"{name}.run")
    matrix = np.eye(4) if given.get("matrix") is None else affine(given["matrix"], f"{name}.matrix")
    crops = _sequence(given.get("crops") or [], f"{name}.crops", "a list of 4x4 matrices")
    if len(crops) > MAX_LAYERS:
        raise ParamError(f"'render' takes at most {MAX_LAYERS} matrices in '{name}.crops', and got {len(crops)}.")
    boxes = tuple(affine(crop, f"{name}.crops[{i}]") for i, crop in enumerate(crops))
    return WantedLayer(run, matrix, boxes, _window(given.get("window"), f"{name}.window"))


def _window(given: Any, name: str) -> tuple[float, float] | None:
    """The line integrals that are shown as black and white."""
    if given is None:
        return None
    try:
        low, high = (float(end) for end in given)
    except (TypeError, ValueError, OverflowError):
        raise ParamError(f"'render' wants '{name}' as [low, high] or null, and got {given!r:.80}.") from None
    if not -1e6 < low < high < 1e6:
        raise ParamError(f"'render' wants '{name}' as two growing numbers, and got {given!r:.80}.")
    return low, high


def affine(given: Any, name: str, method: str = "render") -> np.ndarray:
    """A 4x4 matrix whose last row is 0, 0, 0, 1."""
    try:
        matrix = np.array(given, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ParamError(f"'{method}' wants '{name}' as a 4x4 matrix of numbers.") from error
    # Within these, determinants and squares stay finite. NaN is within no limits.
    if matrix.shape != (4, 4) or not (np.abs(matrix) < 1e30).all():
        raise ParamError(f"'{method}' wants '{name}' as a 4x4 matrix of usable numbers.")
    if np.abs(matrix[3] - (0.0, 0.0, 0.0, 1.0)).max() > 1e-6:
        raise ParamError(f"'{method}' wants '{name}' to be affine: its last row must be 0, 0, 0, 1.")
    return matrix


def _sequence(given: Any, name: str, wanted: str) -> Sequence[Any]:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ParamError(f"'render' wants '{name}' as {wanted}, and got {given!r:.80}.")
    return given
