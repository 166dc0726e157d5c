"""Archives of pictures over HTTP: thousands at once, for one job to look at."""

from flask import Blueprint, Response, request

from api.body import read_file
from api.openapi import UPLOAD, describes
from api.services import services
from shared.archives import describe_archive
from shared.storage import ArchiveFacts

blueprint = Blueprint("archives", __name__, url_prefix="/v1/archives")


@blueprint.post("")
@describes(
    "Upload an archive of pictures", body=UPLOAD, answers={201: ArchiveFacts}, problems=(411, 413, 415, 422, 503)
)
def upload_archive() -> Response:
    """Takes a multipart form with a ZIP archive as `file`; its pictures are read by the job that names it."""
    here = services()
    request.max_content_length = here.settings.max_archive_bytes
    file = read_file("a ZIP archive")
    facts = describe_archive(file.stream)
    here.storage.save_archive(file.stream, facts)
    return Response(facts.model_dump_json(), status=201, mimetype="application/json")
