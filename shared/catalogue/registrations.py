"""All registrations in the store, kept in memory: only those that are new or have changed are read again."""

from shared.storage.documents import Registration
from shared.storage.job_store import JobStore, ListedRegistration


class RegistrationCache:
    """The registrations, whatever the result of their checks. It is not safe to use from several threads.

    Args:
        storage: Store that contains the registrations.
    """

    def __init__(self, storage: JobStore) -> None:
        self._storage = storage
        self._known: dict[ListedRegistration, Registration | None] = {}

    def read(self) -> list[Registration]:
        """Lists the store, and reads what is not in memory. The oldest registration is the first."""
        listed = list(self._storage.list_registrations())
        self._known = {each: self._known[each] if each in self._known else self._load(each) for each in listed}
        registrations = [registration for registration in self._known.values() if registration is not None]
        return sorted(registrations, key=lambda registration: registration.registered_at)

    def _load(self, listed: ListedRegistration) -> Registration | None:
        return self._storage.load_registration(listed.name, listed.release, listed.tenant)
