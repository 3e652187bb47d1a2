"""Colours of what is brought back, scene-linear, as colour attributes hold them. No bpy here."""

import numpy as np

# From nearly black over blue and red to yellow, scene-linear: weights are small almost everywhere.
RAMP = (
    (0.0, (0.015, 0.015, 0.05, 1.0)),
    (0.05, (0.05, 0.06, 0.5, 1.0)),
    (0.25, (0.6, 0.03, 0.25, 1.0)),
    (0.6, (1.0, 0.3, 0.02, 1.0)),
    (1.0, (1.0, 0.95, 0.3, 1.0)),
)


def ramp_colors(values: np.ndarray) -> np.ndarray:
    """(N, 4) float32: the ramp's colours of (N,) values from 0 to 1."""
    positions = [position for position, _ in RAMP]
    channels = [np.interp(values, positions, [color[i] for _, color in RAMP]) for i in range(4)]
    return np.stack(channels, axis=-1).astype(np.float32)


def srgb_to_linear(color: np.ndarray) -> np.ndarray:
    """(N, 3) sRGB to (N, 4) scene-linear with alpha 1, float32, as colour attributes hold them."""
    color = np.clip(np.asarray(color, dtype=np.float32), 0.0, None)
    linear = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
    return np.concatenate([linear, np.ones_like(linear[..., :1])], axis=-1).astype(np.float32)
