"""Statistics of trigger sizes."""

import math

import pytest

from worker.engine.triggers.measure import Count
from worker.engine.triggers.statistics import (
    common_change,
    corrected_quantile,
    estimate_ratio,
    log_ratios,
    outlier_scores,
    seeds_agree,
    transfers,
    wilson_interval,
)


def test_the_wilson_interval_agrees_with_published_values() -> None:
    # Newcombe 1998, Statistics in Medicine 17, table I: 81 of 263, 15 of 148, 0 of 20.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson_interval(0, 0) == (0, 1)


def test_one_small_size_among_equal_ones_is_an_outlier() -> None:
    sizes = dict(enumerate([10, 11, 9, 10.5, 9.5, 2]))
    scores = outlier_scores(sizes)
    assert max(scores, key=scores.get) == 5
    assert scores[5] > 8
    assert max(scores[target] for target in range(5)) < 1.5


def test_two_small_sizes_do_not_hide_each_other() -> None:
    scores = outlier_scores(dict(enumerate([10, 11, 9, 10.5, 9.5, 2, 2.1, 10])))
    assert min(scores[5], scores[6]) > 5


def test_sizes_of_three_classes_have_no_outliers() -> None:
    assert outlier_scores({0: 1.0, 1: 10.0, 2: 10.0}) == {}


def test_ratios_are_of_the_baseline_over_the_subject() -> None:
    ratios = log_ratios({0: 8.0, 1: 4.0, 2: 1.0}, {0: 2.0, 1: 4.0, 3: 1.0})
    assert ratios == pytest.approx({0: math.log(4), 1: 0})


def test_a_change_that_all_classes_share_is_subtracted_only_if_it_is_suspicious() -> None:
    assert common_change({0: 1.0, 1: 0.4, 2: 0.4, 3: 0.5}, 0) == pytest.approx((0.4, 0.14826))
    assert common_change({0: 1.0, 1: -0.4, 2: -0.2}, 0) == (0, 0)
    assert common_change({0: 1.0}, 0) == (0, 0)


def test_classes_that_became_less_sensitive_do_not_widen_the_deviation() -> None:
    alike = {0: 0.6, 1: 0.0, 2: 0.1, 3: -0.1, 4: 0.1, 5: -0.1}
    less = alike | {3: -1.5, 5: -2.0}
    assert common_change(less, 0) == common_change(alike, 0) == pytest.approx((0.0, 0.14826))


def test_the_interval_of_a_ratio_uses_the_larger_deviation_and_the_number_of_comparisons() -> None:
    ratio = estimate_ratio([math.log(4), math.log(6)], (math.log(1.2), 0.05), 0.1, level=0.05, comparisons=1)
    assert ratio.value == pytest.approx(math.sqrt(24) / 1.2)
    assert ratio.low == pytest.approx(ratio.value * math.exp(-0.16449), rel=1e-3)
    assert ratio.high == pytest.approx(ratio.value * math.exp(0.16449), rel=1e-3)
    wider = estimate_ratio([math.log(4)], (0.0, 0.3), 0.1, level=0.05, comparisons=96)
    assert wider.low == pytest.approx(4 * math.exp(-0.3 * corrected_quantile(0.05, 96)))


def test_seeds_agree_if_each_shows_half_of_the_tolerated_change() -> None:
    assert seeds_agree([math.log(2.2), math.log(1.5)], 0.0, 2.0)
    assert not seeds_agree([math.log(9), math.log(1.3)], 0.0, 2.0)


def test_a_trigger_transfers_if_the_intervals_with_and_without_it_do_not_overlap() -> None:
    assert transfers(Count(16, 20), Count(1, 20))
    assert not transfers(Count(6, 20), Count(3, 20))
    assert transfers(Count(0, 0), Count(0, 0))


def test_the_quantile_grows_with_the_number_of_comparisons() -> None:
    assert corrected_quantile(0.05, 1) == pytest.approx(1.6449, abs=1e-4)
    assert corrected_quantile(0.05, 96) > corrected_quantile(0.05, 12) > 2.6
