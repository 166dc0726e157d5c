"""The secrets that sign webhooks."""

import secrets
from base64 import b64encode
from datetime import timedelta
from itertools import pairwise

from archetype.contract.webhook import Secret, Secrets
from shared.errors import Unavailable
from shared.state.locks import Locks
from shared.state.redis_client import RedisClient
from shared.storage import layout
from shared.storage.s3 import Bucket

OVERLAP = timedelta(days=1)
"""How long messages are also signed with a replaced secret, so that receivers can change theirs."""

MAX_SECRETS = 5
"""Secrets that are kept of a tenant; each of them makes the signature header longer."""

LOCK_SECONDS, LOCK_WAIT_SECONDS = 120.0, 10.0
"""A lock expires after a time that is longer than the store can take for one call."""


class SecretStore:
    """The webhook secrets of all tenants. Every call raises `Unavailable` if Redis or the store does not answer.

    Of several concurrent requests for a new secret, in any processes, one creates it and all get the same. A lock in
    Redis ensures this; if it is lost, a conditional write does, in stores that support it.
    """

    def __init__(self, redis_client: RedisClient, bucket: Bucket) -> None:
        self._redis_client = redis_client
        self._locks = Locks(redis_client)
        self._bucket = bucket

    def find(self, tenant: str) -> Secrets:
        """The secrets of a tenant, newest first. The first call for a tenant creates one."""
        stored, _ = self._load(tenant)
        return stored if stored.items else self._replace(tenant, stored)

    def renew(self, tenant: str) -> Secrets:
        """Creates a new secret. The previous one stays valid for `OVERLAP`."""
        stored, _ = self._load(tenant)
        return self._replace(tenant, stored)

    def list_signing_secrets(self, tenant: str) -> list[str]:
        """The secrets that sign a message sent now, newest first."""
        return [secret.secret for secret in self._select_valid(self.find(tenant))]

    def _replace(self, tenant: str, seen: Secrets) -> Secrets:
        """Adds a secret to those that the caller has seen; if another request has added one since, returns that one."""
        with self._locks.lock(f"secret:{tenant}", LOCK_SECONDS, wait=LOCK_WAIT_SECONDS) as held:
            stored, tag = self._load(tenant)
            if stored != seen:
                return stored
            secret = f"whsec_{b64encode(secrets.token_bytes(32)).decode()}"
            newest = Secret(secret=secret, created_at=self._redis_client.now())
            renewed = Secrets(items=[newest, *self._select_valid(stored)][:MAX_SECRETS])
            held.extend(LOCK_SECONDS)
            if self._bucket.replace_document(layout.webhook_secrets(tenant), renewed, tag=tag):
                return renewed
        stored, _ = self._load(tenant)
        if stored == seen:
            raise Unavailable("the secret could not be stored, because another request changed it; try again")
        return stored

    def _load(self, tenant: str) -> tuple[Secrets, str | None]:
        stored, tag = self._bucket.get_tagged_document(layout.webhook_secrets(tenant), Secrets)
        return stored or Secrets(), tag

    def _select_valid(self, stored: Secrets) -> list[Secret]:
        """The newest secret, and those that were replaced less than `OVERLAP` ago."""
        moment = self._redis_client.now()
        replaced = [earlier for later, earlier in pairwise(stored.items) if moment - later.created_at < OVERLAP]
        return [*stored.items[:1], *replaced]
