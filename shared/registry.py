"""The releases that were registered and accepted, as the store has them, looked up now and then."""

import threading
import time
from collections.abc import Callable, Sequence

from shared.catalogue import Release
from shared.registration import Registration, RegistrationState
from shared.storage import Storage

FRESH_SECONDS = 2.0
"""For so long a look at the store is good enough: a newer release of a known name appears after it."""

MISSED_SECONDS = 0.2
"""The same for what is asked for by name and not known: another process may just have accepted it."""


class Registry:
    """Accepted releases, oldest first."""

    def __init__(self, storage: Storage, clock: Callable[[], float] = time.monotonic) -> None:
        self._storage = storage
        self._clock = clock
        self._lock = threading.Lock()
        self._accepted: dict[tuple[str, str], Registration] = {}
        self._looked: float | None = None

    def __call__(self, *, fresh: bool = False) -> Sequence[Release]:
        """All that are known.

        Args:
            fresh: Look at the store again, unless that was just done: for something that is not among them.
        """
        with self._lock:
            age = FRESH_SECONDS + 1 if self._looked is None else self._clock() - self._looked
            if age > (MISSED_SECONDS if fresh else FRESH_SECONDS):
                self._look()
            accepted = sorted(self._accepted.values(), key=lambda one: one.registered_at)
        return [registration.entry for registration in accepted]

    def forget(self) -> None:
        """The next call looks at the store."""
        with self._lock:
            self._looked = None

    def _look(self) -> None:
        for name, release in self._storage.list_registrations():
            if (name, release) not in self._accepted:  # what is accepted never changes
                registration = self._storage.load_registration(name, release)
                if registration is not None and registration.state is RegistrationState.ACCEPTED:
                    self._accepted[name, release] = registration
        self._looked = self._clock()
