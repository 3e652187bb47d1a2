"""The time that is left, without what the first step cost."""

import pytest

from nerf_core.worker.time_left import TimeLeft


def test_the_first_step_does_not_count():
    left = TimeLeft(0, 10)
    assert left.after(0, 5.0) is None and left.after(1, 65.0) is None  # a minute of compiling
    assert left.after(2, 67.0) == pytest.approx(2.0 * 8)
    assert left.after(6, 75.0) == pytest.approx(2.0 * 4)
    assert left.after(10, 83.0) == 0.0


def test_what_was_there_before_does_not_count():
    left = TimeLeft(40, 44)
    assert left.after(40, 0.0) is None and left.after(41, 9.0) is None
    assert left.after(42, 10.0) == pytest.approx(2.0)
    assert TimeLeft(0, 1).after(1, 3.0) == 0.0
