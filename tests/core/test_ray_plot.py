"""The plots of rays as files: what is drawn where, in SVG's own coordinates and in a PNG's pixels."""

import re
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from nerf_core.cli import main
from nerf_core.contract.errors import NerfError
from nerf_core.contract.samplers import SamplerChoice
from nerf_core.export.ray_plot import plot_traces, write_plot

from ..trace_arrays import DENSITY, trace_arrays

SVG = "{http://www.w3.org/2000/svg}"


def traced(name, rays=4, **changed):
    arrays = {**trace_arrays(rays), **changed}
    return SimpleNamespace(arrays=arrays, origin=arrays["origin"], sampler=SamplerChoice(name), seconds=0.012)


def two_samplers():
    """A ray through the middle of the ball under two samplers, of which the second sees it green."""
    arrays, green = trace_arrays(), np.float32([0.1, 0.9, 0.2])
    alpha = arrays["rgba"][:, 3:]
    seen = {"color": np.tile(green, (len(arrays["t"]), 1)), "rgba": np.concatenate([alpha * green, alpha], axis=-1)}
    return plot_traces([traced("hierarchical"), traced("uniform", **seen)], 0, "Pixel (3, 4)", focus=False)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """As SVG and as PNG."""
    folder, plot = tmp_path_factory.mktemp("plots"), two_samplers()
    return write_plot(folder / "ray.svg", plot), write_plot(folder / "ray.png", plot)


def path_of(root, name):
    """The points of a curve's first path, in SVG's coordinates."""
    group = next(each for each in root.iter(f"{SVG}g") if each.get("id") == name)
    paths = [each.get("d") for each in group.iter(f"{SVG}path")]
    return [np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", path), dtype=float) for path in paths]


def test_curves_of_the_svg_lie_where_their_values_are(drawn):
    root = ElementTree.parse(drawn[0]).getroot()
    cdf = path_of(root, "cdf-0")[0]
    low, high = cdf[0], cdf[-1]  # CDF 0 at t = 2, CDF 1 at t = 4
    steps = np.array(path_of(root, "density-0"))
    left, right = (low[0] + (high[0] - low[0]) * (t - 2.0) / 2.0 for t in (2.5, 3.5))
    assert steps[..., 0].min() == pytest.approx(left, abs=0.1) and steps[..., 0].max() == pytest.approx(right, abs=0.1)
    passing = path_of(root, "transmittance-0")[0]
    half = low[0] + (high[0] - low[0]) * (2.5 + np.log(2.0) / DENSITY - 2.0) / 2.0
    begin, end = passing[0, 1], passing[-1, 1]
    assert np.interp(half, passing[:, 0], passing[:, 1]) == pytest.approx(
        0.5 * (begin + end), abs=0.02 * abs(end - begin)
    )
    total = path_of(root, "accumulated-0")[0]
    share = (total[-1, 1] - total[0, 1]) / (high[1] - low[1])
    assert share == pytest.approx(-np.expm1(-DENSITY), abs=1e-3)


def test_the_svg_says_who_saw_what(drawn):
    words = [each.text or "" for each in ElementTree.parse(drawn[0]).getroot().iter(f"{SVG}text")]
    for expected in ("Hierarchical", "Uniform", "true 2.50", "CDF", "transmittance", "PDF per world unit"):
        assert expected in words, words
    assert any(text.startswith("16 full  ·  16 density-only  ·  12.0 ms for 4 rays") for text in words)
    assert "Pixel (3, 4)  ·  colours differ by 178/255" in words  # green instead of red: |0.8 - 0.1| of 255


def test_the_png_shows_each_sampler_s_colour(drawn):
    pixels = np.asarray(Image.open(drawn[1]).convert("RGB"), dtype=float)
    half = pixels.shape[1] // 2
    for part, color in ((pixels[:, :half], (0.8, 0.4, 0.2)), (pixels[:, half:], (0.1, 0.9, 0.2))):
        found = np.abs(part - 255 * np.array(color)).max(axis=-1) <= 2
        assert found.sum() > 1500  # the swatch and the strip behind the ball
    assert drawn[1].read_bytes() == write_plot(drawn[1].with_name("again.png"), two_samplers()).read_bytes()


@pytest.mark.parametrize("ray", [2, 3, None])
def test_rays_that_see_little_are_drawn_too(tmp_path, ray):
    path = write_plot(tmp_path / "empty.svg", plot_traces([traced("uniform", rays=8)], ray))
    root = ElementTree.parse(path).getroot()
    assert (len(path_of(root, "transmittance-0")) > 0) and (ray is None) == bool("cdf-0" in path.read_text())


def test_bad_names_are_refused(tmp_path):
    with pytest.raises(NerfError, match="a .png or an .svg file, not 'ray.gif'"):
        write_plot(tmp_path / "ray.gif", plot_traces([traced("uniform")], 0))


def test_the_command_plots_each_pixel_or_their_mean(trained_run, tmp_path, capsys):
    def call(*more, code=0):
        base = ["trace", str(trained_run), "--view", "val:1", "--pixel", "20,20", "--pixel", "5,5", "--brief"]
        assert main([*base, *more]) == code
        return capsys.readouterr()

    out = call("--plot", str(tmp_path / "ray.svg")).out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ray-0.svg", "ray-1.svg"]
    assert f"wrote {tmp_path / 'ray-1.svg'}" in out
    first = (tmp_path / "ray-0.svg").read_text()
    assert "Pixel (20.5, 20.5), view './val/0001'" in first and "Occupancy" in first
    mine = tmp_path / "mine.png"
    mine.write_bytes(b"mine")
    assert "was not made by NeRF Toolkit" in call("--plot", str(mine), "--plot-mean", code=2).err
    assert mine.read_bytes() == b"mine"
    call("--plot", str(mine), "--plot-mean", "--overwrite")
    assert Image.open(mine).size[0] > 600
    assert "name the file with --plot" in call("--plot-mean", code=2).err
    assert "not 'ray.txt'" in call("--plot", "ray.txt", code=2).err
