"""All problems of the service: reasons to refuse a request, and reasons for which a job fails (RFC 9457).

The first line of each docstring is the `title` of the problem in answers; `slug` is the last part of its `type`.
"""

from typing import ClassVar

from archetype.contract.problem import FieldError, ProblemDocument

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """Problem.

    Attributes:
        status: HTTP status code.
        slug: Last part of the problem's type, `/problems/{slug}`.
        retry_after: After how many seconds the client should try again, if it should.
        detail: What is wrong, what was given, and what to do.
        errors: The invalid fields.
    """

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "problem"
    retry_after: int | None = None

    def __init__(self, detail: str, *errors: FieldError) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors

    @property
    def document(self) -> ProblemDocument:
        """The problem as it is sent and stored."""
        return ProblemDocument(
            type=f"/problems/{self.slug}",
            title=(type(self).__doc__ or "").strip().splitlines()[0].rstrip("."),
            status=self.status,
            detail=self.detail,
            errors=list(self.errors),
        )


class StoredProblem(Problem):
    """Problem of a shard.

    It was stored with the result of the shard, possibly by another process; `document` is the stored problem.
    """

    def __init__(self, document: ProblemDocument) -> None:
        super().__init__(document.detail)
        self._document = document

    @property
    def document(self) -> ProblemDocument:
        """The problem as it was stored."""
        return self._document


class MalformedJSON(Problem):
    """Malformed JSON."""

    status, slug = 400, "malformed-json"


class InvalidRequest(Problem):
    """Invalid request.

    The request does not match the schema of its method, or its values do not fit the model.
    """

    status, slug = 422, "invalid-request"


class UnknownModel(Problem):
    """Unknown model.

    The catalogue does not have the model or the release.
    """

    status, slug = 422, "unknown-model"


class UnknownTarget(Problem):
    """Unknown class.

    The model does not have a class that the request names.
    """

    status, slug = 422, "unknown-target"


class UnknownImage(Problem):
    """Unknown image.

    An image or an archive of images was not uploaded, or is not in the store.
    """

    status, slug = 422, "unknown-image"


class UnreadableImage(Problem):
    """Unreadable image.

    The file is empty, damaged, or not of a supported format.
    """

    status, slug = 422, "unreadable-image"


class UnsupportedMediaType(Problem):
    """Unsupported media type."""

    status, slug = 415, "unsupported-media-type"


class LengthRequired(Problem):
    """Length required.

    The request has a body without `Content-Length`.
    """

    status, slug = 411, "length-required"


class InvalidHTTP(Problem):
    """Invalid HTTP.

    The server cannot parse the request.
    """

    status, slug = 400, "invalid-http"


class RequestTimeout(Problem):
    """Request timeout.

    The client took too long to send the request.
    """

    status, slug = 408, "request-timeout"


class HeadTooLarge(Problem):
    """Request header too large.

    The address or a header of the request is longer than the server accepts.
    """

    status, slug = 431, "header-too-large"


class TooLarge(Problem):
    """Request too large."""

    status, slug = 413, "too-large"


class NotFound(Problem):
    """Not found."""

    status, slug = 404, "not-found"


class MethodNotAllowed(Problem):
    """HTTP method not allowed."""

    status, slug = 405, "method-not-allowed"


class Gone(Problem):
    """Result expired.

    The result was deleted after the retention time.
    """

    status, slug = 410, "gone"


class NotFinished(Problem):
    """Job not finished."""

    status, slug = 409, "not-finished"


class Unauthorized(Problem):
    """Authentication required.

    The request has no key, or its key is wrong, revoked or expired.
    """

    status, slug = 401, "unauthorized"


class Forbidden(Problem):
    """Not permitted.

    The key does not have the required scope, or the request is not allowed from this address.
    """

    status, slug = 403, "forbidden"


class ReleaseTaken(Problem):
    """Release already exists.

    Releases never change; a change needs a new release.
    """

    status, slug = 409, "release-taken"


class RefusedRelease(Problem):
    """Release refused.

    A worker loaded the release, and its check failed.
    """

    status, slug = 422, "refused-release"


class IdempotencyConflict(Problem):
    """Idempotency key already used.

    The key was used before with another body.
    """

    status, slug = 422, "idempotency-conflict"


class LimitReached(Problem):
    """Limit of the key reached."""

    status, slug, retry_after = 429, "limit-reached", 10


class QueueFull(Problem):
    """Queue full."""

    status, slug, retry_after = 429, "queue-full", 10


class Unavailable(Problem):
    """Service unavailable.

    Redis, the object store or the identity provider does not answer.
    """

    status, slug, retry_after = 503, "unavailable", 5


class MemoryFull(Unavailable):
    """Queue memory full.

    The memory of Redis is used up to the watermark above which no new work is accepted.
    """

    slug, retry_after = "memory-full", 30


class Refused(Unavailable):
    """Service unavailable.

    Redis or the object store answers, but refuses the call: its credentials, permissions or configuration are wrong.
    """


class ObjectRefused(Refused):
    """Service unavailable.

    The object store refuses this one object, and will refuse it again: a policy forbids it, or it is too large.
    """


class UnsupportedFormat(Unavailable):
    """Unsupported format.

    A newer version of the service wrote a document that this version cannot read. Processes of that version can.
    """


class AttemptsExhausted(Problem):
    """Attempts exhausted.

    Every worker that claimed the job stopped without finishing it.
    """

    status, slug = 500, "attempts-exhausted"


class JobRefused(Problem):
    """Refused by the object store.

    The object store refuses objects of the job, again and again, and accepts those of others.
    """

    status, slug = 500, "refused-by-store"


class DeadlineExceeded(Problem):
    """Deadline exceeded."""

    status, slug = 500, "deadline-exceeded"


class TimeLimitExceeded(Problem):
    """Time limit exceeded.

    One attempt ran longer than `job_seconds` allows.
    """

    status, slug = 500, "time-limit-exceeded"


class UnloadableModel(Problem):
    """Model cannot be loaded.

    The network cannot be built from its catalogue entry.
    """

    status, slug = 500, "unloadable-model"


class NetworkFailed(Problem):
    """The network raised an error.

    Its code does not work with these images, or not with this method. Correct it, and register a new release.
    """

    status, slug = 422, "network-failed"


class OutOfMemory(Problem):
    """Out of memory.

    The worker's memory is not sufficient for one image.
    """

    status, slug = 500, "out-of-memory"


class DeadTarget(Problem):
    """No gradient.

    The gradient of a target stayed zero or not finite.
    """

    status, slug = 500, "dead-target"


class NotFinite(Problem):
    """Result not finite.

    The network gives NaN or infinity, from which nothing can be shown.
    """

    status, slug = 422, "not-finite"


class Internal(Problem):
    """Internal error."""

    status, slug = 500, "internal"
