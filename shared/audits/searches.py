"""Results of trigger searches in a baseline, which later audits of the same tenant use again."""

import hashlib

from archetype.contract.strict_json import dump_json
from shared.storage import layout
from shared.storage.s3 import JSON, Bucket, Missing


class StoredSearches:
    """The searches of one tenant. Every call raises `Unavailable` if the store does not answer."""

    def __init__(self, bucket: Bucket, tenant: str) -> None:
        self._bucket = bucket
        self._tenant = tenant

    def find(self, identity: object) -> bytes | None:
        """What was stored of the search with this identity, which is any value that can be written as JSON."""
        try:
            return self._bucket.get(self._locate(identity))
        except Missing:
            return None

    def save(self, identity: object, data: bytes) -> None:
        """Stores what a search found."""
        self._bucket.put(self._locate(identity), data, media_type=JSON)

    def _locate(self, identity: object) -> str:
        digest = hashlib.sha256(dump_json(identity, sort_keys=True).encode()).hexdigest()
        return layout.trigger_search(self._tenant, digest)
