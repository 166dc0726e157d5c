"""A tenant with a long queue does not delay the others: `benchmarks/queue/fairness.py` in short."""

import statistics

from benchmarks.queue.fairness import Simulation
from shared.queue.claims import Claims
from shared.state.redis_client import RedisClient


def test_nine_tenants_wait_hardly_longer_while_a_tenth_has_a_long_queue(
    claims: Claims, redis_client: RedisClient
) -> None:
    alone = Simulation(claims, workers=10, waiting=5, measured=200).run(backlog=0)
    with redis_client.connection() as redis:
        redis.flushdb()
    together = Simulation(claims, workers=10, waiting=5, measured=200).run(backlog=1000)
    assert statistics.median(together) <= 1.5 * statistics.median(alone)
