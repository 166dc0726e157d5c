"""Pictures over HTTP: upload once, name them by their digest in any number of jobs."""

import hashlib
import re

from flask import Blueprint, Response, request

from api.access import caller
from api.body import read_file
from api.limits import check_upload
from api.openapi import BINARY, UPLOAD, describes
from api.services import Services, services
from shared.access import Caller, Scope
from shared.bucket import Missing
from shared.errors import NotFound
from shared.pictures import Facts, decode_picture
from shared.uploads import Image

blueprint = Blueprint("images", __name__, url_prefix="/v1/images")

IMAGE_ID = re.compile(r"[0-9a-f]{64}")


@blueprint.post("")
@describes(
    "Upload a picture", scope=Scope.SUBMIT, body=UPLOAD, answers={201: Image}, problems=(411, 413, 415, 422, 429, 503)
)
def upload_image() -> Response:
    """Takes a multipart form with the picture as `file`; the same picture has the same id."""
    file = read_file("a picture")
    here = services()
    data = file.read()
    with here.decoders:
        _, facts = decode_picture(data, max_pixels=here.settings.max_image_pixels)
    image = store_image(data, facts, caller(), here)
    headers = {"Location": f"/v1/images/{image.id}"}
    return Response(image.model_dump_json(), status=201, mimetype="application/json", headers=headers)


@blueprint.get("/<image_id>")
@describes("Get a picture", scope=Scope.READ, answers={200: BINARY, 304: None}, problems=(404, 503))
def get_image(image_id: str) -> Response:
    """The picture as it was uploaded."""
    here = services()
    uploads = here.storage.of(caller().tenant)
    image = uploads.describe_image(image_id) if IMAGE_ID.fullmatch(image_id) else None
    if image is None:
        raise NotFound(f"there is no picture {image_id[:80]}; upload it with POST /v1/images")
    headers = {
        "Content-Length": str(image.bytes),
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, max-age=31536000, immutable",
    }
    answer = Response(mimetype=image.media_type, headers=headers)
    answer.set_etag(image.id)
    if request.if_none_match.contains(image.id):
        answer.make_conditional(request)
        return answer
    try:
        answer.response = uploads.stream_image(image_id)
    except Missing as error:
        raise NotFound(f"picture {image_id} is gone from the store; upload it again") from error
    return answer


def store_image(data: bytes, facts: Facts, who: Caller, here: Services) -> Image:
    """Stores a picture for a tenant, and counts it if it is new. Raises `LimitReached`."""
    uploads = here.storage.of(who.tenant)
    known = uploads.describe_image(hashlib.sha256(data).hexdigest())
    if known is not None:
        return known
    check_upload(who, len(data), here.records)
    here.records.add_stored(who.tenant, len(data))
    return uploads.save_image(data, facts)
