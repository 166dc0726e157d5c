"""Intervals, and what stands out among classes."""

import numpy as np
import pytest

from worker.audit.chance import LEAST_SPREAD, find_quantile, find_usual, less_shared, measure, measure_classes

CLASSES = 12


def draw(random: np.random.Generator, count: int, differ: float) -> dict[int, np.ndarray]:
    """Classes in which nothing has changed, whose spreads differ by so much (of their logarithm)."""
    spreads = np.exp(random.normal(-3, differ, CLASSES))
    return {target: random.normal(0, spread, count) for target, spread in enumerate(spreads)}


@pytest.mark.parametrize("count", [2, 3, 5, 10])
@pytest.mark.parametrize("differ", [0.0, 0.5, 1.5])
def test_of_what_has_not_changed_no_more_is_sure_than_the_level_says(count: int, differ: float) -> None:
    random, audits = np.random.default_rng(count), 400
    beside = sum(
        any(change.low > 0 or change.high < 0 for change in measure_classes(draw(random, count, differ)).values())
        for _ in range(audits)
    )
    assert beside <= 0.09 * audits  # 5 %, what a guess at the usual adds (to 7 %), and what chance adds


@pytest.mark.parametrize(("freedom", "expected"), [(1, 318.31), (2, 22.327), (3, 10.215)])
def test_students_quantiles_are_those_of_the_tables(freedom: int, expected: float) -> None:
    assert find_quantile(0.999, freedom) == pytest.approx(expected, rel=1e-3)


def test_the_usual_variance_is_found_with_its_worth() -> None:
    random = np.random.default_rng(0)
    alike = [(float(random.normal(0, 0.2, 6).var(ddof=1)), 5) for _ in range(1000)]
    usual, worth = find_usual(alike)
    assert usual == pytest.approx(0.04, rel=0.1)
    assert worth > 100
    variances = 10 * 0.04 / random.chisquare(10, 1000)  # as Smyth has them: worth ten degrees of freedom
    drawn = [(float(random.normal(0, variance**0.5, 6).var(ddof=1)), 5) for variance in variances]
    usual, worth = find_usual(drawn)
    assert usual == pytest.approx(0.04, rel=0.1)
    assert worth == pytest.approx(10, rel=0.4)
    assert find_usual(alike[:2])[1] == 0


def test_a_class_whose_values_agree_by_accident_is_no_surer_than_the_others() -> None:
    random = np.random.default_rng(1)
    usual = {target: random.normal(0, 0.1, 2) for target in range(CLASSES)}
    found = measure_classes(usual | {0: np.array([0.12, 0.12])})
    assert found[0].low < 0
    alone = measure_classes({0: np.array([0.12, 0.12]), 1: np.array([0.5]), 2: np.array([])})
    assert alone.keys() == {0}
    assert 0 < alone[0].high - alone[0].low < 60 * LEAST_SPREAD


def test_a_change_in_one_class_is_found_among_others_that_vary() -> None:
    found = measure_classes(draw(np.random.default_rng(2), 5, 0.5) | {3: np.array([0.9, 0.7, 0.8, 0.9, 0.6])})
    assert [target for target, change in found.items() if change.low > 0] == [3]


def test_an_interval_holds_the_mean_and_is_wider_where_more_classes_share_the_level() -> None:
    values = np.random.default_rng(0).normal(1, 1, 40)
    one = measure(values)
    assert one.low < one.value < one.high
    pair = measure_classes({0: values, 1: values})[0]
    assert pair.low < one.low
    assert one.high < pair.high


def test_what_all_classes_share_is_taken_off() -> None:
    found = less_shared({0: np.array([0.5, 0.7]), 1: np.array([0.6]), 2: np.array([0.6]), 3: np.array([0.9])})
    assert np.allclose(found[3], 0.3)
    assert np.allclose(found[1], 0.0, atol=0.01)
    assert np.allclose(less_shared({4: np.array([0.2])})[4], 0.2)
