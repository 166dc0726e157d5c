"""The configuration of Caddy in front of a store that has no policies, such as rclone.

Every request to the store passes Caddy, which allows it or answers 403 by the access key that signed it. The store then
checks the signature, so no part can use the access key of another one. The store listens on a Unix socket that only
Caddy can open.
"""

import re
from collections.abc import Sequence
from typing import Any

from deploy.rights import Access, Role, list_operator_prefixes, list_prefixes
from shared.settings import Settings
from shared.validation.store_keys import TENANT

SIGNED_BY = r"^AWS4-HMAC-SHA256 Credential={account}/[^,=\s]+, ?SignedHeaders=[a-z0-9;_-]+, ?Signature=[0-9a-f]{{64}}$"
"""The whole header: a second header would be appended to the first one after a comma, and would not match."""

Part = dict[str, Any]

REFUSE: Part = {
    "handler": "static_response",
    "status_code": 403,
    "headers": {"Content-Type": ["application/xml"]},
    "body": '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code>'
    "<Message>this access key may not do this; see deploy/rights.py</Message></Error>",
}

READ_HEADER_TIMEOUT, IDLE_TIMEOUT = "10s", "2m"


def make_guard(settings: Settings, *, listen: Sequence[str], socket: str) -> dict[str, Any]:
    """Returns the configuration of Caddy as a JSON document.

    Args:
        settings: The settings, which name the bucket and the prefixes of operators.
        listen: The addresses on which Caddy listens.
        socket: Path of the Unix socket on which the store listens.
    """
    pass_on = {"handler": "reverse_proxy", "upstreams": [{"dial": f"unix/{socket}"}], "flush_interval": -1}
    restricted = [
        {"match": [_signed_by(role)], "handle": [{"handler": "subroute", "routes": _restrict(role, settings, pass_on)}]}
        for role in Role
        if role is not Role.API
    ]
    server = {
        "listen": list(listen),
        "automatic_https": {"disable": True},
        "read_header_timeout": READ_HEADER_TIMEOUT,
        "idle_timeout": IDLE_TIMEOUT,
        "routes": [_route(_list_of_the_api(), pass_on), *restricted, {"handle": [REFUSE]}],
    }
    return {
        "admin": {"disabled": True, "config": {"persist": False}},
        "logging": {"logs": {"default": {"level": "ERROR"}}},
        "apps": {"http": {"servers": {"store": server}}},
    }


def _list_of_the_api() -> list[Part]:
    """Returns matchers of the requests of the API, which also signs URLs for clients."""
    account = Role.API.account
    in_query = _fits("{http.request.uri.query.X-Amz-Credential}", rf"^{account}/[^,]*$")
    return [
        _signed_by(Role.API),
        in_query | {"method": ["GET", "HEAD"], "not": [{"header": {"Authorization": ["*"]}}]},
    ]


def _restrict(role: Role, settings: Settings, pass_on: Part) -> list[Part]:
    """Returns the routes of requests that another role has signed: what is not clear is refused first."""
    bucket = re.escape(settings.s3_bucket)
    others = list_operator_prefixes(role, settings)
    readable = [*list_prefixes(role, Access.READ, Access.DELETE, Access.WRITE), *others]
    places = {
        ("GET", "HEAD"): readable,
        ("DELETE",): list_prefixes(role, Access.DELETE, Access.WRITE),
        ("PUT", "POST"): list_prefixes(role, Access.WRITE),
    }
    allowed = [
        _fits("{http.request.uri.path}", f"^/{bucket}/{_any_of(prefixes)}") | {"method": list(methods)}
        for methods, prefixes in places.items()
        if prefixes
    ]
    listed = _fits("{http.request.uri.query.prefix}", f"^{_any_of(readable)}")
    in_bucket = {"path_regexp": {"pattern": f"^/{bucket}/?$"}, "method": ["GET"]}
    # The path is decoded, as the store reads it. It must not lead out of its prefix.
    unclear = [
        _fits("{http.request.uri.path}", r"//|\\|(^|/)\.\.?(/|$)"),
        _fits("{http.request.uri.query.prefix}", r"//|\\|(^|/)\.\.?(/|$)|,"),
        {"header_regexp": {"X-Amz-Copy-Source": {"pattern": "."}}},
        {"query": {"X-Amz-Credential": ["*"]}},
    ]
    return [_route(unclear, REFUSE), _route([*allowed, listed | in_bucket], pass_on)]


def _route(alternatives: list[Part], handler: Part) -> Part:
    """Returns a route for requests that one of the alternatives matches. Each alternative is a set of conditions."""
    return {"match": alternatives, "handle": [handler], "terminal": True}


def _signed_by(role: Role) -> Part:
    return _fits("{http.request.header.Authorization}", SIGNED_BY.format(account=role.account))


def _fits(variable: str, pattern: str) -> Part:
    """Returns a condition. An alternative can contain one such condition: Caddy joins several with `or`."""
    return {"vars_regexp": {variable: {"pattern": pattern}}}


def _any_of(prefixes: Sequence[str]) -> str:
    return "(" + "|".join(re.escape(prefix).replace(re.escape(TENANT), "[^/]+") for prefix in prefixes) + ")"
