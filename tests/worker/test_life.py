"""A worker's file is touched when it takes messages, and while it works; the others' as they look around."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local import Stack
from shared.client import Client
from shared.jobs import State
from shared.life import every, show_life
from shared.methods import ClassModel, ClassModelParameters


def wait_for(holds: Callable[[], bool], seconds: float) -> None:
    limit = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.05)


def forget(stack: Stack, who: str) -> Path:
    """Where it will be shown again."""
    assert stack.settings.life is not None
    shown = stack.settings.life / who
    shown.unlink(missing_ok=True)
    return shown


def test_a_worker_that_takes_messages_shows_that_it_lives(stack: Stack) -> None:
    shown = forget(stack, "worker")
    wait_for(shown.exists, 60)


@pytest.mark.parametrize("who", ["courier", "scheduler"])
def test_so_do_those_who_look_around(stack: Stack, who: str) -> None:
    shown = forget(stack, who)
    wait_for(shown.exists, 30)


def test_and_one_that_is_at_work(stack: Stack, client: Client) -> None:
    params = ClassModelParameters(steps=3000, extras=False)
    job = client.submit(ClassModel(method="class_model", model="shapes", targets=["lemon"], params=params))
    wait_for(lambda: client.job(job.id).state is State.RUNNING, 60)
    for _ in range(2):
        shown = forget(stack, "worker")
        wait_for(shown.exists, 3)
    assert client.job(job.id).state is State.RUNNING
    client.cancel(job.id)


def test_where_nobody_looks_nothing_is_touched(tmp_path: Path) -> None:
    show_life(None, "worker")
    show_life(tmp_path / "life", "worker")
    assert [path.name for path in tmp_path.rglob("*")] == ["life", "worker"]


def test_it_asks_itself_now_and_then() -> None:
    asked: list[int] = []
    act = every(0.05, lambda: asked.append(1))
    for _ in range(5):
        act()
    assert len(asked) == 1
    time.sleep(0.06)
    act()
    assert len(asked) == 2
