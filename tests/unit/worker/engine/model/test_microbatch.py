"""Microbatches when memory runs out."""

import pytest
import torch

from worker.engine.model.microbatch import run_in_microbatches


def work_up_to(most: int, message: str | None = None):
    def work(rows: slice) -> list[int]:
        if rows.stop - rows.start > most:
            raise torch.OutOfMemoryError("no more") if message is None else RuntimeError(message)
        return list(range(rows.start, rows.stop))

    return work


@pytest.mark.parametrize("message", [None, "DefaultCPUAllocator: can't allocate memory: you tried to allocate"])
@pytest.mark.parametrize("count", [1, 3, 7, 32])
def test_every_row_is_computed_once_and_in_order_when_memory_runs_out(count: int, message: str | None) -> None:
    parts, limit = run_in_microbatches(work_up_to(3, message), count, count)
    assert [row for part in parts for row in part] == list(range(count))
    assert limit <= 3


def test_a_single_row_that_does_not_fit_into_memory_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        run_in_microbatches(work_up_to(0), 4, 4)


def test_errors_other_than_out_of_memory_are_not_caught() -> None:
    with pytest.raises(RuntimeError, match="kernel"):
        run_in_microbatches(work_up_to(1, "no such kernel"), 4, 4)
