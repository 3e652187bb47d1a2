"""The benchmark: a small one from end to end, what it keeps, its medians, its plot."""

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("tools_path")
SVG = "{http://www.w3.org/2000/svg}"


def start(*arguments, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "tools" / "bench.py"), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        **options,
    )


def bench(*arguments, code: int = 0) -> subprocess.CompletedProcess:
    process = start(*arguments)
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, f"exit code {process.returncode}: {out}\n{err}"
    return subprocess.CompletedProcess(process.args, code, out, err)


def running_commands() -> list[str]:
    """Command lines of all processes, where the system shows them as files (Linux)."""
    commands = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            commands.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # it has ended meanwhile
            continue
    return commands


def measurement(method="fast", seconds=10.0, seed=0, psnr=20.0, frame=0.1, **others) -> dict:
    return {
        **{"method": method, "seconds": seconds, "seed": seed, "psnr": psnr, "ssim": 0.5, "frame_seconds": frame},
        **{"training_seconds": seconds, "wall_seconds": seconds + 2, "steps": 100, "peak_memory_mb": 500.0},
        **others,
    }


def result(path: Path, measurements: list[dict]):
    """A record as a benchmark would have left it."""
    from benchmark.record import Record

    facts = {
        **{"date": "2026-01-02T03:04:05+00:00", "data": "ball", "split": "val", "frame": [400, 400]},
        "machine": {"cores": 2, "processor": "Some Processor"},
        "titles": {"fast": "NeRF Toolkit, fast", "reference": "plain torch", "classic": "NeRF 2020"},
    }
    kept = Record(path, facts, list(facts["titles"]))
    for one in measurements:
        kept.add(one)
    return kept


def test_benchmark_from_end_to_end(small_ball, tmp_path):
    asked = ("--seconds", "1", "--methods", "fast,classic", "--no-starts", "--downscale", "2", "--views", "1")
    done = bench("cpu", "--data", small_ball, *asked, "--out", tmp_path / "out")
    (path,) = (tmp_path / "out").glob("*.json")
    content = json.loads(path.read_text())
    assert content["complete"] and content["failures"] == []
    assert content["frame"] == [12, 12] and content["views"] == 1 and content["downscale"] == 2
    assert content["command"].startswith("python tools/bench.py cpu --data")
    assert content["machine"]["cores"] >= 1 and "torch" in content["versions"]
    assert [(one["method"], one["seed"]) for one in content["measurements"]] == [("fast", 0), ("classic", 0)]
    for one in content["measurements"]:
        assert one["steps"] > 0 and 5 < one["psnr"] < 60 and len(one["view_psnr"]) == 1
        assert one["training_seconds"] >= 0.9 and one["wall_seconds"] > one["training_seconds"]
        assert one["frame_seconds"] > 0 and one["peak_memory_mb"] > 50
    assert content["measurements"][0]["backend"] == "cpu"
    row = content["medians"][0]
    assert (row["method"], row["psnr"], row["seeds"]) == ("fast", content["measurements"][0]["psnr"], 1)
    assert "| NeRF Toolkit, fast " in done.stdout and f"{row['psnr']:.2f}" in done.stdout
    assert "[3/3] classic: 1 s, seed 0; about" in done.stdout
    assert ET.parse(path.with_suffix(".svg")).getroot().tag == f"{SVG}svg"
    assert not list((tmp_path / "out").glob(".*"))


@pytest.mark.skipif(os.name == "nt", reason="a signal cannot be sent to one process alone on Windows")
def test_benchmark_that_is_told_to_end_keeps_what_it_has(small_ball, tmp_path):
    process = start(
        "cpu", "--data", small_ball, "--seconds", "1,500", "--methods", "classic", "--no-starts", "--out", tmp_path
    )
    read = []
    for line in process.stdout:
        read.append(line)
        if line.startswith("[2/2]"):
            break

    def trains() -> bool:
        return any("--seconds 500" in command and str(small_ball) in command for command in running_commands())

    give_up = time.monotonic() + 60
    while Path("/proc").exists() and not trains():
        assert time.monotonic() < give_up
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert "Stopped; what was measured is kept." in out
    (path,) = tmp_path.glob("*.json")
    content = json.loads(path.read_text())
    assert not content["complete"] and [one["seconds"] for one in content["measurements"]] == [1.0]
    assert path.with_suffix(".svg").exists()
    # The training that it had begun has ended too.
    assert not trains()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("cpu", "--data", "nowhere"), 2, "there is no data set 'nowhere'"),
        (("cpu", "--data", ".", "--seconds", "ten"), 2, "'ten' is not a list of seconds"),
        (("cpu", "--data", ".", "--seconds", "0.1"), 2, "at least 1 second"),
        (("cpu", "--data", ".", "--seeds", "0"), 2, "--seeds must lie between"),
        (("cpu", "--data", ".", "--views", "0"), 2, "--views must be at least 1"),
        (("cpu", "--data", ".", "--methods", "fast,slow"), 1, "There is no method 'slow' on cpu"),
        (("cpu", "--data", "."), 1, "transforms"),
        (("plot", "nothing.json"), 1, "'nothing.json' cannot be read"),
    ],
    ids=["data", "words", "budget", "seeds", "views", "method", "empty", "result"],
)
def test_benchmark_says_what_is_wrong_with_its_options(tmp_path, arguments, code, sentence):
    process = start(*arguments, cwd=tmp_path)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert sentence in out + err and "Traceback" not in err


def test_failed_peer_is_kept_and_named(tmp_path):
    from benchmark.measure import MeasurementError, child

    said, memory = child("a child", [sys.executable, "-c", "print('words'); print('{\"steps\": 7}')"])
    assert said == {"steps": 7} and (memory > 1 or memory != memory)
    with pytest.raises(MeasurementError, match=r"'a child' ended with code 3: no such thing"):
        child("a child", [sys.executable, "-c", "import sys; sys.stderr.write('no such thing'); sys.exit(3)"])
    with pytest.raises(MeasurementError, match="printed no JSON line last"):
        child("a child", [sys.executable, "-c", "print('words')"])
    kept = result(tmp_path / "r.json", [measurement()])
    kept.fail("classic", "10 s, seed 0", "it broke")
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["failures"] == [{"method": "classic", "what": "10 s, seed 0", "problem": "it broke"}]
    assert len(content["measurements"]) == 1


def test_medians_over_seeds():
    from benchmark.record import medians

    rows = medians(
        [
            measurement("classic", 10.0, 0, 15.0),
            *(measurement("fast", 60.0, seed, psnr) for seed, psnr in enumerate((31.0, 30.0, 33.0))),
            measurement("fast", 10.0, 0, 26.0, peak_memory_mb=float("nan")),
        ],
        ["fast", "classic"],
    )
    assert [(row["method"], row["seconds"], row["seeds"]) for row in rows] == [
        ("fast", 10.0, 1),
        ("fast", 60.0, 3),
        ("classic", 10.0, 1),
    ]
    assert (rows[1]["psnr"], rows[1]["psnr_low"], rows[1]["psnr_high"]) == (31.0, 30.0, 33.0)
    assert rows[0]["peak_memory_mb"] is None


def test_table_is_markdown():
    from benchmark.record import medians, table

    rows = medians([measurement(ssim=None), measurement("classic", psnr=9.876)], ["fast", "classic"])
    lines = table(rows, {"fast": "Fast", "classic": "The old one"}).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == [
        "Fast", "10", "1", "12.0", "100", "20.00", "-", "100.0", "500",
    ]  # fmt: skip
    assert "| The old one |" in lines[3] and " 9.88 |" in lines[3]


def test_time_left_is_learned(monkeypatch):
    from benchmark.progress import Job, Progress, duration

    told = Progress([Job("fast", "warm start", 0.0), *(Job("fast", "10 s", 10.0),) * 2, Job("classic", "20 s", 20.0)])
    told._extra = {("fast", True): 3.0}
    told._done = 1
    assert told.seconds_left() == 10 + 3 + 10 + 3 + 20 + 3  # a method that is not known yet is taken like the others
    assert [duration(s) for s in (0, 45, 600, 9000)] == ["about 1 s", "about 45 s", "about 10 min", "about 2.5 h"]


def test_plot_is_the_same_each_time_and_from_json_alone(tmp_path):
    pytest.importorskip("matplotlib")
    rows = [
        measurement(method, seconds, seed, psnr + seed)
        for method, psnr in (("fast", 25.0), ("reference", 15.0), ("classic", 12.0))
        for seconds in (10.0, 60.0)
        for seed in range(3)
    ]
    kept = result(tmp_path / "one.json", rows)
    kept.content["complete"] = True
    kept.write()
    bench("plot", kept.path)
    first = kept.plot_path.read_bytes()
    kept.plot_path.unlink()
    bench("plot", kept.path)
    assert kept.plot_path.read_bytes() == first
    root = ET.fromstring(first)
    assert b"<dc:date>" not in first and not root.findall(f".//{SVG}text")  # no date; letters are outlines
    drawn = {colour for colour in ("#0072b2", "#d55e00", "#009e73") if colour.encode() in first.lower()}
    assert len(drawn) == 3
    other = result(tmp_path / "two.json", [measurement(psnr=20.5)])
    other.content["complete"] = True
    other.write()
    bench("plot", other.path)
    assert other.plot_path.read_bytes() != first


def test_result_of_something_else_is_refused(tmp_path):
    from benchmark.record import read

    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(SystemExit, match="not a result file"):
        read(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(SystemExit, match="not JSON"):
        read(tmp_path / "a.json")
