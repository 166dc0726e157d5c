"""Calls to a dependency that may hang: each has a deadline, and at most a number of them run or wait."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import ContextVar, copy_context
from threading import BoundedSemaphore, Thread
from typing import TypeVar

from shared.errors import Refused, Unavailable
from shared.isolation.places import Places, current_tenant
from shared.process.answer_time import UsualTime, is_silent, note_silence
from shared.process.circuit_breaker import CircuitBreaker

T = TypeVar("T")

QUEUE_SECONDS = 2.0
"""How long a call waits for others to end before it is refused."""

MAX_ABANDONED = 64
"""Calls whose callers no longer wait, but whose threads still do. With more, new calls are refused."""


class Deadline:
    """The time of a call. Bytes that have moved extend it, so that a slow but working dependency can finish.

    Args:
        seconds: The time without bytes.
        rate: Bytes per second that must move at least.
        clock: Returns the time in seconds.

    Attributes:
        extension: Seconds by which bytes have extended the time.
    """

    def __init__(self, seconds: float, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._end, self._rate, self._clock = clock() + seconds, rate, clock
        self.extension = 0.0

    def extend(self, moved: int) -> None:
        """Extends the time for a number of bytes that have moved, or will."""
        self.extension += moved / self._rate
        self._end += moved / self._rate

    @property
    def left(self) -> float:
        """Seconds until the deadline; negative after it."""
        return self._end - self._clock()

    def end(self) -> None:
        """Ends the time now."""
        self._end = self._clock()


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


def is_abandoned() -> bool:
    """Whether the caller of the current call no longer waits for it, so that nothing more may be sent."""
    deadline = _current.get()
    return deadline is not None and deadline.left <= 0


class GuardedCalls:
    """Runs calls in threads of its own, so that a call that hangs does not hold its caller.

    Args:
        name: The dependency, for messages.
        running: How many calls run at the same time. Tenants share them fairly.
        waiting: How many further calls of one tenant wait for up to `QUEUE_SECONDS`.
        breaker: Remembers failures, if it is given.
    """

    def __init__(self, name: str, *, running: int, waiting: int, breaker: CircuitBreaker | None = None) -> None:
        self._name, self._breaker = name, breaker
        self._places = Places(running, waiting=waiting, name=f"calls to {name}")
        self._threads = BoundedSemaphore(running + MAX_ABANDONED)
        self._usual = UsualTime()

    def limit(self, seconds: float) -> float:
        """How long the current context waits for a call that may take a number of seconds if there is no hurry."""
        return self._usual.limit(seconds)

    def run(self, function: Callable[[], T], deadline: Deadline, *, always: bool = False) -> T:
        """Returns the result of a function, which runs in another thread.

        Args:
            function: The call. It raises `Unavailable` if the dependency fails.
            deadline: The time of the call.
            always: Call even if the dependency failed a moment ago.

        Raises:
            Unavailable: The dependency fails or does not answer in time, or too many calls wait for it.
            LimitReached: Too many calls of the tenant wait for it.
        """
        if is_silent(self._name) and not always:
            raise Unavailable(self._describe_silence())
        reason = None if always or self._breaker is None else self._breaker.find_refusal()
        if reason is not None:
            raise Unavailable(reason)
        with self._places.hold(current_tenant.get(), time.monotonic() + min(QUEUE_SECONDS, deadline.left)):
            began = time.monotonic()
            try:
                result = self._wait(function, deadline)
            except Refused:
                self._succeed(began, deadline)
                raise
            except Unavailable as problem:
                if self._breaker is not None:
                    self._breaker.fail(problem.detail, waited=time.monotonic() - began)
                raise
            except Exception:
                self._succeed(began, deadline)
                raise
        self._succeed(began, deadline)
        return result

    def _succeed(self, began: float, deadline: Deadline) -> None:
        self._usual.note(max(0, time.monotonic() - began - deadline.extension))
        if self._breaker is not None:
            self._breaker.succeed()

    def _wait(self, function: Callable[[], T], deadline: Deadline) -> T:
        if not self._threads.acquire(blocking=False):
            raise Unavailable(f"too many calls to {self._name} hang; try again in a moment")
        future: Future[T] = Future()
        context = copy_context()
        context.run(_current.set, deadline)
        try:  # a daemon, so that a call that hangs does not keep the process from ending
            Thread(target=context.run, args=(self._execute, function, future), name=self._name, daemon=True).start()
        except RuntimeError as error:
            self._threads.release()
            raise Unavailable(f"{self._name} cannot be called, because this machine has no thread left") from error
        while not future.done() and deadline.left > 0:
            _wait_briefly(future, deadline.left)
        if future.done():
            return future.result()
        deadline.end()
        note_silence(self._name)
        raise Unavailable(self._describe_silence())

    def _describe_silence(self) -> str:
        return f"{self._name} did not answer in time; try again in a moment"

    def _execute(self, function: Callable[[], T], future: "Future[T]") -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)
        finally:
            self._threads.release()


def _wait_briefly(future: "Future[T]", seconds: float) -> None:
    try:
        future.exception(timeout=seconds)
    except TimeoutError:
        return
