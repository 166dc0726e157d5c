"""The signed message of a delivery (Standard Webhooks)."""

from collections.abc import Sequence

from standardwebhooks import Webhook

from archetype.contract.job import now
from archetype.contract.strict_json import dump_json
from shared.storage.outbox import StoredDelivery


def make_message(delivery: StoredDelivery, secrets: Sequence[str]) -> tuple[bytes, dict[str, str]]:
    """Returns body and headers of a message.

    Args:
        delivery: The delivery.
        secrets: Secrets that sign the message, newest first.
    """
    moment = now()
    body = dump_json({"type": delivery.event, "timestamp": delivery.created_at.isoformat(), "data": delivery.data})
    signatures = [Webhook(secret).sign(msg_id=delivery.id, timestamp=moment, data=body) for secret in secrets]
    return body.encode(), {
        "Content-Type": "application/json",
        "webhook-id": delivery.id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
