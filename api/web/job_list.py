"""The rows of the list of jobs: what each job is about, its phase, and how long it took."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from api.dependencies import Services
from api.services.view_audits import show_running
from api.web.job_page import describe_phase, write_duration
from api.web.results.titles import write_targets, write_title
from archetype.contract.job import Job, State
from archetype.contract.request import METHODS
from shared.errors import Problem
from shared.lifecycle.rebuild import load_spec
from shared.process.threads import map_in_threads
from shared.validation.stored_request import parse_stored

PAGE_SIZE = 30
READERS = 6
"""Number of requests that are read from the store at a time."""


@dataclass(frozen=True)
class Row:
    """A job in a list.

    Attributes:
        title: The title of the job.
        kind: The kind or the preset; empty if the method has none.
        classes: The classes as words; empty if there are none.
        phase: What the job does at the moment; empty if it has ended.
        duration: How long a worker has run it.
        has_thumbnail: Whether there is an image of its result.
    """

    job: Job
    title: str
    kind: str
    classes: str
    phase: str
    duration: str
    has_thumbnail: bool


def read_jobs(
    tenant: str, services: Services, *, filters: dict[str, str], limit: int = PAGE_SIZE, after: str | None = None
) -> tuple[list[Job], str | None]:
    """Returns a page of a tenant's jobs, newest first, and the id after which the next page starts."""
    jobs, last = services.job_list.page(tenant, filters=filters, limit=limit, after=after)
    return [show_running(job, services) for job in jobs], last


def list_recent(
    tenant: str, services: Services, count: int, filters: Mapping[str, str] = MappingProxyType({})
) -> list[Job]:
    """Returns the newest jobs that have images to show, of those that match filters."""
    jobs, _ = read_jobs(tenant, services, filters={"state": State.SUCCEEDED, **filters}, limit=2 * count)
    return [job for job in jobs if job.method in METHODS][:count]


def make_rows(jobs: list[Job], services: Services) -> list[Row]:
    """Returns the rows of jobs. A job whose request cannot be read is shown by its method."""
    specs = map_in_threads(lambda job: _read_spec(job, services), jobs, READERS)
    return [_make_row(job, spec, services) for job, spec in zip(jobs, specs, strict=True)]


def _read_spec(job: Job, services: Services) -> dict[str, Any]:
    try:
        return parse_stored(load_spec(services.storage, job.id).request).model_dump(mode="json")
    except Problem:  # a list does not fail for a job
        return {}


def _make_row(job: Job, spec: dict[str, Any], services: Services) -> Row:
    name, _, version = job.model.partition("@")
    releases = services.catalogue.of(job.tenant).releases(name)
    classes = next((release.classes for release in releases if release.release == version), [])
    params = spec.get("params", {})
    is_known = bool(spec) and job.method in METHODS
    return Row(
        job=job,
        title=write_title(spec, classes) if is_known else job.method.replace("_", " "),
        kind=str(params.get("kind") or params.get("preset") or "").replace("_", " "),
        classes=write_targets(spec["targets"], classes) if is_known and spec.get("targets") else "",
        phase="" if job.state.terminal else describe_phase(job),
        duration=write_duration(job.started_at, job.finished_at),
        has_thumbnail=job.state is State.SUCCEEDED and job.method in METHODS,
    )
