"""The releases that were registered and accepted, as the store has them, looked up now and then."""

import threading
import time
from collections.abc import Callable, Sequence

from shared.catalogue import Release
from shared.registration import Registration, RegistrationState
from shared.storage import Storage

FRESH_SECONDS = 2.0
"""For so long a look at the store is good enough: a release that another process registered appears after it."""


class Registry:
    """Accepted releases, oldest first."""

    def __init__(self, storage: Storage, clock: Callable[[], float] = time.monotonic) -> None:
        self._storage = storage
        self._clock = clock
        self._lock = threading.Lock()
        self._accepted: dict[tuple[str, str], Registration] = {}
        self._looked: float | None = None

    def __call__(self) -> Sequence[Release]:
        with self._lock:
            if self._looked is None or self._clock() - self._looked > FRESH_SECONDS:
                self._look()
            accepted = sorted(self._accepted.values(), key=lambda one: one.registered_at)
        return [registration.entry for registration in accepted]

    def forget(self) -> None:
        """The next call looks at the store again."""
        with self._lock:
            self._looked = None

    def _look(self) -> None:
        for name, release in self._storage.list_registrations():
            if (name, release) not in self._accepted:  # what is accepted never changes
                registration = self._storage.load_registration(name, release)
                if registration is not None and registration.state is RegistrationState.ACCEPTED:
                    self._accepted[name, release] = registration
        self._looked = self._clock()
