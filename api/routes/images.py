"""Images: upload them once, and name them by their digest in any number of jobs."""

import re

from flask import Blueprint, Response

from api.dependencies import get_services
from api.http.auth import caller
from api.http.files import StoredFile, stream_file
from api.http.openapi import BINARY, UPLOAD, describes
from api.http.parsing import read_file
from api.http.responses import make_json_response
from api.services.store_uploads import store_image
from archetype.contract.api_key import Scope
from archetype.contract.upload import Image
from shared.errors import NotFound

blueprint = Blueprint("images", __name__, url_prefix="/v1/images")

IMAGE_ID = re.compile(r"[0-9a-f]{64}")


@blueprint.post("")
@describes(
    "Upload an image", scope=Scope.SUBMIT, body=UPLOAD, responses={201: Image}, problems=(411, 413, 415, 422, 429, 503)
)
def upload_image() -> Response:
    """Stores the image in the field `file` of a multipart form. The same image always has the same id."""
    file = read_file("an image")
    image = store_image(file.stream, caller(), get_services(), name=file.filename)
    return make_json_response(image, 201, location=f"/v1/images/{image.id}")


@blueprint.get("/<image_id>")
@describes("Get an image", scope=Scope.READ, responses={200: BINARY, 304: None}, problems=(404, 503))
def get_image(image_id: str) -> Response:
    """Streams the image as it was uploaded."""
    uploads = get_services().storage.of(caller().tenant)
    image = uploads.describe_image(image_id) if IMAGE_ID.fullmatch(image_id) else None
    if image is None:
        raise NotFound(f"there is no image {image_id[:80]}; upload it with POST /v1/images")
    return stream_file(
        StoredFile(
            name=f"{image.id[:16]}.{image.format.lower()}",
            media_type=image.media_type,
            size=image.bytes,
            digest=image.id,
            open=lambda: uploads.stream_image(image_id),
            missing=f"image {image_id} is no longer in the store; upload it again",
        )
    )
