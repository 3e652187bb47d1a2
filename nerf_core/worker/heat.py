"""Heat maps of a `render` request, with the data set's own view as reference where there is one."""

import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contract.heat import ERRORS, heat_kind
from ..data.truth import Truths
from ..export.heat_pictures import heat_numbers, heat_picture
from ..rendering.frame import Frame
from ..rendering.heat import Heat, render_heat, truth_of
from ..rendering.layers import Layer
from .geometry import Watch
from .render_params import WantedPicture

if TYPE_CHECKING:
    from ..training.load import LoadedRun

KEPT = 2  # data sets


class HeatRenderer:
    """Renders them, and keeps the data sets that pictures were compared with last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Any, ...], Truths | None] = OrderedDict()

    def render(
        self,
        wanted: WantedPicture,
        first: "LoadedRun",
        layers: list[Layer],
        shutter_layers: list[list[Layer]],
        watch: Watch,
    ) -> tuple[Frame, dict[str, Any], dict[str, np.ndarray]]:
        """A picture, what its answer says of its heat maps, and their arrays.

        Parameters
        ----------
        wanted : WantedPicture
        first : LoadedRun
            Of the first layer.
        layers, shutter_layers
            The placed layers.
        watch : (should_stop, on_progress)
        """
        begun = time.perf_counter()
        should_stop, on_progress = watch
        asked = needs_reference(wanted.heat) and len(layers) == 1 and wanted.heat_reference == "auto"
        truths = self._truths(first, watch) if asked else None
        truth = truth_of(truths, layers, wanted.view)
        frame, heat = render_heat(
            layers, wanted.view, wanted.heat, first.background, truth, should_stop, on_progress, shutter_layers
        )
        result, arrays = answer(heat, wanted.heat_pictures, wanted.heat_top)
        result["seconds"] = time.perf_counter() - begun
        if truth is not None:
            result["view"] = {"name": truth.name, "split": truth.split}
        return frame, result, arrays

    def _truths(self, run: "LoadedRun", watch: Watch) -> Truths | None:
        """The run's data set by its cameras; None where it is not there any more, or not usable."""
        if run.data is None or not run.data.exists():
            return None
        documents = sorted(run.data.glob("*.json")) if run.data.is_dir() else [run.data]
        key = (run.folder.root, run.data, *((path, path.stat().st_mtime_ns) for path in documents))
        if key not in self._kept:
            self._kept[key] = run.truths(watch[0])
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]


def needs_reference(names: tuple[str, ...]) -> bool:
    """Whether any of these heat maps is an error."""
    return any(name in ERRORS for name in names)


def answer(heat: Heat, pictures: bool, tops: Mapping[str, float]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a `render` answer says: numbers and references by the maps' names; arrays, and pictures where wanted."""
    numbers = {
        name: heat_numbers(values, heat.subject[name], heat_kind(name), tops.get(name))
        for name, values in heat.maps.items()
    }
    for name, reference in heat.references.items():
        numbers[name]["reference"] = reference
    result: dict[str, Any] = {"heat": numbers}
    for name in ("colour_error", "depth_error"):
        if name in heat.references:
            result.setdefault("reference", heat.references[name])
    arrays = {name: np.asarray(values, np.float32) for name, values in heat.maps.items()}
    if pictures:
        for name, values in heat.maps.items():
            arrays[f"{name}_picture"] = heat_picture(values, heat_kind(name), numbers[name], heat.references.get(name))
    return result, arrays
