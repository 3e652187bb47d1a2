"""The `plot` request: the plot of a traced ray as a PNG or SVG file, for a Blender that draws nothing."""

from typing import TYPE_CHECKING

from ..contract.files import make_folder
from ..contract.ray_plot import plot_of_traces
from .geometry import Reply, Watch
from .params import ParamError, Params
from .tracing import Traces

if TYPE_CHECKING:
    from ..training.load import LoadedRun


def answer(loaded: "LoadedRun", traces: Traces, params: Params, watch: Watch) -> Reply:
    """Trace under each sampler, and draw.

    Parameters
    ----------
    loaded : LoadedRun
    traces : Traces
    params : Params
        What `trace` takes; `samplers` (one or two, null is the run's own) instead of `sampler`; `out`; optional are
        `ray` (which is drawn; null: the mean of all), `focus` and `heading`.
    watch : Watch
    """
    from ..export.ownership import check_writable
    from ..export.ray_plot import check_kind, write_plot

    out = check_writable(check_kind(params.text("out")), params.flag("overwrite"))
    samplers = params.values.get("samplers") or [None]
    if not isinstance(samplers, list) or len(samplers) > 2:
        raise ParamError("'plot' wants 'samplers' as a list of one or two samplers.")
    rays, ray = len(params.pixels()), params.optional_integer("ray")
    if rays == 0 or (ray is not None and not 0 <= ray < rays):
        raise ParamError(f"'plot' wants 'ray' as the number of one of its {rays} rays, and got {ray!r}.")
    found = []
    for sampler in samplers:
        result, arrays = traces.answer(loaded, Params("plot", {**params.values, "sampler": sampler}), *watch)
        found.append((arrays, result["sampler"], result["seconds"]))
    make_folder(out.parent)
    write_plot(out, plot_of_traces(found, ray, params.flag("focus"), heading=params.optional_text("heading") or ""))
    return {"out": str(out), "rays": rays}, {}
