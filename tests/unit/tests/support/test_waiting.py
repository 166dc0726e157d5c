"""The polling helper returns the result of the condition, or fails after the limit."""

import pytest

from tests.support.waiting import wait_until


def test_wait_until_returns_the_first_true_result() -> None:
    results = iter([None, 0, "", "ready", "later"])
    assert wait_until(lambda: next(results), 5) == "ready"


def test_wait_until_raises_after_the_limit_with_the_message() -> None:
    with pytest.raises(TimeoutError, match=r"not met within 0.1 s: 3 of 4"):
        wait_until(lambda: False, 0.1, message=lambda: "3 of 4")
