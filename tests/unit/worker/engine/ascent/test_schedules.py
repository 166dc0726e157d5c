"""Learning-rate schedules against their formulas."""

import pytest

from worker.engine.ascent.schedules import Cosine, Staircase, constant


def test_schedules_equal_their_formulas() -> None:
    assert [constant(step) for step in (1, 99)] == [1, 1]
    assert [Staircase(2, 0.5)(step) for step in (1, 2, 3, 4, 5)] == [1, 1, 0.5, 0.5, 0.25]
    cosine = Cosine(10, warm_up=2)
    assert cosine(1) == pytest.approx(1 / 3)
    assert cosine(3) == 1
    assert cosine(7) == pytest.approx(0.5)
    assert 0 < cosine(10) < 0.1
