"""Keys over HTTP, for whoever runs the service: issued once, listed without their secrets, revoked for good."""

import re

from flask import Blueprint, Response

from api.access import check_root
from api.body import read_body
from api.openapi import describes
from api.services import services
from shared.access import IssuedKey, Key, Keys, NewKey, Scope
from shared.errors import NotFound

blueprint = Blueprint("keys", __name__, url_prefix="/v1/keys")

KEY_ID = re.compile(r"[0-9a-f]{16}")


@blueprint.post("")
@describes(
    "Issue a key (operators)",
    scope=Scope.OPERATE,
    body=NewKey,
    answers={201: IssuedKey},
    problems=(400, 411, 413, 415, 422, 503),
)
def issue_key() -> Response:
    """The answer has what opens with it, which is stored as its digest and never shown again."""
    check_root()
    new = read_body(NewKey)
    key, token = services().keyring.issue(new)
    issued = IssuedKey(**dict(key.narrowed(Key)), token=token)
    headers = {"Location": f"/v1/keys/{key.id}", "Cache-Control": "no-store"}
    return Response(issued.model_dump_json(), status=201, mimetype="application/json", headers=headers)


@blueprint.get("")
@describes("List keys (operators)", scope=Scope.OPERATE, answers={200: Keys}, problems=(503,))
def list_keys() -> Response:
    """Every key there is, or was, the oldest first."""
    check_root()
    keys = sorted(services().keyring, key=lambda key: key.created_at)
    return _json(Keys(items=[key.narrowed(Key) for key in keys]))


@blueprint.delete("/<key_id>")
@describes("Revoke a key (operators)", scope=Scope.OPERATE, answers={200: Key}, problems=(404, 503))
def revoke_key(key_id: str) -> Response:
    """Refused within seconds by every process; what it had submitted goes on."""
    check_root()
    key = services().keyring.revoke(key_id) if KEY_ID.fullmatch(key_id) else None
    if key is None:
        raise NotFound(f"there is no key {key_id[:40]!r}; GET /v1/keys lists those there are")
    return _json(key.narrowed(Key))


def _json(document: Key | Keys) -> Response:
    return Response(document.model_dump_json(), mimetype="application/json")
