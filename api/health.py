"""Whether the process lives, whether what it depends on answers, and what Prometheus wants to know."""

from collections.abc import Callable

from flask import Blueprint, Response, jsonify
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from api.metrics import render_metrics
from api.openapi import TEXT, describes
from api.services import services
from shared.errors import Problem

blueprint = Blueprint("health", __name__)


class Health(BaseModel):
    """What answers."""

    status: str
    parts: dict[str, str] = {}


@blueprint.get("/healthz")
@describes("Whether the process lives", answers={200: Health})
def healthz() -> Response:
    """Always ok: if this does not answer, restart the process."""
    return jsonify(status="ok", parts={})


@blueprint.get("/readyz")
@describes("Whether the service can take jobs", answers={200: Health, 503: Health})
def readyz() -> tuple[Response, int]:
    """Asks Redis and the object store."""
    here = services()
    parts = {"redis": _ask(here.records.ping), "object store": _ask(here.storage.bucket.ping)}
    ready = all(answer == "ok" for answer in parts.values())
    return jsonify(status="ok" if ready else "unavailable", parts=parts), 200 if ready else 503


@blueprint.get("/metrics")
@describes("Prometheus metrics", answers={200: TEXT}, problems=(503,))
def metrics() -> Response:
    """Jobs by state, and requests with their durations."""
    return Response(render_metrics(services().records, services().presence), content_type=CONTENT_TYPE_LATEST)


def _ask(part: Callable[[], None]) -> str:
    try:
        part()
    except Problem as problem:
        return problem.detail
    return "ok"
