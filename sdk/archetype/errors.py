"""Errors of the client. Every one is an `ArchetypeError`, so one `except` clause catches them all.

ArchetypeError
├── NoConnection      the service does not answer
├── TimedOut          a wait or a call took too long; also a `TimeoutError`
├── InvalidRequest    400, 422, …: the request does not fit its schema, or names something that does not exist
├── Unauthorized      401: the key is missing, wrong, expired or revoked
├── Forbidden         403: the key does not permit this call
├── NotFound          404
├── Conflict          409: not possible in the current state
├── Gone              410: the result has expired
├── RateLimited       429: a limit is reached; `retry_after` says when to try again
├── Unavailable       502, 503, 504: a part of the service does not answer; `retry_after` says when to try again
├── ServerError       any other 5xx, and answers that cannot be read
├── JobFailed         the job that was waited for failed
└── JobCancelled      the job that was waited for was cancelled
"""

from archetype.contract.job import Job
from archetype.contract.problem import InvalidDocument, ProblemDocument


class ArchetypeError(Exception):
    """The service refused a call, could not serve it, or did not answer.

    Attributes:
        problem: The problem document (RFC 9457) of the service, or None if there is none.
        retry_after: Seconds after which the service asks the client to try again, or None if it does not.
    """

    def __init__(
        self, message: str, problem: ProblemDocument | None = None, *, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.problem = problem
        self.retry_after = retry_after


ServiceError = ArchetypeError
"""The name of `ArchetypeError` until version 0.3. Deprecated: it is removed in the release after the next."""


class NoConnection(ArchetypeError):
    """The service does not answer."""


class TimedOut(ArchetypeError, TimeoutError):
    """A wait or a call took too long."""


class InvalidRequest(ArchetypeError):
    """The request does not fit its schema, or names something that does not exist."""


class Unauthorized(ArchetypeError):
    """The key is missing, wrong, expired or revoked."""


class Forbidden(ArchetypeError):
    """The key does not permit this call."""


class NotFound(ArchetypeError):
    """There is no such job, image, model, …."""


class Conflict(ArchetypeError):
    """The call is not possible in the current state: a job is still running, a release already exists."""


class Gone(ArchetypeError):
    """The result has expired."""


class RateLimited(ArchetypeError):
    """A limit of the key or of the queue is reached; `retry_after` says when to try again."""


class Unavailable(ArchetypeError):
    """A part of the service that the call needs does not answer; `retry_after` says when to try again."""


class ServerError(ArchetypeError):
    """The service failed, or its answer cannot be read."""


class JobFailed(ArchetypeError):
    """The job that was waited for failed.

    Attributes:
        job: The job in its terminal state.
    """

    def __init__(self, job: Job) -> None:
        detail = job.error.detail if job.error else "no reason given"
        super().__init__(f"job {job.id} failed: {detail}", job.error)
        self.job = job


class JobCancelled(ArchetypeError):
    """The job that was waited for was cancelled.

    Attributes:
        job: The job in its terminal state.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(f"job {job.id} was cancelled", job.error)
        self.job = job


_BY_STATUS: dict[int, type[ArchetypeError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    429: RateLimited,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def from_status(
    status: int, message: str, problem: ProblemDocument | None = None, *, retry_after: float | None = None
) -> ArchetypeError:
    """Build the error of an HTTP status."""
    kind = _BY_STATUS.get(status, ServerError if status >= 500 else InvalidRequest)
    return kind(message, problem, retry_after=retry_after)


def from_invalid_document(error: InvalidDocument) -> InvalidRequest:
    """Build the error of a request that is invalid before it is sent, in the same form as the service's answer."""
    problem = ProblemDocument(
        type="/problems/invalid-request",
        title="The request does not fit its schema",
        status=422,
        detail=error.detail,
        errors=list(error.errors),
    )
    return InvalidRequest(error.detail, problem)
