"""Webhooks over HTTP: the secret that they are signed with, what was delivered, and the same once more."""

from typing import Annotated

from flask import Blueprint, Response
from pydantic import BaseModel, ConfigDict, Field

from api.access import caller
from api.body import read_query
from api.lookup import JOB_ID
from api.openapi import describes
from api.services import services
from shared.access import Scope
from shared.errors import NotFound
from shared.webhooks import Deliveries, Delivery, Secrets

blueprint = Blueprint("webhooks", __name__, url_prefix="/v1/webhooks")


class DeliveryQuery(BaseModel):
    """How to list deliveries."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: Annotated[int, Field(ge=1, le=200)] = Field(default=50, description="Most deliveries.")


@blueprint.get("/secret")
@describes("Get the webhooks' secret", scope=Scope.SUBMIT, answers={200: Secrets}, problems=(503,))
def get_secret() -> Response:
    """What this tenant's messages are signed with; made when it is first asked for."""
    return _json(services().secrets.find(caller().tenant))


@blueprint.post("/secret")
@describes("Renew the webhooks' secret", scope=Scope.SUBMIT, answers={201: Secrets}, problems=(503,))
def renew_secret() -> Response:
    """For a day messages are signed with the new one and with the one before, so that receivers have time to change."""
    return _json(services().secrets.renew(caller().tenant), 201)


@blueprint.get("/deliveries")
@describes("List deliveries", scope=Scope.READ, query=DeliveryQuery, answers={200: Deliveries}, problems=(422, 503))
def list_deliveries() -> Response:
    """The newest messages, with every try and what was answered."""
    query = read_query(DeliveryQuery)
    return _json(
        Deliveries(items=[one.narrowed(Delivery) for one in services().outbox.list(caller().tenant, query.limit)])
    )


@blueprint.get("/deliveries/<delivery_id>")
@describes("Get a delivery", scope=Scope.READ, answers={200: Delivery}, problems=(404, 503))
def get_delivery(delivery_id: str) -> Response:
    """A message, with every try and what was answered."""
    found = services().outbox.find(caller().tenant, _check(delivery_id))
    if found is None:
        raise _missing(delivery_id)
    return _json(found.narrowed(Delivery))


@blueprint.post("/deliveries/<delivery_id>/replay")
@describes("Send a message again", scope=Scope.SUBMIT, answers={202: Delivery}, problems=(404, 503))
def replay_delivery(delivery_id: str) -> Response:
    """Under its own id, by which a receiver knows that it has had it."""
    outbox = services().outbox
    found = outbox.find(caller().tenant, _check(delivery_id))
    if found is None:
        raise _missing(delivery_id)
    return _json(outbox.replay(found).narrowed(Delivery), 202)


def _check(delivery_id: str) -> str:
    if not JOB_ID.fullmatch(delivery_id):
        raise _missing(delivery_id)
    return delivery_id


def _missing(delivery_id: str) -> NotFound:
    return NotFound(f"there is no delivery {delivery_id[:40]!r}; GET /v1/webhooks/deliveries lists the newest")


def _json(document: BaseModel, status: int = 200) -> Response:
    return Response(document.model_dump_json(), status=status, mimetype="application/json")
