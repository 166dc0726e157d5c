"""Which URLs name this machine."""

import pytest

from shared.process.loopback import is_loopback


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST",
        "store.localhost",
        "localhost.",
        "127.0.0.1",
        "127.8.9.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
    ],
)
def test_an_address_of_this_machine_is_loopback(host: str) -> None:
    assert is_loopback(f"http://{host}:9000/path")
    assert is_loopback(f"https://user:password@{host}/")


@pytest.mark.parametrize(
    "host", ["localhost.example.org", "mylocalhost", "10.0.0.1", "[::2]", "127.0.0.1.example.org", ""]
)
def test_other_addresses_are_not(host: str) -> None:
    assert not is_loopback(f"http://{host}:9000/path")
