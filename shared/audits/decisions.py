"""Decisions of people about audits in the store. A decision is written once and never changed."""

from archetype.contract.report.decision import Decision
from shared.errors import Unavailable
from shared.storage import layout
from shared.storage.s3 import Bucket

MAX_DECISIONS = 200
"""Newest decisions of an audit or a release that are read."""


class DecisionStore:
    """The decisions about the audits of all tenants.

    Args:
        bucket: The object store.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def add(self, tenant: str, audit_id: str, reference: str, decision: Decision) -> None:
        """Stores a decision about an audit of the release `reference`.

        Raises:
            Unavailable: There is a decision with this id.
        """
        for prefix in (layout.decisions(tenant, audit_id), layout.decisions_about(tenant, reference)):
            if not self._bucket.replace_document(f"{prefix}{decision.id}.json", decision, tag=None):
                raise Unavailable(f"decision {decision.id} exists; repeat the request")

    def list_about(self, tenant: str, reference: str) -> list[Decision]:
        """The decisions about all audits of the release `reference`, oldest first, also of audits that were deleted."""
        return self._list(layout.decisions_about(tenant, reference))

    def _list(self, prefix: str) -> list[Decision]:
        keys = sorted(self._bucket.keys(prefix))[-MAX_DECISIONS:]
        documents = (self._bucket.get_document(key, Decision) for key in keys)
        return [document for document in documents if document is not None]

    def list(self, tenant: str, audit_id: str) -> list[Decision]:
        """The decisions about an audit, oldest first."""
        return self._list(layout.decisions(tenant, audit_id))
