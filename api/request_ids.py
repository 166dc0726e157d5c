"""One id per request, from the caller where they give one: in the answer, in every line of the log, with the job."""

import re

import structlog
from flask import Flask, Response, g, has_app_context, request

from shared.jobs import new_job_id

HEADER = "X-Request-ID"
GIVEN = re.compile(r"[A-Za-z0-9._:-]{1,64}")


def follow_requests(app: Flask) -> None:
    """Gives every request of the application an id."""

    @app.before_request
    def name() -> None:
        given = request.headers.get(HEADER, "")
        g.request_id = given if GIVEN.fullmatch(given) else new_job_id()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=g.request_id)

    @app.after_request
    def tell(response: Response) -> Response:
        response.headers[HEADER] = g.get("request_id", "")
        return response


def request_id() -> str:
    """Of the request that is handled."""
    return str(g.get("request_id", "")) if has_app_context() else ""
