"""Archives of pictures over HTTP: thousands at once, for one job to look at."""

from flask import Blueprint, Response, request

from api.access import caller
from api.body import read_file
from api.limits import check_upload
from api.openapi import UPLOAD, describes
from api.services import services
from shared.access import Scope
from shared.archives import describe_archive
from shared.uploads import ArchiveFacts

blueprint = Blueprint("archives", __name__, url_prefix="/v1/archives")


@blueprint.post("")
@describes(
    "Upload an archive of pictures",
    scope=Scope.SUBMIT,
    body=UPLOAD,
    answers={201: ArchiveFacts},
    problems=(411, 413, 415, 422, 429, 503),
)
def upload_archive() -> Response:
    """Takes a multipart form with a ZIP archive as `file`; its pictures are read by the job that names it."""
    here = services()
    request.max_content_length = here.settings.max_archive_bytes
    file = read_file("a ZIP archive")
    facts = describe_archive(file.stream)
    uploads = here.storage.of(caller().tenant)
    if uploads.describe_archive(facts.id) is None:
        check_upload(caller(), facts.bytes, here.records)
        here.records.add_stored(caller().tenant, facts.bytes)
        uploads.save_archive(file.stream, facts)
    return Response(facts.model_dump_json(), status=201, mimetype="application/json")
