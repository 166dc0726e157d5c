"""Responses that several routes return: JSON documents, jobs with their ETag, and the cursors of lists."""

import base64
import binascii
import hashlib
import re

from flask import Response
from pydantic import BaseModel

from api.services.find_job import JOB_ID, shorten
from archetype.contract.job import Job
from archetype.contract.problem import FieldError
from shared.errors import InvalidRequest


def make_json_response(document: BaseModel, status: int = 200, *, location: str | None = None) -> Response:
    """Returns a document as JSON.

    Args:
        document: The body.
        status: The HTTP status.
        location: Address of the resource that was created, for the `Location` header.
    """
    response = Response(document.model_dump_json(), status=status, mimetype="application/json")
    if location is not None:
        response.headers["Location"] = location
    return response


def make_job_response(job: Job, status: int = 200, *, location: str | None = None) -> Response:
    """Returns a job as JSON, with the ETag that a client polls with. Of many artifacts it has the first ones."""
    response = make_json_response(shorten(job), status, location=location)
    response.set_etag(hashlib.sha256(response.get_data()).hexdigest()[:32])
    response.headers["Cache-Control"] = "no-cache"
    return response


def write_cursor(last_id: str | None) -> str | None:
    """Returns the cursor of the page that begins after a job; None if there is no such page."""
    return None if last_id is None else base64.urlsafe_b64encode(last_id.encode()).decode()


def read_cursor(cursor: str | None, pattern: re.Pattern[str] = JOB_ID) -> str | None:
    """Returns the id of the last job of the previous page; None for the first page.

    Args:
        cursor: The cursor that the client sent.
        pattern: What the cursor of this list contains.

    Raises:
        InvalidRequest: The cursor was not made by `write_cursor`.
    """
    if not cursor:
        return None
    try:
        last_id = base64.urlsafe_b64decode(cursor.encode()).decode()
    except (binascii.Error, ValueError):
        last_id = ""
    if not pattern.fullmatch(last_id):
        error = FieldError(field="cursor", detail="not a cursor of this list", given=cursor)
        raise InvalidRequest("the cursor does not come from this list; list again without a cursor", error)
    return last_id
