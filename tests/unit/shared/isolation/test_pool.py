"""A child that exceeds a limit fails its own task alone, and is replaced."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.isolation.child import Limit, Limits, TaskFailed
from shared.isolation.frames import Frame
from shared.isolation.pool import ChildPool

LIMITS = Limits(memory=500_000_000, cpu_seconds=1, seconds=60)


@pytest.fixture(scope="module")
def pool() -> Iterator[ChildPool]:
    pool = ChildPool("tests.support.hostile_child", LIMITS)
    yield pool
    pool.close()


def test_a_child_is_used_for_many_tasks(pool: ChildPool) -> None:
    answers = [pool.carry_out("echo", Frame({"say": number}, b"x" * number), max_data=10) for number in range(4)]
    assert [answer.document["said"] for answer in answers] == [0, 1, 2, 3]
    assert [len(answer.data) for answer in answers] == [0, 1, 2, 3]
    assert len({answer.document["pid"] for answer in answers}) == 1


@pytest.mark.parametrize(("task", "limit"), [("allocate", Limit.MEMORY), ("spin", Limit.CPU), ("crash", Limit.CRASH)])
def test_a_child_that_exceeds_a_limit_is_replaced_and_the_limit_is_named(
    pool: ChildPool, task: str, limit: Limit
) -> None:
    before = pool.carry_out("echo", Frame({})).document["pid"]
    with pytest.raises(TaskFailed) as failure:
        pool.carry_out(task, Frame({}), max_data=1 << 32)
    assert failure.value.limit is limit
    assert pool.carry_out("echo", Frame({})).document["pid"] != before
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)


def test_a_child_that_waits_is_ended_at_the_deadline() -> None:
    pool = ChildPool("tests.support.hostile_child", Limits(500_000_000, cpu_seconds=60, seconds=2))
    with pytest.raises(TaskFailed) as failure:
        pool.carry_out("sleep", Frame({}))
    assert failure.value.limit is Limit.TIME


def test_an_answer_that_is_larger_than_allowed_is_not_read(pool: ChildPool) -> None:
    with pytest.raises(TaskFailed) as failure:
        pool.carry_out("echo", Frame({}, b"12345"), max_data=4)
    assert failure.value.limit is Limit.CRASH


def test_a_child_that_died_while_it_had_no_task_is_replaced(pool: ChildPool) -> None:
    pid = pool.carry_out("echo", Frame({})).document["pid"]
    os.kill(pid, 9)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert pool.carry_out("echo", Frame({})).document["pid"] != pid


def test_a_problem_of_the_input_leaves_the_child_alive(pool: ChildPool) -> None:
    pid = pool.carry_out("echo", Frame({})).document["pid"]
    assert pool.carry_out("refuse", Frame({})).document["problem"] == "TooLarge"
    assert pool.carry_out("echo", Frame({})).document["pid"] == pid


def test_a_file_is_handed_over_open(pool: ChildPool, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    with (tmp_path / "file").open("rb") as file:
        assert pool.carry_out("read", Frame({}, file=file.fileno()), max_data=10).data == b"content"


def test_a_child_has_no_variables_and_no_files_of_its_parent(
    pool: ChildPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHETYPE_OPERATOR_TOKEN", "secret")
    pool.close()
    with (tmp_path / "file").open("wb") as file:
        os.set_inheritable(file.fileno(), True)
        seen = pool.carry_out("look_around", Frame({})).document
    assert not [name for name in seen["variables"] if name.startswith(("ARCHETYPE", "AWS", "S3"))]
    assert str(tmp_path / "file") not in seen["files"]


def test_the_children_end_with_the_pool() -> None:
    pool = ChildPool("tests.support.hostile_child", LIMITS)
    pid = pool.carry_out("echo", Frame({})).document["pid"]
    del pool
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
