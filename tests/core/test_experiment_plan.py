"""Plans of experiments: what comes along, what is wrong with them, their cells, the time that is left."""

import pytest

from nerf_core.contract.errors import NerfError
from nerf_core.contract.samplers import SamplerChoice
from nerf_core.experiments.events import Pace
from nerf_core.experiments.plan import find_plan, read_plan, shipped
from nerf_core.experiments.report import train_command

from .small_experiment import write


@pytest.mark.parametrize("name", ["sampling", "sampling-small"])
def test_what_comes_along_is_eight_samplings_by_three(name):
    plan = read_plan(name)
    assert name in shipped() and plan.file == find_plan(name)
    assert list(plan.axes) == ["samples", "ablation"]
    assert [len(labels) for labels in plan.axes.values()] == [8, 3] and len(plan.cells) == 24
    assert len({cell.folder for cell in plan.cells}) == 24 == len(plan.trainings())
    cells = {cell.name: cell.training for cell in plan.cells}
    base = cells["64+16"].settings
    assert (base["coarse_samples"], base["fine_samples"]) == (64, 16) and "positional_encoding" not in base
    assert cells["64+16 no positional encoding"].settings == {**base, "positional_encoding": False}
    assert cells["64+16 no viewing directions"].settings == {**base, "view_directions": False}
    assert SamplerChoice.from_dict(cells["0+32"].settings["sampler"]) == SamplerChoice("surface", 32)
    assert all(cell.training.method == "classic" for cell in plan.cells)


def test_lists_defaults_cells_and_runs_that_are_shared(tmp_path):
    plan = read_plan(
        write(
            tmp_path,
            """
            [experiment]
            data = "ball"
            turntable = false
            [defaults]
            steps = 50
            seed = 3
            settings = { levels = 8 }
            [grid]
            seed = [1, 2]
            render = ["occupancy", { name = "surface", samples = 4 }]
            [[cell]]
            name = "long"
            method = "classic"
            seconds = 9
            [[cell]]
            name = "told"
            render = "oracle"
            """,
        )
    )
    assert [cell.name for cell in plan.cells] == [
        "seed 1 occupancy", "seed 1 surface 4", "seed 2 occupancy", "seed 2 surface 4", "long", "told",
    ]  # fmt: skip
    groups = plan.trainings()
    assert [[cell.training.seed for cell in group] for group in groups] == [[1, 1], [2, 2], [3], [3]]
    assert [cell.turns for cell in plan.cells] == [True] * 5 + [False]  # no view from elsewhere has a true depth
    assert plan.cells[3].render == SamplerChoice("surface", 4) and plan.cells[4].render is None
    assert plan.run_name(plan.cells[1].training) == "seed-1-occupancy"
    assert plan.cells[4].training.budget == {"seconds": 9.0} and plan.cells[0].training.budget == {"steps": 50}
    assert plan.cells[0].training.settings == {"levels": 8}
    assert plan.cells[4].training.settings == {}  # another method's are none of its own
    assert plan.data == tmp_path / "ball" and plan.turntable is None
    assert plan.chosen("long, seed-1-surface-4") == {"long", "seed 1 surface 4"}
    assert [[cell.name for cell in group] for group in plan.trainings({"seed 1 surface 4"})] == [["seed 1 surface 4"]]
    with pytest.raises(NerfError, match="has no cell 'short'; it has seed 1 occupancy"):
        plan.chosen("short")


BAD = [
    ("steps = ", "is not valid TOML: Invalid value"),
    ("[grids]\n", "the file has no use for 'grids'; it takes [experiment], [defaults], [grid], [[cell]]"),
    ("[experiment]\nviews = 0\n", "'views' in [experiment] is 0; it must be from 1"),
    ("[experiment]\nviews = true\n", "'views' in [experiment] is True; it must be a whole number"),
    ("[experiment]\nsplit = 'all'\n", "'split' in [experiment] is 'all'; use one of train, val, test"),
    ("[experiment]\nspeed = 1\n", "[experiment] has no use for 'speed'; it takes title, about, data"),
    ("[experiment]\nturntable = {size = 8}\n", "'size' in 'turntable' of [experiment] is 8; it must be from 16"),
    ("[experiment]\nturntable = {fps = 0}\n", "'fps' in 'turntable' of [experiment] is 0; it must be from 1 to 240"),
    ("experiment = 3\n", "'experiment' in the file is 3; it must be a table"),
    ("", "has no cells: give it a [grid], or a [[cell]] for each"),
    ("[[cell]]\nsteps = 3\n", "[[cell]] number 1 has no 'name'"),
    ("[[cell]]\nname = 'a'\n", "the cell 'a' does not say how long to train; give it 'seconds' or 'steps'"),
    ("[[cell]]\nname = 'a'\nsteps = 3\nseconds = 3\n", "'seconds' in the cell 'a' and 'steps' are both given"),
    ("[[cell]]\nname = 'a'\nseconds = 0\n", "'seconds' in the cell 'a' is 0; it must be from 0.1"),
    ("[[cell]]\nname = 'a'\nseconds = nan\n", "'seconds' in the cell 'a' is nan; it must be from 0.1"),
    ("[[cell]]\nname = 'a'\nsteps = 3\nmethod = 'best'\n", "'method' in the cell 'a' is 'best'; use one of fast"),
    ("[[cell]]\nname = 'a'\nsteps = 3\nsampler = 'eyes'\n", "names the sampler 'eyes'; use one of uniform"),
    ("[[cell]]\nname = 'a'\nsteps = 3\nsamples = 4\n", "'samples' in the cell 'a' is a sampler's: name the 'sampler'"),
    ("[[cell]]\nname = 'a'\nsteps = 3\nrender = {samples = 3}\n", "'render' in the cell 'a' names the sampler None"),
    (
        "[[cell]]\nname = 'a'\nsteps = 3\nrender = {name = 'surface', samples = 0}\n",
        "'render' in the cell 'a': A sampler takes 1 to 4096 samples a ray, not 0",
    ),
    ("[[cell]]\nname = 'a'\nsteps = 3\nsettings = 4\n", "'settings' in the cell 'a' must be a table, not 4"),
    ("[[cell]]\nname = 'a'\nsteps = 3\nspeed = 4\n", "the cell 'a' has no use for 'speed'; it takes method, seconds"),
    ("[[cell]]\nname = '-'\nsteps = 3\n", "the cell '-' needs a name with a letter or a digit"),
    (
        "[[cell]]\nname = 'a b'\nsteps = 3\n[[cell]]\nname = 'A/b'\nsteps = 3\n",
        "the cells 'a b' and 'A/b' would share a folder; name one of them otherwise",
    ),
    ("[grid]\nspeed = [1]\n", "axis 'speed' is a list, so it must be named like what it sets: method, seconds"),
    ("[grid]\nseed = 3\n", "axis 'seed' must be a list of values, or a table of labels"),
    ("[grid]\nseed = []\n", "axis 'seed' is empty"),
    ("[grid.x]\na = 3\n", "'a' in [grid], axis 'x' must be a table of what it changes, not 3"),
    (f"[grid]\nseed = {list(range(40))}\nsteps = {list(range(1, 40))}\n", "the grid has 1560 cells; 1000 are the most"),
]


@pytest.mark.parametrize(("text", "sentence"), BAD, ids=[sentence[:40] for _, sentence in BAD])
def test_what_is_wrong_with_a_plan_is_one_sentence(tmp_path, text, sentence):
    path = write(tmp_path, text)
    with pytest.raises(NerfError) as told:
        read_plan(path)
    assert sentence in str(told.value) and str(told.value).startswith(f"'{path}'") and "\n" not in str(told.value)


def test_plans_that_are_not_there(tmp_path):
    with pytest.raises(
        NerfError, match="no file 'samplings', and no plan of that name comes along: those are sampling"
    ):
        read_plan("samplings")
    (tmp_path / "plan.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(NerfError, match="is not valid TOML"):
        read_plan(tmp_path / "plan.toml")


def test_time_left_is_what_the_trainings_ask_for_and_what_looking_took():
    pace = Pace([(10.0, None, 1), (20.0, None, 2)])
    first = pace.left("train", 10.0, 0.0)
    assert first == 30.0 + 2 * 4.0 + 3 * 8.0
    pace.trained(wall=12.0, inside=10.0, steps=100)
    pace.looked(6.0)
    assert pace.left("train", 20.0, 0.0) == 20.0 + 2.0 + 2 * 6.0
    assert 0.0 <= pace.fraction(1000.0, 0.0) <= pace.fraction(2000.0, 0.0) <= 1.0  # never back
    unknown = Pace([(None, 100, 1), (None, 50, 1)])
    assert unknown.left("train", None, 0.0) is None
    unknown.trained(wall=11.0, inside=10.0, steps=100)
    unknown.looked(3.0)
    assert unknown.left("train", None, 0.0) == 50 * 0.1 + 1.0 + 3.0


def test_the_command_of_a_cell_is_read_back_as_the_cell():
    import shlex

    from nerf_core.cli import build_parser
    from nerf_core.cli.train import parse_settings

    training = read_plan("sampling-small").cells[-1].training
    words = shlex.split(train_command(training, "/a b/data", "/out/runs/x"))
    read = build_parser().parse_args(words[1:])
    assert parse_settings(read.setting) == training.settings
    assert (read.data, read.method, read.seconds, read.downscale) == ("/a b/data", "classic", 20.0, 4)


def test_cells_are_told_in_words(tmp_path, capsys):
    from nerf_core.cli import main

    assert main(["experiment", "sampling-small", "--cells"]) == 0
    told = capsys.readouterr().out.splitlines()
    line = next(each for each in told if each.startswith("0+32 no viewing directions"))
    assert line.endswith("classic, 20 seconds, preset small, view_directions false, sampler surface, 32 samples")
    assert told[-1] == "24 cells, 24 trainings"
    seen = write(tmp_path, '[[cell]]\nname = "few"\nsteps = 9\nrender = { name = "surface", samples = 4 }\n')
    assert main(["experiment", str(seen), "--cells"]) == 0
    assert "seen with surface, 4 samples" in capsys.readouterr().out
