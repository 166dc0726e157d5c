"""Claims, leases, fences and lanes, against a real Redis."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from shared.claims import PATIENCE_SECONDS, Claim, ClaimLost, Claims
from shared.jobs import Manifest, Progress, State, new_job_id
from shared.records import Records
from shared.settings import Settings
from tests.orders import make_order, place


def finish(claims: Claims, records: Records, claim: Claim, state: State = State.SUCCEEDED) -> None:
    job = records.find(claim.job_id).model_copy(update={"state": state})
    claims.finish(claim, Manifest(job=job, fence=claim.fence))


def lose(claims: Claims, claim: Claim, *, max_attempts: int = 3) -> bool:
    """The sweep finds that its lease has run out."""
    return claims.release(claim.ref, claims.leases()[claim.ref], max_attempts=max_attempts)


def test_a_job_is_claimed_once_however_many_ask(records: Records, claims: Claims) -> None:
    job = place(claims)
    with ThreadPoolExecutor(16) as pool:
        taken = [claim for claim in pool.map(lambda n: claims.claim(str(n)), range(64)) if claim]
    assert [claim.job_id for claim in taken] == [job.id]
    assert records.find(job.id).state is State.RUNNING
    assert not claims.is_waiting()


def test_where_nothing_waits_nothing_is_claimed(claims: Claims) -> None:
    assert claims.claim("me") is None


def test_a_lease_is_a_number_that_its_holder_raises(records: Records, claims: Claims) -> None:
    place(claims)
    claim = claims.claim("me")
    before = claims.leases()[claim.ref]
    assert claims.renew(claim, Progress(done=5, total=9)) is None
    assert claims.leases()[claim.ref] != before
    assert claims.release(claim.ref, before, max_attempts=3) is False
    assert claims.take_over(claim.ref, before, "sweep") is None
    assert records.find(claim.job_id).progress == Progress(done=5, total=9)


def test_a_lost_job_is_released_and_the_zombie_changes_nothing(records: Records, claims: Claims) -> None:
    job = place(claims)
    zombie = claims.claim("zombie")
    assert lose(claims, zombie) is True
    assert records.find(job.id).state is State.QUEUED
    for write in (
        lambda: claims.renew(zombie, Progress()),
        lambda: finish(claims, records, zombie),
        lambda: claims.give_back(zombie, counts=False, max_attempts=3),
    ):
        with pytest.raises(ClaimLost):
            write()
    heir = claims.claim("heir")
    assert (heir.attempt, heir.fence > zombie.fence, heir.resumes) == (2, True, True)
    with pytest.raises(ClaimLost):
        finish(claims, records, zombie)
    finish(claims, records, heir, State.FAILED)
    assert records.find(job.id).state is State.FAILED


def test_a_share_that_is_claimed_again_and_again_has_never_the_same_lease(claims: Claims) -> None:
    place(claims)
    beats = []
    for _ in range(5):
        claim = claims.claim("me")
        beats.append(claims.leases()[claim.ref])
        claims.give_back(claim, counts=False, max_attempts=3)
    assert len(set(beats)) == 5  # else a store that is away for a while would look like a worker that fell silent


def test_a_terminal_state_is_written_once(records: Records, claims: Claims) -> None:
    job = place(claims)
    claim = claims.claim("me")
    finish(claims, records, claim)
    with pytest.raises(ClaimLost):
        finish(claims, records, claim, State.FAILED)
    assert records.find(job.id).state is State.SUCCEEDED
    assert claims.claim("you") is None
    assert claims.withdraw(job.id, "asked", "api") is None


def test_the_fence_grows_even_if_redis_forgets(claims: Claims, settings: Settings) -> None:
    job = place(claims)
    before = claims.claim("me").fence
    redis.Redis.from_url(settings.redis_url).flushdb()
    time.sleep(0.005)
    claims.create(job.id, make_order())
    assert claims.claim("me").fence > before
    redis.Redis.from_url(settings.redis_url).flushdb()
    claims.create(job.id, make_order(), fence=before + 10**9)  # the clock was set back, and the store knows better
    assert claims.claim("me").fence == before + 10**9 + 1


def test_what_is_given_back_is_as_if_it_had_not_been_taken(records: Records, claims: Claims) -> None:
    first, _ = place(claims), place(claims)
    claims.give_back(claims.claim("me"), counts=False, max_attempts=3)
    assert records.find(first.id).attempt == 0
    again = claims.claim("you")
    assert (again.job_id, again.attempt, again.resumes) == (first.id, 1, True)  # and it has kept its place


def test_the_last_attempt_is_made_without_company(claims: Claims) -> None:
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


def test_a_wish_to_cancel_reaches_whoever_renews(claims: Claims) -> None:
    place(claims)
    claim = claims.claim("me")
    assert claims.withdraw(claim.job_id, "asked", "api") is None
    assert claims.renew(claim, Progress()) == "asked"
    claims.withdraw(claim.job_id, "deadline", "sweep")
    assert claims.renew(claim, Progress()) == "asked"  # the first reason counts


def test_what_waits_is_cancelled_by_whoever_asks(records: Records, claims: Claims) -> None:
    job = place(claims)
    claim = claims.withdraw(job.id, "asked", "api")
    finish(claims, records, claim, State.CANCELLED)
    assert records.find(job.id).state is State.CANCELLED
    assert (claims.claim("me"), claims.is_waiting()) == (None, False)


def test_a_worker_stays_in_its_lane_while_there_is_room(claims: Claims) -> None:
    jobs = [place(claims, lane=lane, shares=(size,)) for lane, size in (("a", 1), ("b", 1), ("a", 2), ("a", 3))]
    first = claims.claim("me")
    second = claims.claim("me", lane="a", room=7)
    assert [first.job_id, second.job_id] == [jobs[0].id, jobs[2].id]
    assert (second.size, second.lane) == (2, "a")
    assert claims.claim("me", lane="a", room=2) is None  # the next one takes three places, and nobody overtakes it
    assert claims.claim("me", lane="a", room=3).job_id == jobs[3].id
    assert claims.claim("me", lane="a", room=3) is None


def test_the_lane_that_was_served_longest_ago_comes_first(claims: Claims) -> None:
    popular = [place(claims, lane="popular").id for _ in range(6)]
    lonely = place(claims, lane="lonely").id
    taken = [claims.claim("me").job_id for _ in range(4)]
    assert taken == [popular[0], lonely, popular[1], popular[2]]


def test_interactive_jobs_come_before_bulk_ones(claims: Claims) -> None:
    bulk = place(claims, lane="a", priority="bulk")
    more = place(claims, lane="a", priority="bulk")
    assert claims.claim("me").job_id == bulk.id
    elsewhere = place(claims, lane="b")
    assert claims.claim("me", lane="a", room=9) is None  # a worker in a bulk lane makes no one wait who is in a hurry
    here = place(claims, lane="a")
    assert claims.claim("me", lane="a", room=9).job_id == here.id
    assert claims.claim("me").job_id == elsewhere.id
    assert claims.claim("me").job_id == more.id


def test_a_bulk_job_that_has_waited_for_long_comes_first(claims: Claims, records: Records) -> None:
    job = place(claims, lane="a", priority="bulk")
    place(claims, lane="b")
    with records.connection() as connection:
        connection.zincrby("archetype:pending:bulk:a", -(PATIENCE_SECONDS + 60) * 1000, f"{job.id}:0")
    assert claims.claim("me").job_id == job.id


def test_a_backlog_that_has_waited_for_long_takes_every_other_turn(claims: Claims, records: Records) -> None:
    bulk = [place(claims, lane=f"a{number}", priority="bulk").id for number in range(3)]
    hurried = [place(claims, lane="b").id for _ in range(3)]
    with records.connection() as connection:
        for number, job_id in enumerate(bulk):
            old = -(PATIENCE_SECONDS + 60) * 1000
            connection.zincrby(f"archetype:pending:bulk:a{number}", old, f"{job_id}:0")
    taken = [claims.claim("me").job_id for _ in range(6)]
    assert taken == [bulk[0], hurried[0], bulk[1], hurried[1], bulk[2], hurried[2]]


def test_the_shares_of_a_job_go_to_whoever_is_free_and_the_last_puts_them_together(
    records: Records, claims: Claims
) -> None:
    job = place(claims, shares=(4, 3), weight=2)
    first, second = claims.claim("one"), claims.claim("two")
    assert [(each.share, each.size, each.shares) for each in (first, second)] == [(0, 8, 2), (1, 6, 2)]
    assert first.fence != second.fence
    claims.renew(first, Progress(done=80, total=800, unit="step"))
    claims.renew(second, Progress(done=60, total=600, unit="step"))
    assert records.find(job.id).progress == Progress(done=140, total=1400, unit="step")
    assert claims.end_share(first, "one") is None
    with pytest.raises(ClaimLost):
        claims.end_share(first, "one")
    whole = claims.end_share(second, "two")
    assert (whole.whole, whole.share, whole.fence > second.fence) == (True, 2, True)
    finish(claims, records, whole)
    assert records.find(job.id).state is State.SUCCEEDED
    assert claims.leases() == {}
    with records.connection() as connection:
        assert list(connection.scan_iter("archetype:share:*")) == []


def test_who_puts_shares_together_can_be_lost_like_anybody(records: Records, claims: Claims) -> None:
    place(claims, shares=(1, 1))
    assert claims.end_share(claims.claim("one"), "one") is None
    whole = claims.end_share(claims.claim("one"), "one")
    assert lose(claims, whole)
    heir = claims.claim("two")
    assert (heir.whole, heir.attempt) == (True, 2)
    finish(claims, records, heir)


def test_a_job_of_which_some_shares_run_is_ended_by_the_last_of_them(records: Records, claims: Claims) -> None:
    job = place(claims, shares=(1, 1, 1))
    running = claims.claim("me")
    assert claims.withdraw(job.id, "asked", "api") is None
    assert claims.claim("you") is None  # what waited is withdrawn
    whole = claims.end_share(running, "me")
    assert claims.renew(whole, Progress()) == "asked"
    finish(claims, records, whole, State.CANCELLED)


def test_shares_that_have_ended_are_not_queued_again(claims: Claims) -> None:
    job_id = new_job_id()
    claims.create(job_id, make_order(shares=(1, 1)), fence=7, ended={0})
    claim = claims.claim("me")
    assert (claim.share, claim.resumes) == (1, True)
    assert claims.end_share(claim, "me").whole
    other = new_job_id()
    claims.create(other, make_order(shares=(1, 1)), fence=7, ended={0, 1})
    assert claims.claim("me").whole


def test_a_deadline_that_has_passed_is_due(claims: Claims) -> None:
    late, _ = place(claims, seconds=-1), place(claims, seconds=60)
    assert claims.due() == [late.id]
    claims.forget_deadline(late.id)
    assert claims.due() == []


def test_an_attempt_that_ran_out_of_memory_counts(claims: Claims) -> None:
    place(claims)
    claims.give_back(claims.claim("me"), counts=True, max_attempts=3)
    assert claims.claim("me").attempt == 2


def test_a_claim_costs_the_same_however_long_the_queue(claims: Claims) -> None:
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
    assert cost() < 3 * short  # `make bench` measures it; this would only miss a walk through the queue


def test_a_job_that_comes_after_others_is_held_until_it_is_let_in(claims: Claims) -> None:
    first = place(claims, lane="first")
    order = make_order(lane="second").model_copy(update={"after": [first.id]})
    second = new_job_id()
    assert claims.create(second, order)
    assert claims.claim("me").job_id == first.id
    assert claims.claim("me") is None
    assert claims.held() == {second: [first.id]}
    assert claims.admit(second)
    assert not claims.admit(second)
    assert claims.claim("me").job_id == second


def test_a_held_job_can_be_cancelled(claims: Claims) -> None:
    order = make_order().model_copy(update={"after": [new_job_id()]})
    held = new_job_id()
    claims.create(held, order)
    claim = claims.withdraw(held, "asked", "api")
    assert claim is not None
    claims.finish(claim, Manifest(job=order.job(held).model_copy(update={"state": State.CANCELLED}), fence=claim.fence))
    assert not claims.admit(held)
    assert claims.claim("me") is None
