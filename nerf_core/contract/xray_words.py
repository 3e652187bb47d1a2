"""The X-ray mode's words and choices, standard library alone: what a command line offers before it imports anything."""

from typing import Literal

PHANTOM = "phantom:"
"""What names of phantoms begin with where a CT may stand: PHANTOM + KIND:SEED."""
NOT_FOR_DIAGNOSIS = "Not for diagnosis: what is shown is computed, not measured, and may be wrong."

RIGS = ("chest", "knee", "volume")
"""The keys of `xray.PRESETS`."""

Scaling = Literal["physical", "per_view"]
SCALINGS: tuple[Scaling, ...] = ("physical", "per_view")
DEFAULT_VIEWS = 72
"""Of a turntable: one every 5 degrees."""
