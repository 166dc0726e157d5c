"""The time that all machines share."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.errors import Unavailable
from shared.process import shared_clock
from shared.process.shared_clock import MAX_AGE_SECONDS, SharedClock
from tests.support.clock import Clock

START = datetime(2026, 11, 29, tzinfo=UTC)


class Server:
    """A server whose clock goes as fast as that of this machine, until it is set."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.start = START
        self.answers = True
        self.asked = 0

    def read(self) -> datetime:
        self.asked += 1
        if not self.answers:
            raise Unavailable("down")
        return self.start + timedelta(seconds=self.clock.now - 1000)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    clock = Clock()
    monkeypatch.setattr(shared_clock, "time", clock)
    return Server(clock)


def test_the_time_is_that_of_the_server_and_is_seldom_asked_for(server: Server) -> None:
    shared = SharedClock(server.read)
    for second in range(30):
        assert shared.now() == START + timedelta(seconds=second)
        server.clock.now += 1
    assert server.asked == 1


def test_a_change_of_the_server_is_noticed(server: Server) -> None:
    shared = SharedClock(server.read)
    shared.now()
    server.start += timedelta(days=1)
    server.clock.now += MAX_AGE_SECONDS + 1
    assert shared.now() == START + timedelta(days=1, seconds=MAX_AGE_SECONDS + 1)


def test_the_time_goes_on_while_the_server_does_not_answer(server: Server) -> None:
    shared = SharedClock(server.read)
    shared.now()
    server.answers = False
    for _ in range(10):
        server.clock.now += MAX_AGE_SECONDS / 2
        shared.now()
    assert shared.now() == START + timedelta(seconds=5 * MAX_AGE_SECONDS)
    assert server.asked < 8


def test_there_is_no_time_until_the_server_has_answered(server: Server) -> None:
    shared = SharedClock(server.read)
    server.answers = False
    with pytest.raises(Unavailable):
        shared.now()
    server.answers = True
    assert shared.now() == START
