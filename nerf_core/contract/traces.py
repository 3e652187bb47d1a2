"""What both sides call the arrays of a trace, and why a ray ended."""

END_REASONS = ("missed", "left", "opaque")
"""`end_reason` is an index into this: the ray never met the box; it left it; nothing more came through."""
MISSED, LEFT, OPAQUE = range(3)

SAMPLE_ARRAYS = (
    "ray",
    "t",
    "t0",
    "t1",
    "dt",
    "position",
    "density",
    "color",
    "weight",
    "transmittance",
    "optical_depth",
    "stage",
    "selected",
)
RAY_ARRAYS = (
    "rgba",
    "near",
    "far",
    "end",
    "end_reason",
    "expected_depth",
    "median_depth",
    "full",
    "density_only",
    "proposal",
)
BIN_ARRAYS = ("bin_ray", "bin_t0", "bin_t1", "bin_weight")
SKIP_ARRAYS = ("skip_ray", "skip_t0", "skip_t1")
TRACE_ARRAYS = (*SAMPLE_ARRAYS, *RAY_ARRAYS, *BIN_ARRAYS, *SKIP_ARRAYS)
"""All of `nerf_core.methods.trace.Trace`, whose docstring says what they hold."""
RAY_INDEX_ARRAYS = ("ray", "bin_ray", "skip_ray")
