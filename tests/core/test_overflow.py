"""Rays that are cut short because a buffer was full: counted in metrics.jsonl, and warned of once."""

import json
from dataclasses import replace

from nerf_core.training.setup import TrainRequest
from nerf_core.training.trainer import Trainer

from .small_training import SETTINGS, Recorder

# Thin fog at thousands of steps a ray, all of it trained: far more than the kernels' buffers hold.
FOG = {"ray_steps": 4096, "weight_threshold": 0, "samples_per_step": 1 << 20, "base_resolution": 4, "max_resolution": 8}
FOG |= {"levels": 4, "log2_table_size": 10, "occupancy_resolution": 8}


def lines(run) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_forced_overflow_is_in_the_metrics_and_warned_of_once(nerf, ball_dataset, tmp_path):
    """The whole way: kernels, method, trainer, files, and what a person sees."""
    settings = [word for name, value in FOG.items() for word in ("--setting", f"{name}={value}")]
    run = tmp_path / "run"
    told = nerf("train", ball_dataset, "--run", run, "--steps", 6, "--device", "cpu", *settings).stderr
    metrics = lines(run)
    assert metrics[-1]["event"] == "ended" and sum(line["overflow"] for line in metrics if "loss" in line) > 100
    (event,) = [line for line in metrics if line.get("event") == "overflow"]
    assert event["overflow"] > 0 and event["step"] >= 1
    (sentence,) = [line for line in told.splitlines() if "cut short" in line]
    assert "warning:" in sentence and f"{event['overflow']} of " in sentence and "metrics.jsonl" in sentence
    log = (run / "core.log").read_text(encoding="utf-8")
    assert log.count("cut short") == 1 and " warning: " in log


def test_an_ordinary_training_has_none(trained_run):
    metrics = lines(trained_run)
    assert all(line["overflow"] == 0 for line in metrics if "loss" in line)
    assert not any(line.get("event") == "overflow" for line in metrics)


def test_every_cut_ray_of_every_step_is_counted(tmp_path, ball_dataset):
    """Whatever backend reports them: the lines' numbers add up to the steps'."""
    reported = [0, 3, 0, 5, 0, 0, 2, 0, 1]

    class Reports(Recorder):
        """From the second step on, the method's steps report these numbers, as a backend with full buffers would."""

        def between_steps(self) -> None:
            super().between_steps()
            if self.steps > 1:
                return
            step, numbers = trainer.method.train_step, iter(reported)
            trainer.method.train_step = lambda progress: replace(step(progress), overflow=next(numbers))

    events, run = Reports(), tmp_path / "run"
    steps = 1 + len(reported)
    trainer = Trainer(TrainRequest(run, ball_dataset, "classic", device="cpu", settings=SETTINGS, steps=steps), events)
    trainer.run()
    metrics = lines(run)
    assert sum(line["overflow"] for line in metrics if "loss" in line) == sum(reported)
    (event,) = [line for line in metrics if line.get("event") == "overflow"]
    assert (event["step"], event["overflow"]) == (3, 3)
    (sentence,) = [text for text in events.logs if "cut short" in text]
    assert sentence.startswith("3 of 64 rays of step 3")
