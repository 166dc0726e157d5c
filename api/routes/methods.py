"""Methods: list them with the parameters of each."""

from typing import Any

from flask import Blueprint, Response, jsonify
from pydantic import BaseModel, Field

from api.http.openapi import describes
from archetype.contract.api_key import Scope
from archetype.contract.request import describe_methods

blueprint = Blueprint("methods", __name__, url_prefix="/v1/methods")


class Method(BaseModel):
    """A method with its parameters."""

    method: str
    description: str
    json_schema: dict[str, Any] = Field(alias="schema", description="JSON Schema of the request.")


class Methods(BaseModel):
    """All methods."""

    items: list[Method]


@blueprint.get("")
@describes("List methods", scope=Scope.READ, responses={200: Methods})
def list_methods() -> Response:
    """Lists every method with the JSON Schema of its request."""
    return jsonify(items=describe_methods())
