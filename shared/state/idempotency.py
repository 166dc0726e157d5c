"""Idempotency keys in Redis."""

from typing import cast

from shared.errors import Unavailable
from shared.state.keys import key
from shared.state.redis_client import RedisClient

MAX_TRIES = 5


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
            for _ in range(MAX_TRIES):  # again only if another process binds the key between the two calls
                if bound := cast("str | None", redis.get(name)):  # first, because a full Redis refuses the other call
                    return bound
                if redis.set(name, value, nx=True, ex=seconds):
                    return value
        raise Unavailable("the idempotency key could not be reserved; try again")

    def find_reserved(self, tenant: str, idempotency_key: str) -> str | None:
        """The value to which a key is bound, or None."""
        with self._redis_client.connection() as redis:
            return cast("str | None", redis.get(_redis_key(tenant, idempotency_key)))


def _redis_key(tenant: str, idempotency_key: str) -> str:
    return key(f"idempotency:{tenant}:{idempotency_key}")
