"""Limits how many deliveries run at once: in all, for a tenant, and for a receiver. Pauses receivers that fail."""

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

K = TypeVar("K")

MAX_CONCURRENT = 64
MAX_OF_TENANT = 8
MAX_OF_RECEIVER, MAX_OF_TENANT_AND_RECEIVER = 8, 2
"""A receiver (host and port) can serve several tenants; none of them may use all of its places."""

FREE_SHARE = 4
"""A tenant gets at most one in so many of the slots that are free, so that there are free slots for other tenants."""

FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 5.0, 60.0
"""Pause of a receiver after its first failure, and the longest pause unless it names a longer one."""

MIN_SPACING_SECONDS, MAX_DELAY_SECONDS = 0.025, 300.0
"""Least time between two delayed deliveries to a receiver, and the longest delay."""

MAX_REMEMBERED = 10_000
"""Receivers whose pauses are remembered; above it, the one that was used longest ago is forgotten."""


@dataclass
class ReceiverState:
    """What is known of a receiver, for one tenant.

    Attributes:
        failures: Failures since the last success.
        paused_until: Time until which nothing is sent to it.
        spacing: Expected time between two deliveries that it can take.
        booked_until: Delayed deliveries are due before this time; the next one comes after it.
    """

    failures: int = 0
    paused_until: float = 0.0
    spacing: float = MIN_SPACING_SECONDS
    booked_until: float = 0.0


@dataclass(eq=False)
class Slot:
    """A delivery that is under way. With it, its place at a receiver is given back, whatever happened.

    Attributes:
        tenant: Tenant of the delivery.
        since: When it was taken.
        receiver: Host and port of the receiver at which it has a place; None if it has none.
    """

    tenant: str
    since: float
    receiver: str | None = None


class Slots:
    """The deliveries that are under way in this process. All methods can be called from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._taken: set[Slot] = set()
        self._of_tenant: Counter[str] = Counter()
        self._of_receiver: Counter[str] = Counter()
        self._of_both: Counter[tuple[str, str]] = Counter()
        self._states: OrderedDict[tuple[str, str], ReceiverState] = OrderedDict()

    def has_free(self) -> bool:
        """Whether there is a free slot for some tenant."""
        with self._lock:
            return self._of_tenant.total() < MAX_CONCURRENT

    def list_full_tenants(self) -> list[str]:
        """The tenants that must not start another delivery now."""
        with self._lock:
            free = MAX_CONCURRENT - self._of_tenant.total()
            limit = max(1, min(MAX_OF_TENANT, free // FREE_SHARE))
            return [tenant for tenant, active in self._of_tenant.items() if active >= limit]

    def measure_oldest(self) -> float:
        """The age in seconds of the delivery that has been under way the longest; 0 if there is none."""
        with self._lock:
            return max((self._clock() - slot.since for slot in self._taken), default=0.0)

    def take(self, tenant: str) -> Slot:
        """Takes a slot for a tenant."""
        with self._lock:
            slot = Slot(tenant, self._clock())
            self._taken.add(slot)
            self._of_tenant[tenant] += 1
            return slot

    def give_back(self, slot: Slot) -> None:
        """Gives a slot back, with its place at a receiver if it still has one. A second call does nothing."""
        with self._lock:
            self._leave(slot)
            if slot in self._taken:
                self._taken.remove(slot)
                _decrease(self._of_tenant, slot.tenant)

    def enter(self, slot: Slot, receiver: str) -> float:
        """Takes a place at a receiver.

        Args:
            slot: The slot of the delivery.
            receiver: Host and port.

        Returns:
            0 if there was a place, otherwise the seconds after which the delivery should be tried again.
        """
        with self._lock:
            state, time_now = self._get_state(slot.tenant, receiver), self._clock()
            if state.paused_until <= time_now and self._has_place(slot.tenant, receiver):
                slot.receiver = receiver
                self._of_receiver[receiver] += 1
                self._of_both[slot.tenant, receiver] += 1
                return 0.0
            return _book(state, time_now)

    def leave(self, slot: Slot, *, seconds: float, failed: bool, pause: float = 0.0) -> None:
        """Gives a place at a receiver back. After a failure it is paused for this tenant, longer each time.

        Args:
            slot: The slot of the delivery, which has a place.
            seconds: Duration of the exchange.
            failed: Whether the delivery failed.
            pause: Least pause after a failure in seconds, as the receiver asked for it.
        """
        with self._lock:
            state = self._get_state(slot.tenant, self._leave(slot))
            state.spacing = max(MIN_SPACING_SECONDS, seconds / MAX_OF_TENANT_AND_RECEIVER)
            if failed:
                usual = min(MAX_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(state.failures, 16))
                state.paused_until = max(state.paused_until, self._clock() + max(usual, pause))
                state.failures += 1
            else:
                state.failures, state.paused_until, state.booked_until = 0, 0.0, 0.0

    def _leave(self, slot: Slot) -> str:
        receiver, slot.receiver = slot.receiver, None
        if receiver is None:
            return ""
        _decrease(self._of_receiver, receiver)
        _decrease(self._of_both, (slot.tenant, receiver))
        return receiver

    def _has_place(self, tenant: str, receiver: str) -> bool:
        is_free = self._of_receiver[receiver] < MAX_OF_RECEIVER
        return is_free and self._of_both[tenant, receiver] < MAX_OF_TENANT_AND_RECEIVER

    def _get_state(self, tenant: str, receiver: str) -> ReceiverState:
        state = self._states.setdefault((tenant, receiver), ReceiverState())
        self._states.move_to_end((tenant, receiver))
        if len(self._states) > MAX_REMEMBERED:
            self._states.popitem(last=False)
        return state


def _book(state: ReceiverState, time_now: float) -> float:
    """Delays a delivery: behind the pause, and behind those that were delayed earlier, so that few wake at once."""
    first = max(time_now, state.paused_until)
    latest = first + MAX_DELAY_SECONDS
    state.booked_until = min(max(first, state.booked_until) + state.spacing, latest)
    return state.booked_until - time_now


def _decrease(counter: Counter[K], key: K) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
