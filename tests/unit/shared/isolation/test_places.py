"""Places are shared fairly: no tenant takes all, and a free one goes to the tenant that holds the fewest."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event

import pytest

from shared.errors import LimitReached, Unavailable
from shared.isolation.places import Places
from tests.support.waiting import wait_until


def soon() -> float:
    return time.monotonic() + 0.05


def much_later() -> float:
    return time.monotonic() + 60


@pytest.fixture
def places() -> Places:
    return Places(3, waiting=2, name="files that are decoded")


def test_one_tenant_cannot_take_all_places(places: Places) -> None:
    with places.hold("a", soon()), places.hold("a", soon()):
        with pytest.raises(LimitReached, match="as one tenant may have"), places.hold("a", soon()):
            pass
        with places.hold("b", soon()):
            pass


def test_a_tenant_without_a_place_learns_that_all_are_taken(places: Places) -> None:
    with (
        places.hold("a", soon()),
        places.hold("a", soon()),
        places.hold("b", soon()),
        pytest.raises(Unavailable, match="as many files that are decoded"),
        places.hold("c", soon()),
    ):
        pass


def test_a_single_place_can_be_used() -> None:
    places, used = Places(1, waiting=1, name="files"), 0
    for _ in range(2):
        with places.hold("a", soon()):
            used += 1
    assert used == 2


def test_a_place_is_free_again_after_an_exception(places: Places) -> None:
    for _ in range(5):
        with pytest.raises(ZeroDivisionError), places.hold("a", soon()):
            raise ZeroDivisionError


def test_a_free_place_goes_to_the_tenant_that_holds_the_fewest() -> None:
    places, order, release = Places(3, waiting=4, name="files"), list[str](), Event()

    def take(tenant: str) -> None:
        with places.hold(tenant, much_later()):
            order.append(tenant)
            assert release.wait(60)

    with ExitStack() as held, ThreadPoolExecutor(4) as threads:
        for tenant in ("a", "a", "b"):
            held.enter_context(places.hold(tenant, soon()))
        waiting = []
        for number, tenant in enumerate(("a", "a", "b", "c"), 1):
            waiting.append(threads.submit(take, tenant))
            wait_until(lambda number=number: len(places._tickets) == number, 60)
        held.close()
        wait_until(lambda: len(order) == 3, 60)
        assert "c" in order
        assert order.count("a") < 3
        release.set()
        for each in waiting:
            each.result(60)


def test_the_number_of_those_that_wait_is_limited(places: Places) -> None:
    with ExitStack() as held, ThreadPoolExecutor(2) as threads:
        for tenant in ("a", "a", "b"):
            held.enter_context(places.hold(tenant, soon()))

        def wait() -> None:
            with places.hold("a", much_later()):
                pass

        waiting = [threads.submit(wait) for _ in range(2)]
        wait_until(lambda: len(places._tickets) == 2, 60)
        with pytest.raises(LimitReached), places.hold("a", much_later()):
            pass
        held.close()
        for each in waiting:
            each.result(60)
