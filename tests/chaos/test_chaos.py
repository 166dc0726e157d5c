"""The short form of every scenario: no job is lost or doubled, and all expectations hold."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.chaos.apart import played_apart
from tests.chaos.ledger import Row
from tests.chaos.play import Scenario, play, warm_up
from tests.chaos.run import all_shared, choose_apart
from tests.chaos.stage import Stage, open_stage

SEED = 1
LONG = {14, 15}
"""Scenarios that wait for minutes even in the short form; `make chaos CHAOS=--short` runs them, too."""

LEFT_OUT = {9, 16}
"""Scenarios that `make test` leaves out: the storm of all faults, which it has one by one, and a wrong clock, which
tests/integration/worker/execution covers."""

APART = [number for number in choose_apart(short=True) if number not in LONG]

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], list[Row]]]:
    """Runs the scenarios with their own stack in another process."""
    with played_apart(tmp_path_factory.mktemp("apart") / "stage", APART, seed=SEED, short=True) as collect:
        yield collect


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with open_stage(tmp_path_factory.mktemp("shared"), seed=SEED, short=True) as opened:
        warm_up(opened)
        yield opened


def list_shared() -> list[Any]:
    """The scenarios on the shared stack; those that `make test` leaves out are slow."""
    return [
        pytest.param(
            scenario,
            id=scenario.title.replace(" ", "-"),
            marks=[pytest.mark.slow] if scenario.number in LEFT_OUT else [],
        )
        for scenario in all_shared(short=True)
    ]


@pytest.mark.parametrize("scenario", list_shared())
def test_no_job_is_lost_or_doubled(stage: Stage, scenario: Scenario) -> None:
    check(play(scenario, stage))


@pytest.mark.slow
@pytest.mark.parametrize("number", APART)
def test_no_job_is_lost_or_doubled_on_a_separate_stack(apart: Callable[[], list[Row]], number: int) -> None:
    rows = {row.number: row for row in apart()}
    assert number in rows, rows
    check(rows[number])
    if any("skipped" in note for note in rows[number].notes):
        pytest.skip("; ".join(rows[number].notes))


def check(row: Row) -> None:
    assert (row.lost, row.doubled, row.unmet) == (0, 0, []), row
    assert row.ended == row.accepted
