"""The one tree of problems: what can be refused and what can fail, as RFC 9457 problem documents."""

import difflib
import json
import re
from collections.abc import Iterable
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

MEDIA_TYPE = "application/problem+json"

MOST_ERRORS = 20
"""A problem lists no more fields than that: the first tell what is wrong, and a request may have thousands."""


class FieldError(BaseModel):
    """One thing that is wrong with one field of a request."""

    model_config = ConfigDict(frozen=True)

    field: str = Field(description="Where: a JSON pointer into the body, or the name of a header or a query parameter.")
    detail: str = Field(description="What is wrong.")
    given: Any = Field(default=None, description="What was given, shortened.")
    allowed: Any = Field(default=None, description="What is allowed: a bound, a list of values, or the nearest names.")


class ProblemDocument(BaseModel):
    """The one shape of every error, in a refused request and in a failed job (RFC 9457)."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(description="Identifies the kind of problem.", examples=["/problems/invalid-request"])
    title: str = Field(description="The kind of problem in words; the same for every problem of this type.")
    status: int = Field(description="HTTP status code.", examples=[422])
    detail: str = Field(description="What is wrong here, what was given, and what to do.")
    errors: list[FieldError] = Field(default=[], description="The fields that are wrong, where fields are.")


class Problem(Exception):
    """Something went wrong."""

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


class Retold(Problem):
    """What went wrong in a part of a job, as it was written down there."""

    def __init__(self, document: ProblemDocument) -> None:
        super().__init__(document.detail)
        self._document = document

    @property
    def document(self) -> ProblemDocument:
        return self._document


class MalformedJSON(Problem):
    """The body is not JSON."""

    status, slug = 400, "malformed-json"


class InvalidRequest(Problem):
    """The request does not fit the method's schema."""

    status, slug = 422, "invalid-request"


class UnknownModel(Problem):
    """No such model or release in the catalogue."""

    status, slug = 422, "unknown-model"


class UnknownTarget(Problem):
    """No such class in the model."""

    status, slug = 422, "unknown-target"


class UnknownImage(Problem):
    """No such picture was uploaded."""

    status, slug = 422, "unknown-image"


class UnreadableImage(Problem):
    """The picture cannot be read."""

    status, slug = 422, "unreadable-image"


class UnsupportedMediaType(Problem):
    """The content type is not one that this call takes."""

    status, slug = 415, "unsupported-media-type"


class LengthRequired(Problem):
    """The length of the body is not known beforehand."""

    status, slug = 411, "length-required"


class TooLarge(Problem):
    """The request is larger than the service takes."""

    status, slug = 413, "too-large"


class NotFound(Problem):
    """There is nothing here."""

    status, slug = 404, "not-found"


class MethodNotAllowed(Problem):
    """This address does not take that HTTP method."""

    status, slug = 405, "method-not-allowed"


class Gone(Problem):
    """The result was kept for as long as results are."""

    status, slug = 410, "gone"


class NotFinished(Problem):
    """The job has not finished."""

    status, slug = 409, "not-finished"


class Unauthorized(Problem):
    """The call needs a key, and none came with it that is good."""

    status, slug = 401, "unauthorized"


class Forbidden(Problem):
    """The service does not take this call from whoever made it."""

    status, slug = 403, "forbidden"


class ReleaseTaken(Problem):
    """There is such a release already, and releases never change."""

    status, slug = 409, "release-taken"


class RefusedRelease(Problem):
    """A worker tried the release, and it does not work."""

    status, slug = 422, "refused-release"


class IdempotencyConflict(Problem):
    """The idempotency key was used with another body."""

    status, slug = 422, "idempotency-conflict"


class LimitReached(Problem):
    """A limit of the key is reached."""

    status, slug, retry_after = 429, "limit-reached", 10


class QueueFull(Problem):
    """The queue is full."""

    status, slug, retry_after = 429, "queue-full", 10


class Unavailable(Problem):
    """A part of the service that this call needs does not answer."""

    status, slug, retry_after = 503, "unavailable", 5


class Newer(Unavailable):
    """A newer version has written what this one would read: one of that version can."""


class AttemptsExhausted(Problem):
    """Every attempt at the job was lost."""

    status, slug = 500, "attempts-exhausted"


class DeadlineExceeded(Problem):
    """The job had not ended when it was to have."""

    status, slug = 500, "deadline-exceeded"


class TimeLimitExceeded(Problem):
    """The job ran longer than the service allows."""

    status, slug = 500, "time-limit-exceeded"


class UnloadableModel(Problem):
    """The model's network cannot be built from its catalogue entry."""

    status, slug = 500, "unloadable-model"


class OutOfMemory(Problem):
    """One picture alone needs more memory than the worker has."""

    status, slug = 500, "out-of-memory"


class DeadTarget(Problem):
    """The gradient of a target is zero or not finite, and stayed so."""

    status, slug = 500, "dead-target"


class Internal(Problem):
    """The service failed in a way that it does not know."""

    status, slug = 500, "internal"


def nearest(name: str, names: Iterable[str], count: int = 5) -> list[str]:
    """The names that look most like `name`, best first; those that contain one of its words come after."""
    names = list(dict.fromkeys(names))
    lowered = {known.lower(): known for known in names}
    close = [lowered[match] for match in difflib.get_close_matches(name.lower(), lowered, n=count, cutoff=0.6)]
    words = set(re.findall(r"\w{3,}", name.lower()))
    related = [known for known in names if words & set(re.findall(r"\w{3,}", known.lower()))]
    return list(dict.fromkeys(close + related))[:count]


def shorten(value: Any, limit: int = 120) -> Any:
    """The value as it was given; the beginning of its text if it is long, or is nothing that JSON could carry."""
    text = value if isinstance(value, str) else repr(value)
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except (TypeError, ValueError):  # a lone surrogate, for one
        value = text = repr(value)
    return value if len(text) <= limit else text[: limit - 1] + "…"
