"""Which jobs belong to audits. Retention keeps them, because later audits compare new releases with them.

The service marks the stored request. A tag does not count: clients choose tags.
"""

from collections.abc import Collection, Iterator
from contextlib import suppress
from functools import cached_property

from archetype.contract.job import Job
from shared.errors import Problem, Unavailable, UnsupportedFormat
from shared.history.job_list import JobList
from shared.lifecycle.rebuild import load_spec
from shared.storage.documents import JobSpec
from shared.storage.job_store import JobStore

AUDIT_TAG = "audit"
"""Tag of audits and their members, by which clients can filter. Earlier versions had no other mark."""

PAGE = 200


class AuditMembership:
    """Tells which finished jobs belong to audits.

    Args:
        storage: The store.
        job_list: The records and the history of the jobs.
        tenants: All tenants that have jobs.
        is_complete: Whether the lists contain all finished jobs. If not, every job with the tag whose request has no
            mark counts as a member: the audit that it belongs to may be missing.
    """

    def __init__(
        self, storage: JobStore, job_list: JobList, tenants: Collection[str], *, is_complete: bool = True
    ) -> None:
        self._storage = storage
        self._job_list = job_list
        self._tenants = tenants
        self._is_complete = is_complete

    def includes(self, job: Job) -> bool:
        """Whether a job is an audit or a member of one."""
        if job.method == "audit":
            return True
        try:
            spec = self._find_spec(job.id)
        except UnsupportedFormat:
            return True  # only a newer version can tell
        if spec is not None and spec.in_audit is not None:
            return spec.in_audit
        # An earlier version accepted the job, or its request cannot be read.
        return AUDIT_TAG in job.tags and (not self._is_complete or job.id in self._unmarked_members)

    def _find_spec(self, job_id: str) -> JobSpec | None:
        """The accepted request of a job; None if it cannot be read. Raises `Unavailable` and `UnsupportedFormat`."""
        try:
            return load_spec(self._storage, job_id)
        except Unavailable:
            raise
        except Problem:
            return None

    @cached_property
    def _unmarked_members(self) -> frozenset[str]:
        """Members of all audits; read only if there is a job with the tag and without a mark."""
        members = set(self._storage.list_member_ids())
        for audit_id in {*self._storage.list_audit_ids(), *self._list_audits()}:
            with suppress(UnsupportedFormat):  # newer versions mark the members
                spec = self._find_spec(audit_id)
                members.update(spec.request.get("members", {}).values() if spec is not None else ())
        return frozenset(members)

    def _list_audits(self) -> Iterator[str]:
        """Ids of all audits, also of those that were run again and therefore have no record in the store."""
        for tenant in self._tenants:
            after: str | None = None
            while True:
                jobs, after = self._job_list.page(tenant, filters={"method": "audit"}, limit=PAGE, after=after)
                yield from (job.id for job in jobs)
                if after is None:
                    break
