"""Fixtures for tests that run lanes in the process of the test."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local import Stack
from shared.process.logging import configure_logging
from tests.support.lane_workplace import LaneWorkplace
from worker.optimization.optimize import RunningAscents


@pytest.fixture
def lanes(stack: Stack, tmp_path: Path) -> Iterator[LaneWorkplace]:
    """A worker with a Redis database and a bucket of its own."""
    configure_logging(stack.settings)
    workplace = LaneWorkplace(stack, tmp_path)
    yield workplace
    workplace.redis.flushdb()


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of jobs in the batch of each step of the ascents."""
    sizes: list[int] = []
    compute = RunningAscents.compute

    def record_and_compute(self: RunningAscents, payloads: Any) -> Any:
        sizes.append(len(payloads))
        return compute(self, payloads)

    monkeypatch.setattr(RunningAscents, "compute", record_and_compute)
    return sizes


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], object]], None]:
    """Registers a function to call before a step of the ascents, counted from 0."""
    actions: dict[int, Callable[[], object]] = {}
    steps = iter(range(10**6))
    compute = RunningAscents.compute

    def act_and_compute(self: RunningAscents, payloads: Any) -> Any:
        if (step := next(steps)) in actions:
            actions.pop(step)()
        return compute(self, payloads)

    monkeypatch.setattr(RunningAscents, "compute", act_and_compute)
    return actions.__setitem__
