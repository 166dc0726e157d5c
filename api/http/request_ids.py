"""Gives every request an id, the client's own if it sends one: in the response, in log lines, and with the job."""

import re

import structlog
from flask import Flask, Response, g, request

from shared.state.job_ids import new_job_id

HEADER = "X-Request-ID"
ALLOWED = re.compile(r"[A-Za-z0-9._:-]{1,64}")


def register_request_ids(app: Flask) -> None:
    """Makes the application give every request an id and return it in a header."""

    @app.before_request
    def assign() -> None:
        header = request.headers.get(HEADER, "")
        g.request_id = header if ALLOWED.fullmatch(header) else new_job_id()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=g.request_id)

    @app.after_request
    def send(response: Response) -> Response:
        response.headers[HEADER] = g.get("request_id", "")
        return response
