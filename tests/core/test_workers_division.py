"""How a training step's work divides among 1, 2, 8 and 16 threads: nearly evenly, and nothing is done twice.

No clock is looked at. Each pass of a step is a compiled function that takes numbered tasks off a counter; started at
number k on a copy of its arguments, it does the tasks from k on. What the run from k changed and the run from k + 1
did not is what task k does; its work is counted in samples or rows. Threads are then dealt the tasks as a counter
does it: whoever is done takes the next. So a machine with two cores can tell how sixteen would be kept busy.
"""

import heapq
from dataclasses import replace

import numpy as np
import pytest
import torch

from nerf_core.fields.hash_grid import FastSettings
from nerf_core.kernels.backend import OccupancyUpdate
from nerf_core.kernels.cpu.backend import CpuBackend
from nerf_core.kernels.cpu.workers import Workers
from nerf_core.kernels.reference import field
from nerf_core.kernels.views import view_arrays

from .fast_field import NORMALISATION, ball_views, random_rays

SETTINGS = FastSettings(
    scene="bounded",
    base_resolution=16,
    max_resolution=1024,
    log2_table_size=14,
    occupancy_resolution=32,
    ray_steps=128,
    weight_threshold=0.0,
)
"""The default eight levels over a small table: one dense, seven hashed."""
RAYS = 1024
THREADS = (1, 2, 8, 16)


class Recorder(Workers):
    """Remembers what it is asked to run, as it was before it ran."""

    def __init__(self, threads: int) -> None:
        super().__init__(1)
        self.threads = threads  # which the callers divide by; a single thread does it all here
        self.asked: list[Pass] = []

    def run(self, function, each, *arguments, place=0) -> None:
        self.asked.append(Pass(function, each[0] if each is not None else None, arguments, place))
        self.threads, threads = 1, self.threads
        try:
            super().run(function, each, *arguments, place=place)
        finally:
            self.threads = threads


def arrays_of(value, path=()) -> dict[tuple, np.ndarray]:
    """Every array inside arguments, by where it stands."""
    if isinstance(value, np.ndarray):
        return {path: value}
    if isinstance(value, tuple):
        parts = value._asdict().items() if hasattr(value, "_asdict") else enumerate(value)
        return {key: array for name, part in parts for key, array in arrays_of(part, (*path, name)).items()}
    return {}


def copied(value, made):
    """Arguments whose arrays are copies; an array that stands in two places still does."""
    if isinstance(value, np.ndarray):
        base = value if value.base is None or not isinstance(value.base, np.ndarray) else value.base
        if id(base) not in made:
            made[id(base)] = base.copy()
        if value is base:
            return made[id(base)]
        offset = value.__array_interface__["data"][0] - base.__array_interface__["data"][0]
        return np.ndarray(value.shape, value.dtype, made[id(base)].data, offset, value.strides)
    if isinstance(value, tuple):
        parts = [copied(part, made) for part in value]
        return type(value)(*parts) if hasattr(value, "_asdict") else tuple(parts)
    return value


class Pass:
    """One compiled function with its arguments, which can be asked what its tasks do."""

    def __init__(self, function, scratch, arguments, place) -> None:
        self.function, self.scratch, self.place = function, scratch, place
        self.arguments = copied(tuple(arguments), {})

    def since(self, first: int):
        """The arguments' arrays after the tasks from `first` on, and how many tasks there are."""
        arguments = list(copied(self.arguments, {}))
        result = arrays_of(tuple(arguments))
        if self.scratch is not None:
            arguments.insert(self.place, self.scratch)
        counter = np.array([first], np.int64)
        self.function(counter, *arguments)
        return result, int(counter[0]) - 1

    def tasks(self) -> list[dict[tuple, np.ndarray]]:
        """For each task, where it changes each array (flat indices); asserts that no two change the same place."""
        before = arrays_of(self.arguments)
        after, count = self.since(0)
        found = []
        for first in range(count):
            later, _ = self.since(first + 1)
            changes = {}
            for key, array in after.items():
                if array.size == 1:
                    continue  # a shared count, which is added to atomically
                mine = np.flatnonzero((array != later[key]).reshape(-1))
                # Whatever this task changes, those after it leave as it was.
                untouched = later[key].reshape(-1)[mine] == before[key].reshape(-1)[mine]
                assert untouched.all(), (first, key)
                changes[key] = mine
            found.append(changes)
            after = later
        assert all((after[key] == array).all() for key, array in before.items())
        return found


def largest_share(work: list[float], threads: int) -> float:
    """Of all work, what the busiest of so many threads does when each takes the next task once it is done."""
    loads = [0.0] * threads
    for cost in work:
        heapq.heapreplace(loads, loads[0] + cost)
    return max(loads) / sum(work)


def prepared(threads: int, occupancy_resolution: int = 32) -> CpuBackend:
    """A backend in the middle of training whose next step feeds the occupancy grid, too."""
    settings = replace(SETTINGS, occupancy_resolution=occupancy_resolution)
    backend = CpuBackend(settings, NORMALISATION.unit_bounds, 3, threads=2)
    backend.load_views(view_arrays(ball_views(4, 16), NORMALISATION), True)
    backend.step, backend.rays = 1000, RAYS
    backend.workers = Recorder(threads)
    return backend


@pytest.fixture(scope="module", params=THREADS, ids=lambda threads: f"{threads} threads")
def step(request):
    """The passes of one training step as it is divided for so many threads, and the backend after it."""
    backend = prepared(request.param)
    stats = backend.train_step(0.5)
    assert stats.rays == RAYS and stats.overflow == 0
    forward, update = backend.workers.asked
    return request.param, backend, stats, forward, update


def test_rays_divide_evenly(step):
    """March, networks, compositing and their gradients: chunks of rays, measured in samples."""
    threads, backend, stats, forward, _ = step
    tasks = forward.tasks()
    assert len(tasks) >= threads
    written = backend._batch.stats  # a row a chunk; column 2 counts rays, 3 samples
    assert written[:, 2].sum() == RAYS and (written[:, 2] > 0).all()
    assert written[:, 3].sum() == stats.samples and len(written) == len(tasks)
    share = largest_share(written[:, 3].tolist(), threads)
    print(f"{threads} threads, {len(tasks)} chunks of rays: the largest share is {share:.4f}")
    assert 1 / threads - 1e-9 <= share < 1.3 / threads


def test_the_update_divides_evenly_and_is_not_capped_by_the_levels(step):
    """Scatter and Adam: parts of levels, measured in gradients added to rows (a sample has eight in every level)."""
    threads, backend, stats, forward, update = step
    tasks = update.tasks()
    (key,) = [key for key, array in arrays_of(update.arguments).items() if array.shape == backend._table.shape]
    touched = pairs(backend)
    work, owner = [], np.full(len(backend._table), -1)
    for number, changes in enumerate(tasks):
        rows = np.unique(changes[key] // backend._table.shape[1])
        assert (owner[rows] == -1).all()
        owner[rows] = number
        work.append(int(touched[rows].sum()))
    # Every row that a sample touched is some task's, and each gradient is added by one task.
    assert (owner[touched > 0] >= 0).all()
    assert sum(work) == touched.sum() > 0.98 * 8 * backend.layout.levels * stats.trained
    with_rows = [cost for cost in work if cost]
    assert len(with_rows) >= threads
    share = largest_share(with_rows, threads)
    print(f"{threads} threads, {len(with_rows)} parts of {backend.layout.levels} levels: largest share {share:.4f}")
    assert 1 / threads - 1e-9 <= share < 1.35 / threads


def pairs(backend) -> np.ndarray:
    """How many (sample, corner) pairs each row of the table gets a gradient from, by the reference's row numbers.

    A corner counts unless its weight is 0, as where a sample lies on its cell's wall.
    """
    batch = backend._batch
    positions = np.concatenate([batch.position[chunk, :count] for chunk, count in enumerate(batch.trained)])
    counted = np.zeros(len(backend._table), np.int64)
    for level, cells in enumerate(backend.layout.resolutions):
        scaled = positions * np.float32(cells)
        lowest = np.clip(scaled.astype(np.int64), 0, int(cells) - 1)
        inside = scaled - lowest.astype(np.float32)
        for corner in range(8):
            step = np.array([corner & 1, corner >> 1 & 1, corner >> 2])
            weighs = np.where(step, inside, 1 - inside).all(axis=1)
            rows = field.corner_rows(backend.layout, level, torch.from_numpy(lowest[weighs] + step))
            counted += np.bincount(rows.numpy(), minlength=len(counted))
    return counted


@pytest.mark.parametrize("threads", THREADS)
def test_the_occupancy_update_divides_evenly(threads):
    backend = prepared(threads, occupancy_resolution=64)
    before = backend.arrays()["occupancy/values"]
    backend.update_occupancy(OccupancyUpdate(1, 0, 0.5))
    (refresh,) = backend.workers.asked
    tasks = refresh.tasks()
    (key,) = [key for key, array in arrays_of(refresh.arguments).items() if array.shape == before.shape]
    cells = np.concatenate([changes[key] for changes in tasks])
    inside = np.flatnonzero(before.reshape(-1) >= 0)
    assert np.array_equal(np.sort(cells), inside)
    share = largest_share([len(changes[key]) for changes in tasks if len(changes[key])], threads)
    print(f"{threads} threads, {len(tasks)} parts of the occupancy grid: the largest share is {share:.4f}")
    assert share < 1.3 / threads


def test_every_pixel_of_a_picture_is_rendered_by_one_task():
    backend = prepared(8)
    origins, directions = random_rays(np.random.default_rng(5), 1500)
    rgba, _, _ = backend.render(origins, directions)
    (render,) = backend.workers.asked
    tasks = render.tasks()
    (key,) = [key for key, array in arrays_of(render.arguments).items() if array.shape == rgba.shape]
    written = np.concatenate([changes[key] for changes in tasks])
    assert len(tasks) >= 8 and len(np.unique(written)) == len(written) == np.count_nonzero(rgba)


def test_the_tasks_do_not_fit_the_number_of_threads_by_chance():
    """What the division promises for threads that are no divisor of anything."""
    for threads in (3, 5, 11, 13):
        backend = prepared(threads)
        backend.train_step(0.5)
        work = backend._batch.stats[:, 3].tolist()
        assert largest_share(work, threads) < 1.5 / threads
