"""The polling helper of the tests."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.05


def wait_until(condition: Callable[[], T], seconds: float = 240, *, message: Callable[[], str] | str = "") -> T:
    """Calls a condition until its result is true and returns the result.

    Args:
        condition: A function without arguments. If it raises an exception, the exception is not caught.
        seconds: Limit; the condition is called at least once.
        message: Appended to the error, or a function that returns what to append.

    Raises:
        TimeoutError: The result was false until the limit.
    """
    limit = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > limit:
            detail = message() if callable(message) else message
            raise TimeoutError(f"the condition was not met within {seconds:g} s{': ' if detail else ''}{detail}")
        time.sleep(POLL_SECONDS)
    return result
