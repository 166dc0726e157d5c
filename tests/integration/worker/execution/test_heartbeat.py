"""What a heartbeat writes to Redis."""

import pytest

from archetype.contract.job import Progress
from shared.queue.claims import Claim, ClaimLost
from tests.support.lane_workplace import LaneWorkplace
from worker.execution.heartbeat import Cancelled, Heartbeat, renew_leases


def beat(lanes: LaneWorkplace, claim: Claim, times: int) -> int:
    """Renews a lease with growing progress; returns how many events of progress there are."""
    heartbeat = Heartbeat(lanes.claims, claim, job_seconds=600)
    for done in range(1, times + 1):
        heartbeat.progress = Progress(done=done, total=100, unit="step")
        renew_leases([heartbeat])
    events = lanes.redis.xrange("archetype:events:default")
    return sum(fields[b"event"] == b"job.progress" for _, fields in events)


def test_one_shard_of_several_stores_its_progress_at_some_of_its_renewals(lanes: LaneWorkplace) -> None:
    lanes.submit([0, 1, 2], params={"steps": 4, "seeds": [1, 2, 3, 4, 5, 6, 7, 8]})
    claim = lanes.claims.claim("worker")
    assert claim is not None
    assert claim.is_partial
    before = int(lanes.claims.leases()[claim.ref])
    assert beat(lanes, claim, 4) == 1
    assert int(lanes.claims.leases()[claim.ref]) == before + 4


def test_the_only_shard_of_a_job_stores_its_progress_at_every_renewal(lanes: LaneWorkplace) -> None:
    lanes.submit([0])
    claim = lanes.claims.claim("worker")
    assert claim is not None
    assert beat(lanes, claim, 4) == 4


def test_all_leases_of_a_worker_are_renewed_with_one_call_and_each_gets_its_own_answer(lanes: LaneWorkplace) -> None:
    jobs = [lanes.submit([0]) for _ in range(3)]
    claims = [claim for _ in jobs if (claim := lanes.claims.claim("worker")) is not None]
    heartbeats = [Heartbeat(lanes.claims, claim, job_seconds=600) for claim in claims]
    before = lanes.claims.leases()
    lanes.claims.withdraw(claims[0].job_id, "client", "api")
    assert lanes.claims.release(claims[1].ref, before[claims[1].ref], max_attempts=3)
    lanes.redis.script_flush()  # as if Redis was restarted
    renew_leases(heartbeats)
    with pytest.raises(Cancelled, match="client"):
        heartbeats[0].check()
    with pytest.raises(ClaimLost):
        heartbeats[1].check()
    heartbeats[2].check()
    assert int(lanes.claims.leases()[claims[2].ref]) == int(before[claims[2].ref]) + 1
