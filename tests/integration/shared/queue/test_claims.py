"""Claims, leases, fences and lanes, in a real Redis."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from archetype.contract.job import Progress, State
from shared.queue.claims import MAX_BULK_WAIT_SECONDS, Claim, ClaimLost, Claims
from shared.queue.lanes import name_tenant_lane
from shared.settings import Settings
from shared.state.job_ids import new_job_id
from shared.state.job_index import JobIndex
from shared.state.redis_client import RedisClient
from shared.storage.documents import Manifest
from tests.support.jobs import make_spec, place


def finish(claims: Claims, job_index: JobIndex, claim: Claim, state: State = State.SUCCEEDED) -> None:
    job = job_index.find(claim.job_id).model_copy(update={"state": state})
    claims.finish_job(claim, Manifest(job=job, fence=claim.fence))


def lose(claims: Claims, claim: Claim, *, max_attempts: int = 3) -> bool:
    """The lease of a claim expires, and the recovery process releases the shard."""
    return claims.release(claim.ref, claims.leases()[claim.ref], max_attempts=max_attempts)


def test_a_job_is_claimed_once_even_if_many_workers_ask(job_index: JobIndex, claims: Claims) -> None:
    job = place(claims)
    with ThreadPoolExecutor(16) as pool:
        taken = [claim for claim in pool.map(lambda n: claims.claim(str(n)), range(64)) if claim]
    assert [claim.job_id for claim in taken] == [job.id]
    assert job_index.find(job.id).state is State.RUNNING
    assert not claims.is_waiting()


def test_an_empty_queue_gives_no_claim(claims: Claims) -> None:
    assert claims.claim("me") is None


def test_a_renewed_lease_changes_and_cannot_be_released(job_index: JobIndex, claims: Claims) -> None:
    place(claims)
    claim = claims.claim("me")
    before = claims.leases()[claim.ref]
    assert claims.renew(claim, Progress(done=5, total=9)) is None
    assert claims.leases()[claim.ref] != before
    assert claims.release(claim.ref, before, max_attempts=3) is False
    assert claims.take_over(claim.ref, before, "sweep") is None
    assert job_index.find(claim.job_id).progress == Progress(done=5, total=9)


def test_a_worker_that_lost_its_claim_cannot_change_the_job(job_index: JobIndex, claims: Claims) -> None:
    job = place(claims)
    zombie = claims.claim("zombie")
    assert lose(claims, zombie) is True
    assert job_index.find(job.id).state is State.QUEUED
    for write in (
        lambda: claims.renew(zombie, Progress()),
        lambda: finish(claims, job_index, zombie),
        lambda: claims.give_back(zombie, counts=False, max_attempts=3),
    ):
        with pytest.raises(ClaimLost):
            write()
    heir = claims.claim("heir")
    assert (heir.attempt, heir.fence > zombie.fence, heir.resumes) == (2, True, True)
    with pytest.raises(ClaimLost):
        finish(claims, job_index, zombie)
    finish(claims, job_index, heir, State.FAILED)
    assert job_index.find(job.id).state is State.FAILED


def test_every_claim_of_a_shard_has_a_different_lease(claims: Claims) -> None:
    place(claims)
    beats = []
    for _ in range(5):
        claim = claims.claim("me")
        beats.append(claims.leases()[claim.ref])
        claims.give_back(claim, counts=False, max_attempts=3)
    # Otherwise repeated claims during an outage of the store would look like an expired lease.
    assert len(set(beats)) == 5


def test_a_terminal_state_is_written_once(job_index: JobIndex, claims: Claims) -> None:
    job = place(claims)
    claim = claims.claim("me")
    finish(claims, job_index, claim)
    with pytest.raises(ClaimLost):
        finish(claims, job_index, claim, State.FAILED)
    assert job_index.find(job.id).state is State.SUCCEEDED
    assert claims.claim("you") is None
    assert claims.withdraw(job.id, "asked", "api") is None


def test_the_fence_grows_even_if_redis_loses_its_data(claims: Claims, settings: Settings) -> None:
    job = place(claims)
    before = claims.claim("me").fence
    redis.Redis.from_url(settings.redis_url).flushdb()
    time.sleep(0.005)
    claims.create(job.id, make_spec())
    assert claims.claim("me").fence > before
    redis.Redis.from_url(settings.redis_url).flushdb()
    claims.create(job.id, make_spec(), fence=before + 10**9)  # the clock was set back, and the store has a higher fence
    assert claims.claim("me").fence == before + 10**9 + 1


def test_a_shard_that_is_given_back_keeps_its_position_and_its_number_of_attempts(
    job_index: JobIndex, claims: Claims
) -> None:
    first, _ = place(claims), place(claims)
    claims.give_back(claims.claim("me"), counts=False, max_attempts=3)
    assert job_index.find(first.id).attempt == 0
    again = claims.claim("you")
    assert (again.job_id, again.attempt, again.resumes) == (first.id, 1, True)


def test_the_last_attempt_is_made_in_a_lane_of_its_own(claims: Claims) -> None:
    suspect = place(claims, lane="a")
    lanes = []
    for _ in range(3):
        claim = claims.claim("me")
        lanes.append(claim.lane)
        lose(claims, claim)
    assert lanes[:2] == ["a", "a"]
    assert lanes[2] == f"a!{suspect.id}:0"
    place(claims, lane="a")
    assert {claims.claim("me").lane for _ in range(2)} == {"a", f"a!{suspect.id}:0"}


def test_a_worker_learns_of_a_cancellation_when_it_renews_its_lease(claims: Claims) -> None:
    place(claims)
    claim = claims.claim("me")
    assert claims.withdraw(claim.job_id, "asked", "api") is None
    assert claims.renew(claim, Progress()) == "asked"
    claims.withdraw(claim.job_id, "deadline", "sweep")
    assert claims.renew(claim, Progress()) == "asked"  # the first reason counts


def test_a_queued_job_is_cancelled_by_the_caller(job_index: JobIndex, claims: Claims) -> None:
    job = place(claims)
    claim = claims.withdraw(job.id, "asked", "api")
    finish(claims, job_index, claim, State.CANCELLED)
    assert job_index.find(job.id).state is State.CANCELLED
    assert (claims.claim("me"), claims.is_waiting()) == (None, False)


def test_a_worker_claims_from_its_lane_while_its_batch_has_room(claims: Claims) -> None:
    jobs = [place(claims, lane=lane, shards=(size,)) for lane, size in (("a", 1), ("b", 1), ("a", 2), ("a", 3))]
    first = claims.claim("me")
    second = claims.claim("me", lane="a", room=7)
    assert [first.job_id, second.job_id] == [jobs[0].id, jobs[2].id]
    assert (second.size, second.lane) == (2, "a")
    # The next shard has three slots, and smaller ones do not overtake it.
    assert claims.claim("me", lane="a", room=2) is None
    assert claims.claim("me", lane="a", room=3).job_id == jobs[3].id
    assert claims.claim("me", lane="a", room=3) is None


def test_the_lane_that_was_served_longest_ago_comes_first(claims: Claims) -> None:
    busy = [place(claims, lane="busy").id for _ in range(6)]
    quiet = place(claims, lane="quiet").id
    taken = [claims.claim("me").job_id for _ in range(4)]
    assert taken == [busy[0], quiet, busy[1], busy[2]]


def test_interactive_jobs_come_before_bulk_ones(claims: Claims) -> None:
    bulk = place(claims, lane="a", priority="bulk")
    more = place(claims, lane="a", priority="bulk")
    assert claims.claim("me").job_id == bulk.id
    other_lane = place(claims, lane="b")
    # Interactive jobs of other lanes come before the rest of a bulk lane.
    assert claims.claim("me", lane="a", room=9) is None
    same_lane = place(claims, lane="a")
    assert claims.claim("me", lane="a", room=9).job_id == same_lane.id
    assert claims.claim("me").job_id == other_lane.id
    assert claims.claim("me").job_id == more.id


def test_a_bulk_job_that_has_waited_too_long_is_claimed_first(claims: Claims, redis_client: RedisClient) -> None:
    job = place(claims, lane="a", priority="bulk")
    place(claims, lane="b")
    with redis_client.connection() as connection:
        connection.zincrby(
            f"archetype:pending:bulk:{name_tenant_lane('a', 'default')}",
            -(MAX_BULK_WAIT_SECONDS + 60) * 1000,
            f"{job.id}:0",
        )
    assert claims.claim("me").job_id == job.id


def test_bulk_jobs_that_have_waited_too_long_are_claimed_at_every_second_claim(
    claims: Claims, redis_client: RedisClient
) -> None:
    bulk = [place(claims, lane=f"a{number}", priority="bulk").id for number in range(3)]
    interactive = [place(claims, lane="b").id for _ in range(3)]
    with redis_client.connection() as connection:
        for number, job_id in enumerate(bulk):
            old = -(MAX_BULK_WAIT_SECONDS + 60) * 1000
            connection.zincrby(
                f"archetype:pending:bulk:{name_tenant_lane(f'a{number}', 'default')}", old, f"{job_id}:0"
            )
    taken = [claims.claim("me").job_id for _ in range(6)]
    assert taken == [bulk[0], interactive[0], bulk[1], interactive[1], bulk[2], interactive[2]]


def test_shards_are_claimed_separately_and_the_last_one_gives_the_claim_to_assemble_the_job(
    redis_client: RedisClient, job_index: JobIndex, claims: Claims
) -> None:
    job = place(claims, shards=(4, 3), weight=2)
    first, second = claims.claim("one"), claims.claim("two")
    assert [(claim.shard, claim.size, claim.shards) for claim in (first, second)] == [(0, 8, 2), (1, 6, 2)]
    assert first.fence != second.fence
    claims.renew(first, Progress(done=80, total=800, unit="step"))
    claims.renew(second, Progress(done=60, total=600, unit="step"))
    assert job_index.find(job.id).progress == Progress(done=140, total=1400, unit="step")
    assert claims.finish_shard(first, "one") is None
    with pytest.raises(ClaimLost):
        claims.finish_shard(first, "one")
    assembly = claims.finish_shard(second, "two")
    assert (assembly.is_assembly, assembly.shard, assembly.fence > second.fence) == (True, 2, True)
    finish(claims, job_index, assembly)
    assert job_index.find(job.id).state is State.SUCCEEDED
    assert claims.leases() == {}
    with redis_client.connection() as connection:
        assert list(connection.scan_iter("archetype:share:*")) == []


def test_a_lost_assembly_is_claimed_again(job_index: JobIndex, claims: Claims) -> None:
    place(claims, shards=(1, 1))
    assert claims.finish_shard(claims.claim("one"), "one") is None
    assembly = claims.finish_shard(claims.claim("one"), "one")
    assert lose(claims, assembly)
    heir = claims.claim("two")
    assert (heir.is_assembly, heir.attempt) == (True, 2)
    finish(claims, job_index, heir)


def test_a_cancelled_job_is_finished_by_its_last_running_shard(job_index: JobIndex, claims: Claims) -> None:
    job = place(claims, shards=(1, 1, 1))
    running = claims.claim("me")
    assert claims.withdraw(job.id, "asked", "api") is None
    assert claims.claim("you") is None  # the waiting shards are no longer in the queue
    assembly = claims.finish_shard(running, "me")
    assert claims.renew(assembly, Progress()) == "asked"
    finish(claims, job_index, assembly, State.CANCELLED)


def test_finished_shards_are_not_queued_again(claims: Claims) -> None:
    job_id = new_job_id()
    claims.create(job_id, make_spec(shards=(1, 1)), fence=7, ended={0})
    claim = claims.claim("me")
    assert (claim.shard, claim.resumes) == (1, True)
    assert claims.finish_shard(claim, "me").is_assembly
    other = new_job_id()
    claims.create(other, make_spec(shards=(1, 1)), fence=7, ended={0, 1})
    assert claims.claim("me").is_assembly


def test_a_job_is_overdue_after_its_deadline(claims: Claims) -> None:
    late, _ = place(claims, seconds=-1), place(claims, seconds=60)
    assert claims.list_overdue() == [late.id]
    claims.forget_deadline(late.id)
    assert claims.list_overdue() == []


def test_an_attempt_can_count_when_its_shard_is_given_back(claims: Claims) -> None:
    place(claims)
    claims.give_back(claims.claim("me"), counts=True, max_attempts=3)
    assert claims.claim("me").attempt == 2


def test_the_cost_of_a_claim_does_not_grow_with_the_queue(claims: Claims) -> None:
    def cost() -> float:
        started = time.perf_counter()
        for _ in range(50):
            claims.claim("me")
        return time.perf_counter() - started

    def fill(count: int) -> None:
        for number in range(count):
            place(claims, lane=f"lane {number % 50}", priority="bulk")

    fill(100)
    short = cost()
    fill(3000)
    assert cost() < 3 * short  # finds only a walk through the queue; `make bench` measures the cost


def test_a_job_that_waits_for_another_is_blocked_until_it_is_unblocked(claims: Claims) -> None:
    first = place(claims, lane="first")
    spec = make_spec(lane="second").model_copy(update={"after": [first.id]})
    second = new_job_id()
    assert claims.create(second, spec)
    assert claims.claim("me").job_id == first.id
    assert claims.claim("me") is None
    assert claims.list_blocked() == {second: [first.id]}
    assert claims.unblock(second)
    assert not claims.unblock(second)
    assert claims.claim("me").job_id == second


def test_a_blocked_job_can_be_cancelled(claims: Claims) -> None:
    spec = make_spec().model_copy(update={"after": [new_job_id()]})
    blocked = new_job_id()
    claims.create(blocked, spec)
    claim = claims.withdraw(blocked, "asked", "api")
    assert claim is not None
    claims.finish_job(
        claim, Manifest(job=spec.job(blocked).model_copy(update={"state": State.CANCELLED}), fence=claim.fence)
    )
    assert not claims.unblock(blocked)
    assert claims.claim("me") is None
