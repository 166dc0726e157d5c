"""Turns everything that goes wrong while a request is handled into a problem document."""

import time
from contextlib import suppress
from typing import Any

import structlog
from flask import Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException

from shared import errors
from shared.errors import MEDIA_TYPE, FieldError, Internal, Problem

log = structlog.get_logger()

MOST_READ_ON, READ_ON_SECONDS = 1 << 25, 5
"""Bytes of a body that is too large which are read all the same, and for how long."""

WERKZEUG: dict[int, type[Problem]] = {
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    413: errors.TooLarge,
    415: errors.UnsupportedMediaType,
}


def register_problems(app: Flask) -> None:
    """Makes the application answer every error in the one shape."""
    app.register_error_handler(Problem, answer_problem)
    app.register_error_handler(HTTPException, answer_http_error)
    app.register_error_handler(Exception, answer_unknown)


def answer_problem(problem: Problem) -> Response:
    """The problem document, with `Retry-After` where trying again may help."""
    body = problem.document.model_dump_json()
    response = Response(body, status=problem.status, mimetype=MEDIA_TYPE)
    if problem.retry_after is not None:
        response.headers["Retry-After"] = str(problem.retry_after)
    if problem.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def answer_http_error(error: HTTPException) -> Response:
    """What Flask itself refuses: an unknown address, a wrong method, a body over the limit."""
    if error.code is not None and error.code < 400:
        return error.get_response()  # type: ignore[return-value]
    if error.code == 413:
        _read_on()
    response = answer_problem(_explain(error))
    if error.code not in WERKZEUG and error.code is not None:
        response.status_code = error.code
    allow = getattr(error, "valid_methods", None)
    if allow:
        response.headers["Allow"] = ", ".join(allow)
    return response


def _read_on() -> None:
    """Reads what is still being sent, up to a limit: gunicorn hangs up on who has sent more than it was asked for."""
    body, connection = request.environ["wsgi.input"], request.environ["gunicorn.socket"]
    left, end = MOST_READ_ON, time.monotonic() + READ_ON_SECONDS
    with suppress(OSError):
        while left > 0 and (rest := end - time.monotonic()) > 0:
            connection.settimeout(rest)
            read = body.read(min(left, 8192))
            if not read:
                break
            left -= len(read)
    connection.setblocking(True)


def answer_unknown(_: Exception) -> Response:
    """A fault of ours: logged whole, told in general."""
    log.exception("request.failed", path=request.path)
    return answer_problem(
        Internal("the service failed to handle this request; try again, and report it if it stays so")
    )


def _explain(error: HTTPException) -> Problem:
    kind = WERKZEUG.get(error.code or 500, errors.InvalidRequest)
    if kind is errors.TooLarge:
        return kind(*_explain_size())
    if kind is errors.NotFound:
        return kind(f"there is nothing at {request.path}; /openapi.json lists every address")
    if kind is errors.MethodNotAllowed:
        return kind(f"{request.path} does not take {request.method}; /openapi.json lists what it takes")
    return kind(error.description or error.name)


def _explain_size() -> tuple[Any, ...]:
    limit = current_app.config["MAX_CONTENT_LENGTH"]
    field = FieldError(field="body", detail="too large", given=request.content_length, allowed=f"{limit} bytes")
    return f"the body is larger than {limit} bytes; send less", field
