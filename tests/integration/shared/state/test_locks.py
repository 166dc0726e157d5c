"""Locks, places and counters that processes share, in a real Redis."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from deploy.local import free_port
from shared.errors import Unavailable
from shared.settings import Settings
from shared.state.keys import key
from shared.state.locks import Locks
from shared.state.redis_client import RedisClient
from tests.support.waiting import wait_until


def lose(redis_client: RedisClient, what: str) -> None:
    """Makes a lock expire while its holder works."""
    with redis_client.connection() as connection:
        connection.delete(key(f"alone:{what}"))


def test_attempts_are_counted_until_they_are_reset(locks: Locks) -> None:
    assert [locks.count_attempt("it"), locks.count_attempt("it")] == [1, 2]
    locks.reset_attempts("it")
    assert locks.count_attempt("it") == 1


def test_a_lock_is_free_again_after_its_block(locks: Locks) -> None:
    with locks.try_lock("it", 60) as first, locks.try_lock("it", 60) as second, locks.try_lock("other", 60) as other:
        assert (first is None, second is None, other is None) == (False, True, False)
    with locks.try_lock("it", 60) as again:
        assert again is not None


def test_a_lock_expires_unless_it_is_extended(locks: Locks) -> None:
    with locks.try_lock("expires", 1), locks.try_lock("extended", 1) as held:
        assert held is not None
        held.extend(60)
        time.sleep(1.1)
        with locks.try_lock("expires", 60) as expired, locks.try_lock("extended", 60) as free:
            assert (expired is not None, free is not None) == (True, False)


def test_a_lock_that_another_process_has_taken_over_is_neither_extended_nor_released(
    locks: Locks, redis_client: RedisClient
) -> None:
    with locks.try_lock("it", 60) as first:
        assert first is not None
        lose(redis_client, "it")
        with locks.try_lock("it", 60) as second:
            assert second is not None
            with pytest.raises(Unavailable, match="expired before the work was done"):
                first.extend(60)
            second.extend(60)
            with locks.try_lock("it", 60) as third:
                assert third is None
    # the block of the first ends here, while no process holds the lock
    with locks.try_lock("it", 60) as first:
        lose(redis_client, "it")
        second_block = locks.try_lock("it", 60)
        assert second_block.__enter__() is not None
    with locks.try_lock("it", 60) as third:
        assert third is None
    second_block.__exit__(None, None, None)


def test_a_block_under_a_lock_runs_only_with_the_lock(locks: Locks) -> None:
    busy = pytest.raises(Unavailable, match="another request is changing it")
    with locks.lock("it", 60, wait=0), busy, locks.lock("it", 60, wait=0.2):
        pytest.fail("the block ran without the lock")


def test_blocks_under_the_same_lock_run_one_after_the_other(settings: Settings) -> None:
    inside, most = 0, 0

    def work(_: int) -> None:
        nonlocal inside, most
        with Locks(RedisClient(settings)).lock("it", 60, wait=60):
            inside += 1
            most = max(most, inside)
            time.sleep(0.01)
            inside -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    assert most == 1


def test_a_lock_is_released_if_its_block_fails(locks: Locks) -> None:
    with pytest.raises(ZeroDivisionError), locks.lock("it", 60, wait=0):
        raise ZeroDivisionError
    with locks.try_lock("it", 60) as held:
        assert held is not None


def test_a_lock_whose_answer_was_lost_is_held(locks: Locks, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client repeats a call after a broken connection, and Redis has executed the first one."""
    call = redis.Redis.set

    def repeat(self: redis.Redis, *arguments: Any, **options: Any) -> Any:
        call(self, *arguments, **options)
        return call(self, *arguments, **options)

    monkeypatch.setattr(redis.Redis, "set", repeat)
    with locks.try_lock("it", 60) as held:
        assert held is not None


def test_a_redis_that_does_not_answer_gives_no_lock(settings: Settings) -> None:
    silent = Locks(RedisClient(settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port()}/0"})))
    with pytest.raises(Unavailable), silent.try_lock("it", 60):
        pytest.fail("the block ran without the lock")


def test_finished_work_counts_although_the_lock_cannot_be_released(
    locks: Locks, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = threading.Event()
    with locks.lock("it", 60, wait=0):
        done.set()

        def fail(*_: Any, **__: Any) -> None:
            raise redis.ConnectionError("gone")

        monkeypatch.setattr(locks, "_release", fail)
    assert done.is_set()


def test_one_process_takes_a_turn_in_each_interval(locks: Locks) -> None:
    assert [locks.take_turn("it", 0.2), locks.take_turn("it", 0.2)] == [True, False]
    time.sleep(0.25)
    assert locks.take_turn("it", 0.2)


def test_owners_keep_their_places_and_others_wait_for_a_free_one(locks: Locks) -> None:
    def keep(owner: str) -> bool:
        return locks.keep_place("it", owner, places=2, seconds=0.3)

    assert [keep("a"), keep("b"), keep("c")] == [True, True, False]
    assert keep("a")
    time.sleep(0.35)
    assert keep("c")


def test_a_place_that_another_owner_has_taken_is_not_renewed(locks: Locks, redis_client: RedisClient) -> None:
    assert locks.keep_place("it", "a", places=1, seconds=60)
    with redis_client.connection() as connection:
        connection.set(key("place:it:0"), "b", px=1000)
        assert not locks.renew(key("place:it:0"), "a", 60)
        assert connection.pttl(key("place:it:0")) <= 1000
    assert not locks.keep_place("it", "a", places=1, seconds=60)


def test_a_renewed_lock_is_extended_while_its_block_runs(locks: Locks, redis_client: RedisClient) -> None:
    with locks.try_renewed_lock("it", 8) as held, redis_client.connection() as connection:
        assert held is not None
        with locks.try_renewed_lock("it", 8) as other:
            assert other is None
        connection.pexpire(key("alone:it"), 3_600_000)
        wait_until(lambda: connection.pttl(key("alone:it")) <= 8000, 60)
    with locks.try_renewed_lock("it", 8) as held:
        assert held is not None
