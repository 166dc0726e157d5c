"""Confidence intervals hold their level, and a class that changes more than the others is found."""

import numpy as np
import pytest

from worker.audit.statistics import (
    MIN_DEVIATION,
    estimate_class_means,
    estimate_mean,
    fit_variance_prior,
    student_quantile,
    subtract_common_change,
)

CLASSES = 12


def draw(random: np.random.Generator, count: int, differ: float) -> dict[int, np.ndarray]:
    """Unchanged classes. The logarithms of their standard deviations have the standard deviation `differ`."""
    spreads = np.exp(random.normal(-3, differ, CLASSES))
    return {target: random.normal(0, spread, count) for target, spread in enumerate(spreads)}


@pytest.mark.parametrize("count", [2, 3, 5, 10])
@pytest.mark.parametrize("differ", [0.0, 0.5, 1.5])
def test_unchanged_classes_exceed_zero_no_more_often_than_the_level(count: int, differ: float) -> None:
    random, audits = np.random.default_rng(count), 400
    false_findings = sum(
        any(change.low > 0 or change.high < 0 for change in estimate_class_means(draw(random, count, differ)).values())
        for _ in range(audits)
    )
    assert false_findings <= 0.09 * audits  # 5 %, 2 % for the fitted prior, and room for chance


@pytest.mark.parametrize(("freedom", "expected"), [(1, 318.31), (2, 22.327), (3, 10.215)])
def test_quantiles_of_students_t_equal_published_tables(freedom: int, expected: float) -> None:
    assert student_quantile(0.999, freedom) == pytest.approx(expected, rel=1e-3)


def test_the_prior_of_the_variances_is_fitted() -> None:
    random = np.random.default_rng(0)
    alike = [(float(random.normal(0, 0.2, 6).var(ddof=1)), 5) for _ in range(1000)]
    variance, freedom = fit_variance_prior(alike)
    assert variance == pytest.approx(0.04, rel=0.1)
    assert freedom > 100
    variances = 10 * 0.04 / random.chisquare(10, 1000)  # the prior of Smyth 2004 with ten degrees of freedom
    drawn = [(float(random.normal(0, variance**0.5, 6).var(ddof=1)), 5) for variance in variances]
    variance, freedom = fit_variance_prior(drawn)
    assert variance == pytest.approx(0.04, rel=0.1)
    assert freedom == pytest.approx(10, rel=0.4)
    assert fit_variance_prior(alike[:2])[1] == 0


def test_a_class_whose_values_agree_by_chance_gets_no_narrow_interval() -> None:
    random = np.random.default_rng(1)
    usual = {target: random.normal(0, 0.1, 2) for target in range(CLASSES)}
    estimates = estimate_class_means(usual | {0: np.array([0.12, 0.12])})
    assert estimates[0].low < 0
    alone = estimate_class_means({0: np.array([0.12, 0.12]), 1: np.array([0.5]), 2: np.array([])})
    assert alone.keys() == {0}
    assert 0 < alone[0].high - alone[0].low < 60 * MIN_DEVIATION


def test_a_change_of_one_class_is_found_among_varying_classes() -> None:
    estimates = estimate_class_means(draw(np.random.default_rng(2), 5, 0.5) | {3: np.array([0.9, 0.7, 0.8, 0.9, 0.6])})
    assert [target for target, change in estimates.items() if change.low > 0] == [3]


def test_an_interval_contains_the_mean_and_widens_with_the_number_of_classes() -> None:
    values = np.random.default_rng(0).normal(1, 1, 40)
    single = estimate_mean(values)
    assert single.low < single.value < single.high
    pair = estimate_class_means({0: values, 1: values})[0]
    assert pair.low < single.low
    assert single.high < pair.high


def test_the_common_change_of_all_classes_is_subtracted() -> None:
    changes = subtract_common_change(
        {0: np.array([0.5, 0.7]), 1: np.array([0.6]), 2: np.array([0.6]), 3: np.array([0.9])}
    )
    assert np.allclose(changes[3], 0.3)
    assert np.allclose(changes[1], 0.0, atol=0.01)
    assert np.allclose(subtract_common_change({4: np.array([0.2])})[4], 0.2)
