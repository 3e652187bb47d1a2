"""A view of the data set that a run was trained on, as it was trained on it."""

from ..contract.errors import DataError
from ..data.one_view import load_view
from ..data.placement import Placement
from ..data.views import View
from .load import LoadedRun


def run_view(loaded: LoadedRun, split: str, index: int) -> View:
    """Read a view, at the size and in the placement that the run was trained with; see `data.one_view.load_view`.

    Raises
    ------
    DataError
        When there is none.
    """
    if loaded.data is None:
        raise DataError(f"The run '{loaded.folder.root}' does not say which data set it was trained on.")
    placement = Placement.from_dict(loaded.settings.get("placement"))
    downscale = loaded.settings.get("downscale")
    return load_view(loaded.data, split, index, downscale if type(downscale) is int else 1, placement)
