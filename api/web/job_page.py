"""What the pages of one job and of a comparison show of a job."""

from datetime import datetime
from typing import Any

from flask import request

from api.dependencies import get_services
from api.services.find_job import shorten
from api.services.results.name_files import find_image_names
from api.web.results.captions import CAPTIONS
from api.web.results.gallery import MAX_ITEMS, arrange_gallery, find_overview, list_rest
from api.web.results.titles import write_title
from api.web.snippets import write_snippets
from archetype.contract.job import Job, now
from archetype.contract.model import Preprocessing
from shared.catalogue.release import Release
from shared.lifecycle.rebuild import load_spec
from shared.validation.stored_request import parse_stored


def build_job_context(job: Job, page: int = 1) -> dict[str, Any]:
    """Returns the variables of the template of a job, with the names of the images of one page of its gallery."""
    spec = read_spec(job.id)
    release = find_release(job)
    gallery = arrange_gallery(job)
    shown = gallery[(page - 1) * MAX_ITEMS : page * MAX_ITEMS]
    zoom, fit = place_maps(job, spec, release.preprocessing if release else Preprocessing())
    return {
        "job": shorten(job),
        "spec": spec,
        "title": write_title(spec, release.classes if release else ()),
        "caption": CAPTIONS.get(job.method),
        "overview": find_overview(job),
        "gallery": gallery,
        "names": find_image_names(job, (item.image for item in shown if item.image), get_services()),
        "rest": list_rest(job),
        "zoom": zoom,
        "fit": fit,
        "duration": write_duration(job.started_at, job.finished_at),
        "snippets": write_snippets(spec, request.host_url.rstrip("/")),
    }


def read_spec(job_id: str) -> dict[str, Any]:
    """Returns the accepted request of a job with all defaults."""
    return parse_stored(load_spec(get_services().storage, job_id).request).model_dump(mode="json")


def find_release(job: Job) -> Release | None:
    """Returns the release of a job; None if the catalogue no longer has it."""
    name, _, version = job.model.partition("@")
    releases = get_services().catalogue.of(job.tenant).releases(name)
    return next((release for release in releases if release.release == version), None)


def place_maps(job: Job, spec: dict[str, Any], preprocessing: Preprocessing) -> tuple[str, str]:
    """Returns how the input image is placed under a map: its scale, and the CSS value of `object-fit`."""
    is_whole_view = preprocessing.fit == "stretch" or spec.get("params", {}).get("view") == "whole"
    # The maps of `localization` cover the whole image, the maps of other methods the view of the network.
    whole = job.method == "localization" or is_whole_view
    zoom = preprocessing.resize / min(preprocessing.size) if preprocessing.resize and not whole else 1.0
    return f"{zoom:.4f}", "fill" if whole else "cover"


def write_duration(start: datetime | None, end: datetime | None) -> str:
    """Returns the time between two moments, or up to now, as words; empty if it has not begun."""
    if start is None:
        return ""
    seconds = max(0.0, ((end or now()) - start).total_seconds())
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def describe_phase(job: Job, ahead: int | None = None) -> str:
    """Returns what a job that has not ended does at the moment, in a few words.

    Args:
        job: The job.
        ahead: Number of shards that workers start before its own; None if it is not known.
    """
    if job.state == "queued":
        attempt = f", attempt {job.attempt + 1}" if job.attempt else ""
        others = "1 shard" if ahead == 1 else f"{ahead} shards"
        return f"waiting for a worker{attempt}" + (f", after {others} of your earlier jobs" if ahead else "")
    if job.progress.total == 0:
        return "loading the network"
    return f"{job.progress.done} of {job.progress.total} {job.progress.unit}s"
