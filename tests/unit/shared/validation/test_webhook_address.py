"""Checks of the addresses to which webhooks are sent."""

import ipaddress

import pytest

from shared.validation.webhook_address import Refused, check_address

PUBLIC = ["1.1.1.1", "93.184.215.14", "2606:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1"]
NOT_PUBLIC = [
    "127.0.0.1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "0.1.2.3",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "::",
    "::1",
    "::7f00:1",
    "fe80::1",
    "fec0::1",
    "fd00:ec2::254",
    "ff02::1",
    "100::1",
    "5f00::1",
    "2001::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::101:101",
    "::ffff:10.0.0.1",
    "::ffff:0:7f00:1",
]


@pytest.mark.parametrize("text", PUBLIC)
def test_an_address_of_the_public_internet_is_accepted(text: str) -> None:
    check_address(ipaddress.ip_address(text), loopback=False, networks=[])


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_every_other_address_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="not an address of the public internet"):
        check_address(ipaddress.ip_address(text), loopback=False, networks=[])


@pytest.mark.parametrize(
    ("text", "network"), [("10.1.2.3", "10.1.0.0/16"), ("fd00::1", "fd00::/8"), ("64:ff9b::a01:203", "10.1.0.0/16")]
)
def test_the_operator_can_allow_a_network(text: str, network: str) -> None:
    check_address(ipaddress.ip_address(text), loopback=False, networks=[network, "192.168.0.0/24"])


def test_loopback_addresses_are_accepted_only_if_they_are_allowed() -> None:
    for text in ("127.0.0.1", "::1"):
        check_address(ipaddress.ip_address(text), loopback=True, networks=[])
