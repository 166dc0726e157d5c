"""The way back after a sign-in: to a page of this service and to nothing else."""

import re
from urllib.parse import quote, unquote

from flask import current_app, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

MAX_PATH_CHARACTERS = 1024
"""Longest path that a sign-in leads back to."""

PATH = re.compile(r"/[A-Za-z0-9\-._~%!$&'()*+,;=:@/?]*")
"""A path with a query, in the characters of RFC 3986: no backslash, control character, space or fragment."""

PAGES = ("page.", "audit_page.")
"""Blueprints with pages that need a key, the only ones that a sign-in leads back to."""


def find_way_back(path: str) -> str:
    """Returns a path if it is that of a page of this service; otherwise the path of the first page.

    Browsers read some paths as addresses of other hosts: those that begin with two slashes or backslashes, also with
    tabs or line breaks between the characters. Therefore only the characters of a path are allowed, also after
    decoding, and the path must be one that this application has.
    """
    decoded = _decode(path)
    is_path = len(path) <= MAX_PATH_CHARACTERS and PATH.fullmatch(path) is not None
    if not is_path or decoded is None:
        return "/"
    segments = decoded.partition("?")[0].split("/")[1:]
    is_plain = segments == [""] or not {"", ".", ".."} & set(segments)
    return path if is_plain and _is_page("/" + "/".join(segments)) else "/"


def write_way_back() -> str:
    """Returns the path and the query of the current request if it can be repeated; otherwise the first page."""
    if request.method != "GET":
        return "/"
    query = request.query_string.decode("latin-1")
    return find_way_back(quote(request.path, safe="/@:") + (f"?{query}" if query else ""))


def _decode(path: str) -> str | None:
    """Returns a path without percent-encoding; None if it contains, once decoded, what no path of a page contains."""
    for _ in range(4):
        decoded = unquote(path)
        if re.search(r"[\x00-\x1f\x7f\\]", decoded):
            return None
        if decoded == path:
            return decoded
        path = decoded
    return None


def _is_page(path: str) -> bool:
    """Whether a path is that of a page that needs a key."""
    try:
        endpoint, _ = current_app.url_map.bind("service").match(path, method="GET")
    except (RequestRedirect, HTTPException):
        return False
    view = current_app.view_functions[endpoint]
    return endpoint.startswith(PAGES) and hasattr(view, "scope")
