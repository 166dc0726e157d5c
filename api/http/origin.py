"""Where a request comes from: a page of this service, a page of another site, or a program on this machine.

The check of the site follows the algorithm of Go's `http.CrossOriginProtection` (Valsorda, 2025): browsers send
`Sec-Fetch-Site` or `Origin`, which pages cannot change; a request with neither does not come from a page. Unlike there,
both must agree, and pages of sibling domains (`same-site`) count as other sites.
"""

import ipaddress
from urllib.parse import urlsplit

from flask import request

from shared.errors import Forbidden
from shared.process.peer import is_own_account
from shared.process.socket_owner import End
from shared.settings import Settings

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
DEFAULT_PORTS = {"http": 80, "https": 443}

FORWARDING_HEADERS = frozenset({
    "forwarded", "via", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "client-ip", "true-client-ip",
    "cf-connecting-ip", "fastly-client-ip", "fly-client-ip", "x-azure-clientip", "x-appengine-user-ip",
    "x-original-forwarded-for", "x-original-host", "x-original-url", "x-rewrite-url", "x-envoy-external-address",
    "x-envoy-internal", "x-proxyuser-ip", "wl-proxy-client-ip", "proxy-client-ip", "cdn-loop",
})  # fmt: skip
"""Headers that proxies add, besides all that begin with `X-Forwarded`."""


def check_site() -> None:
    """Raises `Forbidden` if the request changes something and comes from a page of another site.

    Pages of other sites can use the cookie or the address of a user, and a password that the browser sends by itself to
    a proxy, but they cannot send a bearer token.
    """
    has_token = request.headers.get("Authorization", "").lower().startswith("bearer ")
    if request.method not in SAFE_METHODS and not has_token and is_cross_site():
        raise Forbidden("this request comes from a page of another site; open the page of this service and repeat it")


def is_cross_site() -> bool:
    """Whether the request comes from a page of another site."""
    if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        return True
    origin = request.headers.get("Origin")
    return origin is not None and not _is_own_origin(origin)


def is_local(settings: Settings) -> bool:
    """Whether the request comes from this machine, to a port that only this machine can reach, and from no other site.

    The address is that of the connection. A proxy on this machine forwards requests of others, so there must be none:
    neither in the settings nor in the headers. A page of another site can make a browser on this machine send requests
    to the port. Such a request names its origin or, if a host name was made to resolve to the loopback (DNS rebinding),
    the wrong host.
    """
    return (
        not settings.trusted_proxies
        and not is_forwarded()
        and _is_loopback(_read_peer())
        and _is_loopback(request.environ.get("SERVER_NAME", ""))
        and _is_loopback(_read_host(request.host))
        and (not is_cross_site() or _is_followed_link())
        and _is_of_own_account()
    )


def is_forwarded() -> bool:
    """Whether a header shows that a proxy has forwarded the request."""
    names = (name.lower() for name, _ in request.headers)
    return any(name in FORWARDING_HEADERS or name.startswith("x-forwarded") for name in names)


def _read_peer() -> str:
    """Returns the address of the connection, which `ProxyFix` replaces with that of a header."""
    original = request.environ.get("werkzeug.proxy_fix.orig") or {}
    return str(original.get("REMOTE_ADDR") or request.environ.get("REMOTE_ADDR") or "")


def _is_of_own_account() -> bool:
    """Whether the program that sends the request runs as the account of the service, or as root."""
    port = request.environ.get("REMOTE_PORT")
    if port is None:  # the request did not come over a connection: a test, for example
        return True
    server = End(request.environ["SERVER_NAME"], int(request.environ["SERVER_PORT"]))
    return is_own_account(End(_read_peer(), int(port)), server)


def _is_followed_link() -> bool:
    """Whether the user has followed a link of another site to a page, which changes nothing."""
    headers = request.headers
    is_page = headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"
    return request.method in SAFE_METHODS and is_page and "Origin" not in headers


def _is_own_origin(origin: str) -> bool:
    """Whether an origin is that of this service. Over TLS, pages that were loaded without TLS are of another site."""
    try:
        given, own = urlsplit(origin), urlsplit(f"//{request.host}")
        if given.scheme not in DEFAULT_PORTS or (request.is_secure and given.scheme != "https"):
            return False
        port = DEFAULT_PORTS[given.scheme]
        hosts = [(parts.hostname, parts.port or port) for parts in (given, own)]
        return own.hostname is not None and hosts[0] == hosts[1]
    except ValueError:
        return False


def _read_host(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
