"""Sessions of signed-in users of the web page, in Redis.

The browser has a random id and Redis its digest, so a copy of Redis contains no id that can be used. A session names
the key with which the user signed in, not the key's secret: it ends when the key is revoked or expires. If Redis loses
its data, users sign in again.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from typing import cast

from pydantic import SecretStr, ValidationError

from archetype.contract.job import Document
from shared.state.keys import key
from shared.state.redis_client import RedisClient
from shared.storage.api_keys import Caller

SESSION_ID = re.compile(r"[A-Za-z0-9_-]{43}")
"""256 random bits in Base64."""

MAX_SESSIONS = 50
"""Sessions of one key or user at the same time; another sign-in ends the oldest."""


class Session(Document):
    """A session as it is stored.

    Attributes:
        caller: The user, as at the time of sign-in.
        issuer: Issuer of the token with which the user signed in; None for a key.
        proof: For the operator, a digest of the session id and the operator token, which ends the session if the token
            is changed.
        expires_at: Unix time at which the session ends.
    """

    caller: Caller
    issuer: str | None = None
    proof: str = ""
    expires_at: float


class Sessions:
    """Sessions of all users. Every call raises `Unavailable` if Redis does not answer.

    Args:
        redis_client: The Redis that contains the sessions.
        clock: The time in Unix seconds; the one that all machines share if it is not given.
    """

    def __init__(self, redis_client: RedisClient, clock: Callable[[], float] | None = None) -> None:
        self._redis_client = redis_client
        self._clock = clock or (lambda: redis_client.now().timestamp())

    def start(
        self, caller: Caller, *, seconds: int, issuer: str | None = None, operator_token: SecretStr | None = None
    ) -> tuple[str, int]:
        """Starts a session.

        Args:
            caller: The user.
            seconds: How long the session lasts, unless the user's credentials expire earlier.
            issuer: Issuer of the user's token, if it is one.
            operator_token: The token of the operator, if the user is the operator.

        Returns:
            The id of the session for the browser, and how many seconds it lasts.
        """
        session_id, begins = secrets.token_urlsafe(32), self._clock()
        if caller.expires_at is not None:
            seconds = max(1, min(seconds, int(caller.expires_at.timestamp() - begins)))
        proof = prove(session_id, operator_token) if caller.root else ""
        session = Session(caller=caller, issuer=issuer, proof=proof, expires_at=begins + seconds)
        name, names = _name(session_id), _name_list(caller)
        with self._redis_client.connection() as redis, redis.pipeline(transaction=True) as pipe:
            pipe.set(name, session.model_dump_json(), ex=seconds)
            pipe.zadd(names, {name: begins})
            pipe.expire(names, seconds)
            pipe.zrange(names, 0, -MAX_SESSIONS - 1)
            oldest = cast("list[str]", pipe.execute()[-1])
            if oldest:
                redis.delete(*oldest)
                redis.zrem(names, *oldest)
        return session_id, seconds

    def find(self, session_id: str) -> Session | None:
        """Returns a session that has not ended; None if there is none with this id."""
        if not SESSION_ID.fullmatch(session_id):
            return None
        with self._redis_client.connection() as redis:
            document = cast("str | None", redis.get(_name(session_id)))
        try:
            session = Session.model_validate_json(document) if document is not None else None
        except ValidationError:  # another version of the service has written it
            return None
        return session if session is not None and session.expires_at > self._clock() else None

    def end(self, session_id: str) -> None:
        """Ends a session, if there is one with this id."""
        session = self.find(session_id)
        if session is not None:
            with self._redis_client.connection() as redis:
                redis.delete(_name(session_id))
                redis.zrem(_name_list(session.caller), _name(session_id))


def prove(session_id: str, operator_token: SecretStr | None) -> str:
    """Returns a digest that shows that a session was started with this operator token."""
    token = operator_token.get_secret_value().strip() if operator_token is not None else ""
    return hmac.new(session_id.encode(), token.encode(), hashlib.sha256).hexdigest()


def _name(session_id: str) -> str:
    return key(f"session:{hashlib.sha256(session_id.encode()).hexdigest()}")


def _name_list(caller: Caller) -> str:
    """The key of the names of all sessions of a user."""
    return key(f"sessions:{hashlib.sha256(str(caller.key).encode()).hexdigest()}")
