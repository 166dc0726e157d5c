"""Checks the URLs of webhooks. The webhook sender uses the same parser, so that both mean the same receiver."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import idna

from archetype.contract.problem import FieldError
from shared.errors import InvalidRequest
from shared.validation.webhook_address import Address, Refused, check_address, find_embedded_ipv4

AUTHORITY = re.compile(r"(?:\[(?P<ipv6>[^\[\]]*)\]|(?P<name>[^\[\]:]*))(?::(?P<port>[0-9]{0,5}))?")
LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""A last label that URL parsers (WHATWG) and `inet_aton` read as part of an IPv4 address."""

MAX_LABEL, MAX_NAME = 63, 253
"""Longest label and longest name of DNS, in characters (RFC 1035)."""

SAFE_IN_TARGET = "/%:@!$&'()*+,;=~-._?"
"""Characters of a path or query that are sent as they are; all others are percent-encoded."""


class MalformedUrl(Refused):
    """The URL cannot be the URL of a receiver, whatever the operator allows."""


@dataclass(frozen=True)
class WebhookUrl:
    """The URL of a receiver, split into what the exchange needs.

    Attributes:
        scheme: `https` or `http`.
        host: Name in ASCII and lower case, or address without brackets.
        port: Port of the connection.
        target: Path and query in ASCII.
        address: The address, if the host is one.
    """

    scheme: str
    host: str
    port: int
    target: str
    address: Address | None

    @property
    def authority(self) -> str:
        """Value of the `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Name of the receiving server: host and port."""
        return f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether the URL names this machine: `localhost` or a loopback address."""
        return self.host.split(".")[-1] == "localhost" or (self.address is not None and self.address.is_loopback)


DEFAULT_PORTS = {"https": 443, "http": 80}


def check_url(url: str, *, loopback: bool, networks: Sequence[str], field: str = "/webhook") -> None:
    """Checks a webhook URL without a DNS lookup.

    Args:
        url: The URL.
        loopback: Allow loopback addresses, also over http.
        networks: Networks outside the public internet that are allowed, in CIDR notation.
        field: JSON pointer to the URL in the request, for errors.

    Raises:
        InvalidRequest: The URL is malformed, is not https, or its address is not allowed.
    """
    try:
        check_receiver(parse_url(url), loopback=loopback, networks=networks)
    except Refused as error:
        shown = url[:200].encode(errors="backslashreplace").decode()
        given = FieldError(field=field, detail=str(error), given=shown, allowed="an https URL on the internet")
        raise InvalidRequest(f"the webhook cannot be used: {error}", given) from error


def check_receiver(url: WebhookUrl, *, loopback: bool, networks: Sequence[str]) -> None:
    """Raises `Refused` if webhooks must not be sent to this URL. The addresses of a name are checked later."""
    if url.scheme == "http" and not (loopback and url.is_local):
        raise Refused("only https is allowed")
    if url.address is None:
        if url.is_local and not loopback:
            raise Refused(f"{url.host} is this machine; use a host on the internet")
        return
    check_address(url.address, loopback=loopback, networks=networks)
    if find_embedded_ipv4(url.address) and not any(url.address in ipaddress.ip_network(each) for each in networks):
        raise Refused(f"{url.host} contains an IPv4 address; use the IPv4 address itself")


def parse_url(url: str) -> WebhookUrl:
    """Splits the URL of a receiver. Raises `MalformedUrl` if no receiver can have it."""
    if any(ord(character) <= 0x20 or ord(character) == 0x7F or character == "\\" for character in url):
        raise MalformedUrl("it contains a space, a control character or a backslash; encode it, for example as %20")
    if "#" in url:
        raise MalformedUrl("it must not have a fragment (#)")
    try:
        parts = urlsplit(url)
        target = quote(parts.path or "/", safe=SAFE_IN_TARGET) + (
            f"?{quote(parts.query, safe=SAFE_IN_TARGET)}" if parts.query else ""
        )
    except ValueError as error:
        raise MalformedUrl(f"it is not a URL: {error}") from error
    if parts.scheme not in DEFAULT_PORTS:
        raise MalformedUrl("it must begin with https://")
    if "@" in parts.netloc:
        raise MalformedUrl("it must not contain a user or a password")
    host, port, address = _parse_authority(parts.netloc)
    return WebhookUrl(parts.scheme, host, port or DEFAULT_PORTS[parts.scheme], target, address)


def _parse_authority(authority: str) -> tuple[str, int | None, Address | None]:
    match = AUTHORITY.fullmatch(authority)
    if match is None:
        raise MalformedUrl("its host or port is malformed; write https://HOST/PATH or https://HOST:PORT/PATH")
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 0 < port < 65536:
        raise MalformedUrl(f"{port} is not a port from 1 to 65535")
    if match["ipv6"] is not None:
        return match["ipv6"].lower(), port, _parse_ipv6(match["ipv6"])
    host = _parse_name(match["name"])
    return host, port, _parse_ipv4(host)


def _parse_ipv6(text: str) -> Address:
    if "%" in text:
        raise MalformedUrl("its address must not have a zone")
    try:
        return ipaddress.IPv6Address(text)
    except ValueError as error:
        raise MalformedUrl(f"{text!r} is not an IPv6 address") from error


def _parse_ipv4(host: str) -> Address | None:
    if not NUMBER.fullmatch(host.split(".")[-1]):
        return None
    try:
        return ipaddress.IPv4Address(host)
    except ValueError as error:
        raise MalformedUrl(f"{host!r} is not a name; write an IPv4 address as four decimal numbers") from error


def _parse_name(host: str) -> str:
    """The host name in ASCII, without the dot of the root. Raises `MalformedUrl` if DNS cannot have such a name."""
    name = _encode_name(host).lower().removesuffix(".")
    if not name:
        raise MalformedUrl("it has no host")
    if len(name) > MAX_NAME:
        raise MalformedUrl(f"its host has {len(name)} characters; DNS allows {MAX_NAME}")
    for label in name.split("."):
        _check_label(label, host)
    return name


def _check_label(label: str, host: str) -> None:
    if not label:
        raise MalformedUrl(f"{host!r} has an empty label: two dots in a row, or a dot at the start")
    if len(label) > MAX_LABEL:
        raise MalformedUrl(f"its label {label[:12]}… has {len(label)} characters; DNS allows {MAX_LABEL}")
    if not LABEL.fullmatch(label):
        raise MalformedUrl(f"the label {label!r} is not a part of a host name; use letters, digits and inner hyphens")
    if label.startswith("xn--"):
        try:
            idna.ulabel(label)
        except UnicodeError as error:
            raise MalformedUrl(f"the label {label!r} is not valid (IDNA): {error}") from error


def _encode_name(host: str) -> str:
    if host.isascii():
        return host
    try:
        return idna.encode(host, uts46=True).decode()
    except UnicodeError as error:  # idna's errors are UnicodeErrors
        raise MalformedUrl(f"the host {host!r} is not a valid international name (IDNA): {error}") from error
