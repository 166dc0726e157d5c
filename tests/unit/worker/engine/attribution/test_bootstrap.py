"""Bootstrap confidence intervals."""

import pytest

from worker.engine.attribution.bootstrap import mean_with_interval


def test_the_interval_of_a_mean_is_as_wide_as_the_normal_approximation() -> None:
    values = [0.0] * 60 + [1.0] * 40
    result = mean_with_interval(values)
    assert result["mean"] == 0.4
    assert result["high"] - result["low"] == pytest.approx(2 * 1.96 * (0.4 * 0.6 / 100) ** 0.5, rel=0.1)
    assert mean_with_interval([1.0] * 5) == {"mean": 1.0, "low": 1.0, "high": 1.0}
