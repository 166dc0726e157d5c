"""Work in smaller parts when memory runs out."""

import pytest
import torch

from worker.engine.memory import run_in_parts


def work_up_to(most: int, message: str | None = None):
    def work(rows: slice) -> list[int]:
        if rows.stop - rows.start > most:
            raise torch.OutOfMemoryError("no more") if message is None else RuntimeError(message)
        return list(range(rows.start, rows.stop))

    return work


@pytest.mark.parametrize("message", [None, "DefaultCPUAllocator: can't allocate memory: you tried to allocate"])
@pytest.mark.parametrize("count", [1, 3, 7, 32])
def test_every_row_is_done_once_in_its_order(count: int, message: str | None) -> None:
    parts, limit = run_in_parts(work_up_to(3, message), count, count)
    assert [row for part in parts for row in part] == list(range(count))
    assert limit <= 3


def test_what_one_row_cannot_have_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        run_in_parts(work_up_to(0), 4, 4)


def test_other_errors_are_not_for_us() -> None:
    with pytest.raises(RuntimeError, match="kernel"):
        run_in_parts(work_up_to(1, "no such kernel"), 4, 4)
