"""Experiments: a small grid from beginning to end, its report and plot, stopped and gone on with."""

import json
import re
import signal
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nerf_core.evaluation.evaluate import evaluate_run
from nerf_core.experiments import plot
from nerf_core.experiments.columns import COLUMNS, TIMINGS, table_lines, used
from nerf_core.experiments.events import ExperimentEvents
from nerf_core.experiments.folder import ExperimentFolder
from nerf_core.experiments.plan import read_plan
from nerf_core.experiments.run import current_rows, run_experiment

from . import tiny_scene
from .small_experiment import SMALL, write


@pytest.fixture(scope="module")
def plan_file(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("plan for ü"), SMALL)


@pytest.fixture(scope="module")
def finished(nerf, plan_file, ball_dataset, tmp_path_factory):
    """The grid run by the command line, without a break."""
    out = tmp_path_factory.mktemp("experiment") / "whole"
    done = nerf("experiment", plan_file, "--data", ball_dataset, "--out", out, "--json")
    return ExperimentFolder(out), json.loads(done.stdout.splitlines()[-1]), done.stderr


class Page(HTMLParser):
    """The cells of the report's table, and everything that the page asks for elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.values: list[list[float]] = []
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.title = ""
        self.feed(text)
        assert not self.tags, f"not closed: {self.tags}"

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.sources += [given[key] for key in ("src", "href") if given.get(key)]
        if tag not in ("meta", "input", "br", "path", "use"):
            self.tags.append(tag)
        if tag == "tr" and "data-cell" in given:
            self.rows.append([])
            self.values.append([])
        elif tag == "td" and self.rows:
            self.rows[-1].append("")
            if "data-value" in given:
                self.values[-1].append(float(given["data-value"]))

    def handle_endtag(self, tag):
        if tag in self.tags:
            while self.tags.pop() != tag:
                pass

    def handle_data(self, data):
        if "td" in self.tags and self.rows:
            self.rows[-1][-1] += data
        if self.tags[-1:] == ["title"]:
            self.title += data


def test_each_cell_is_trained_measured_and_turned(finished):
    folder, told, log = finished
    rows = [json.loads(line) for line in folder.results.read_text(encoding="utf-8").splitlines()]
    assert [row["cell"] for row in rows] == [
        "8+8", "8+8 no viewing directions", "0+8", "0+8 no viewing directions",
    ]  # fmt: skip
    assert told["rows"] == rows and (told["done"], told["failed"], told["stopped"]) == (4, 0, False)
    assert len({row["metrics"]["psnr"] for row in rows}) == 4
    for row in rows:
        assert 3 < row["metrics"]["psnr"] < 60 and row["metrics"]["steps"] == 12 and row["views"] == 2
        known = json.loads((folder.root / row["run"] / "run.json").read_text(encoding="utf-8"))
        assert known["settings"] == row["training"]["settings"] and known["budget"] == {"steps": 12}
        pictures = sorted((folder.root / row["turntable"]).glob("*"))
        assert [path.name for path in pictures] == ["0001.png", "0002.png", "0003.png"]
        assert {Image.open(path).size for path in pictures} == {(24, 24)}
        video = folder.turntable(Path(row["turntable"]).name).with_suffix(".mp4")
        assert b"ftyp" in video.read_bytes()[:16]
    assert "8+8 no viewing directions: PSNR" in log and "Report: " in log
    assert (folder.root / "experiment.toml").read_text(encoding="utf-8") == SMALL


def test_a_row_is_what_evaluating_its_run_gives(finished):
    folder, told, _ = finished
    row = told["rows"][1]
    found = evaluate_run(folder.root / row["run"], count=2)
    assert (found.psnr, found.ssim) == (row["metrics"]["psnr"], row["metrics"]["ssim"])


def test_the_report_says_what_the_results_say_and_needs_nothing_else(finished):
    folder, told, _ = finished
    text = folder.report.read_text(encoding="utf-8")
    page = Page(text)
    assert page.title == "Two by two & <more>" and "<more>" not in text
    columns = used(told["rows"])
    assert {"psnr", "ssim", "frame_ms", "train_seconds", "steps"} <= {column.key for column in columns}
    assert [cells[0] for cells in page.rows] == [row["cell"] for row in told["rows"]]
    for cells, values, row in zip(page.rows, page.values, told["rows"], strict=True):
        assert cells[1:] == [column.text(row) for column in columns]
        assert values == [column.value(row) for column in columns if column.value(row) is not None]
    # Nothing comes from a network, nor from a file beside it.
    assert all(source.startswith(("data:", "#")) for source in page.sources)
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//|@import|url\((?!#)""", text)
    turns = json.loads(re.search(r'id="turns">(.*?)</script>', text, re.DOTALL).group(1))
    assert [turn["cell"] for turn in turns] == [row["cell"] for row in told["rows"]]
    assert all(turn["source"].startswith("data:image/webp;base64,") and turn["frames"] == 3 for turn in turns)


def test_what_is_done_is_not_done_again(finished, nerf):
    folder, told, _ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.root.rglob("*.safetensors")}
    again = json.loads(nerf("experiment", folder.root, "--json").stdout.splitlines()[-1])
    assert again["rows"] == told["rows"]
    assert {path: path.stat().st_mtime_ns for path in folder.root.rglob("*.safetensors")} == before
    folder.report.unlink()
    nerf("experiment", folder.root, "--report")
    assert folder.report.exists()


def plain(rows: list[dict]) -> list[dict]:
    """Without what is never twice the same."""
    return [
        {**row, "metrics": {key: value for key, value in row["metrics"].items() if key not in TIMINGS}} for row in rows
    ]


class Stops(ExperimentEvents):
    """Stops at a stage of a cell."""

    def __init__(self, cell: str, stage: str) -> None:
        self.at, self.reached, self.fractions = (cell, stage), False, []

    def progress(self, status) -> None:
        self.fractions.append(status.fraction)
        self.reached |= (status.cell, status.stage) == self.at

    def should_stop(self) -> bool:
        return self.reached


def test_a_stopped_experiment_goes_on_to_the_same_results(finished, plan_file, ball_dataset, tmp_path):
    whole, told, _ = finished
    plan, folder = read_plan(plan_file), ExperimentFolder(tmp_path / "again")
    # In the midst of measuring, of a turntable, and before a step was made.
    for cell, stage, done in (("8+8", "measure", 0), ("8+8", "turntable", 0), ("0+8", "train", 2)):
        events = Stops(cell, stage)
        outcome = run_experiment(plan, folder, ball_dataset, events)
        assert outcome.stopped and len(outcome.rows) == done and events.reached
        assert events.fractions == sorted(events.fractions)
    with open(folder.results, "a", encoding="utf-8") as stream:
        stream.write('{"cell": "half')  # as a killed process leaves it
    outcome = run_experiment(plan, folder, ball_dataset)
    assert not outcome.stopped and plain(outcome.rows) == plain(told["rows"])
    for row in outcome.rows:
        for path in sorted((folder.root / row["turntable"]).glob("*.png")):
            assert path.read_bytes() == (whole.root / path.relative_to(folder.root)).read_bytes()


def test_ctrl_c_saves_and_says_how_to_go_on(nerf, plan_file, ball_dataset, tmp_path):
    text = SMALL.replace("steps = 12", "steps = 1000000")
    path, out = write(tmp_path, text), tmp_path / "out"
    process = nerf.start("experiment", path, "--data", ball_dataset, "--out", out, "--events", stdin=subprocess.PIPE)
    for line in process.stdout:
        told = json.loads(line)
        if told["event"] == "progress" and told["stage_fraction"] > 0:
            process.send_signal(signal.SIGINT)
            break
    last = [json.loads(line) for line in process.stdout][-1]
    assert process.wait(60) == 130 and (last["event"], last["stopped"]) == ("done", True)
    known = json.loads((out / "runs" / "8+8" / "run.json").read_text(encoding="utf-8"))
    assert 0 < known["spent"]["steps"] < 1000000
    # The end of stdin stops it as well: whoever started it has gone. It goes on where it was.
    process = nerf.start("experiment", out, "--events", stdin=subprocess.PIPE)
    for line in process.stdout:
        told = json.loads(line)
        if told["event"] == "progress" and told["stage_fraction"] > known["spent"]["steps"] / 1000000:
            process.stdin.close()
            break
    assert json.loads(process.stdout.readlines()[-1])["stopped"] is True and process.wait(60) == 130
    later = json.loads((out / "runs" / "8+8" / "run.json").read_text(encoding="utf-8"))
    assert later["spent"]["steps"] > known["spent"]["steps"]


def test_a_cell_that_fails_does_not_end_the_others(ball_dataset, tmp_path):
    text = SMALL + '[[cell]]\nname = "odd"\nrender = "proposal"\nsteps = 2\n'
    plan, folder = read_plan(write(tmp_path, text)), ExperimentFolder(tmp_path / "out")
    outcome = run_experiment(plan, folder, ball_dataset, only={"odd", "0+8"})
    assert [row["cell"] for row in outcome.rows] == ["0+8", "odd"]
    assert "error" not in outcome.rows[0] and "proposal" in outcome.rows[1]["error"]
    assert any("odd" in line and "failed: " in line for line in table_lines(outcome.rows))
    # It is tried again, and another plan of the same name does not take over its run.
    changed = read_plan(write(tmp_path, SMALL.replace("steps = 12", "steps = 13")))
    outcome = run_experiment(changed, folder, ball_dataset, only={"0+8"})
    assert "was trained with another 'budget' ({'steps': 12})" in outcome.rows[0]["error"]
    assert "choose another folder with --out" in outcome.rows[0]["error"]


def test_what_cannot_work_is_told_before_anything_is_trained(nerf, plan_file, ball_dataset, finished, tmp_path):
    def refused(*arguments) -> str:
        said = nerf("experiment", *arguments, code=2).stderr.strip()
        assert said.startswith("nerf: ") and "\n" not in said
        return said

    assert "names no data set; give one with --data" in refused(plan_file, "--out", tmp_path / "a")
    assert "There is no data set" in refused(plan_file, "--data", tmp_path / "gone", "--out", tmp_path / "a")
    bad = write(tmp_path / "bad", SMALL.replace("depth = 1", "depth = 99"))
    said = refused(bad, "--data", ball_dataset, "--out", tmp_path / "a")
    assert "the cell '8+8' cannot be trained: The classic method's setting 'depth' is 99" in said
    test_split = write(tmp_path / "test", SMALL.replace("views = 2", 'split = "test"'))
    assert "has no test split; it has train, val" in refused(
        test_split, "--data", ball_dataset, "--out", tmp_path / "a"
    )
    assert not (tmp_path / "a").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    said = refused(plan_file, "--data", ball_dataset, "--out", tmp_path / "mine")
    assert "already holds other files (such as 'thesis.txt')" in said
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    (other := tmp_path / "other").mkdir()
    tiny_scene.write_dataset(other / "data", train=2, val=1, size=12)
    assert "are of the data set" in refused(finished[0].root, "--data", other / "data")
    assert "has no experiment.json" in refused(tmp_path / "mine")


# The plot


def measured(cell: str, labels: dict, psnr: float, s_hit: float | None) -> dict:
    training = {"method": "classic", "settings": {}, "seed": 0, "downscale": 1, "seconds": 1.0, "steps": None}
    metrics = {"psnr": psnr, "s_hit": s_hit}
    return {"cell": cell, "labels": labels, "training": training, "render": None, "metrics": metrics}


def test_the_plot_shows_each_cell_where_its_numbers_are(tmp_path):
    rows = [measured(f"{n}", {}, 20.0 + n / 16, float(n)) for n in (16, 64, 256)]
    assert plot.draw([*rows, measured("none", {}, 3.0, None)], "A plot", tmp_path / "a.png")
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    blue = np.abs(pixels - (0x00, 0x72, 0xB2)).sum(axis=-1) < 30
    # The markers stand far above the line: three columns with many blue pixels, as far apart on a logarithmic axis.
    across = np.flatnonzero(blue[: int(0.88 * len(blue))].sum(axis=0) >= 9)
    starts = across[np.concatenate([[True], np.diff(across) > 5])]
    assert len(starts) == 3
    assert abs((starts[1] - starts[0]) - (starts[2] - starts[1])) <= 2
    first, last = (np.flatnonzero(blue[: int(0.88 * len(blue)), start]).mean() for start in (starts[0], starts[2]))
    assert first > last + 100  # the better one is further up
    again = tmp_path / "b.png"
    plot.draw(rows, "A plot", again)
    assert again.read_bytes() == (tmp_path / "a.png").read_bytes()
    assert not plot.draw([measured("none", {}, 3.0, None)], "A plot", tmp_path / "c.png")
    assert not (tmp_path / "c.png").exists()


def test_columns_take_metrics_that_nobody_has_described():
    row = {"cell": "a", "metrics": {"psnr": 20.0, "odd": 63.25, "ssim": None}}
    assert [column.key for column in used([row])] == ["psnr", "odd"]
    assert table_lines([row])[1].split() == ["a", "20.00", "63.2500"]
    assert len({column.key for column in COLUMNS}) == len(COLUMNS)


def test_a_row_belongs_to_the_plan_that_asked_for_it(finished, plan_file, tmp_path):
    folder, told, _ = finished
    assert len(current_rows(read_plan(plan_file), folder)) == 4
    fewer = read_plan(write(tmp_path, SMALL.replace("views = 2", "views = 1")))
    assert current_rows(fewer, folder) == []
