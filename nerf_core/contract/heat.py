"""Heat maps: which there are, what they are called, and the colours they are shown in. Both processes draw them.

The colours are matplotlib's viridis and magma (Smith and van der Walt 2015, CC0): 256 of equal perceived steps, dark to
bright. A test holds the tables against matplotlib's own.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

_VIRIDIS = (
    "44015444025645045745055946075a46085c460a5d460b5e470d60470e6147106347116447136548146748166848176948186a"
    "481a6c481b6d481c6e481d6f481f70482071482173482374482475482576482677482878482979472a7a472c7a472d7b472e7c"
    "472f7d46307e46327e46337f463480453581453781453882443983443a83443b84433d84433e85423f85424086424186414287"
    "4144874045884046883f47883f48893e49893e4a893e4c8a3d4d8a3d4e8a3c4f8a3c508b3b518b3b528b3a538b3a548c39558c"
    "39568c38588c38598c375a8c375b8d365c8d365d8d355e8d355f8d34608d34618d33628d33638d32648e32658e31668e31678e"
    "31688e30698e306a8e2f6b8e2f6c8e2e6d8e2e6e8e2e6f8e2d708e2d718e2c718e2c728e2c738e2b748e2b758e2a768e2a778e"
    "2a788e29798e297a8e297b8e287c8e287d8e277e8e277f8e27808e26818e26828e26828e25838e25848e25858e24868e24878e"
    "23888e23898e238a8d228b8d228c8d228d8d218e8d218f8d21908d21918c20928c20928c20938c1f948c1f958b1f968b1f978b"
    "1f988b1f998a1f9a8a1e9b8a1e9c891e9d891f9e891f9f881fa0881fa1881fa1871fa28720a38620a48621a58521a68522a785"
    "22a88423a98324aa8325ab8225ac8226ad8127ad8128ae8029af7f2ab07f2cb17e2db27d2eb37c2fb47c31b57b32b67a34b679"
    "35b77937b87838b9773aba763bbb753dbc743fbc7340bd7242be7144bf7046c06f48c16e4ac16d4cc26c4ec36b50c46a52c569"
    "54c56856c66758c7655ac8645cc8635ec96260ca6063cb5f65cb5e67cc5c69cd5b6ccd5a6ece5870cf5773d05675d05477d153"
    "7ad1517cd2507fd34e81d34d84d44b86d54989d5488bd6468ed64590d74393d74195d84098d83e9bd93c9dd93ba0da39a2da37"
    "a5db36a8db34aadc32addc30b0dd2fb2dd2db5de2bb8de29bade28bddf26c0df25c2df23c5e021c8e020cae11fcde11dd0e11c"
    "d2e21bd5e21ad8e219dae319dde318dfe318e2e418e5e419e7e419eae51aece51befe51cf1e51df4e61ef6e620f8e621fbe723"
    "fde725"
)
_MAGMA = (
    "00000401000501010601010802010902020b02020d03030f03031204041405041606051806051a07061c08071e0907200a0822"
    "0b09240c09260d0a290e0b2b100b2d110c2f120d31130d34140e36150e38160f3b180f3d19103f1a10421c10441d11471e1149"
    "20114b21114e22115024125325125527125829115a2a115c2c115f2d11612f116331116533106734106936106b38106c390f6e"
    "3b0f703d0f713f0f72400f74420f75440f764510774710784910784a10794c117a4e117b4f127b51127c52137c54137d56147d"
    "57157e59157e5a167e5c167f5d177f5f187f601880621980641a80651a80671b80681c816a1c816b1d816d1d816e1e81701f81"
    "721f817320817521817621817822817922827b23827c23827e24828025828125818326818426818627818827818928818b2981"
    "8c29818e2a81902a81912b81932b80942c80962c80982d80992d809b2e7f9c2e7f9e2f7fa02f7fa1307ea3307ea5317ea6317d"
    "a8327daa337dab337cad347cae347bb0357bb2357bb3367ab5367ab73779b83779ba3878bc3978bd3977bf3a77c03a76c23b75"
    "c43c75c53c74c73d73c83e73ca3e72cc3f71cd4071cf4070d0416fd2426fd3436ed5446dd6456cd8456cd9466bdb476adc4869"
    "de4968df4a68e04c67e24d66e34e65e44f64e55064e75263e85362e95462ea5661eb5760ec5860ed5a5fee5b5eef5d5ef05f5e"
    "f1605df2625df2645cf3655cf4675cf4695cf56b5cf66c5cf66e5cf7705cf7725cf8745cf8765cf9785df9795df97b5dfa7d5e"
    "fa7f5efa815ffb835ffb8560fb8761fc8961fc8a62fc8c63fc8e64fc9065fd9266fd9467fd9668fd9869fd9a6afd9b6bfe9d6c"
    "fe9f6dfea16efea36ffea571fea772fea973feaa74feac76feae77feb078feb27afeb47bfeb67cfeb77efeb97ffebb81febd82"
    "febf84fec185fec287fec488fec68afec88cfeca8dfecc8ffecd90fecf92fed194fed395fed597fed799fed89afdda9cfddc9e"
    "fddea0fde0a1fde2a3fde3a5fde5a7fde7a9fde9aafdebacfcecaefceeb0fcf0b2fcf2b4fcf4b6fcf6b8fcf7b9fcf9bbfcfbbd"
    "fcfdbf"
)

Colours = Literal["viridis", "magma"]
_TABLES = {"viridis": _VIRIDIS, "magma": _MAGMA}
_STEPS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


@dataclass(frozen=True)
class HeatKind:
    """A heat map.

    Attributes
    ----------
    name : str
        On the wire and in file names.
    label : str
        As a person reads it; also the render pass's name in Blender.
    about : str
        One line on what a pixel's number says.
    unit : str
    colours : {'viridis', 'magma'}
        Magma for errors, which should be dark.
    top : float or None
        The value of the last colour; None: chosen by what is there.
    """

    name: str
    label: str
    about: str
    unit: str
    colours: Colours
    top: float | None = None


HEAT_MAPS = (
    HeatKind("sample_count", "Sample Count", "Full evaluations of the field a ray", "evaluations a ray", "viridis"),
    HeatKind(
        "captured_weight", "Captured Weight", "Share of the weight within half a voxel of a sample", "", "viridis", 1.0
    ),
    HeatKind("depth_error", "Depth Error", "How far the depth is from the reference's", "world units", "magma"),
    HeatKind(
        "colour_error", "Colour Error", "How far the colour is from the reference's, mean of R, G and B", "", "magma"
    ),
)
VOXELS = 128
"""Voxels along the longest side of a run's box, for the captured weight."""
HEAT_NAMES = tuple(kind.name for kind in HEAT_MAPS)
ERRORS = ("depth_error", "colour_error")
"""Those that need a reference."""


def heat_kind(name: str) -> HeatKind:
    """The heat map of that name."""
    return next(kind for kind in HEAT_MAPS if kind.name == name)


@lru_cache
def colour_table(colours: Colours) -> np.ndarray:
    """(256, 3) uint8, sRGB-encoded, from the lowest value's colour to the highest's."""
    table = np.frombuffer(bytes.fromhex("".join(_TABLES[colours])), np.uint8).reshape(256, 3)
    table.flags.writeable = False
    return table


def colour_steps(values: np.ndarray, top: float, low: float = 0.0) -> np.ndarray:
    """(...) uint8: which entry of a colour table shows values between `low` and `top`, clipped to these."""
    part = (np.asarray(values, np.float64) - low) / max(top - low, 1e-30)
    # As matplotlib does it: 256 equal steps, the last one closed.
    return np.clip(np.nan_to_num(part, nan=0.0) * 256.0, 0.0, 255.0).astype(np.uint8)


def coloured(values: np.ndarray, top: float, colours: Colours) -> np.ndarray:
    """(..., 3) uint8, sRGB-encoded: the colours of values between 0 and `top`, clipped to these."""
    return colour_table(colours)[colour_steps(values, top)]


def top_value(values: np.ndarray, kind: HeatKind) -> float:
    """The value to give the last colour: a round number that 99.5 % of what is above 0 do not exceed.

    A few outliers at an outline must not leave all else dark.
    """
    if kind.top is not None:
        return kind.top
    some = values[np.isfinite(values) & (values > 0)]
    if not some.size:
        return 1.0
    return round_up(float(np.quantile(some, 0.995)))


def round_up(value: float) -> float:
    """The next number of 1, 1.5, 2, 3, 4, 5, 6, 8 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(value))
    step = next(step for step in _STEPS if step >= value / power - 1e-6)
    return float(f"{step * power:.3g}")
