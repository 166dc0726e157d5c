"""The signed message of a delivery (Standard Webhooks)."""

from collections.abc import Sequence

from standardwebhooks import Webhook

from archetype.contract.job import now
from archetype.contract.strict_json import dump_json
from shared.settings import Settings
from shared.storage.outbox import StoredDelivery
from shared.validation.webhook_url import parse_url
from worker.webhooks.chat import write_chat_message


def make_message(delivery: StoredDelivery, secrets: Sequence[str], settings: Settings) -> tuple[bytes, dict[str, str]]:
    """Returns body and headers of a message.

    Args:
        delivery: The delivery.
        secrets: Secrets that sign the message, newest first.
        settings: The settings, which name the hosts of chat services.
    """
    moment = now()
    body = _write_body(delivery, settings)
    signatures = [Webhook(secret).sign(msg_id=delivery.id, timestamp=moment, data=body) for secret in secrets]
    return body.encode(), {
        "Content-Type": "application/json",
        "webhook-id": delivery.id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _write_body(delivery: StoredDelivery, settings: Settings) -> str:
    if parse_url(delivery.url).host in settings.chat_hosts:
        return write_chat_message(delivery, settings.public_url)
    return dump_json({"type": delivery.event, "timestamp": delivery.created_at.isoformat(), "data": delivery.data})
