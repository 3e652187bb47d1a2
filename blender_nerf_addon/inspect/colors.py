"""Colours of the overlay, display-referred sRGB: a scale for weights, and marks for what is named. No bpy."""

import numpy as np

# Viridis, every sixteenth part.
_SCALE = np.array(
    [
        (0.267, 0.005, 0.329),
        (0.283, 0.105, 0.427),
        (0.279, 0.196, 0.498),
        (0.254, 0.265, 0.530),
        (0.222, 0.339, 0.549),
        (0.190, 0.408, 0.556),
        (0.164, 0.471, 0.558),
        (0.139, 0.534, 0.555),
        (0.128, 0.567, 0.551),
        (0.120, 0.632, 0.532),
        (0.163, 0.694, 0.497),
        (0.252, 0.752, 0.443),
        (0.369, 0.789, 0.383),
        (0.515, 0.820, 0.294),
        (0.678, 0.864, 0.190),
        (0.845, 0.886, 0.100),
        (0.993, 0.906, 0.144),
    ],
    dtype=np.float32,
)

SLOTS = ((1.0, 0.62, 0.18), (0.35, 0.78, 1.0))  # the first sampler's rays, and the second's
EXPECTED = (1.0, 1.0, 1.0)
MEDIAN = (1.0, 0.86, 0.25)
TRUE = (0.35, 0.95, 0.45)
BOX = (0.62, 0.66, 0.72)
END = (1.0, 0.42, 0.36)


def scale(values: np.ndarray) -> np.ndarray:
    """(N, 3) float32 colours of (N,) values from 0 to 1."""
    places = np.linspace(0.0, 1.0, len(_SCALE))
    values = np.clip(np.nan_to_num(np.asarray(values, dtype=np.float32)), 0.0, 1.0)
    return np.stack([np.interp(values, places, _SCALE[:, channel]) for channel in range(3)], axis=-1).astype(np.float32)


def luminance(colors: np.ndarray) -> np.ndarray:
    """(N,) how bright (N, 3) display colours look, 0 to 1."""
    return np.asarray(colors) @ np.array((0.299, 0.587, 0.114), dtype=np.float32)
