"""All registrations in the store, kept in memory: only those that are new or have changed are read again."""

import structlog

from shared.errors import ObjectRefused
from shared.storage.documents import Registration
from shared.storage.job_store import JobStore, ListedRegistration

log = structlog.get_logger()


class RegistrationCache:
    """The registrations, whatever the result of their checks. It is not safe to use from several threads.

    Args:
        storage: Store that contains the registrations.
    """

    def __init__(self, storage: JobStore) -> None:
        self._storage = storage
        self._known: dict[ListedRegistration, Registration | None] = {}

    def read(self) -> list[Registration]:
        """Lists the store, and reads what is not in memory. The oldest registration is the first.

        Registrations that the store refuses are left out, and read again at the next call.

        Raises:
            ObjectRefused: The store refuses all of them.
            Unavailable: The store does not answer.
        """
        listed = list(self._storage.list_registrations())
        known = {each: self._known[each] for each in listed if each in self._known}
        refusals: list[ObjectRefused] = []
        for each in listed:
            if each not in known:
                try:
                    known[each] = self._load(each)
                except ObjectRefused as error:
                    log.warning("registration.refused", name=each.name, release=each.release, error=error.detail)
                    refusals.append(error)
        if refusals and not known:
            raise refusals[0]
        self._known = known
        registrations = [registration for registration in self._known.values() if registration is not None]
        return sorted(registrations, key=lambda registration: registration.registered_at)

    def _load(self, listed: ListedRegistration) -> Registration | None:
        return self._storage.load_registration(listed.name, listed.release, listed.tenant)
