"""Archives of images: upload thousands of images for one job."""

from flask import Blueprint, Response

from api.dependencies import get_services
from api.http.auth import caller
from api.http.openapi import UPLOAD, describes
from api.http.parsing import read_file
from api.http.responses import make_json_response
from api.services.store_uploads import store_archive
from archetype.contract.api_key import Scope
from archetype.contract.upload import ArchiveFacts

blueprint = Blueprint("archives", __name__, url_prefix="/v1/archives")


@blueprint.post("")
@describes(
    "Upload an archive of images",
    scope=Scope.SUBMIT,
    body=UPLOAD,
    responses={201: ArchiveFacts},
    problems=(411, 413, 415, 422, 429, 503),
)
def upload_archive() -> Response:
    """Stores the ZIP archive in the field `file` of a multipart form. The job that names it reads the images."""
    services = get_services()
    file = read_file("a ZIP archive", max_bytes=services.settings.max_archive_bytes)
    return make_json_response(store_archive(file.stream, caller(), services), 201)
