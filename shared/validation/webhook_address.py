"""Checks the addresses of webhook receivers: only the public internet, plus the networks that the operator allows."""

import ipaddress
from collections.abc import Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""Well-known prefix of RFC 6052: the last 32 bits are an IPv4 address."""

PUBLIC_IPV6 = ipaddress.ip_network("2000::/3")
"""Only this part of IPv6 is assigned to the public internet (RFC 4291)."""

NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # IETF protocol assignments
        "192.88.99.0/24",  # relays of 6to4
        "2001::/23",  # IETF protocol assignments, with Teredo
        "2002::/16",  # 6to4, which contains IPv4 addresses
        "3fff::/20",  # documentation
    )
)
"""Networks that `is_global` of Python 3.11 accepts, but that lead to other networks or nowhere."""


class Refused(ValueError):
    """Webhooks must not be sent to this address."""


def check_address(address: Address, *, loopback: bool, networks: Sequence[str]) -> None:
    """Raises `Refused` if an address is not on the public internet and not allowed.

    An IPv6 address that contains an IPv4 address (IPv4-mapped or NAT64) is checked as that IPv4 address.

    Args:
        address: The address.
        loopback: Allow loopback addresses.
        networks: Networks outside the public internet that are allowed, in CIDR notation.
    """
    allowed = [ipaddress.ip_network(network) for network in networks]
    plain = find_embedded_ipv4(address) or address
    if any(each in network for network in allowed for each in (address, plain)):
        return
    if plain.is_loopback and loopback:
        return
    if not _is_public(plain):
        raise Refused(f"{address} is not an address of the public internet; the operator can allow its network")


def find_embedded_ipv4(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for (IPv4-mapped or NAT64), or None."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped


def _is_public(address: Address) -> bool:
    if address.version == 6 and address not in PUBLIC_IPV6:
        return False
    return address.is_global and not address.is_multicast and not any(address in network for network in NOT_PUBLIC)
