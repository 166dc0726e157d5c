"""API keys: the operator issues, lists and revokes them."""

from flask import Blueprint, Response

from api.dependencies import Services, get_services
from api.http.auth import check_operator
from api.http.openapi import describes
from api.http.parsing import read_body
from api.http.responses import make_json_response
from archetype.contract.api_key import IssuedKey, Key, Keys, NewKey, Scope
from shared.errors import NotFound
from shared.storage.api_keys import KEY_ID

blueprint = Blueprint("keys", __name__, url_prefix="/v1/keys")


@blueprint.post("")
@describes(
    "Issue a key (operators)",
    scope=Scope.OPERATE,
    body=NewKey,
    responses={201: IssuedKey},
    problems=(400, 411, 413, 415, 422, 503),
)
def issue_key() -> Response:
    """Creates a key. Only this response contains its token: the service stores a digest of it."""
    check_operator()
    key, token = get_services().api_keys.issue(read_body(NewKey))
    issued = IssuedKey(**dict(key.narrowed(Key)), token=token)
    response = make_json_response(issued, 201, location=f"/v1/keys/{key.id}")
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.get("")
@describes("List keys (operators)", scope=Scope.OPERATE, responses={200: Keys}, problems=(503,))
def list_keys() -> Response:
    """Lists every key, oldest first, including expired and revoked ones."""
    check_operator()
    return make_json_response(Keys(items=find_keys(get_services())))


def find_keys(services: Services) -> list[Key]:
    """Returns every key without its secret, oldest first."""
    return [key.narrowed(Key) for key in sorted(services.api_keys, key=lambda key: key.created_at)]


@blueprint.delete("/<key_id>")
@describes("Revoke a key (operators)", scope=Scope.OPERATE, responses={200: Key}, problems=(404, 503))
def revoke_key(key_id: str) -> Response:
    """Revokes a key. Within seconds, it is refused, its sessions and event streams end, and its schedules stop.

    Jobs that it has submitted continue.
    """
    check_operator()
    return make_json_response(revoke(key_id, get_services()))


def revoke(key_id: str, services: Services) -> Key:
    """Revokes a key. Raises `NotFound`."""
    key = services.api_keys.revoke(key_id) if KEY_ID.fullmatch(key_id) else None
    if key is None:
        raise NotFound(f"there is no key {key_id[:40]!r}; GET /v1/keys lists all keys")
    return key.narrowed(Key)
