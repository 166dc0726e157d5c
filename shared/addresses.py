"""Where a webhook may lead: to the public internet over TLS, unless the operator says otherwise."""

import ipaddress
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from shared.errors import FieldError, InvalidRequest

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Refused(ValueError):
    """The address is not one that may be sent to."""


def check_url(url: str, *, loopback: bool, networks: Sequence[str], field: str = "/webhook") -> None:
    """Raises `InvalidRequest` for a URL that can be seen to lead where nothing may be sent, without looking it up."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
        if not host or "%" in host or parts.username is not None or parts.password is not None or parts.fragment:
            raise Refused("it needs a host, and no zone, user, password or fragment")
        literal = _read_address(host)
        if parts.scheme == "http" and loopback and (host == "localhost" or (literal and literal.is_loopback)):
            return
        if parts.scheme != "https":
            raise Refused("only https is taken")
        if literal is not None:
            check_address(literal, loopback=loopback, networks=networks)
    except ValueError as error:
        given = FieldError(field=field, detail=str(error), given=url[:200], allowed="an https URL on the internet")
        raise InvalidRequest(f"the webhook cannot be used: {error}", given) from error


def resolve(host: str, port: int, *, loopback: bool, networks: Sequence[str]) -> str:
    """The address that is to be connected to: every address of the host is checked, and one of them returned.

    Raises:
        Refused: One of them is not to be sent to.
        OSError: The host has none.
    """
    found = [info[4][0] for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    for text in found:
        check_address(ipaddress.ip_address(str(text).partition("%")[0]), loopback=loopback, networks=networks)
    return str(found[0])


def check_address(address: Address, *, loopback: bool, networks: Sequence[str]) -> None:
    """Raises `Refused` for what is not the public internet, unless it is allowed."""
    plain = getattr(address, "ipv4_mapped", None) or address
    if plain.is_loopback and loopback:
        return
    if any(plain in ipaddress.ip_network(network) for network in networks):
        return
    if not plain.is_global or plain.is_multicast:
        raise Refused(f"{address} is not an address of the public internet; the operator may allow its network")


def _read_address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
