"""Webhooks: deliveries and signing secrets.

S3 is authoritative: a message lies under `outbox/` until it is delivered or given up, and its log lies under
`deliveries/`. Redis only knows when each message is due.
"""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from archetype.contract.job import Document


class DeliveryAttempt(Document):
    """An attempt to deliver a message."""

    at: datetime = Field(description="Time of the attempt.")
    seconds: float = Field(description="Duration of the attempt in seconds.")
    status: int | None = Field(default=None, description="HTTP status of the response; null if there was no response.")
    error: str | None = Field(default=None, description="Description of the error; null if there was none.")


class Delivery(Document):
    """A message to a webhook and the state of its delivery."""

    id: str = Field(
        description="Id of the message, sent as `webhook-id`. It is the same for every attempt, so that receivers can "
        "ignore duplicates."
    )
    url: str = Field(description="URL of the receiver.")
    event: str = Field(description="Type of the event.", examples=["job.succeeded"])
    data: dict[str, Any] = Field(
        description="Content of the message. It is short; `GET /v1/jobs/{id}` returns the whole job."
    )
    created_at: datetime = Field(description="Time at which the message was created.")
    state: Literal["waiting", "delivered", "given_up"] = Field(default="waiting", description="State of the delivery.")
    tries: list[DeliveryAttempt] = Field(default=[], description="The last 100 attempts, oldest first.")
    next_at: datetime | None = Field(default=None, description="Time of the next attempt; null if there will be none.")


class Deliveries(Document):
    """The newest deliveries of a tenant."""

    items: list[Delivery]


class Secret(Document):
    """A secret that messages are signed with (Standard Webhooks)."""

    secret: str = Field(
        description="Secret for the receiver; the `standardwebhooks` libraries verify signatures with it."
    )
    created_at: datetime = Field(description="Time at which the secret was created.")


class Secrets(Document):
    """The signing secrets of a tenant, newest first."""

    items: list[Secret] = Field(default=[])
