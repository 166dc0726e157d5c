"""A number of places that tenants share fairly: a free place goes to the tenant that holds the fewest."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event, Lock

from shared.errors import LimitReached, Unavailable

current_tenant: ContextVar[str] = ContextVar("tenant", default="")
"""The tenant that the current thread works for; empty before it is known, and in processes that serve no tenants."""


class Ticket:
    """A tenant that waits for a place."""

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.granted = Event()


class Places:
    """Places for work of tenants in this process.

    One tenant cannot take all of them, and the number of those that wait is limited, in total and for each tenant.
    """

    def __init__(self, total: int, *, waiting: int, name: str) -> None:
        """Creates free places.

        Args:
            total: Number of places. One of several is always left for other tenants.
            waiting: How many may wait, of one tenant; twice as many may wait in total.
            name: What a place is for, in the plural, for problems: "images that are decoded".
        """
        self._total, self._per_tenant = total, max(1, total - 1)
        self._waiting, self._name = waiting, name
        self._lock = Lock()
        self._held: Counter[str] = Counter()
        self._tickets: list[Ticket] = []

    @contextmanager
    def hold(self, tenant: str, deadline: float) -> Iterator[None]:
        """Holds a place until the block ends.

        Args:
            tenant: The tenant.
            deadline: Until when to wait, by `time.monotonic`.

        Raises:
            LimitReached: The tenant itself uses its share.
            Unavailable: All places are taken.
        """
        ticket = self._enter(tenant)
        try:
            if not ticket.granted.wait(max(0, deadline - time.monotonic())) and not self._leave(ticket):
                raise self._refuse(tenant)
            yield
        finally:
            if ticket.granted.is_set():
                self._give_back(tenant)

    def _enter(self, tenant: str) -> Ticket:
        with self._lock:
            own, ticket = sum(ticket.tenant == tenant for ticket in self._tickets), Ticket(tenant)
            is_full = own >= self._waiting or len(self._tickets) >= 2 * self._waiting
            self._tickets.append(ticket)
            self._grant()
            if is_full and not ticket.granted.is_set():
                self._tickets.remove(ticket)
                raise self._refuse(tenant)
            return ticket

    def _leave(self, ticket: Ticket) -> bool:
        """Stops waiting; returns whether the place was granted meanwhile."""
        with self._lock:
            if ticket in self._tickets:
                self._tickets.remove(ticket)
            return ticket.granted.is_set()

    def _give_back(self, tenant: str) -> None:
        with self._lock:
            self._held[tenant] -= 1
            self._held += Counter()  # without tenants that hold none
            self._grant()

    def _grant(self) -> None:
        while self._held.total() < self._total:
            able = [ticket for ticket in self._tickets if self._held[ticket.tenant] < self._per_tenant]
            if not able:
                return
            ticket = min(able, key=lambda ticket: self._held[ticket.tenant])  # the first of those that are equal
            self._tickets.remove(ticket)
            self._held[ticket.tenant] += 1
            ticket.granted.set()

    def _refuse(self, tenant: str) -> LimitReached | Unavailable:
        own = self._held[tenant] >= self._per_tenant or any(each.tenant == tenant for each in self._tickets)
        if own and tenant:
            return LimitReached(
                f"there are already as many {self._name} at a time as one tenant may have ({self._per_tenant}, and "
                f"{self._waiting} that wait); send fewer at a time, and this one again later"
            )
        return Unavailable(f"there are already as many {self._name} at a time as possible; try again in some seconds")
