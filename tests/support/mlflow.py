"""Signed webhooks, as MLflow sends them."""

import base64
import hashlib
import hmac
import json
import time

DELIVERY_ID = "7f1c"


def sign(secret: str, body: bytes, *, at: float | None = None, delivery_id: str = DELIVERY_ID) -> dict[str, str]:
    """The headers of a webhook, as `mlflow/webhooks/delivery.py` of MLflow 3.3 makes them."""
    timestamp = str(int(at if at is not None else time.time()))
    message = f"{delivery_id}.{timestamp}.".encode() + body
    digest = hmac.new(secret.encode(), message, hashlib.sha256).digest()
    return {
        "X-MLflow-Delivery-Id": delivery_id,
        "X-MLflow-Timestamp": timestamp,
        "X-MLflow-Signature": "v1," + base64.b64encode(digest).decode(),
        "Content-Type": "application/json",
    }


def write_event(action: str = "created", entity: str = "model_version", version: str = "1") -> bytes:
    data = {"name": "Shapes", "version": version, "source": "models:/1", "run_id": "0", "tags": {}, "description": None}
    return json.dumps({"entity": entity, "action": action, "timestamp": "2026-11-22T01:00:00", "data": data}).encode()
