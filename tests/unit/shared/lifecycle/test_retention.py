"""Limits of the size of results: one for each tenant, and a fair share of one for all."""

import math

import pytest

from shared.lifecycle.retention import find_fair_share, find_limit
from shared.settings import Settings


@pytest.mark.parametrize(
    ("usage", "total", "share"),
    [
        ([], 10, math.inf),
        ([10], 10, math.inf),
        ([10], 4, 4),
        ([10, 10], 10, 5),
        ([1, 10], 10, 9),
        ([10, 2, 10, 2], 16, 6),
        ([3, 3, 3], 9, math.inf),
        ([5, 5], 0, 0),
    ],
)
def test_tenants_that_use_less_leave_the_rest_of_their_share_to_the_others(
    usage: list[int], total: int, share: float
) -> None:
    assert find_fair_share(usage, total) == share
    assert sum(min(used, share) for used in usage) <= total or total == 0


@pytest.mark.parametrize(
    ("quota", "total", "limit"),
    [(None, None, math.inf), (5, None, 5), (None, 12, 10), (5, 12, 5), (20, 12, 10), (0, None, 0)],
)
def test_the_limit_of_a_tenant_is_its_quota_or_its_share(quota: int | None, total: int | None, limit: float) -> None:
    settings = Settings(tenant_retention_bytes=quota, retention_bytes=total)
    assert find_limit({"alice": 2, "mallory": 100}, settings) == limit
