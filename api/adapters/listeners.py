"""The open event streams of a process: a bounded number, shared fairly among tenants and their keys."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock

from archetype.contract.problem import FieldError
from shared.errors import LimitReached


@dataclass(eq=False)
class Listener:
    """An open event stream.

    Attributes:
        tenant: The tenant of the caller.
        key: The key of the caller; None without one.
        is_evicted: Whether the stream must end, because another tenant or key has fewer streams.
    """

    tenant: str
    key: str | None
    is_evicted: bool = False


class Listeners:
    """Admits event streams.

    One client alone may open all of them. When all are open and a tenant with fewer streams opens another one, the
    oldest stream of the tenant with the most ends; among the keys of one tenant likewise. Clients of event streams
    connect again by themselves and miss no event.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._lock = limit, Lock()
        self._open: list[Listener] = []

    def open(self, tenant: str, key: str | None) -> Listener:
        """Counts a new stream.

        Raises:
            LimitReached: All streams are open, and the caller has its share of them.
        """
        listener = Listener(tenant, key)
        with self._lock:
            if len(self._open) >= self._limit:
                self._evict(listener)
            self._open.append(listener)
        return listener

    def close(self, listener: Listener) -> None:
        """Forgets a stream that has ended."""
        with self._lock:
            if listener in self._open:
                self._open.remove(listener)

    def _evict(self, newcomer: Listener) -> None:
        tenant = _find_largest(newcomer.tenant, (listener.tenant for listener in self._open))
        own = [listener for listener in self._open if listener.tenant == newcomer.tenant]
        if tenant is not None:
            victims = [listener for listener in self._open if listener.tenant == tenant]
        else:
            key = _find_largest(newcomer.key, (listener.key for listener in own))
            victims = [listener for listener in own if listener.key == key and key != newcomer.key]
        if not victims:
            raise self._refuse(len(own))
        victims[0].is_evicted = True
        self._open.remove(victims[0])

    def _refuse(self, own: int) -> LimitReached:
        limit = self._limit
        field = FieldError(field="connections", detail="the maximum number of event streams is open", allowed=limit)
        text = f"{limit} connections follow events, which is the maximum, {own} of them of this tenant"
        return LimitReached(f"{text}; poll, or try again later", field)


def _find_largest(own: str | None, owners: Iterable[str | None]) -> str | None:
    """Returns the owner of the most streams, if it would still have as many as `own` after losing one; else None."""
    counts = Counter(owners)
    largest, number = counts.most_common(1)[0] if counts else (None, 0)
    return largest if number > counts[own] + 1 else None
