"""Weights over HTTP: uploaded by operators, named by their digest when a release is registered."""

import hashlib

from flask import Blueprint, Response, request
from pydantic import BaseModel, Field

from api.body import read_file
from api.openapi import UPLOAD, describes
from api.services import services
from shared.access import Scope
from shared.errors import FieldError, InvalidRequest

blueprint = Blueprint("weights", __name__, url_prefix="/v1/weights")


class StoredWeights(BaseModel):
    """Weights that were uploaded."""

    id: str = Field(description="SHA-256 of the file.")
    bytes: int


@blueprint.post("")
@describes(
    "Upload weights (operators)",
    scope=Scope.OPERATE,
    body=UPLOAD,
    answers={201: StoredWeights},
    problems=(411, 413, 415, 422, 503),
)
def upload_weights() -> Response:
    """Takes a multipart form with safetensors, a state dict or an exported program as `file`; it is read by workers."""
    here = services()
    request.max_content_length = here.settings.max_weights_bytes
    file = read_file("a file of weights")
    digest = hashlib.file_digest(file.stream, "sha256").hexdigest()  # type: ignore[arg-type]
    size = file.stream.tell()
    if not size:
        raise InvalidRequest(
            "the file is empty; send weights", FieldError(field="file", detail="empty", given="0 bytes")
        )
    file.stream.seek(0)
    here.storage.save_weights(file.stream, digest)
    return Response(StoredWeights(id=digest, bytes=size).model_dump_json(), status=201, mimetype="application/json")
