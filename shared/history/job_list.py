"""Lists of jobs: those that have a record in Redis, together with those in the history."""

from collections import Counter
from collections.abc import Mapping, Sequence

from archetype.contract.job import TERMINAL, Job
from shared.history.history import History
from shared.history.row import Row
from shared.state.job_ids import day_of
from shared.state.job_index import JobIndex


class JobList:
    """All jobs of all tenants. Every call raises `Unavailable` if Redis or the store does not answer.

    Args:
        job_index: The records in Redis.
        history: The ended jobs in the store.
    """

    def __init__(self, job_index: JobIndex, history: History) -> None:
        self.job_index = job_index
        self.history = history

    def page(
        self, tenant: str, *, filters: Mapping[str, str], limit: int, after: str | None
    ) -> tuple[list[Job], str | None]:
        """A page of a tenant's jobs, newest first.

        Args:
            tenant: The tenant.
            filters: Required values of `state`, `method`, `model` (`name` or `name@release`) and `tag`.
            limit: Maximum number of jobs.
            after: The last id of the previous page.

        Returns:
            The jobs, and the id after which the next page starts; None if this is the last page.
        """
        # A job is in the history before its record is deleted. Read in this order, it is in one of them.
        live, live_end = self.job_index.page(tenant, filters=dict(filters), limit=limit, after=after)
        if "state" in filters and filters["state"] not in TERMINAL:
            return live, live_end
        old, old_end = self.history.page(tenant, pairs=list(filters.items()), limit=limit, after=after)
        known_down_to = max(live_end or "", old_end or "")
        jobs = {job.id: job for job in (*old, *live) if job.id >= known_down_to}
        ordered = [jobs[job_id] for job_id in sorted(jobs, reverse=True)]
        if len(ordered) > limit:
            return ordered[:limit], ordered[limit - 1].id
        return ordered, known_down_to or None

    def find(self, tenant: str, job_id: str) -> Job | None:
        """A job without artifacts, metrics and provenance; None if neither Redis nor the tenant's history has it."""
        job = self.job_index.find(job_id)
        return job if job is not None and job.tenant == tenant else self.history.find(tenant, job_id)

    def delete(self, jobs: Sequence[Job]) -> None:
        """Removes finished jobs from all lists; also if the memory of Redis is full."""
        without_record = {job.id for job in jobs if not self.job_index.delete(job)}
        for (tenant, day), group in group_by_day(jobs).items():
            removed = self.history.remove(tenant, day, [job.id for job in group])
            self._count_removed(tenant, [row for row in removed if row.id in without_record])

    def _count_removed(self, tenant: str, rows: Sequence[Row]) -> None:
        if rows:
            states = Counter(value for row in rows for facet, value in row.pairs if facet == "state")
            self.job_index.count_removed(tenant, states, sum(row.bytes for row in rows))


def group_by_day(jobs: Sequence[Job]) -> dict[tuple[str, str], list[Job]]:
    """Returns jobs by tenant and day of creation."""
    groups: dict[tuple[str, str], list[Job]] = {}
    for job in jobs:
        groups.setdefault((job.tenant, day_of(job.id)), []).append(job)
    return groups
