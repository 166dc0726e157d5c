"""Weights: operators upload them, and name them by their digest when they register a release."""

from flask import Blueprint, Response

from api.dependencies import get_services
from api.http.auth import caller
from api.http.openapi import UPLOAD, describes
from api.http.parsing import read_file
from api.http.responses import make_json_response
from api.services.store_uploads import StoredWeights, store_weights
from archetype.contract.api_key import Scope

blueprint = Blueprint("weights", __name__, url_prefix="/v1/weights")


@blueprint.post("")
@describes(
    "Upload weights (operators)",
    scope=Scope.OPERATE,
    body=UPLOAD,
    responses={201: StoredWeights},
    problems=(411, 413, 415, 422, 429, 503),
)
def upload_weights() -> Response:
    """Stores a safetensors file, state dict, archive of a model folder or exported program (field `file` of a form)."""
    services = get_services()
    file = read_file("a file of weights", max_bytes=services.settings.max_weights_bytes)
    return make_json_response(store_weights(file.stream, caller(), services), 201)
