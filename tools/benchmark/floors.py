"""The least time that each CUDA kernel can take: a model of two numbers, bytes moved and operations made.

A kernel cannot be faster than its bytes at the speed of the memory that they come from, nor than its operations at the
speed of the unit that makes them; its floor is the larger one. Bytes are of two kinds: streams, read and written once
from memory (or from the L2 cache, where they fit beside the table), and gathers of table rows, a sector of 32 bytes at
a time, from the L2 cache. Operations are multiplications and additions on tensor cores, or atomic additions.

The model is kind to the kernels: no index arithmetic, no latency, no launch, every unit at its best. Neighbours along x
share a sector, which holds for dense levels and for half of the hashed ones' corners; coarse levels that stay in L1
may beat it.
"""

import math
from dataclasses import dataclass

from nerf_core.fields.hash_grid import GEO_FEATURES, SH_FEATURES, FastLayout, FastSettings

SECTOR = 32
OUT = 16
"""Columns of the colour network's last matrix, padded to what tensor cores take."""
OCCUPANCY_EVERY, OCCUPANCY_SHARE = 16, 8
"""Steps between two refreshes of the occupancy grid, and which part of its cells one asks (from step 256 on)."""
ADAM_LINE = 16
"""Numbers that Adam updates or leaves alone together."""


@dataclass(frozen=True)
class Device:
    """What a GPU can do at best, a second.

    Attributes
    ----------
    memory : float
        Bytes from its memory; the maker's number.
    cache : float
        Bytes from its L2 cache; an assumption from published measurements, since makers do not tell.
    cache_bytes : float
        Size of the L2 cache.
    tensor : float
        fp16 operations with fp32 sums, without sparsity; the maker's number.
    atomics : float
        Atomic additions of 32 bits to addresses in the L2 cache; an assumption like `cache`.
    """

    memory: float
    cache: float
    cache_bytes: float
    tensor: float
    atomics: float


DEVICES = {
    "H200": Device(4.8e12, 5.5e12, 50e6, 989e12, 166e9),
    "RTX 4090": Device(1.008e12, 4.9e12, 72e6, 165e12, 141e9),
}


def device_named(name: str) -> Device | None:
    """The numbers of a GPU by the name that its driver gives ("NVIDIA H200"), or None where they are not known."""
    return next((device for part, device in DEVICES.items() if part in name and "Laptop" not in name), None)


@dataclass(frozen=True)
class Sizes:
    """How much a training step has to do.

    Attributes
    ----------
    rays, samples : int
        Rays, and packed samples along them.
    trained : int
        Samples that get a gradient.
    """

    rays: int
    samples: int
    trained: int


@dataclass(frozen=True)
class Cost:
    """What a kernel moves and computes."""

    streams: float = 0.0
    gathers: float = 0.0
    tensor: float = 0.0
    atomics: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(a + b for a, b in zip(self.numbers, other.numbers, strict=True)))

    def __mul__(self, factor: float) -> "Cost":
        return Cost(*(factor * number for number in self.numbers))

    @property
    def numbers(self) -> tuple[float, float, float, float]:
        """All four."""
        return self.streams, self.gathers, self.tensor, self.atomics

    @property
    def bytes(self) -> float:
        """Streams and gathers."""
        return self.streams + self.gathers

    @property
    def operations(self) -> float:
        """Of tensor cores, and atomic ones."""
        return self.tensor + self.atomics

    def floor(self, device: Device, table_bytes: float = 0.0) -> tuple[float, str]:
        """Seconds, and what they are spent on: 'memory', 'cache', 'tensor' or 'atomics'."""
        fits = self.streams + table_bytes <= device.cache_bytes
        through_cache = self.gathers + (self.streams if fits else 0.0)
        times = {
            "memory": 0.0 if fits else self.streams / device.memory,
            "cache": through_cache / device.cache,
            "tensor": self.tensor / device.tensor,
            "atomics": self.atomics / device.atomics,
        }
        slowest = max(times, key=times.__getitem__)
        return times[slowest], slowest


class Model:
    """The costs of the kernels for some settings.

    Parameters
    ----------
    settings : FastSettings
        With nothing left to be chosen.
    half : bool
        fp16 table copy, weights and activations.
    """

    def __init__(self, settings: FastSettings, half: bool = True) -> None:
        self.settings = settings
        self.layout = FastLayout.from_settings(settings)
        self.number = 2 if half else 4  # bytes of a table entry, an activation
        self.encoded = settings.levels * settings.features
        self.parameters = sum(math.prod(shape) for shape in self.layout.shapes.values())

    @property
    def table_bytes(self) -> float:
        """Of the copy of the table that samples are gathered from."""
        return math.prod(self.layout.shapes["table"]) * self.number

    # Pieces, a sample ------------------------------------------------------------------------------------------

    @property
    def _gather(self) -> float:
        """Bytes of eight corners a level, two of them in a sector."""
        return self.settings.levels * 4 * max(SECTOR, 2 * self.settings.features * self.number)

    @property
    def _density_operations(self) -> float:
        return 2.0 * self.settings.density_width * (self.encoded + GEO_FEATURES)

    @property
    def _color_operations(self) -> float:
        return 2.0 * self.settings.color_width * (GEO_FEATURES + SH_FEATURES + OUT)

    # Kernels ---------------------------------------------------------------------------------------------------

    def training(self, sizes: Sizes) -> dict[str, Cost]:
        """The kernels of one training step, K9 by the share that falls on a step."""
        rays, samples, trained = sizes.rays, sizes.samples, sizes.trained
        encoded, geo = self.encoded * self.number, GEO_FEATURES * self.number
        hidden = 2.0 * self.settings.density_width * self.encoded
        color_hidden = 2.0 * self.settings.color_width * (GEO_FEATURES + SH_FEATURES)
        # Backward: the hidden layer once more, then as much as forward for the inputs and for the weights; nothing asks
        # for the gradient of the spherical harmonics.
        to_harmonics = 2.0 * self.settings.color_width * SH_FEATURES
        return {
            # A pixel lies in a sector of its own; 13 numbers a ray are written.
            "K0": Cost(streams=rays * (SECTOR + 52)),
            # A ray's numbers are read and its start and count written; index, distance and spacing of each sample.
            "K1": Cost(streams=rays * (28 + 8) + samples * 12),
            "K2": Cost(streams=rays * 24 + samples * (8 + encoded), gathers=samples * self._gather),
            "K3": Cost(
                streams=rays * 12 + samples * (encoded + 4 + 4 + 12 + geo),
                tensor=samples * (self._density_operations + self._color_operations),
            ),
            "K4": Cost(streams=rays * 32 + samples * (8 + 16) + samples * 16),
            "K5": Cost(
                streams=rays * 12 + trained * (geo + 4 + 12 + geo),
                tensor=trained * (color_hidden + 2.0 * self._color_operations - to_harmonics),
            ),
            "K6": Cost(
                streams=trained * (encoded + geo + 4 + encoded),
                tensor=trained * (hidden + 2.0 * self._density_operations),
            ),
            "K7": Cost(
                streams=rays * 24 + trained * (8 + encoded),
                atomics=trained * self.settings.levels * 8 * self.settings.features,
            ),
            "K8": Cost(streams=self._adam(trained)),
            "K9": self.refresh() * (1.0 / OCCUPANCY_EVERY),
        }

    def _adam(self, trained: int) -> float:
        """Bytes of K8: every gradient is read; lines that have one are updated, and their gradient zeroed.

        A trained sample touches eight rows a level, as if thrown at random: the lines that none hits are left alone.
        """
        touched = 0.0
        for start, end in zip(self.layout.offsets[:-1], self.layout.offsets[1:], strict=True):
            numbers = float(end - start) * self.settings.features
            touched += numbers * -math.expm1(-8.0 * trained * ADAM_LINE / numbers)
        touched += self.parameters - math.prod(self.layout.shapes["table"])
        # Value and two moments of 4 bytes read and written, the copy and the zeroed gradient written.
        return 4.0 * self.parameters + touched * (24 + self.number + 4)

    def refresh(self) -> Cost:
        """K9, one refresh: the field's density in part of the cells; all cells are compared with the threshold."""
        side = self.settings.occupancy_resolution
        cells = side**3 / OCCUPANCY_SHARE
        encoded = self.encoded * self.number
        return Cost(
            streams=cells * (2 * 12 + 2 * encoded + 2 * 4 + 8) + side**3 * (2 * 4 + 1 / 8),
            gathers=cells * self._gather,
            tensor=cells * self._density_operations,
        )

    def frame(self, pixels: int, samples: float) -> Cost:
        """K10: a picture of so many pixels and field evaluations; only rays and the result pass through memory."""
        return Cost(
            streams=pixels * (24 + 20),
            gathers=samples * self._gather,
            tensor=samples * (self._density_operations + self._color_operations),
        )


def step_floor(costs: dict[str, Cost], device: Device, table_bytes: float) -> float:
    """Seconds of a whole step: its kernels run one after the other."""
    return sum(cost.floor(device, table_bytes)[0] for cost in costs.values())
