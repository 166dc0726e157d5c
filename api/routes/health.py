"""Liveness, readiness and Prometheus metrics."""

from flask import Blueprint, Response, jsonify
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from api.dependencies import get_services
from api.http.metrics import check_access, render_metrics
from api.http.openapi import TEXT, describes

blueprint = Blueprint("health", __name__)


class Health(BaseModel):
    """The status of the service and of its parts."""

    status: str
    parts: dict[str, str] = {}


@blueprint.get("/healthz")
@describes("Check liveness", responses={200: Health})
def healthz() -> Response:
    """Returns ok while the process can answer requests. If there is no answer, restart the process."""
    return jsonify(status="ok", parts={})


@blueprint.get("/readyz")
@describes("Check readiness", responses={200: Health, 503: Health})
def readyz() -> tuple[Response, int]:
    """Tests writing and reading in Redis and in the object store, so that the service can accept jobs.

    It answers within about two seconds. A part that fails is described by its cause.
    """
    parts = get_services().readiness.check()
    is_ready = all(status == "ok" for status in parts.values())
    return jsonify(status="ok" if is_ready else "unavailable", parts=parts), 200 if is_ready else 503


@blueprint.get("/metrics")
@describes("Get metrics (operators)", responses={200: TEXT}, problems=(401, 403, 503))
def metrics() -> Response:
    """Returns the metrics of the API, the queue and the workers in the text format of Prometheus.

    Requires the token of `ARCHETYPE_METRICS_TOKEN` or the operator's token.
    """
    services = get_services()
    check_access(services)
    content = render_metrics(services)
    return Response(content, content_type=CONTENT_TYPE_LATEST)
