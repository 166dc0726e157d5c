"""Webhooks: their signing secret, and their deliveries, which can be sent again."""

from typing import Annotated

from flask import Blueprint, Response
from pydantic import BaseModel, ConfigDict, Field

from api.dependencies import get_services
from api.http.auth import caller
from api.http.openapi import describes
from api.http.parsing import read_query
from api.http.responses import make_json_response
from api.services.find_job import JOB_ID
from archetype.contract.api_key import Scope
from archetype.contract.webhook import Deliveries, Delivery, Secrets
from shared.errors import NotFound
from shared.storage.outbox import StoredDelivery

blueprint = Blueprint("webhooks", __name__, url_prefix="/v1/webhooks")


class DeliveryQuery(BaseModel):
    """The query string of the list of deliveries."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: Annotated[int, Field(ge=1, le=200)] = Field(default=50, description="Maximum number of deliveries.")


@blueprint.get("/secret")
@describes("Get the webhook secret", scope=Scope.SUBMIT, responses={200: Secrets}, problems=(503,))
def get_secret() -> Response:
    """Returns the secret that signs the webhooks of the tenant. The first request creates it."""
    return make_json_response(get_services().secrets.find(caller().tenant))


@blueprint.post("/secret")
@describes("Renew the webhook secret", scope=Scope.SUBMIT, responses={201: Secrets}, problems=(503,))
def renew_secret() -> Response:
    """Creates a new secret. For one day, webhooks are signed with both the new and the previous secret.

    Of several requests at the same time, one creates a secret, and all return the same.
    """
    return make_json_response(get_services().secrets.renew(caller().tenant), 201)


@blueprint.get("/deliveries")
@describes("List deliveries", scope=Scope.READ, query=DeliveryQuery, responses={200: Deliveries}, problems=(422, 503))
def list_deliveries() -> Response:
    """Lists the newest deliveries, with every attempt and the status of the receiver."""
    deliveries = get_services().outbox.list(caller().tenant, read_query(DeliveryQuery).limit)
    return make_json_response(Deliveries(items=[delivery.narrowed(Delivery) for delivery in deliveries]))


@blueprint.get("/deliveries/<delivery_id>")
@describes("Get a delivery", scope=Scope.READ, responses={200: Delivery}, problems=(404, 503))
def get_delivery(delivery_id: str) -> Response:
    """Returns a delivery, with every attempt and the status of the receiver."""
    return make_json_response(find_delivery(delivery_id).narrowed(Delivery))


@blueprint.post("/deliveries/<delivery_id>/replay")
@describes("Send a delivery again", scope=Scope.SUBMIT, responses={202: Delivery}, problems=(404, 429, 503))
def replay_delivery(delivery_id: str) -> Response:
    """Sends a webhook again under the same id, so that the receiver can recognize the repetition."""
    delivery = get_services().outbox.replay(find_delivery(delivery_id))
    return make_json_response(delivery.narrowed(Delivery), 202)


def find_delivery(delivery_id: str) -> StoredDelivery:
    """Returns a delivery of the caller's tenant. Raises `NotFound`."""
    delivery = get_services().outbox.find(caller().tenant, delivery_id) if JOB_ID.fullmatch(delivery_id) else None
    if delivery is None:
        raise NotFound(f"there is no delivery {delivery_id[:40]!r}; GET /v1/webhooks/deliveries lists the newest")
    return delivery
