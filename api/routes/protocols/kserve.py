"""Explanations in the protocols of KServe: V1, and V2, which is the Open Inference Protocol."""

from flask import Blueprint, Response

from api.dependencies import get_services
from api.http.auth import caller
from api.http.openapi import describes
from api.http.parsing import EXPLAIN_LIMITS, MAX_EXPLAIN_BYTES, read_body, read_wait
from api.http.responses import make_json_response
from api.services.describe_model import find_model
from api.services.explain.explain_images import ExplainedImages, explain_images
from api.services.explain.instances import make_explain_response, read_instances
from api.services.explain.tensors import describe_tensors, make_inference_response, read_tensor
from archetype.contract.api_key import Scope
from archetype.contract.parameters.saliency import SaliencyParameters
from archetype.contract.protocols.explain import ExplainRequest, ExplainResponse
from archetype.contract.protocols.open_inference import InferenceRequest, InferenceResponse, Live, ModelMetadata, Ready

blueprint = Blueprint("kserve", __name__)

EXPLAIN_SECONDS = 30
"""Deadline of an explanation, without the header `Prefer`."""

PREFER = {"Prefer": f"`wait=N`: deadline of the explanation in seconds. Default: {EXPLAIN_SECONDS}."}
PROBLEMS = (400, 411, 413, 415, 422, 429, 503)


@blueprint.post("/v1/models/<reference>:explain")
@describes(
    "Explain predictions (KServe V1)",
    scope=Scope.SUBMIT,
    body=ExplainRequest,
    headers=PREFER,
    responses={200: ExplainResponse},
    problems=PROBLEMS,
)
def explain_instances(reference: str) -> Response:
    """Returns the predicted class of each instance and its saliency map, in the V1 explain protocol of KServe.

    A saliency job computes them, together with other jobs of its lane. Without an answer in time, the job is cancelled.
    """
    request = read_body(ExplainRequest, EXPLAIN_LIMITS, max_bytes=MAX_EXPLAIN_BYTES)
    explained = _explain(reference, read_instances(request.instances), request.parameters)
    return make_json_response(make_explain_response(explained, request.parameters.kind))


@blueprint.post("/v2/models/<reference>/explain")
@describes(
    "Explain predictions (KServe V2)",
    scope=Scope.SUBMIT,
    body=InferenceRequest,
    headers=PREFER,
    responses={200: InferenceResponse},
    problems=PROBLEMS,
)
def explain_tensor(reference: str) -> Response:
    """Returns the predicted class of each image of a tensor and its saliency map, as tensors.

    Request and response are those of the call `infer` of the Open Inference Protocol, with the data as JSON.
    """
    request = read_body(InferenceRequest, EXPLAIN_LIMITS, max_bytes=MAX_EXPLAIN_BYTES)
    explained = _explain(reference, read_tensor(request.inputs[0]), request.parameters)
    return make_json_response(make_inference_response(explained, request))


def _explain(reference: str, files: list[bytes], parameters: SaliencyParameters) -> ExplainedImages:
    services = get_services()
    seconds = max(1, round(read_wait(services.settings.max_wait_seconds, default=EXPLAIN_SECONDS)))
    return explain_images(reference, files, parameters, services, caller(), seconds=seconds)


@blueprint.get("/v2/models/<reference>")
@describes("Get a model (KServe V2)", scope=Scope.READ, responses={200: ModelMetadata}, problems=(404, 503))
def get_metadata(reference: str) -> Response:
    """Returns the tensors that the call `explain` of a model takes and returns."""
    return make_json_response(describe_tensors(find_model(reference, caller().tenant, get_services())))


@blueprint.get("/v2/models/<reference>/ready")
@describes("Check a model (KServe V2)", scope=Scope.READ, responses={200: Ready}, problems=(404, 503))
def get_model_ready(reference: str) -> Response:
    """Returns whether a worker has loaded and tried the release."""
    view = find_model(reference, caller().tenant, get_services())
    return make_json_response(Ready(name=view.name, ready=view.ready))


@blueprint.get("/v2/health/live")
@describes("Check liveness (KServe V2)", responses={200: Live})
def get_live() -> Response:
    """Returns true while the process can answer requests."""
    return make_json_response(Live(live=True))


@blueprint.get("/v2/health/ready")
@describes("Check readiness (KServe V2)", responses={200: Ready, 503: Ready})
def get_ready() -> Response:
    """Returns whether Redis and the object store can be read and written, as `/readyz` does."""
    ready = get_services().readiness.is_ready()
    return make_json_response(Ready(ready=ready), 200 if ready else 503)
