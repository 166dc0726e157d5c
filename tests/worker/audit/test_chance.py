"""Intervals, and what stands out among classes."""

import numpy as np
import pytest

from worker.audit.chance import find_quantile, less_shared, measure


@pytest.mark.parametrize("count", [2, 3, 4])
def test_of_a_few_values_no_more_are_sure_than_the_level_says(count: int) -> None:
    random = np.random.default_rng(count)
    beside = sum(measure(random.normal(0, 1, count), looks=25).low > 0 for _ in range(1000))
    assert beside <= 5


@pytest.mark.parametrize(("freedom", "expected"), [(1, 318.31), (2, 22.327), (3, 10.215)])
def test_students_quantiles_are_those_of_the_tables(freedom: int, expected: float) -> None:
    assert find_quantile(0.999, freedom) == pytest.approx(expected, rel=1e-3)


def test_a_few_values_that_agree_are_sure() -> None:
    assert measure([0.97, 0.98, 0.99], looks=25).low > 0.8


def test_an_interval_holds_the_mean_and_is_wider_where_more_is_looked_at() -> None:
    values = np.random.default_rng(0).normal(1, 1, 40)
    one, many = measure(values, looks=1), measure(values, looks=100)
    assert one.low < one.value < one.high
    assert many.low < one.low
    assert one.high < many.high
    assert one == measure(values, looks=1)


def test_of_what_has_not_changed_the_interval_is_as_often_beside_zero_as_it_says() -> None:
    random = np.random.default_rng(1)
    beside = sum(measure(random.normal(0, 1, 30), looks=1, seed=n).low > 0 for n in range(200))
    assert beside <= 14  # 2.5 % of 200, and what chance adds


def test_what_all_classes_share_is_taken_off() -> None:
    found = less_shared({0: np.array([0.5, 0.7]), 1: np.array([0.6]), 2: np.array([0.6]), 3: np.array([0.9])})
    assert np.allclose(found[3], 0.3)
    assert np.allclose(found[1], 0.0, atol=0.01)
    assert np.allclose(less_shared({4: np.array([0.2])})[4], 0.2)
