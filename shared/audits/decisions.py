"""Decisions of people about audits in the store. A decision is written once and never changed."""

from archetype.contract.report.decision import Decision
from shared.errors import Unavailable
from shared.storage import layout
from shared.storage.s3 import Bucket

MAX_DECISIONS = 200
"""Decisions of an audit that are read."""


class DecisionStore:
    """The decisions about the audits of all tenants.

    Args:
        bucket: The object store.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def add(self, tenant: str, audit_id: str, decision: Decision) -> None:
        """Stores a decision.

        Raises:
            Unavailable: There is a decision with this id.
        """
        key = f"{layout.decisions(tenant, audit_id)}{decision.id}.json"
        if not self._bucket.replace_document(key, decision, tag=None):
            raise Unavailable(f"decision {decision.id} exists; repeat the request")

    def list(self, tenant: str, audit_id: str) -> list[Decision]:
        """The decisions about an audit, oldest first."""
        keys = sorted(self._bucket.keys(layout.decisions(tenant, audit_id)))[-MAX_DECISIONS:]
        documents = (self._bucket.get_document(key, Decision) for key in keys)
        return [document for document in documents if document is not None]
