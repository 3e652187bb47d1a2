"""A trace in plain words and numbers: what became of each ray, then its samples; and as plain JSON."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..contract.traces import END_REASONS
from ..rendering.trace_pixels import TracedPixels

HEADER = "      stage         t        t0        t1    density   opt. depth  transmitt.    weight  colour"
WHY = {
    "missed": "the ray misses the box",
    "left": "it left the box",
    "opaque": "nothing more comes through",
}


def ray_lines(traced: TracedPixels, ray: int, samples: bool = True) -> Iterator[str]:
    """One ray under one sampler.

    Parameters
    ----------
    traced : TracedPixels
    ray : int
    samples : bool
        Also a line a sample.
    """
    trace = traced.trace
    red, green, blue, alpha = trace.rgba[ray]
    yield f"  {traced.sampler}"
    known = ""
    if traced.truth is not None:
        truth = traced.truth[ray].astype(np.float64)
        premultiplied = np.append(truth[:3] * truth[3], truth[3])
        known = f"; the data set has {_numbers(premultiplied)}, {np.abs(premultiplied - trace.rgba[ray]).max():.4f} off"
    yield f"    colour   {red:.4f} {green:.4f} {blue:.4f} {alpha:.4f} (premultiplied, with alpha{known})"
    yield (
        f"    cost     {trace.full[ray]} full, {trace.density_only[ray]} density only, {trace.proposal[ray]} proposal "
        "evaluations"
    )
    reason = END_REASONS[trace.end_reason[ray]]
    if reason == "missed":
        yield f"    end      {WHY[reason]}"
        return
    depths = [f"expected {trace.expected_depth[ray]:.4f}", f"median {trace.median_depth[ray]:.4f}"]
    if alpha <= 0:
        depths = ["none: nothing is seen"]
    if traced.true_depth[ray] > 0:
        depths.append(f"true {traced.true_depth[ray]:.4f}")
    yield f"    depth    {', '.join(depths)}"
    yield f"    end      at {trace.end[ray]:.4f} of {trace.near[ray]:.4f} to {trace.far[ray]:.4f}: {WHY[reason]}"
    skipped = trace.skip_ray == ray
    if skipped.any():
        stretches = ", ".join(
            f"{t0:.4f} to {t1:.4f}" for t0, t1 in zip(trace.skip_t0[skipped], trace.skip_t1[skipped], strict=True)
        )
        yield f"    skipped  {stretches}"
    own = np.flatnonzero(trace.ray == ray)
    if not (samples and len(own)):
        yield f"    samples  {len(own)}"
        return
    yield HEADER
    for row in own:
        mark = "*" if trace.selected[row] else " "
        yield (
            f"    {mark} {trace.stage[row]:5} {trace.t[row]:9.4f} {trace.t0[row]:9.4f} {trace.t1[row]:9.4f} "
            f"{trace.density[row]:10.4g} {trace.optical_depth[row]:12.4g} {trace.transmittance[row]:11.5f} "
            f"{trace.weight[row]:9.5f}  {_numbers(trace.color[row], 3)}"
        )


def trace_document(traced: TracedPixels) -> dict[str, Any]:
    """Sampler, costs in time, and all arrays by their names in the `trace` request, as plain JSON."""
    head = {"rays": len(traced.origin), "sampler": traced.sampler.to_dict(), "seconds": traced.seconds}
    return {**head, **plain_arrays(traced.arrays)}


def plain_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Arrays as nested lists; float32 numbers with the digits that they have."""
    return {name: _plain(np.asarray(array)) for name, array in arrays.items()}


def _plain(array: np.ndarray) -> Any:
    if array.dtype != np.float32:
        return array.tolist()
    return np.array([float(str(value)) for value in array.ravel()]).reshape(array.shape).tolist()


def _numbers(values: np.ndarray, digits: int = 4) -> str:
    return " ".join(f"{value:.{digits}f}" for value in values)
