"""A sampler's name and budget, and what rendering costs."""

import json

import numpy as np
import pytest

from nerf_core.contract.errors import NerfError
from nerf_core.contract.samplers import SAMPLERS, SamplerChoice
from nerf_core.methods.cost import HIT_ALPHA, RenderCost, added


def test_a_choice_survives_json():
    choice = SamplerChoice("hierarchical", 64, {"opacity": "linear"})
    assert SamplerChoice.from_dict(json.loads(json.dumps(choice.to_dict()))) == choice
    assert SamplerChoice.from_dict({"name": "surface"}) == SamplerChoice("surface")
    assert {SamplerChoice(name).name for name in SAMPLERS} == set(SAMPLERS)


@pytest.mark.parametrize(
    "given, words",
    [
        ({"name": "magic"}, "'magic' is not known; use one of uniform, "),
        ({"name": "surface", "samples": 0}, "1 to 4096 samples a ray, not 0"),
        ({"name": "surface", "samples": 2.0}, "not 2.0"),
        ({"name": "surface", "samples": True}, "not True"),
        ({"samples": 4}, "with a 'name'"),
        (["surface"], "with a 'name'"),
    ],
)
def test_a_choice_that_cannot_be_is_told(given, words):
    with pytest.raises(NerfError) as told:
        SamplerChoice.from_dict(given)
    assert words in str(told.value)


def test_costs_are_counted_by_hits_and_add_up():
    first = RenderCost.of_rays(np.array([4, 0, 1], np.int32), np.array([1.0, 0.0, HIT_ALPHA]), density_only=30)
    assert (first.s_hit, first.s_max) == (2.5, 4) and first.s_all == pytest.approx(5 / 3)
    second = RenderCost.of_rays(np.array([7], np.int32), np.array([0.4]), proposal=8)
    both = added(first, second)
    assert both == RenderCost(rays=4, hit_rays=2, full=12, full_hit=5, full_max=7, density_only=30, proposal=8)
    assert added(None, first) == first == added(first, None) and added(None, None) is None
    assert both.to_dict()["density_only"] == 7.5 and both.to_dict()["s_max"] == 7
    assert RenderCost.of_rays(np.zeros(0, np.int32), np.zeros(0)).to_dict()["s_hit"] == 0.0
