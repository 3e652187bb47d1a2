"""What the inspector shows: one ray's own rows, and who is told of changes."""

import numpy as np
import pytest


@pytest.fixture
def state(addon_module):
    module = addon_module("inspect.state")
    module.current().clear()
    yield module
    module.current().clear()


def two_rays():
    """Two rays with 2 and 3 samples, 1 and 2 bins, and a skipped stretch on the second."""
    return {
        "ray": np.array([0, 0, 1, 1, 1], dtype=np.int32),
        "t": np.array([1.0, 2.0, 1.5, 2.5, 3.5], dtype=np.float32),
        "color": np.arange(15, dtype=np.float32).reshape(5, 3),
        "stage": np.array([0, 1, 0, 1, 1], dtype=np.int32),
        "rgba": np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]], dtype=np.float32),
        "near": np.array([0.5, 0.6], dtype=np.float32),
        "bin_ray": np.array([0, 1, 1], dtype=np.int32),
        "bin_weight": np.array([1.0, 0.25, 0.75], dtype=np.float32),
        "skip_ray": np.array([1], dtype=np.int32),
        "skip_t0": np.array([0.6], dtype=np.float32),
    }


def test_one_ray_has_its_own_rows(state):
    slot = state.Slot({"name": "uniform"}, two_rays(), {"rays": 2})
    assert slot.rays == 2 and slot.used == {"name": "uniform"}
    first, second = slot.of_ray(0), slot.of_ray(1)
    np.testing.assert_array_equal(first["t"], [1.0, 2.0])
    np.testing.assert_array_equal(second["color"], np.arange(6, 15).reshape(3, 3))
    np.testing.assert_array_equal(second["stage"], [0, 1, 1])
    np.testing.assert_array_equal(second["bin_weight"], [0.25, 0.75])
    assert first["skip_t0"].size == 0 and second["skip_t0"] == pytest.approx([0.6])
    np.testing.assert_allclose(first["rgba"], [0.1, 0.2, 0.3, 0.4])
    assert second["near"] == pytest.approx(0.6)
    with pytest.raises(IndexError):
        slot.of_ray(2)


def test_who_subscribed_is_told(state):
    current, told = state.current(), []
    end = state.subscribe(lambda what: told.append((len(what.slots), what.chosen_ray, what.pixel)))
    slot = state.Slot({}, two_rays(), {"rays": 2})
    current.show([slot], pixels=np.array([[3.5, 4.5], [5.5, 6.5]]), chosen_ray=1)
    current.choose(0)
    current.choose(0)  # nothing new
    current.clear()
    end()
    current.choose(5)
    current.changed()
    assert told == [(1, 1, (5.5, 6.5)), (1, 0, (3.5, 4.5)), (0, 0, None)]


def test_an_unknown_attribute_is_a_mistake(state):
    with pytest.raises(AttributeError, match="nowhere"):
        state.current().show([], nowhere=1)
