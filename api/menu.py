"""The menu over HTTP: which methods there are, and what each takes."""

from typing import Any

from flask import Blueprint, Response, jsonify
from pydantic import BaseModel, Field

from api.openapi import describes
from shared.access import Scope
from shared.methods import describe_menu

blueprint = Blueprint("menu", __name__, url_prefix="/v1/methods")


class Method(BaseModel):
    """A method of the menu."""

    method: str
    description: str
    json_schema: dict[str, Any] = Field(alias="schema", description="JSON Schema of the request.")


class Methods(BaseModel):
    """The menu."""

    items: list[Method]


@blueprint.get("")
@describes("List methods", scope=Scope.READ, answers={200: Methods})
def list_methods() -> Response:
    """Every method, with the JSON Schema of its request."""
    return jsonify(items=describe_menu())
