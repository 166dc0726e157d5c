"""Repairs of the recovery: jobs that cannot be repaired do not keep others from it."""

import pytest

from shared.errors import Unavailable, UnsupportedFormat
from worker.execution.recovery import MOST_UNAVAILABLE, for_each


class Repairs:
    """Notes the repaired jobs; raises the error of a job that has one."""

    def __init__(self, **errors: Exception) -> None:
        self.errors = errors
        self.done: set[str] = set()
        self.tried = 0

    def repair(self, name: str) -> None:
        self.tried += 1
        if name in self.errors:
            raise self.errors[name]
        self.done.add(name)


def test_one_job_for_which_the_store_never_answers_delays_no_other() -> None:
    names = [f"job-{number}" for number in range(20)]
    repairs = Repairs(**{"job-0": Unavailable("503"), "job-1": UnsupportedFormat("newer"), "job-2": KeyError("fault")})
    for_each(names, repairs.repair)
    assert repairs.done == set(names[3:])


def test_a_store_that_does_not_answer_at_all_ends_the_repairs() -> None:
    names = [f"job-{number}" for number in range(20)]
    repairs = Repairs(**{name: Unavailable("503") for name in names})
    with pytest.raises(Unavailable):
        for_each(names, repairs.repair)
    assert repairs.tried == MOST_UNAVAILABLE


def test_jobs_that_fail_together_do_not_keep_another_from_its_repair_for_ever() -> None:
    bad = {f"bad-{number}": Unavailable("503") for number in range(MOST_UNAVAILABLE)}
    repairs = Repairs(**bad)
    for _ in range(40):
        try:
            for_each([*bad, "good"], repairs.repair)
        except Unavailable:
            continue
    assert repairs.done == {"good"}
