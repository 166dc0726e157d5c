"""How long a request in a hurry waits, depending on the usual time of a dependency."""

from collections.abc import Iterator

import pytest

from shared.process.answer_time import UsualTime, set_answer_seconds, unhurried


@pytest.fixture(autouse=True)
def hurry() -> Iterator[None]:
    set_answer_seconds(0.8)
    yield
    set_answer_seconds(None)


def test_a_context_in_a_hurry_waits_shortly_for_a_dependency_that_is_fast() -> None:
    usual = UsualTime()
    for _ in range(10):
        usual.note(0.02)
    assert usual.limit(4) == 0.8
    with unhurried():
        assert usual.limit(4) == 4


def test_it_waits_longer_for_a_dependency_that_is_slow_and_never_longer_than_without_hurry() -> None:
    usual = UsualTime()
    for _ in range(4):
        usual.note(0.6)
    assert usual.limit(4) == pytest.approx(2.4)
    for _ in range(4):
        usual.note(3)
    assert usual.limit(4) == 4
    assert usual.limit(0.5) == 0.5


def test_one_odd_answer_changes_nothing_and_many_fast_ones_make_it_short_again() -> None:
    usual = UsualTime()
    usual.note(0.02)
    usual.note(3.5)
    assert usual.limit(4) == 0.8
    for _ in range(5):
        usual.note(3)
    for _ in range(60):
        usual.note(0.02)
    assert usual.limit(4) == 0.8
