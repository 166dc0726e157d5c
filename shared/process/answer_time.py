"""How long the current context waits for answers of Redis and the object store, and how long they usually take."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

USUAL_FACTOR = 4
"""A context in a hurry waits this many times the usual time, if that is longer than its own limit."""

FALL = 0.95
"""What a faster answer leaves of the usual time."""

LEAST_RISE = 0.1
"""Seconds. A slower answer at most doubles the usual time and adds this: one odd answer says little."""


@dataclass(frozen=True)
class Hurry:
    """The hurry of a request, with all threads that work for it.

    Attributes:
        seconds: How long it waits for an answer.
        silent: Dependencies that it has waited for in vain. It does not wait for them again.
    """

    seconds: float
    silent: set[str] = field(default_factory=set)


_hurry: ContextVar[Hurry | None] = ContextVar("hurry", default=None)


def set_answer_seconds(seconds: float | None) -> None:
    """Sets how long the current context waits for an answer; None for as long as each dependency allows."""
    _hurry.set(None if seconds is None else Hurry(seconds))


def answer_seconds() -> float | None:
    """How long the current context waits for an answer; None for as long as each dependency allows."""
    hurry = _hurry.get()
    return None if hurry is None else hurry.seconds


def is_silent(name: str) -> bool:
    """Whether the current context is in a hurry, and has waited for a dependency in vain."""
    hurry = _hurry.get()
    return hurry is not None and name in hurry.silent


def note_silence(name: str) -> None:
    """Notes that the current context has waited for a dependency in vain."""
    hurry = _hurry.get()
    if hurry is not None:
        hurry.silent.add(name)


@contextmanager
def unhurried() -> Iterator[None]:
    """Waits for answers as long as each dependency allows, for example for commands that block in Redis."""
    token = _hurry.set(None)
    try:
        yield
    finally:
        _hurry.reset(token)


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
        least = answer_seconds()
        return seconds if least is None else min(seconds, max(least, USUAL_FACTOR * self._seconds))
