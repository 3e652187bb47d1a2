"""Samplers on the command line: trained, evaluated with what it took, and told where they cannot be."""

import json
import re

import pytest


def last_line(process):
    return json.loads(process.stdout.strip().splitlines()[-1])


def test_evaluate_says_what_a_sampler_reaches_and_takes(nerf, trained_run):
    own = last_line(nerf("evaluate", trained_run, "--device", "cpu", "--views", 1, "--json"))
    few = nerf(
        "evaluate", trained_run, "--device", "cpu", "--views", 1, "--sampler", "occupancy", "--samples", 2, "--json"
    )
    few = last_line(few)
    assert few["cost"]["s_max"] == 2 and few["cost"]["s_hit"] <= 2 < own["cost"]["s_max"]
    assert few["cost"]["density_only"] >= own["cost"]["s_all"] and few["psnr"] > 28.0
    assert few["views"][0]["cost"]["s_max"] == 2 and few["seconds"] > 0
    told = nerf("evaluate", trained_run, "--device", "cpu", "--views", 1, "--sampler", "uniform", "--samples", 8).stdout
    line = re.search(r"evaluations a ray: 8\.00 where it hits, [\d.]+ on the mean, 8 at most; \d+ ms a view", told)
    assert line, told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--samples", 4], "--samples is a sampler's: name the sampler with --sampler"),
        (["--sampler", "proposal"], "no proposal networks; train one with the sampler 'proposal'"),
        (["--sampler", "oracle"], "needs to be told the true depth: evaluate views of a data set that has depth"),
        (["--sampler", "uniform", "--samples", 0], "1 to 4096 samples a ray, not 0"),
    ],
)
def test_evaluate_refuses_what_cannot_be(nerf, trained_run, arguments, words):
    assert words in nerf("evaluate", trained_run, "--device", "cpu", *arguments, code=2).stderr


def test_train_takes_a_sampler_and_its_number(nerf, ball_dataset, tmp_path):
    run = tmp_path / "run"
    size = ["--setting", "depth=1", "--setting", "width=16", "--setting", "rays_per_step=64", "--device", "cpu"]
    named = ["--method", "classic", "--sampler", "surface", "--samples", 12]
    nerf("train", ball_dataset, "--run", run, "--steps", 20, *named, *size)
    known = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert known["settings"]["sampler"] == {"name": "surface", "samples": 12}
    evaluated = last_line(nerf("evaluate", run, "--device", "cpu", "--views", 1, "--json"))
    assert evaluated["cost"]["s_max"] == 12 and evaluated["cost"]["proposal"] > 12
    twice = nerf("train", ball_dataset, "--run", tmp_path / "b", *named, "--setting", "sampler=uniform", code=2)
    assert "named twice" in twice.stderr
