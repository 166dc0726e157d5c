"""Progress of the parts of an audit's evaluation."""

from collections.abc import Generator
from typing import Any, TypeVar, cast

from archetype.contract.job import Progress

T = TypeVar("T")


def report_parts(work: Generator[None, None, T], unit: str) -> Generator[Progress, Any, T]:
    """Runs work and yields how many parts of it are done."""
    done = 0
    while True:
        try:
            next(work)
        except StopIteration as end:
            return cast("T", end.value)
        done += 1
        yield Progress(done=done, total=0, unit=unit)
