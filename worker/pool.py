"""What jobs of a lane compute together: each says what it wants, and all of it goes through as one batch."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

from shared.jobs import Progress


class Pool(Protocol):
    """Computes what several jobs want at once."""

    def compute(self, wants: Sequence[Any]) -> list[Any]:
        """What became of each, in their order. If this raises, nothing has happened, and some may be tried again."""


@dataclass(frozen=True)
class Want:
    """What a method waits for; it is sent the answer, and may be closed while it waits.

    Attributes:
        pool: Who computes it.
        what: What the pool is to compute.
        progress: How far the method is; None: no farther than it was.
        put_away: Gives the bytes from which another attempt can go on from here; None where there is nothing to save.
    """

    pool: Pool
    what: Any
    progress: Progress | None = None
    put_away: Callable[[], bytes] | None = None


Run = Generator[Progress | Want, Any, dict[str, Any]]
"""A method at work: it yields its progress between steps, where it may be stopped, or what it wants computed together
with others, and returns what it has found."""


T = TypeVar("T")


def work_alone(wanting: Generator[Progress | Want, Any, T] | Generator[Want, Any, T]) -> T:
    """What comes of something that wants to be computed in company, without any."""
    answer = None
    while True:
        try:
            said = wanting.send(answer)
        except StopIteration as stop:
            return cast("T", stop.value)
        answer = said.pool.compute([said.what])[0] if isinstance(said, Want) else None
