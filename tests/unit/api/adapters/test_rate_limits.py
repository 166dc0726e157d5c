"""The arithmetic of limits, and a rate limiter without Redis."""

import pytest

from api.adapters.rate_limits import SubmitRateLimiter, check_limit, make_limit_problem
from shared.errors import LimitReached, Unavailable
from shared.settings import Settings


@pytest.mark.parametrize(("used", "added", "limit"), [(0, 1, 1), (3, 2, 5), (5, 0, 5), (10**9, 10**9, None)])
def test_a_limit_may_be_used_up_completely(used: int, added: int, limit: int | None) -> None:
    check_limit("queued_targets", used, limit, added=added)


@pytest.mark.parametrize(("used", "added", "limit"), [(1, 1, 1), (4, 2, 5), (6, 0, 5), (0, 1, 0)])
def test_more_than_a_limit_is_refused_with_its_name_and_value(used: int, added: int, limit: int) -> None:
    with pytest.raises(LimitReached, match=f"limit of {limit} queued targets") as refused:
        check_limit("queued_targets", used, limit, added=added)
    (error,) = refused.value.errors
    assert (error.field, error.given, error.allowed) == ("queued_targets", used, limit)


@pytest.mark.parametrize(("seconds", "retry_after"), [(1.0, 1), (1.2, 2), (59.01, 60), (10, 10)])
def test_the_time_to_wait_is_rounded_up_to_whole_seconds(seconds: float, retry_after: int) -> None:
    assert make_limit_problem("submits_per_minute", 2, 2, seconds).retry_after == retry_after


def test_a_rate_limiter_without_redis_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="Redis"):
        SubmitRateLimiter(Settings(redis_url="redis://127.0.0.1:1/0")).count_submit("key", 1)
