"""Images that the pages derive from the files of jobs: frames of animations, and thumbnails."""

from functools import partial

from flask import Response

from api.dependencies import get_services
from api.http.auth import caller, needs
from api.services.find_job import find_artifact, find_job, find_manifest
from api.web.job_page import read_spec
from api.web.pages import IMMUTABLE, blueprint
from api.web.results.frames import count_frames, cut_frame, describe_frames, read_curve
from api.web.results.thumbnails import choose_artifact, shrink
from archetype.contract.api_key import Scope
from archetype.contract.strict_json import dump_json
from shared.errors import NotFound
from shared.storage.documents import Manifest
from shared.storage.ranged_file import open_ranged

BLANK = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><rect width="1" height="1" fill="#8883"/></svg>'
"""The thumbnail of a job whose result contains no image."""


@blueprint.get("/jobs/<job_id>/thumbnail")
@needs(Scope.READ)
def get_thumbnail(job_id: str) -> Response:
    """Returns a small image of the result of a job; a blank one if the result contains no image."""
    services, tenant = get_services(), caller().tenant
    artifact = choose_artifact(find_job(job_id, tenant, services))
    if artifact is None:
        return Response(BLANK, mimetype="image/svg+xml")
    key = find_artifact(job_id, artifact.name, tenant, services).key
    return Response(shrink(services.storage.bucket.get(key)), mimetype="image/webp", headers=IMMUTABLE)


@blueprint.get("/jobs/<job_id>/frames/<name>")
@needs(Scope.READ)
def list_frames(job_id: str, name: str) -> Response:
    """Returns the number of frames of an animation, and the step and the objective of each."""
    data, manifest = _read_animation(job_id, name)
    curve = _read_curve(manifest, f"{name.removesuffix('.webp')}.npz")
    body = describe_frames(count_frames(data), read_spec(job_id)["params"], curve)
    return Response(dump_json(body), mimetype="application/json", headers=IMMUTABLE)


@blueprint.get("/jobs/<job_id>/frames/<name>/<int:number>")
@needs(Scope.READ)
def get_frame(job_id: str, name: str, number: int) -> Response:
    """Returns one frame of an animation."""
    data, _ = _read_animation(job_id, name)
    return Response(cut_frame(data, number), mimetype="image/webp", headers=IMMUTABLE)


def _read_animation(job_id: str, name: str) -> tuple[bytes, Manifest]:
    services = get_services()
    manifest = find_manifest(job_id, caller().tenant, services)
    if name not in manifest.keys or not name.endswith(".webp"):
        raise NotFound(f"job {job_id} has no animation {name[:80]!r}")
    return services.storage.bucket.get(manifest.keys[name]), manifest


def _read_curve(manifest: Manifest, name: str) -> list[float]:
    """Reads the curve of an ascent, without the image in the same file; empty if the job has no such file."""
    artifact = next((artifact for artifact in manifest.job.artifacts if artifact.name == name), None)
    if artifact is None:
        return []
    read_range = partial(get_services().storage.bucket.get_range, manifest.keys[name])
    return read_curve(open_ranged(read_range, artifact.bytes))
