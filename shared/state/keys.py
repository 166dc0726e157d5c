"""Names of the keys in Redis."""

from archetype.contract.job import Job, State

PREFIX = "archetype:"

RECORD_FORMAT = 1
"""Version of the job records. Records with a higher version were written by a newer service and are ignored."""


def lists_of(job: Job) -> list[str]:
    """The tenant's lists that contain a job during its whole life. The list of its state is not one of them."""
    name = job.model.partition("@")[0]
    facets = [("method", job.method), ("model", name), ("model", job.model), *(("tag", tag) for tag in job.tags)]
    return [key_of_list(job.tenant, "all"), *(key_of_list(job.tenant, facet, value) for facet, value in facets)]


def states_of(job: Job, *states: State) -> list[str]:
    """The lists that contain a job while it is in one of these states: that of all jobs and that of its tenant."""
    return [name for state in states for name in (key_of_state(state), key_of_list(job.tenant, "state", state))]


def key_of_job(job_id: str) -> str:
    """Key of a job's record."""
    return key(f"job:{job_id}")


def key_of_shard(ref: str) -> str:
    """Key of a shard's record.

    Args:
        ref: `{job id}:{shard number}`.
    """
    return key(f"share:{ref}")


def key_of_list(tenant: str, facet: str, value: str = "") -> str:
    """Key of the ids of a tenant's jobs that have the same value of a facet."""
    return key(f"list:{tenant}:{facet}:{value}")


def key_of_stored(tenant: str) -> str:
    """Key of the number of bytes that a tenant has stored."""
    return key(f"stored:{tenant}")


def key_of_state(state: State) -> str:
    """Key of the ids of all jobs in a state."""
    return key(f"state:{state}")


def key_of_history(state: State) -> str:
    """Key of the number of ended jobs in a state whose records were moved into the history."""
    return key(f"history:{state}")


def key(name: str) -> str:
    """A key of this service."""
    return PREFIX + name
