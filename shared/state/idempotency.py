"""Idempotency keys: what a key is bound to, and the keys in Redis."""

import hashlib
from dataclasses import dataclass
from typing import cast

from archetype.contract.strict_json import dump_json
from shared.errors import Unavailable
from shared.state.keys import key
from shared.state.redis_client import RedisClient

MAX_TRIES = 5


@dataclass(frozen=True)
class Binding:
    """What an idempotency key is bound to: a job, and what was sent for it.

    Redis has the job and the digest of the request, because earlier versions compare this text. The store also has the
    digest of the body.

    Attributes:
        job_id: The job.
        request_digest: Digest of the checked request. It changes when the request names a model without its release,
            and the model gets a newer release.
        body_digest: Digest of the body as it was sent; empty if it is not known.
    """

    job_id: str
    request_digest: str
    body_digest: str = ""

    @classmethod
    def read(cls, text: str) -> "Binding":
        """Reads a binding from its text in Redis or in the store."""
        return cls(*text.split(" ")[:3])

    @property
    def short_text(self) -> str:
        """The text of the binding in Redis."""
        return f"{self.job_id} {self.request_digest}"

    @property
    def text(self) -> str:
        """The text of the binding in the store."""
        return f"{self.short_text} {self.body_digest}".strip()

    def has_same_body(self, other: "Binding") -> bool:
        """Whether both are for the same body, or for bodies that mean the same request."""
        is_same_body = self.body_digest == other.body_digest != ""
        return is_same_body or self.request_digest == other.request_digest


def digest_body(body: object) -> str:
    """Digest of a body of decoded JSON. The order of keys and the white space of the JSON do not count."""
    return hashlib.sha256(dump_json(body, sort_keys=True).encode()).hexdigest()


class IdempotencyKeys:
    """Maps idempotency keys of tenants to values. Every call raises `Unavailable` if Redis does not answer."""

    def __init__(self, redis_client: RedisClient) -> None:
        self._redis_client = redis_client

    def reserve(self, tenant: str, idempotency_key: str, value: str, seconds: int) -> str:
        """Binds a key to a value, unless it is already bound.

        Args:
            tenant: Tenant of the key.
            idempotency_key: The key.
            value: The value.
            seconds: How long the key stays bound.

        Returns:
            The value to which the key is bound: the new one or the earlier one.
        """
        name = _redis_key(tenant, idempotency_key)
        with self._redis_client.connection() as redis:
            for _ in range(MAX_TRIES):  # again only if the earlier binding expires between the two calls
                if redis.set(name, value, nx=True, ex=seconds):
                    return value
                if bound := cast("str | None", redis.get(name)):
                    return bound
        raise Unavailable("the idempotency key could not be reserved; try again")


def _redis_key(tenant: str, idempotency_key: str) -> str:
    return key(f"idempotency:{tenant}:{idempotency_key}")
