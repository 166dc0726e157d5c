"""The registry of workers offers idle workers that have a release in memory, however many workers there are."""

import pytest
import redis

from shared.settings import Settings
from shared.state.keys import key
from shared.state.redis_client import RedisClient
from shared.state.worker_registry import LOOKED_AT, WORKERS, WorkerRegistry, name_queue

RELEASE = "shapes@1"


@pytest.fixture
def registry(redis_client: RedisClient) -> WorkerRegistry:
    return WorkerRegistry(redis_client)


@pytest.fixture
def server(settings: Settings) -> redis.Redis:
    return redis.Redis.from_url(settings.redis_url, decode_responses=True)


def lose_entry(server: redis.Redis, worker: str) -> None:
    """Does what Redis does when a worker no longer renews its entry."""
    assert server.delete(key(f"worker:{worker}")) == 1


def test_an_idle_worker_that_has_the_release_is_found_once_until_it_is_idle_again(registry: WorkerRegistry) -> None:
    registry.report("a", [RELEASE, "other@1"], busy=False)
    registry.report("b", ["other@1"], busy=False)
    assert registry.find_idle(RELEASE) == "a"
    assert registry.find_idle(RELEASE) is None
    registry.report("a", [RELEASE], busy=True)
    assert registry.find_idle(RELEASE) is None
    registry.report("a", [RELEASE], busy=False)
    assert registry.find_idle(RELEASE) == "a"
    assert registry.find_idle("other@1") == "b"


def test_a_worker_is_not_found_for_a_release_that_it_has_dropped(registry: WorkerRegistry) -> None:
    registry.report("a", [RELEASE], busy=False)
    registry.report("a", ["other@1"], busy=False)
    assert registry.find_idle(RELEASE) is None


def test_workers_that_no_longer_run_are_neither_found_nor_offered_again(
    registry: WorkerRegistry, server: redis.Redis
) -> None:
    for number in range(LOOKED_AT):
        registry.report(f"gone-{number}", [RELEASE], busy=False)
        lose_entry(server, f"gone-{number}")
    assert registry.find_idle(RELEASE) is None
    registry.report("a", [RELEASE], busy=False)
    assert registry.find_idle(RELEASE) == "a"


def test_workers_remove_those_that_no_longer_run_with_their_queues(
    registry: WorkerRegistry, server: redis.Redis
) -> None:
    for name in ("a", "b", "gone"):
        registry.report(name, [], busy=False)
    server.rpush(name_queue("gone"), "a message")
    lose_entry(server, "gone")
    for _ in range(1000):  # each time a random worker is looked at
        registry.renew("a")
        if not server.sismember(WORKERS, "gone"):
            break
    assert server.smembers(WORKERS) == {"a", "b"}
    assert not server.exists(name_queue("gone"))
    assert set(registry.entries()) == {"a", "b"}


def test_the_search_reads_a_few_entries_of_a_thousand(registry: WorkerRegistry, server: redis.Redis) -> None:
    for number in range(1000):
        registry.report(f"worker-{number}", [f"release-{number % 50}@{n}" for n in range(4)], busy=False)
    registry.report("wanted", [RELEASE], busy=False)
    before = server.info("stats")["total_net_output_bytes"]
    assert registry.find_idle(RELEASE) == "wanted"
    read = server.info("stats")["total_net_output_bytes"] - before
    assert read < 20_000, f"{read} bytes were read, among them the answers of INFO"
