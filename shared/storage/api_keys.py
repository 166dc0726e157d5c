"""API keys in the store: creation, lookup and revocation."""

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import datetime

from archetype.contract.api_key import Key, Limits, NewKey, Scope, Tenant
from archetype.contract.job import DEFAULT_TENANT, Document, now
from shared.age_cache import AgeCache
from shared.storage import layout
from shared.storage.s3 import Bucket

FRESH_SECONDS = 5.0
"""How long a key is used from memory: after this time, a key that another process revoked is refused."""

OPERATOR = "operator"
"""`Caller.key` of the operator."""

OIDC_PREFIX = "oidc:"
"""Start of `Caller.key` of a user of the identity provider; the subject of the token follows."""

KEY_ID = re.compile(r"[0-9a-f]{16}")
"""The id of a key."""

TOKEN = re.compile(r"archetype_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
"""A key as clients send it: id and secret. The fixed prefix lets secret scanners recognize it."""


class StoredKey(Key):
    """An API key as it is stored.

    Attributes:
        sha256: Digest of the secret; the secret itself is not stored.
    """

    sha256: str

    def fits(self, secret: str) -> bool:
        """Whether this is the key's secret, compared in constant time."""
        return secrets.compare_digest(_hash(secret), self.sha256)

    @property
    def caller(self) -> "Caller":
        """The caller that uses this key."""
        return Caller(
            tenant=self.tenant,
            scopes=frozenset(self.scopes),
            limits=self.limits,
            key=self.id,
            expires_at=self.expires_at,
        )


class Caller(Document):
    """The identity and the rights behind a request.

    Attributes:
        tenant: Tenant whose jobs, images and models the caller uses.
        scopes: What the caller may do.
        limits: How much the caller may use.
        key: Id of the API key, `operator`, or `oidc:` and the subject of a token; None for a caller without a key.
        root: Whether the caller is the operator, who manages the keys of all tenants.
        expires_at: Time at which the credentials expire; None if they do not.
    """

    tenant: Tenant = DEFAULT_TENANT
    scopes: frozenset[Scope] = frozenset({Scope.SUBMIT, Scope.READ})
    limits: Limits = Limits()
    key: str | None = None
    root: bool = False
    expires_at: datetime | None = None

    @property
    def rate_key(self) -> str:
        """Name under which submissions are counted: by API key, and for users of an identity provider by tenant."""
        if self.key is None or self.key.startswith(OIDC_PREFIX):
            return f"tenant:{self.tenant}"
        return self.key


def create_key(new: NewKey) -> tuple[StoredKey, str]:
    """A new key as it is stored, and the token that its owner sends."""
    key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    key = StoredKey(**dict(new), id=key_id, created_at=now(), sha256=_hash(secret))
    return key, f"archetype_{key_id}_{secret}"


def _hash(secret: str) -> str:
    # A fast hash is enough: the secret has 256 random bits and cannot be guessed.
    return hashlib.sha256(secret.encode()).hexdigest()


class ApiKeyStore:
    """API keys in a bucket. Every call raises `Unavailable` if the store does not answer.

    Args:
        bucket: Bucket that contains the keys.
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, bucket: Bucket, clock: Callable[[], float] = time.monotonic) -> None:
        self._bucket = bucket
        self._cache: AgeCache[str, StoredKey] = AgeCache(clock)

    def issue(self, new: NewKey) -> tuple[StoredKey, str]:
        """Creates and stores a key; returns it with the token that its owner sends."""
        key, token = create_key(new)
        self._bucket.put_document(layout.api_key(key.id), key)
        return key, token

    def find(self, token: str) -> StoredKey | None:
        """The key that belongs to a token; None if the token is wrong, or the key was revoked or has expired."""
        match = TOKEN.fullmatch(token)
        if match is None:
            return None
        key = self.find_valid(match[1])
        return key if key is not None and key.fits(match[2]) else None

    def find_valid(self, key_id: str) -> StoredKey | None:
        """The key with an id; None if there is none, or if it was revoked or has expired."""
        key = self._load(key_id) if KEY_ID.fullmatch(key_id) else None
        return key if key is not None and key.is_valid else None

    def revoke(self, key_id: str) -> StoredKey | None:
        """Revokes a key, at once in this process and within `FRESH_SECONDS` in others; None if there is no such key."""
        key = self._bucket.get_document(layout.api_key(key_id), StoredKey)
        if key is not None and key.revoked_at is None:
            key = key.model_copy(update={"revoked_at": now()})
            self._bucket.put_document(layout.api_key(key_id), key)
        self._cache.discard(key_id)
        return key

    def find_by_id(self, key_id: str) -> StoredKey | None:
        """The key with an id, also if it was revoked or has expired; None if there is none."""
        return self._load(key_id)

    def __iter__(self) -> Iterator[StoredKey]:
        for place in self._bucket.keys(layout.API_KEYS):
            key = self._bucket.get_document(place, StoredKey)
            if key is not None:
                yield key

    def _load(self, key_id: str) -> StoredKey | None:
        cached = self._cache.get(key_id, max_age=FRESH_SECONDS)
        if cached is not None:
            return cached
        key = self._bucket.get_document(layout.api_key(key_id), StoredKey)
        if key is None:
            self._cache.discard(key_id)
        else:
            self._cache.put(key_id, key)
        return key
