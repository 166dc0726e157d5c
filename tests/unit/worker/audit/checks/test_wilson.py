"""Wilson intervals are those of published examples; intervals of paired falls are those of a literal version."""

import math

import numpy as np
import pytest

from worker.audit.checks.wilson import estimate_fall, estimate_proportion


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [
        *((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)),
        *((0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718), (29, 29, 0.8830, 1.0)),
    ],
)
def test_intervals_are_those_of_newcombe_1998_table_1(successes: int, count: int, low: float, high: float) -> None:
    estimate = estimate_proportion(successes, count)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=1e-4)


def pair(both: int, lost: int, won: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    before = np.repeat([True, True, False, False], [both, lost, won, neither])
    after = np.repeat([True, False, True, False], [both, lost, won, neither])
    return before, after


def solve_bound(successes: int, count: int, *, upper: bool) -> float:
    """The proportion from which the observed one differs by 1.96 standard errors of that proportion, by bisection."""
    rate = successes / count
    near, far = rate, 1.0 if upper else 0.0
    for _ in range(60):
        middle = (near + far) / 2
        is_inside = abs(rate - middle) < 1.959964 * math.sqrt(middle * (1 - middle) / count)
        near, far = (middle, far) if is_inside else (near, middle)
    return near


@pytest.mark.parametrize("table", [(36, 12, 2, 0), (20, 12, 2, 16), (5, 9, 9, 2), (0, 0, 0, 50), (0, 29, 0, 1)])
def test_paired_intervals_are_those_of_a_literal_version(table: tuple[int, int, int, int]) -> None:
    """Newcombe 1998, Stat. Med. 17, p. 2638, method 10: square-and-add limits with a corrected correlation."""
    both, lost, won, neither = table
    count = sum(table)
    rates = (both + lost) / count, (both + won) / count
    lows = [solve_bound(successes, count, upper=False) for successes in (both + lost, both + won)]
    highs = [solve_bound(successes, count, upper=True) for successes in (both + lost, both + won)]
    margins = (both + lost) * (won + neither) * (both + won) * (lost + neither)
    product = both * neither - lost * won
    corrected = max(product - count / 2, 0) if product > 0 else product
    phi = corrected / math.sqrt(margins) if margins else 0
    fall = rates[0] - rates[1]
    down = [rates[0] - lows[0], highs[1] - rates[1]]
    up = [highs[0] - rates[0], rates[1] - lows[1]]
    low, high = (math.sqrt(side[0] ** 2 - 2 * phi * side[0] * side[1] + side[1] ** 2) for side in (down, up))
    estimate = estimate_fall(*pair(*table))
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((fall, fall - low, fall + high), abs=1e-5)


def test_more_comparisons_give_wider_intervals() -> None:
    one, many = (estimate_fall(*pair(30, 12, 2, 6), comparisons=count) for count in (1, 20))
    assert many.low < one.low < one.high < many.high
