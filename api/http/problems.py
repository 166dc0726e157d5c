"""Turns every error of a request into a problem document (RFC 9457)."""

import time
from contextlib import suppress
from typing import Any

import structlog
from flask import Flask, Response, request
from werkzeug.exceptions import ClientDisconnected, HTTPException

from archetype.contract.problem import FieldError
from shared import errors
from shared.errors import MEDIA_TYPE, Internal, Problem

log = structlog.get_logger()

MAX_DRAINED_BYTES, MAX_DRAIN_SECONDS = 1 << 25, 5
"""How much of a body that is too large is read and discarded, and for how long."""

PROBLEMS_BY_STATUS: dict[int, type[Problem]] = {
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    413: errors.TooLarge,
    415: errors.UnsupportedMediaType,
}


def register_problems(app: Flask) -> None:
    """Makes the application answer every error with a problem document."""
    app.register_error_handler(Problem, answer_problem)
    app.register_error_handler(HTTPException, answer_http_error)
    app.register_error_handler(Exception, answer_unexpected_error)


def answer_problem(problem: Problem) -> Response:
    """Returns the problem document, with `Retry-After` if the client can try again later."""
    document = problem.document  # of a stored problem, the status is only in its document
    response = Response(document.model_dump_json(), status=document.status, mimetype=MEDIA_TYPE)
    return add_headers(response, problem)


def add_headers(response: Response, problem: Problem) -> Response:
    """Adds the headers that belong to a problem, and returns the response."""
    if problem.retry_after is not None:
        response.headers["Retry-After"] = str(problem.retry_after)
    if problem.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def answer_http_error(error: HTTPException) -> Response:
    """Returns a problem document for an error of Flask: an unknown path, a wrong method, a body over the limit."""
    if error.code is not None and error.code < 400:
        return error.get_response()  # type: ignore[return-value]
    if isinstance(error, ClientDisconnected):
        return answer_problem(errors.RequestTimeout("the body did not arrive in time; send it faster, in one piece"))
    if error.code == 413:
        _drain_body()
    response = answer_problem(_make_problem(error))
    if error.code not in PROBLEMS_BY_STATUS and error.code is not None:
        response.status_code = error.code
    allow = getattr(error, "valid_methods", None)
    if allow:
        response.headers["Allow"] = ", ".join(allow)
    return response


def _drain_body() -> None:
    """Reads the rest of the body, up to a limit: gunicorn closes a connection on which unread data is left."""
    body, connection = request.environ["wsgi.input"], request.environ.get("gunicorn.socket")
    if connection is None:  # another server, which does this itself
        return
    bytes_left, end = MAX_DRAINED_BYTES, time.monotonic() + MAX_DRAIN_SECONDS
    with suppress(OSError):
        while bytes_left > 0 and (seconds_left := end - time.monotonic()) > 0:
            connection.settimeout(seconds_left)
            chunk = body.read(min(bytes_left, 8192))
            if not chunk:
                break
            bytes_left -= len(chunk)
    connection.setblocking(True)


def answer_unexpected_error(_: Exception) -> Response:
    """Returns a general problem for an error of the service itself; the log has the details."""
    log.exception("request.failed", path=request.path)
    return answer_problem(Internal("the service failed to handle this request; try again, and report it if it repeats"))


def _make_problem(error: HTTPException) -> Problem:
    problem_type = PROBLEMS_BY_STATUS.get(error.code or 500, errors.InvalidRequest)
    if problem_type is errors.TooLarge:
        return problem_type(*_explain_size())
    if problem_type is errors.NotFound:
        return problem_type(f"there is nothing at {request.path}; /openapi.json lists every path")
    if problem_type is errors.MethodNotAllowed:
        return problem_type(f"{request.path} does not accept {request.method}; /openapi.json lists what it accepts")
    return problem_type(error.description or error.name)


def _explain_size() -> tuple[Any, ...]:
    limit = request.max_content_length
    field = FieldError(field="body", detail="too large", given=request.content_length, allowed=f"{limit} bytes")
    return f"the body is larger than {limit} bytes; send less", field
