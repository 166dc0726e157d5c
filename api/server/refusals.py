"""Responses of the server itself: problem documents for requests that do not reach the application."""

from http import HTTPStatus

from gunicorn.http import errors

from shared.errors import MEDIA_TYPE, HeadTooLarge, InvalidHTTP, Problem

UNPARSABLE = (
    errors.InvalidRequestLine,
    errors.InvalidRequestMethod,
    errors.InvalidHTTPVersion,
    errors.InvalidHeader,
    errors.InvalidHeaderName,
    errors.ObsoleteFolding,
    errors.UnsupportedTransferCoding,
    errors.InvalidSchemeHeaders,
    errors.ExpectationFailed,
    errors.InvalidChunkSize,
    errors.InvalidChunkExtension,
    errors.ChunkMissingTerminator,
)


def explain_error(error: Exception) -> Problem | None:
    """Returns the problem of a request that gunicorn refuses; None if the request is not the cause."""
    if isinstance(error, errors.LimitRequestHeaders):
        return HeadTooLarge("a header, such as Authorization with its token, is too long; send at most 8190 bytes each")
    if isinstance(error, errors.LimitRequestLine):
        return HeadTooLarge("the address is too long; send at most 4094 bytes")
    if isinstance(error, UNPARSABLE):
        return InvalidHTTP(f"the request is not valid HTTP/1.1 ({error})")
    return None


def write_problem(problem: Problem) -> bytes:
    """Returns the whole HTTP response for a problem, after which the connection ends."""
    body = problem.document.model_dump_json().encode()
    head = [
        f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}",
        f"Content-Type: {MEDIA_TYPE}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    if problem.retry_after is not None:
        head.append(f"Retry-After: {problem.retry_after}")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body
