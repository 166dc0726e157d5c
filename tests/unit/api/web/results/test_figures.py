"""The figures of a result: what was measured, with its unit."""

from typing import Any

import pytest

from api.web.results.figures import list_figures
from tests.support.finished_jobs import BEE, LEMON, predict


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (predict(LEMON), {"probability": "98.0%", "score": "12.5", "rank": "1"}),
        (predict(LEMON, 0.2, rank=3), {"probability": "20.0%", "rank": "3", "predicted": "bee 98.0%"}),
        (
            {"before": predict(BEE, 0.01, rank=2), "after": predict(LEMON, 0.93), "fooled": True}
            | {"change": {"linf": 4 / 255, "l2": 1.25, "mean": 0.1}},
            {"before": "bee 98.0%", "after": "lemon 98.0%", "target": "1.0% → 93.0%", "fooled": "yes"}
            | {"L∞": "4 of 255 levels", "L2": "1.25"},
        ),
        ({"layer": "a", "before": 1.5, "after": 9.0}, {"objective": "1.5 → 9"}),
        ({"patches": [{"fall": 0.1}, {"fall": -0.4}]}, {"largest drop": "-40.0 points"}),
        ({"deletion": 0.125, "pointing": False, "randomization": None}, {"deletion": "0.125", "pointing": "no"}),
        ({"box": {"left": 2, "top": 3, "right": 12, "bottom": 33}}, {"box": "10 × 30 at 2, 3"}),
        ({"judges": {"other@1": predict(LEMON)}}, {"other@1": "lemon 98.0%, rank 1"}),
        ({}, {}),
    ],
)
def test_the_figures_of_a_result_are_shown_with_their_units(entry: dict[str, Any], expected: dict[str, str]) -> None:
    figures = {figure.label: figure.value for figure in list_figures(entry)}
    assert expected.items() <= figures.items()
    assert bool(figures) == bool(expected)
