"""Examples of requests, responses, problems and parameters for the OpenAPI document."""

from typing import Any

from api.http.example_documents import (
    AUDIT_AGAIN,
    CURSOR,
    DIGEST,
    EVENT,
    EXPLAIN_REQUEST,
    INFERENCE_REQUEST,
    JOB,
    KEY_ID,
    NEW_AUDIT,
    NEW_DECISION,
    NEW_KEY,
    NEW_RELEASE,
    NEW_SCHEDULE,
    RESPONSES,
)
from api.http.openapi import Examples
from api.routes.protocols.mlflow import RegistryEvent
from archetype.contract.api_key import NewKey
from archetype.contract.audit import NewAudit
from archetype.contract.problem import FieldError
from archetype.contract.protocols.explain import ExplainRequest
from archetype.contract.protocols.open_inference import InferenceRequest
from archetype.contract.registration import NewRelease
from archetype.contract.report.decision import NewDecision
from archetype.contract.request import METHODS, REQUEST, ImageRequest, Request
from archetype.contract.schedule import (
    NewAnnouncement,
    NewSchedule,
)
from shared import errors
from shared.errors import Problem

PATHS: dict[str, str] = {
    "job_id": JOB,
    "audit_id": JOB,
    "image_id": DIGEST,
    "reference": "shapes@1",
    "model": "shapes",
    "name": "0000-lemon.png",
    "key_id": KEY_ID,
    "delivery_id": JOB,
    "schedule_id": JOB,
}
"""Path parameters, by name."""

QUERIES: dict[str, Any] = {
    "state": "succeeded",
    "method": "class_model",
    "model": "shapes",
    "tag": "nightly",
    "limit": 20,
    "cursor": CURSOR,
    "redirect": False,
    "plan": "nightly",
}
"""Query parameters, by name. Where a path parameter has the same name, both have the same meaning."""

HEADERS: dict[str, str] = {
    "Idempotency-Key": "nightly-2026-11-21-lemon",
    "Cancel-After": "15m",
    "Prefer": "wait=30",
    "Last-Event-ID": "1763717400000-0",
}

PROBLEMS: dict[int, Problem] = {
    400: errors.MalformedJSON("the body is not valid JSON (Expecting value: line 1 column 12); send one JSON object"),
    401: errors.Unauthorized("send Authorization: Bearer and a key that is valid and has not expired"),
    403: errors.Forbidden("this call requires the scope 'operate'; this key has read, submit"),
    404: errors.NotFound(f"there is no job {JOB}; GET /v1/jobs lists your jobs"),
    409: errors.NotFinished(f"job {JOB} is running; cancel it first with POST /v1/jobs/{JOB}/cancel"),
    410: errors.Gone(f"the result of job {JOB} has expired and was deleted; submit the job again"),
    411: errors.LengthRequired("the body is chunked; send it in one piece, with a Content-Length"),
    413: errors.TooLarge("the body is larger than 50000000 bytes; send less"),
    415: errors.UnsupportedMediaType("the content type is text/plain; send application/json"),
    422: errors.UnknownTarget(
        "'lemmon' is not a class of shapes@1: did you mean 'lemon'?; GET /v1/models/shapes lists its classes",
        FieldError(field="/targets/0", detail="not a class of shapes@1", given="lemmon", allowed=["lemon"]),
    ),
    429: errors.QueueFull("1000 jobs are queued, which is the maximum; try again later"),
    503: errors.Unavailable("the object store does not answer; try again in a moment"),
}
"""One problem of every status."""

METHOD_FIELDS: dict[str, dict[str, Any]] = {
    "class_model": {"targets": ["lemon", "bee"], "params": {"preset": "lucid", "steps": 200}},
    "saliency": {"targets": {"top": 3}, "params": {"kind": "smoothgrad"}},
    "localization": {"targets": {"top": 1}},
    "patches": {"params": {"square": 28, "stride": 4}},
    "fool": {"targets": ["daisy"]},
    "trigger": {"targets": "all", "params": {"families": ["mask", "frame", "color"]}},
    "feature_inversion": {"params": {"layers": ["features.0", "features.4"]}},
    "deep_dream": {"params": {"objective": {"kind": "norm", "layer": "features.3"}}},
    "activations": {"params": {"layers": ["features.2"]}},
    "filters": {},
}
"""Fields of the request of each method, apart from model and images."""

VARIANTS: dict[str, dict[str, Any]] = {
    "class_model, with evaluators": {
        "method": "class_model",
        "model": "squeezenet",
        "targets": ["lemon", "zebra"],
        "params": {"seeds": [1, 2, 3], "judges": ["mobilenetv2"]},
        "tags": ["nightly"],
        "priority": "bulk",
        "webhook": "https://platform.example.com/hooks/archetype",
    },
    "saliency, of an archive": {
        "method": "saliency",
        "model": "shapes",
        "images": {"archive": DIGEST},
        "params": {"metrics": ["deletion", "insertion"]},
    },
    "localization, with true boxes": {
        "method": "localization",
        "model": "shapes",
        "images": [{"id": DIGEST, "targets": ["lemon"], "boxes": [{"left": 12, "top": 8, "right": 60, "bottom": 55}]}],
    },
}
"""Further requests, by the title of the example."""


def build_examples() -> Examples:
    """Returns all examples as JSON."""
    requests = {method: make_request(method) for method in METHODS} | VARIANTS
    return Examples(
        requests={
            Request: {title: validate_request(fields) for title, fields in requests.items()},
            NewKey: {"for a tenant, with limits": NEW_KEY.model_dump(mode="json", exclude_none=True)},
            NewAudit: {
                "with one probe": NEW_AUDIT.model_dump(mode="json", exclude_unset=True),
                "once more": AUDIT_AGAIN.model_dump(mode="json", exclude_unset=True),
            },
            ExplainRequest: {"two pictures of two pixels": EXPLAIN_REQUEST},
            InferenceRequest: {"one picture of two pixels": INFERENCE_REQUEST},
            NewDecision: {"a waiver": NEW_DECISION.model_dump(mode="json")},
            NewSchedule: {"on new releases and at night": NEW_SCHEDULE.model_dump(mode="json", exclude_unset=True)},
            NewAnnouncement: {"by name and release": {"model": "fruit@2026-11-21"}},
            RegistryEvent: {"a new version": EVENT.model_dump(mode="json")},
            NewRelease: {"with uploaded weights": NEW_RELEASE.model_dump(mode="json", exclude_unset=True)},
        },
        responses={type(body): body.model_dump(mode="json", by_alias=True) for body in RESPONSES},
        problems={status: problem.document.model_dump(mode="json") for status, problem in PROBLEMS.items()},
        parameters=QUERIES | PATHS | HEADERS,
    )


def make_request(method: str) -> dict[str, Any]:
    """Returns the request of a job of a method."""
    images = {"images": [DIGEST]} if issubclass(METHODS[method], ImageRequest) else {}
    return {"method": method, "model": "shapes", **images, **METHOD_FIELDS[method]}


def validate_request(fields: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields of a request. Raises `ValidationError` if the contract does not accept them."""
    REQUEST.validate_python(fields)
    return fields
