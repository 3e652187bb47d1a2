"""The `trace` request: pixels' rays taken apart, through any camera or through a view of the run's data set."""

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..data.views import View
from ..rendering.layers import is_flat
from ..rendering.trace_pixels import trace_pixels
from ..training.run_view import run_view
from .geometry import Reply
from .params import ParamError, Params
from .render_params import affine

if TYPE_CHECKING:
    from ..training.load import LoadedRun

KEPT = 8  # views whose pixels are kept: a person goes from one to the next and back


class Traces:
    """Answers `trace` requests; keeps the views of data sets that were looked through last."""

    def __init__(self) -> None:
        self._views: OrderedDict[tuple[object, ...], View] = OrderedDict()

    def answer(
        self,
        loaded: "LoadedRun",
        params: Params,
        should_stop: Callable[[], bool],
        on_progress: Callable[[float], None],
    ) -> Reply:
        """Result and arrays.

        Parameters
        ----------
        loaded : LoadedRun
        params : Params
            `pixels`, and `camera` or `view` (`{"split", "index"}`); optional are `sampler`, `matrix`, `true_depth`.
        should_stop, on_progress : callable
        """
        pixels, sampler = params.pixels(), params.sampler()
        place = params.values.get("matrix")
        matrix = None if place is None else affine(place, "matrix", "trace")
        if matrix is not None and is_flat(matrix):
            raise ParamError("'trace' wants 'matrix' to be invertible: nothing is seen of what is scaled to nothing.")
        depth = params.depths(len(pixels))
        asked = params.values.get("view")
        if asked is None:
            view, camera = None, params.camera()
        else:
            view = self.view(loaded, *params.view())
            camera = view.camera
        traced = trace_pixels(loaded.method, camera, pixels, sampler, matrix, depth, view, should_stop, on_progress)
        result = {"rays": len(pixels), "sampler": traced.sampler.to_dict(), "seconds": traced.seconds}
        if view is not None:
            result.update(camera=camera.to_dict(), name=view.name)
        return result, traced.arrays

    def view(self, loaded: "LoadedRun", split: str, index: int) -> View:
        """A view of the data set that a run was trained on, at the size it was trained at.

        Raises
        ------
        DataError
            When there is none.
        """
        key = (loaded.folder.root, str(loaded.data), split, index)
        found = self._views.get(key)
        if found is None:
            found = run_view(loaded, split, index)
            self._views[key] = found
        self._views.move_to_end(key)
        while len(self._views) > KEPT:
            self._views.popitem(last=False)
        return found
