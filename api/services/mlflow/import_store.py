"""Versions of an MLflow registry that are being imported, and what became of them, in the store."""

from collections.abc import Iterator
from datetime import datetime

import structlog
from pydantic import Field, ValidationError

from archetype.contract.job import D, Document
from archetype.contract.protocols.mlflow_import import ImportedVersion
from shared.errors import UnsupportedFormat
from shared.storage import layout
from shared.storage.s3 import Bucket

log = structlog.get_logger()


class PendingImport(Document):
    """A version whose weights must still be fetched or tried."""

    registered_model: str
    version: str
    model: str = Field(description="Name of the model in the catalogue.")
    begun_at: datetime
    next_at: datetime
    tries: int = 0
    detail: str | None = Field(default=None, description="Why the last attempt failed.")
    sha256: str | None = Field(default=None, description="Digest of the weights, once they were fetched.")


class ImportStore:
    """Pending and ended imports in a bucket. Every call raises `Unavailable` if the store does not answer."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def is_known(self, model: str, version: str) -> bool:
        """Whether a version is pending, or its import has ended."""
        keys = (layout.pending_import(model, version), layout.ended_import(model, version))
        return any(next(self._bucket.keys(key), None) == key for key in keys)

    def save(self, pending: PendingImport) -> None:
        """Stores a pending import; it replaces the one of the same version."""
        self._bucket.put_document(layout.pending_import(pending.model, pending.version), pending)

    def list_pending(self) -> Iterator[PendingImport]:
        """The pending imports. Documents that cannot be read are logged and skipped, so that they stop no other."""
        return self._read_all(layout.PENDING_IMPORTS, PendingImport)

    def end(self, pending: PendingImport, ended: ImportedVersion) -> None:
        """Stores what became of an import, and removes it from the pending ones."""
        self._bucket.put_document(layout.ended_import(pending.model, pending.version), ended)
        self._bucket.delete(layout.pending_import(pending.model, pending.version))

    def list_ended(self) -> Iterator[ImportedVersion]:
        """What became of all imports."""
        return self._read_all(layout.ENDED_IMPORTS, ImportedVersion)

    def list_versions(self, model: str) -> set[str]:
        """The versions of a model that are pending or have ended. The cost is two listings."""
        folders = (layout.pending_import(model, ""), layout.ended_import(model, ""))
        return {
            key.rpartition("/")[2].removesuffix(".json")
            for folder in folders
            for key in self._bucket.keys(folder.removesuffix(".json"))
        }

    def _read_all(self, prefix: str, kind: type[D]) -> Iterator[D]:
        for key in list(self._bucket.keys(prefix)):
            try:
                document = self._bucket.get_document(key, kind)
            except (ValidationError, UnsupportedFormat) as error:
                log.warning("import.unreadable", key=key, error=str(error)[:300])
                continue
            if document is not None:
                yield document
