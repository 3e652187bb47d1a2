"""The plots of a ray: ticks, axes, where curves lie in pixels, what a place reads, and what is saved."""

from pathlib import Path
from xml.etree import ElementTree

import bpy
import numpy as np
import pytest

from ..seeds import fresh_seed
from ..trace_arrays import DENSITY, trace_arrays
from .small_run import core_python, look_from, needs_core, trained_run


@pytest.fixture
def state(addon_module):
    module = addon_module("inspect.state")
    module.current().clear()
    yield module
    module.current().clear()


@pytest.fixture
def axes(addon_module):
    return addon_module("vendor.nerf_core.contract.ray_axes")


@pytest.fixture
def data(addon_module):
    return addon_module("inspect.plot_data")


def slots(state, rays=4, names=("hierarchical",)):
    arrays = trace_arrays(rays)
    return [state.Slot({"name": name}, arrays, {"rays": rays, "seconds": 0.25}) for name in names]


def show(state, rays=4, names=("hierarchical",)):
    pixels = np.stack([np.arange(rays) + 0.5, np.full(rays, 7.5)], axis=-1)
    state.current().show(slots(state, rays, names), pixels=pixels, chosen_ray=0, view="the camera")


def test_ticks_are_round(axes):
    assert axes.linear_ticks(2.13, 6.4, 5) == [(3.0, "3"), (4.0, "4"), (5.0, "5"), (6.0, "6")]
    assert [text for _, text in axes.linear_ticks(0.0, 0.27, 6)] == ["0.00", "0.05", "0.10", "0.15", "0.20", "0.25"]
    assert [text for _, text in axes.log_ticks(0.01, 100.0, 5)] == ["0.01", "0.1", "1", "10", "100"]
    assert [text for _, text in axes.log_ticks(1e-5, 1e6, 4)] == ["10⁻⁵", "0.01", "10", "10⁴"]
    assert [axes.number(value) for value in (None, 0, 3.14159, 0.004567, 12345, 2e-5, 98.7)] == [
        "-", "0", "3.14", "0.00457", "12345", "2e-05", "98.7",
    ]  # fmt: skip
    generator = np.random.default_rng(fresh_seed())
    for _ in range(200):
        low = float(generator.uniform(-50, 50))
        high = low + 10.0 ** float(generator.uniform(-4, 4))
        most = int(generator.integers(2, 12))
        values = [value for value, _ in axes.linear_ticks(low, high, most)]
        assert 1 <= len(values) <= most and low - 1e-6 <= values[0] and values[-1] <= high + 1e-6 * abs(high) + 1e-9
        labels = [text for _, text in axes.linear_ticks(low, high, most)]
        assert len(set(labels)) == len(labels)


def test_axes_are_shared_and_readings_exact(state, data):
    plot = data.build(slots(state, names=("hierarchical", "uniform")), 0)
    assert (plot.t.low, plot.t.high) == (2.0, 4.0)
    assert plot.density.log and plot.density.high >= DENSITY and plot.density.low <= DENSITY
    assert [part.title for part in plot.parts] == ["Hierarchical", "Uniform"]
    assert plot.parts[0].cost == "16 full  ·  16 density-only  ·  250 ms for 4 rays"
    reading = data.read(plot.parts[0].curves, 2.75)
    assert reading.density == pytest.approx(DENSITY, rel=1e-5)
    assert reading.transmittance == pytest.approx(np.exp(-DENSITY * 0.25), abs=2e-3)
    assert reading.color == pytest.approx([0.8, 0.4, 0.2])
    before = data.read(plot.parts[0].curves, 2.1)
    assert before.sample is None and before.weight is None and before.transmittance == 1.0 and before.cdf == 0.0
    assert before.pdf == 0.0 and data.read(plot.parts[0].curves, 3.9).cdf == pytest.approx(1.0)
    focused = data.build(slots(state), 0, focus=True)
    # 99 % of the weight lie within the ball's first half.
    assert 2.2 < focused.t.low < 2.5 < focused.t.high < 3.3
    assert data.build([], 0) is None


def test_curves_lie_where_their_values_are(state, data, addon_module):
    layout, shapes = addon_module("inspect.plot_layout"), addon_module("inspect.plot_shapes")
    colors = addon_module("inspect.plot_colors")
    plot = data.build(slots(state), 0, log_density=False)
    made = layout.compose(plot, shapes.Rect(40, 30, 900, 600))
    frames = {frame.kind: frame.rect for frame in made.frames}
    assert set(frames) == {"strip", "density", "weight", "sampling"}
    rect = frames["density"]
    left, right = (rect.left + rect.width * (t - 2.0) / 2.0 for t in (2.5, 3.5))
    top = rect.low + rect.height * DENSITY / plot.density.high
    lines = drawn_lines(made.shapes, colors.DENSITY)
    tops = lines[(np.abs(lines[:, :, 1] - top) < 0.1).all(axis=-1)]
    assert tops[..., 0].min() == pytest.approx(left, abs=0.1) and tops[..., 0].max() == pytest.approx(right, abs=0.1)
    rect = frames["sampling"]
    cdf = drawn_lines(made.shapes, colors.CDF)
    cdf = cdf[(cdf[..., 0] >= rect.left - 0.1).all(-1) & (cdf[..., 1] <= rect.top + 0.1).all(-1)]
    assert cdf[..., 1].max() == pytest.approx(rect.top, abs=0.1)
    assert made.t_at(rect.left + 0.25 * rect.width, rect.low + 5) == pytest.approx(2.5)
    assert made.t_at(rect.left - 5, rect.low + 5) is None


def drawn_lines(shapes, color):
    """The ends of all lines of a colour: (N, 2, 2)."""
    found = [np.zeros((0, 2, 2))]
    for layer in shapes.layers.values():
        for width, ends in layer.ends.items():
            for places, colors in zip(ends, layer.end_colors[width], strict=True):
                same = np.abs(colors[::2] - np.asarray(color)).max(axis=-1) < 1e-6
                found.append(places.reshape(-1, 2, 2)[same])
    return np.concatenate(found)


@pytest.mark.parametrize(
    "size, scale", [((300, 200), 1.0), ((420, 300), 1.0), ((600, 400), 2.0), ((560, 900), 1.0), ((3840, 2160), 2.0)]
)
@pytest.mark.parametrize("names", [("hierarchical",), ("hierarchical", "surface")])
def test_nothing_leaves_the_plot(state, data, addon_module, size, scale, names):
    layout, shapes = addon_module("inspect.plot_layout"), addon_module("inspect.plot_shapes")
    rect = shapes.Rect(10, 20, *size)
    for ray in (0, 1, 2, 3, None):
        plot = data.build(slots(state, rays=8, names=names), ray, heading="Pixel (3, 4) of the camera")
        made = layout.compose(plot, rect, scale)
        assert {frame.part for frame in made.frames} == set(range(len(names)))
        for layer in made.shapes.layers.values():
            for places in (*layer.corners, *(each for ends in layer.ends.values() for each in ends)):
                assert np.isfinite(places).all()
                assert (places >= np.array([rect.left, rect.low]) - 0.1).all()
                assert (places <= np.array([rect.right, rect.top]) + 0.1).all()
        for text in made.shapes.texts:
            assert rect.low <= text.y and text.y + 0.8 * text.size <= rect.top + 1
            width = shapes.rough_measure(text.text, text.size)
            left = text.x - {"left": 0.0, "center": 0.5, "right": 1.0}[text.anchor] * width
            assert rect.left - 8 * scale <= left and left + width <= rect.right + 8 * scale, text
        frame = made.frames[1]
        x, y = frame.rect.left + 0.4 * frame.rect.width, frame.rect.low + 1
        over = addon_module("inspect.plot_readout").readout(made, made.t_at(x, y), (x, y))
        assert any(text.text == "transmittance" for text in over.texts)


def test_rays_are_chosen_and_switched(state):
    show(state, rays=6)
    assert bpy.ops.nerf.ray_plot_step(step=-1) == {"FINISHED"}
    assert state.current().chosen_ray == 5
    bpy.ops.nerf.ray_plot_step(step=1)
    assert state.current().chosen_ray == 0


def test_the_plot_follows_the_state(state, addon_module):
    view, scene = addon_module("inspect.plot_view"), bpy.context.scene
    assert view.ray_plot(scene) is None
    show(state, rays=6)
    plot = view.ray_plot(scene)
    assert plot.heading == "Pixel (0, 7) of the camera  ·  ray 1 of 6" and view.ray_plot(scene) is plot
    state.current().choose(1)
    assert view.ray_plot(scene).parts[0].curves.near == pytest.approx(2.0)
    assert view.ray_plot(scene).heading.endswith("ray 2 of 6")
    scene.nerf.ray_plot.mean = True
    assert view.ray_plot(scene).heading == "Mean of 6 rays"
    scene.nerf.ray_plot.focus = False
    view.zoom(2.5, 0.5, scene)
    assert (view.ray_plot(scene).t.low, view.ray_plot(scene).t.high) == (2.25, 3.25)
    view.zoom(None, 1.0, scene)
    assert (view.ray_plot(scene).t.low, view.ray_plot(scene).t.high) == (2.0, 4.0)


@pytest.fixture
def core(addon_module, monkeypatch):
    monkeypatch.setenv("NERF_CORE_PYTHON", core_python())
    yield addon_module("jobs.core")
    addon_module("jobs.core").leave(20)


@needs_core
def test_without_a_window_the_core_draws_what_the_inspector_shows(state, core, tmp_path):
    target = tmp_path / "plot é.svg"
    assert not bpy.ops.nerf.save_ray_plot.poll()
    scene = bpy.context.scene
    scene.nerf.run_folder = str(trained_run(tmp_path))
    look_from(scene)
    scene.nerf.inspector.sampler, scene.nerf.inspector.compare = "OCCUPANCY", True
    scene.nerf.inspector.sampler_b = "OCCUPANCY"
    assert bpy.ops.nerf.trace_pixels(pixels="20,15 19,15") == {"FINISHED"}
    state.current().choose(1)
    assert bpy.ops.nerf.save_ray_plot(filepath=str(target)) == {"FINISHED"}
    words = [each.text for each in ElementTree.parse(target).getroot().iter("{http://www.w3.org/2000/svg}text")]
    slot = state.current().slots[0]
    assert words.count("Occupancy") == 2 and any("Pixel (19, 15)" in word for word in words)
    assert any(word.startswith(f"{slot.arrays['full'][1]} full") for word in words)
    assert f"alpha {slot.arrays['rgba'][1, 3]:.2f}" in words
    assert bpy.ops.nerf.save_ray_plot(filepath=str(tmp_path / "mean")) == {"FINISHED"}
    assert tuple(bpy.data.images["NeRF Ray Plot"].size) > (900, 600)
    other = tmp_path / "mine.png"
    other.write_bytes(b"mine")
    with pytest.raises(RuntimeError, match="not made by NeRF Toolkit"):
        bpy.ops.nerf.save_ray_plot(filepath=str(other))
    assert other.read_bytes() == b"mine"


def test_nothing_of_the_persons_is_written_over(addon_module, tmp_path):
    ray_plot = addon_module("operators.ray_plot")
    theirs, ours = tmp_path / "ray.png", tmp_path / "ours.png"
    theirs.write_bytes(b"mine")
    ours.write_bytes(addon_module("importers.encode").png(np.zeros((4, 4, 4), np.float32)))
    # Typed without its ending, the browser cannot have shown that it is there.
    for chosen in (None, str(tmp_path / "ray")):
        with pytest.raises(Exception, match="not made by NeRF Toolkit"):
            ray_plot.check_free(theirs, chosen)
        ray_plot.check_free(ours, chosen)
    ray_plot.check_free(theirs, str(theirs))


def test_pictures_that_the_person_keeps_stay(addon_module, tmp_path):
    ray_plot, png = addon_module("operators.ray_plot"), addon_module("importers.encode").png
    files = [tmp_path / f"{number}.png" for number in range(6)]
    for path in files:
        path.write_bytes(png(np.ones((4, 4, 4), np.float32)))
    first = ray_plot.show_saved(files[0])
    assert ray_plot.show_saved(files[1]) == first and Path(first.filepath) == files[1]
    first.name = "To Keep"
    second = ray_plot.show_saved(files[2])
    second.pixels[0] = 0.25  # painted on, and not saved
    assert second.is_dirty
    third = ray_plot.show_saved(files[3])
    third.pack()
    fourth = ray_plot.show_saved(files[4])
    copy = fourth.copy()
    last = ray_plot.show_saved(files[5])
    assert last == fourth and ray_plot.show_saved(files[0]) == fourth
    kept = [first, second, third, copy]
    assert [Path(each.filepath).name for each in (first, second, copy)] == ["1.png", "2.png", "4.png"]
    assert len(set(kept)) == 4 and second.is_dirty and second.pixels[0] < 0.3 and third.packed_file is not None
