"""Heat maps of a picture: how often the field was asked, what the samples caught, and how far off it is.

Each is a number a pixel:

``sample_count``
    Full evaluations of the field (density and colour) made for the pixel's rays, mean over them; those of several
    layers add up. Evaluations of density alone and of proposals are no part of it.
``captured_weight``
    The share of the ray's weight that lies within half a voxel of a sample, 0 to 1; see `rendering.captured`. 1 where
    there is less to catch than a picture of 8 bits shows.
``depth_error``
    |rendered depth - reference's|, along the ray, world units; 0 where the reference has none: where data knows none,
    or full sampling is less than half opaque. What the picture missed altogether has depth 0.
``colour_error``
    Mean over R, G and B of |rendered - reference|, both sRGB-encoded, clipped to what can be shown, over the
    background that the run is measured on.

The reference is the data set's own picture where the camera is one of its cameras, else the run's full sampling of the
very same rays (`Method.full_sampling`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..contract.errors import NerfError
from ..data.color import encode_premultiplied, over, premultiply
from ..data.truth import Truth, Truths
from ..methods.cost import HIT_ALPHA
from .captured import captured_along, over_rays
from .exposure import along_axis
from .frame import Frame
from .layers import Layer
from .picture import render_picture
from .view import View

NOTHING = 1.0 / 255.0
"""Alpha below which a ray has nothing to catch."""

Background = Sequence[float]
ShouldStop = Callable[[], bool]
OnProgress = Callable[[float], None]


@dataclass(frozen=True)
class Heat:
    """Heat maps of a picture.

    Attributes
    ----------
    maps : dict of str to (H, W) float32 array
        By the names of `contract.heat.HEAT_NAMES`.
    references : dict of str to {'data', 'full'}
        What each error is measured against.
    subject : dict of str to (H, W) float32 array
        Alpha of what each map is about: of the picture itself for counts, of the reference for the others.
    """

    maps: dict[str, np.ndarray] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)
    subject: dict[str, np.ndarray] = field(default_factory=dict)


def render_heat(
    layers: Sequence[Layer],
    view: View,
    wanted: Sequence[str],
    background: Background,
    truth: Truth | None = None,
    should_stop: ShouldStop | None = None,
    on_progress: OnProgress | None = None,
    shutter_layers: Sequence[Sequence[Layer]] = (),
) -> tuple[Frame, Heat]:
    """Render a view of layers, and heat maps of it.

    Parameters
    ----------
    layers, view, should_stop, on_progress, shutter_layers
        Of :func:`rendering.picture.render_picture`.
    wanted : sequence of str
        Names of heat maps; with none it is the plain picture.
    background : (r, g, b)
        What colours are compared over, sRGB-encoded.
    truth : Truth, optional
        What the data set knows of this picture; see :func:`truth_of`.
    """
    errors = "depth_error" in wanted or "colour_error" in wanted
    parts = 1 + errors + 2 * ("captured_weight" in wanted)
    done = 0

    def part(weight: int) -> OnProgress:
        nonlocal done
        before = done
        done += weight
        return lambda share: None if on_progress is None else on_progress((before + weight * share) / parts)

    frame = render_picture(layers, view, should_stop, part(1), shutter_layers)
    heat = Heat()
    if "sample_count" in wanted:
        if frame.evaluations is None:
            raise NerfError("This method does not count its evaluations of the field; leave out the sample count.")
        heat.maps["sample_count"], heat.subject["sample_count"] = (
            frame.evaluations.astype(np.float32),
            frame.rgba[..., 3],
        )
    if errors:
        tell = part(1)

        def render_full() -> Frame:
            return _full_frame(frame, layers, view, should_stop, tell, shutter_layers)

        _add_errors(heat, frame, layers, view, wanted, background, truth, render_full)
    if "captured_weight" in wanted:
        caught, every = over_rays(captured_along, layers, view, should_stop, part(2), shutter_layers)
        share = np.where(every > NOTHING, caught / np.maximum(every, NOTHING), 1.0)
        heat.maps["captured_weight"], heat.subject["captured_weight"] = np.minimum(share, 1.0).astype(np.float32), every
    return frame, replace(heat, maps={name: heat.maps[name] for name in wanted})


def truth_of(truths: Truths | None, layers: Sequence[Layer], view: View) -> Truth | None:
    """What a data set knows of a picture of one whole layer; its depth in the picture's world.

    Parameters
    ----------
    truths : Truths or None
        Of the run of the only layer.
    layers : sequence of Layer
    view : View
    """
    if truths is None or len(layers) != 1 or layers[0].crops or layers[0].scale is None:
        return None
    if view.lens is not None or view.shutter:  # it shows another picture
        return None
    truth = truths.of(layers[0].camera_in_run(view.camera))
    if truth is None or truth.depth is None or layers[0].scale == 1.0:
        return truth
    return replace(truth, depth=truth.depth * np.float32(layers[0].scale))


def _add_errors(
    heat: Heat,
    frame: Frame,
    layers: Sequence[Layer],
    view: View,
    wanted: Sequence[str],
    background: Background,
    truth: Truth | None,
    render_full: Callable[[], Frame],
) -> None:
    """Measure a frame against the data set's view as far as that is known, else against full sampling."""
    linear = view.color == "linear" or any(layer.color_space == "linear" for layer in layers)
    full: Frame | None = None
    if "colour_error" in wanted:
        if truth is not None:
            seen = premultiply(truth.rgba.astype(np.float32) / 255.0)
        else:
            full = render_full()
            seen = _encoded(full.rgba, linear)
        heat.maps["colour_error"] = colour_error(_encoded(frame.rgba, linear), seen, background)
        heat.subject["colour_error"] = seen[..., 3]
        heat.references["colour_error"] = "full" if truth is None else "data"
    if "depth_error" in wanted:
        cosine = _cosine(view) if view.depth == "z" else np.float32(1.0)
        if truth is not None and truth.depth is not None:
            depth, known = truth.depth, truth.depth > 0
            heat.references["depth_error"] = "data"
        else:
            full = full or render_full()
            depth, known = full.depth / cosine, full.rgba[..., 3] >= HIT_ALPHA
            heat.references["depth_error"] = "full"
        off = np.where(known, np.abs(frame.depth / cosine - depth), 0.0)
        heat.maps["depth_error"], heat.subject["depth_error"] = off.astype(np.float32), known.astype(np.float32)


def colour_error(rgba: np.ndarray, reference: np.ndarray, background: Background) -> np.ndarray:
    """(H, W) float32 mean over channels of how far two premultiplied sRGB-encoded pictures are apart over a colour."""
    shown, wanted = (np.clip(over(each, np.asarray(background, np.float32)), 0.0, 1.0) for each in (rgba, reference))
    return np.abs(shown - wanted).mean(axis=-1).astype(np.float32)


def _encoded(rgba: np.ndarray, linear: bool) -> np.ndarray:
    return encode_premultiplied(rgba) if linear else rgba


def _cosine(view: View) -> np.ndarray:
    """(H, W) length along the viewing axis of a step of 1 along the rays through the pixels' centres."""
    _, directions = view.camera.rays()
    shape = directions.shape[:2]
    return along_axis(view.camera, directions.reshape(-1, 3)).reshape(shape).astype(np.float32)


def full_layers(layers: Sequence[Layer]) -> list[Layer]:
    """The same layers, each sampled as fully as its run can be, for a view that asks for no sampler."""
    methods = [layer.method for layer in layers]
    choices = [None if each.full_sampling == each.trained_sampler else each.full_sampling for each in methods]
    return [replace(layer, sampler=choice) for layer, choice in zip(layers, choices, strict=True)]


def is_full(layers: Sequence[Layer], view: View) -> bool:
    """Whether a view is that of full sampling anyhow."""
    return all(
        (layer.sampler or view.sampler or layer.method.trained_sampler) == layer.method.full_sampling
        for layer in layers
    )


def _full_frame(
    frame: Frame,
    layers: Sequence[Layer],
    view: View,
    should_stop: ShouldStop | None,
    on_progress: OnProgress,
    shutter_layers: Sequence[Sequence[Layer]],
) -> Frame:
    if all(is_full(group, view) for group in (layers, *shutter_layers)):
        return frame
    shutter = [full_layers(group) for group in shutter_layers]
    return render_picture(
        full_layers(layers), replace(view, normals=False, sampler=None), should_stop, on_progress, shutter
    )
