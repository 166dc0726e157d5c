"""Retries: which failed requests are sent again, after how long, and for how long altogether."""

import random
from collections.abc import Mapping
from typing import Any

import httpx2

from archetype.errors import ArchetypeError, NoConnection, RateLimited, ServerError, Unavailable

RETRY_SECONDS = 60.0
"""For how long a failed request is sent again."""

MAX_ATTEMPTS = 10
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.25, 8.0
"""Pause before the first retry, which doubles with every further one, and its maximum, unless the service names one."""

REPEATABLE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})

NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
BROKEN = (httpx2.NetworkError, httpx2.RemoteProtocolError)


def is_repeatable(method: str, headers: Mapping[str, str] | None) -> bool:
    """Whether sending a request twice has the effect of sending it once."""
    return method in REPEATABLE_METHODS or any(name.lower() == "idempotency-key" for name in headers or {})


def can_retry(error: ArchetypeError, *, repeatable: bool, has_answered: bool) -> bool:
    """Whether a failed request can be sent again.

    Args:
        error: The failure; its cause is the error of the HTTP library, if there was no answer.
        repeatable: Whether the request may have taken effect once already.
        has_answered: Whether the service has answered before. If it has not, the address is probably wrong.
    """
    if isinstance(error, RateLimited):
        return True  # it had no effect
    if isinstance(error, NoConnection):
        if isinstance(error.__cause__, NEVER_SENT):
            return has_answered
        return repeatable and isinstance(error.__cause__, BROKEN)
    return repeatable and isinstance(error, Unavailable | ServerError)


def choose_pause(error: ArchetypeError, attempt: int, seconds_left: float) -> float | None:
    """Returns the pause before the next attempt; None if there is none, because it would be too late.

    Args:
        error: The failure; its `retry_after` is the shortest pause.
        attempt: Number of attempts that have failed.
        seconds_left: How much is left of the time for retries.
    """
    if attempt >= MAX_ATTEMPTS:
        return None
    if error.retry_after is not None:
        pause = error.retry_after
    else:
        pause = min(MAX_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (attempt - 1)) * random.uniform(0.5, 1)  # noqa: S311
    return pause if pause <= seconds_left else None


def find_positions(arguments: Mapping[str, Any]) -> list[tuple[Any, int]]:
    """Returns the files of a request with their positions, to which they are set back before a repetition."""
    fields = (arguments.get("files") or {}).values()
    parts = [part for field in fields for part in (field if isinstance(field, tuple) else (field,))]
    return [(part, part.tell()) for part in parts if hasattr(part, "seek")]
