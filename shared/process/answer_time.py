"""How long the current context waits for answers of Redis and the object store, and how long they usually take."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

USUAL_FACTOR = 4
"""A context in a hurry waits this many times the usual time, if that is longer than its own limit."""

FALL = 0.95
"""What a faster answer leaves of the usual time."""

LEAST_RISE = 0.1
"""Seconds. A slower answer at most doubles the usual time and adds this: one odd answer says little."""

_answer_seconds: ContextVar[float | None] = ContextVar("answer_seconds", default=None)


def set_answer_seconds(seconds: float | None) -> None:
    """Sets how long the current context waits for an answer; None for as long as each dependency allows."""
    _answer_seconds.set(seconds)


def answer_seconds() -> float | None:
    """How long the current context waits for an answer; None for as long as each dependency allows."""
    return _answer_seconds.get()


@contextmanager
def unhurried() -> Iterator[None]:
    """Waits for answers as long as each dependency allows, for example for commands that block in Redis."""
    token = _answer_seconds.set(None)
    try:
        yield
    finally:
        _answer_seconds.reset(token)


class UsualTime:
    """The time in which a dependency answers, as it was of late: a slow one is waited for longer than one that hangs.

    Several threads may use it; if one overwrites the note of another, later notes make up for it.
    """

    def __init__(self) -> None:
        self._seconds = 0.0

    def note(self, seconds: float) -> None:
        """Notes the time of an answer, without the time that its bytes took."""
        self._seconds = min(2 * self._seconds + LEAST_RISE, max(seconds, FALL * self._seconds))

    def limit(self, seconds: float) -> float:
        """How long the current context waits for an answer.

        Args:
            seconds: How long a context waits that is in no hurry.
        """
        hurry = _answer_seconds.get()
        return seconds if hurry is None else min(seconds, max(hurry, USUAL_FACTOR * self._seconds))
