"""The streams of events in Redis."""

from deploy.local import Stack
from shared.state.events import START, Events
from shared.state.redis_client import RedisClient, RedisPatience


def test_a_wait_for_events_ends_before_the_time_of_the_connection(stack: Stack) -> None:
    events = Events(RedisClient(stack.settings, RedisPatience(seconds=1.5, total_seconds=30, retries=0)))
    assert events.read("a-tenant-without-events", START, seconds=60) == []
