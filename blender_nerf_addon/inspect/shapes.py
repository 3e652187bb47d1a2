"""What the overlay draws of traces, as arrays of vertices: bands, lines, discs and labels. No bpy.

A vertex is a place in the world, the direction of its ray there, and an offset in pixels of the screen: along the ray
as it is seen, and across it. So bands keep their width, and lie beside the ray from wherever it is looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..vendor.nerf_core.contract.traces import END_REASONS, RAY_INDEX_ARRAYS, SAMPLE_ARRAYS
from . import colors
from .state import Slot, State

# Pixels across the ray, from its middle. The second sampler's ray stands LANE beside the first one.
LANE = 84.0
BINS = (15.0, 19.0, 42.0)  # where the histogram begins, its lowest bar's end, its highest one's
TRANSMITTANCE = (-15.0, -22.0)
ACCUMULATED = (-23.5, -30.5)
REACH = (-34.0, 44.0)  # of marks across
LINE = 1.1  # half the width of the ray
DOT = (5.0, 20.0)  # diameter of a sample of no weight, and what a weight of 1 adds
OTHERS = 0.5  # size of the samples of rays that are not the chosen one
CROWD = 12  # so many of them are drawn in full strength
DASHES = 60  # from near to far

END_TEXTS = {"missed": "missed the box", "left": "left the box", "opaque": "opaque"}


@dataclass(frozen=True)
class Vertices:
    """(N, 3) places, (N, 3) ray directions, (N, 2) offsets along and across in pixels, (N, 4) colours; all float32."""

    position: np.ndarray
    direction: np.ndarray
    offset: np.ndarray
    color: np.ndarray

    @classmethod
    def joined(cls, parts: "Sequence[Vertices]") -> "Vertices":
        """All parts, one after another."""
        if not parts:
            return cls(*(np.zeros((0, width), dtype=np.float32) for width in (3, 3, 2, 4)))
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))

    def __len__(self) -> int:
        return len(self.position)


@dataclass(frozen=True)
class Discs:
    """Samples: their vertices, (N,) diameters in pixels, and (N,) whether each is filled or a mere ring."""

    vertices: Vertices
    size: np.ndarray
    filled: np.ndarray


@dataclass(frozen=True)
class Label:
    """A word at a place beside a ray."""

    position: np.ndarray
    direction: np.ndarray
    across: float
    text: str
    color: tuple[float, float, float]


@dataclass(frozen=True)
class Shapes:
    """Everything: bands as triangles (four vertices each, see `band_triangles`), lines as pairs, discs, labels."""

    bands: Vertices
    lines: Vertices
    discs: Discs
    labels: list[Label] = field(default_factory=list)


@dataclass(frozen=True)
class Shown:
    """Which parts are drawn; as `settings.NERF_PG_inspector` names them."""

    bins: bool = True
    samples: bool = True
    strip: bool = True
    skipped: bool = True
    depths: bool = True
    box: bool = True
    size: float = 1.0


def build(state: State, shown: Shown) -> Shapes:
    """The shapes of all that a state holds."""
    bands: list[Vertices] = []
    lines: list[Vertices] = []
    discs: list[Discs] = []
    labels: list[Label] = []
    if shown.box and state.bounds is not None and state.slots:
        lines.append(box_lines(state.bounds, state.matrix))
    for index, slot in enumerate(state.slots):
        rays = _Rays.of(slot, index)
        own, others = rays.chosen(state.chosen_ray), rays.without(state.chosen_ray)
        lines += _thin(others, shown)
        bands += _thick(own, shown)
        if shown.bins:
            bands.append(_bins(own))
            if others.count:
                lines.append(_bin_lines(others))
        if shown.strip:
            bands += _strip(own)
        if shown.samples:
            discs += [_discs(others, OTHERS * shown.size, faint=True), _discs(own, shown.size)]
        marks, words = _marks(own, shown, len(state.slots))
        bands += marks
        labels += words
    return Shapes(Vertices.joined(bands), Vertices.joined(lines), _joined(discs), labels)


def band_triangles(count: int) -> np.ndarray:
    """(2 N, 3) int32: the corners of the two triangles of each of N bands of four vertices."""
    corners = np.array([[0, 1, 2], [2, 1, 3]], dtype=np.int32)
    return (4 * np.arange(count, dtype=np.int32)[:, None, None] + corners).reshape(-1, 3)


def box_lines(bounds: np.ndarray, matrix: np.ndarray | None) -> Vertices:
    """The twelve edges of a box of the training world, where it stands."""
    corners = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), axis=-1).reshape(-1, 3)
    places = np.take_along_axis(np.asarray(bounds, dtype=np.float64), corners, axis=0)
    if matrix is not None:
        places = places @ matrix[:3, :3].T + matrix[:3, 3]
    pairs = [(a, b) for a in range(8) for b in range(a + 1, 8) if np.abs(corners[a] - corners[b]).sum() == 1]
    ends = places[np.array(pairs).ravel()].astype(np.float32)
    return _vertices(ends, np.tile(np.float32([0, 0, 1]), (len(ends), 1)), 0.0, 0.0, (*colors.BOX, 0.55))


@dataclass(frozen=True)
class _Rays:
    """A slot's rays, or some of them, with their samples, bins and skipped stretches."""

    slot: int
    arrays: dict[str, np.ndarray]
    rays: np.ndarray  # which of the slot's

    @classmethod
    def of(cls, slot: Slot, index: int) -> "_Rays":
        arrays = {name: np.asarray(values) for name, values in slot.arrays.items()}
        return cls(index, arrays, np.arange(slot.rays))

    @property
    def count(self) -> int:
        return len(self.rays)

    @property
    def lane(self) -> float:
        return LANE * self.slot

    @property
    def color(self) -> tuple[float, float, float]:
        return colors.SLOTS[self.slot]

    def chosen(self, ray: int) -> "_Rays":
        return self._only(self.rays == ray)

    def without(self, ray: int) -> "_Rays":
        return self._only(self.rays != ray)

    def _only(self, kept: np.ndarray) -> "_Rays":
        arrays = dict(self.arrays)
        for index in RAY_INDEX_ARRAYS:
            rows = kept[self.arrays[index]]
            if rows.all():
                continue
            size = len(rows)
            prefix = index[: -len("ray")]
            for name, values in self.arrays.items():
                mine = name.startswith(prefix) if prefix else name in SAMPLE_ARRAYS
                if mine and len(values) == size:
                    arrays[name] = values[rows]
        return _Rays(self.slot, arrays, np.flatnonzero(kept))

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def at(self, ray: np.ndarray, t: np.ndarray) -> np.ndarray:
        """(N, 3) world places at distances along rays."""
        return self["origin"][ray] + self["direction"][ray] * np.asarray(t)[:, None]

    def bands(self, ray: np.ndarray, t0: np.ndarray, t1: np.ndarray, low: object, high: object,
              begin: np.ndarray, end: np.ndarray) -> Vertices:  # fmt: skip
        """A band for each stretch of a ray, between two offsets across it; its colour runs from `begin` to `end`."""
        count = len(ray)
        position = np.repeat(np.stack([self.at(ray, t0), self.at(ray, t1)], axis=1), 2, axis=1)
        direction = np.repeat(self["direction"][ray], 4, axis=0)
        sides = np.stack([np.broadcast_to(side, count) for side in (low, high)], axis=-1) + self.lane
        across = np.tile(sides, 2).ravel()
        color = np.repeat(np.stack([np.broadcast_to(end_color, (count, 4)) for end_color in (begin, end)], 1), 2, 1)
        return _vertices(position.reshape(-1, 3), direction, 0.0, across, color.reshape(-1, 4))

    def lines(self, ray: np.ndarray, t0: np.ndarray, t1: np.ndarray, across: float, color: object) -> Vertices:
        """A line for each stretch of a ray."""
        position = np.stack([self.at(ray, t0), self.at(ray, t1)], axis=1).reshape(-1, 3)
        color = np.repeat(np.broadcast_to(color, (len(ray), 4)), 2, axis=0)
        return _vertices(position, np.repeat(self["direction"][ray], 2, axis=0), 0.0, across + self.lane, color)


def _vertices(position: np.ndarray, direction: np.ndarray, along: object, across: object, color: object) -> Vertices:
    count = len(position)
    offset = np.stack([np.broadcast_to(side, count) for side in (along, across)], axis=-1)
    return Vertices(
        *(
            np.ascontiguousarray(values, dtype=np.float32)
            for values in (position, direction, offset, np.broadcast_to(color, (count, 4)))
        )
    )


def _spans(rays: _Rays, shown: Shown) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Stretches (ray, from, to) that were looked at, that were skipped (in dashes), and outside."""
    ray = rays.rays
    near, end, far = (rays[name][ray] for name in ("near", "end", "far"))
    hit = far > near
    skip = (rays["skip_ray"], rays["skip_t0"], rays["skip_t1"])
    if shown.skipped and len(skip[0]):
        begins, begin_rays = np.concatenate([near, skip[2]]), np.concatenate([ray, skip[0]])
        ends, end_rays = np.concatenate([skip[1], end]), np.concatenate([skip[0], ray])
        first, last = np.lexsort((begins, begin_rays)), np.lexsort((ends, end_rays))
        looked = [begin_rays[first], begins[first], ends[last]]
    else:
        looked = [ray, near, end]
    looked = [values[looked[2] > looked[1]] for values in looked]
    skipped = _dashes(rays, *skip) if shown.skipped else [np.zeros(0, dtype=np.int32)] * 3
    reach = _reach(rays)
    before = [ray, np.zeros_like(near), np.where(hit, near, reach[ray])]
    after = [values[hit & (far > end)] for values in (ray, end, far)]
    return looked, skipped, [np.concatenate(both) for both in zip(before, after, strict=True)]


def _reach(rays: _Rays) -> np.ndarray:
    """How far a ray is drawn that misses the box: as far as the others' ends, or to where the box about is."""
    far = rays["far"]
    return np.full(len(far), far.max() if far.size and far.max() > 0 else 10.0, dtype=np.float32)


def _dashes(rays: _Rays, ray: np.ndarray, t0: np.ndarray, t1: np.ndarray) -> list[np.ndarray]:
    """Each stretch in dashes that are as long as the gaps between them."""
    step = np.maximum((rays["far"] - rays["near"])[ray] / DASHES, 1e-6)
    count = np.maximum(np.ceil((t1 - t0) / step), 1).astype(np.int64)
    count = np.minimum(count, 4 * DASHES)
    owner = np.repeat(np.arange(len(ray)), count)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    begin = t0[owner] + (number + 0.25) * step[owner]
    end = np.minimum(begin + 0.5 * step[owner], t1[owner])
    kept = end > begin
    return [ray[owner][kept], begin[kept], end[kept]]


def _thin(rays: _Rays, shown: Shown) -> list[Vertices]:
    if not rays.count:
        return []
    looked, skipped, outside = _spans(rays, shown)
    crowd = min(1.0, (CROWD / rays.count) ** 0.5)  # many lines together must not hide what they lead to
    found = [
        rays.lines(*outside, 0.0, (*rays.color, 0.2 * crowd)),
        rays.lines(*looked, 0.0, (*rays.color, 0.7 * crowd)),
    ]
    return [*found, rays.lines(*skipped, 0.0, (*rays.color, 0.5 * crowd))]


def _thick(rays: _Rays, shown: Shown) -> list[Vertices]:
    looked, skipped, outside = _spans(rays, shown)
    dark, bright, faint = (0.0, 0.0, 0.0, 0.55), (*rays.color, 1.0), (*rays.color, 0.4)
    width = LINE * max(shown.size, 0.5)
    parts = [(looked, dark, 2.0), (skipped, dark, 1.8), (outside, faint, 0.55), (looked, bright, 1.0)]
    parts.append((skipped, (*rays.color, 0.95), 0.8))
    return [rays.bands(*span, -width * factor, width * factor, color, color) for span, color, factor in parts]


def _bins(rays: _Rays) -> Vertices:
    """The PDF as a histogram beside the ray: height and colour are each bin's weight, relative to the largest."""
    weight = rays["bin_weight"]
    part = weight / max(float(weight.max()) if weight.size else 0.0, 1e-12)
    color = np.concatenate([colors.scale(part), np.ones((len(part), 1), dtype=np.float32)], axis=-1)
    high = BINS[1] + (BINS[2] - BINS[1]) * part
    return rays.bands(rays["bin_ray"], rays["bin_t0"], rays["bin_t1"], BINS[0], high, color, color)


def _bin_lines(rays: _Rays) -> Vertices:
    weight = rays["bin_weight"]
    most = np.zeros(len(rays["rgba"]), dtype=np.float32)
    np.maximum.at(most, rays["bin_ray"], weight)
    part = weight / np.maximum(most[rays["bin_ray"]], 1e-12)
    crowd = min(1.0, (CROWD / rays.count) ** 0.5)
    color = np.concatenate([colors.scale(part), crowd * (0.15 + 0.7 * part[:, None])], axis=-1)
    return rays.lines(rays["bin_ray"], rays["bin_t0"], rays["bin_t1"], 4.0, color)


def running_values(one: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Along one ray: (N,) edges from and to, (N, 2) transmittance at both, (N, 2, 3) accumulated colour at both.

    Only samples whose colour counts; a premultiplied colour, over black.

    Parameters
    ----------
    one : dict
        One ray's rows, of `state.one_ray` or otherwise.
    """
    counts = one["selected"].astype(bool)
    t0, t1, before, weight = (one[name][counts] for name in ("t0", "t1", "transmittance", "weight"))
    order = np.argsort(t0, kind="stable")
    t0, t1, before, weight, color = t0[order], t1[order], before[order], weight[order], one["color"][counts][order]
    gained = weight[:, None] * color
    total = np.cumsum(gained, axis=0)
    return t0, t1, np.stack([before, before - weight], axis=-1), np.stack([total - gained, total], axis=1)


def _strip(rays: _Rays) -> list[Vertices]:
    """Transmittance from white to black, and beside it the colour so far."""
    if not rays.count:
        return []
    ray = int(rays.rays[0])
    near, end = float(rays["near"][ray]), float(rays["end"][ray])
    t0, t1, passed, color = running_values(rays.arrays)
    if end <= near:
        return []
    # Between samples nothing changes: knots at both ends of each, and at the ray's own ends.
    t = np.clip(np.concatenate([[near], np.stack([t0, t1], -1).ravel(), [end]]), near, end)
    t = np.maximum.accumulate(t)
    grey = np.concatenate([[1.0], passed.ravel(), [passed[-1, 1] if len(passed) else 1.0]])
    last = color[-1:, 1] if len(color) else np.zeros((1, 3))
    gained = np.concatenate([np.zeros((1, 3)), color.reshape(-1, 3), last])
    owner = np.full(len(t) - 1, ray)
    found = [rays.bands(owner[:1], np.array([near]), np.array([end]), TRANSMITTANCE[0] + 1.2, ACCUMULATED[1] - 1.2,
                        np.float32([0.0, 0.0, 0.0, 0.6]), np.float32([0.0, 0.0, 0.0, 0.6]))]  # fmt: skip
    for (low, high), values in ((TRANSMITTANCE, np.repeat(grey[:, None], 3, axis=1)), (ACCUMULATED, gained)):
        opaque = np.concatenate([np.clip(values, 0.0, 1.0), np.ones((len(values), 1))], axis=-1)
        found.append(rays.bands(owner, t[:-1], t[1:], low, high, opaque[:-1], opaque[1:]))
    return found


def _discs(rays: _Rays, size: float, faint: bool = False) -> Discs:
    """Lightest first, so that what counts lies on top; with `faint` those of little weight are also transparent."""
    order = np.argsort(rays["weight"], kind="stable")
    weight = np.clip(rays["weight"][order], 0.0, 1.0)
    opacity = np.clip(0.12 + 1.5 * np.sqrt(weight), 0.0, 1.0) if faint else np.ones(len(order))
    color = np.concatenate([np.clip(rays["color"][order], 0.0, 1.0), opacity[:, None]], axis=-1)
    direction = rays["direction"][rays["ray"][order]]
    vertices = _vertices(rays["position"][order], direction, 0.0, rays.lane, color)
    diameter = (DOT[0] + DOT[1] * np.sqrt(weight)) * size
    filled = rays["selected"][order].astype(bool)
    return Discs(vertices, np.where(filled, diameter, 0.8 * DOT[0] * size).astype(np.float32), filled)


def _joined(discs: list[Discs]) -> Discs:
    size = [each.size for each in discs] or [np.zeros(0, dtype=np.float32)]
    filled = [each.filled for each in discs] or [np.zeros(0, dtype=bool)]
    return Discs(Vertices.joined([each.vertices for each in discs]), np.concatenate(size), np.concatenate(filled))


def _marks(rays: _Rays, shown: Shown, slots: int) -> tuple[list[Vertices], list[Label]]:
    """Marks across the chosen ray, and their words: to the left of the first of two, to the right of the second."""
    if not rays.count:
        return [], []
    ray = int(rays.rays[0])
    near, far, end = (float(rays[name][ray]) for name in ("near", "far", "end"))
    found: list[tuple[float, str, tuple[float, float, float], float]] = []
    right = slots == 2 and rays.slot == 1
    if far > near and shown.box and not right:
        found += [(near, f"near {near:.3g}", colors.BOX, 0.5), (far, f"far {far:.3g}", colors.BOX, 0.5)]
    if far > near:
        found.append((end, f"{END_TEXTS[END_REASONS[int(rays['end_reason'][ray])]]}, {end:.4g}", colors.END, 0.7))
    if shown.depths:
        depths = (("expected_depth", "expected", colors.EXPECTED), ("median_depth", "median", colors.MEDIAN))
        for name, word, color in (*depths, ("true_depth", "true", colors.TRUE)):
            depth = float(rays[name][ray]) if name in rays.arrays else 0.0
            if depth > 0.0:
                found.append((depth, f"{word} {depth:.4g}", color, 1.0))
    marks, labels = [], []
    direction = rays["direction"][ray]
    for t, text, color, part in found:
        place = rays.at(np.array([ray]), np.array([t]))
        across = np.array([REACH[0], REACH[1], REACH[0], REACH[1]]) * part + rays.lane
        along = np.array([-0.9, -0.9, 0.9, 0.9])
        four = np.repeat(place, 4, axis=0)
        marks.append(_vertices(four, np.tile(direction, (4, 1)), along, across, (*color, 0.95)))
        side = (REACH[1] if right else REACH[0]) + rays.lane  # clear of strip and bins
        labels.append(Label(place[0], direction, side, text, color))
    return marks, labels
