"""Checks of webhook URLs. The sender parses them with the same function."""

import pytest

from shared.errors import InvalidRequest
from shared.validation.webhook_url import MalformedUrl, check_url, parse_url


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/hook",
        "https://example.org:8443/a?b=c",
        "https://1.1.1.1/",
        "https://[2606:4700::1111]:8443/",
        "https://example.org./",
        "https://müller.example/",
        "https://a_b.example/",
        "https://0x7f.example/",
        f"https://{'a' * 63}.example/",
    ],
)
def test_https_to_the_public_internet_is_accepted(url: str) -> None:
    check_url(url, loopback=False, networks=[])


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "ftp://example.org/",
        "https:///path",
        "https:/path",
        "//example.org/",
        "not a url",
        "https://user@example.org/",
        "https://:password@example.org/",
        "https://@example.org/",
        "https://example.org/#part",
        "https://example.org/#",
        "https://127.0.0.1/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://224.0.0.1/",
        "https://[::1]/",
        "https://[fec0::1]/",
        "https://[fe80::1%25eth0]/",
        "https://[fe80::1%eth0]/",
        "http://127.0.0.1/",
        "http://localhost/",
        "https://localhost/",
        "https://localhost./",
        "https://api.localhost/",
    ],
)
def test_every_other_url_is_refused_with_its_field(url: str) -> None:
    with pytest.raises(InvalidRequest, match="the webhook cannot be used") as error:
        check_url(url, loopback=False, networks=[], field="/hook")
    assert (error.value.errors[0].field, error.value.errors[0].given) == ("/hook", url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"https://{'a' * 64}.example/", "64 characters; DNS allows 63"),
        (f"https://{'ü' * 60}.example/", "IDNA"),
        (f"https://{'abc.' * 64}example/", "DNS allows 253"),
        ("https://a..example/", "empty label"),
        ("https://../", "empty label"),
        ("https://.example/", "empty label"),
        ("https://./", "no host"),
        ("https://a。。example/", "IDNA"),
        ("https://☃.example/", "IDNA"),
        ("https://xn--a.example/", "IDNA"),
        ("https://\ud800.example/", "IDNA"),
        ("https://example.org/\ud800", "surrogates"),
        ("https://-a.example/", "host name"),
        ("https://ex%61mple.org/", "host name"),
        ("https://a*b.example/", "host name"),
        ("https://example.org:0/", "not a port"),
        ("https://example.org:65536/", "not a port"),
        ("https://example.org:+80/", "host or port"),
        ("https://example.org:80:80/", "host or port"),
        ("https://example.org:\u0668\u0660/", "host or port"),
        ("https://[::1]example.org/", "host or port"),
        ("https://[::1/", "not a URL"),
        ("https://[v1.x]/", "not an IPv6 address"),
        ("https://exa\tmple.org/", "control character"),
        ("https://exa\nmple.org/", "control character"),
        ("https://example.org/\r\nHost: other", "control character"),
        ("https://example.org/a b", "space"),
        (" https://example.org/", "space"),
        ("https://example.org/\x00", "control character"),
        ("https://example.org\\@other.example/", "backslash"),
        ("https://user:word@example.org/", "user or a password"),
        ("https://0x7f.1/", "four decimal numbers"),
        ("https://2130706433/", "four decimal numbers"),
        ("https://0x7f000001/", "four decimal numbers"),
        ("https://0177.0.0.1/", "four decimal numbers"),
        ("https://127.1/", "four decimal numbers"),
        ("https://127.0.0.1.2/", "four decimal numbers"),
        ("https://256.1.1.1/", "four decimal numbers"),
        ("https://1.2.3.0x4/", "four decimal numbers"),
        ("https://１２７。０。０。１/", "not an address of the public internet"),
        ("https://127.0.0.1./", "not an address of the public internet"),
        ("https://[::ffff:127.0.0.1]/", "not an address of the public internet"),
        ("https://[::ffff:1.1.1.1]/", "IPv4 address itself"),
        ("https://[64:ff9b::7f00:1]/", "not an address of the public internet"),
        ("https://[64:ff9b::101:101]/", "IPv4 address itself"),
        ("https://[64:ff9b:1::101:101]/", "not an address of the public internet"),
        ("https://[2002:7f00:1::]/", "not an address of the public internet"),
        ("https://[2001:0:1::1]/", "not an address of the public internet"),
        ("https://[::127.0.0.1]/", "not an address of the public internet"),
    ],
)
def test_an_impossible_host_is_refused_with_the_reason(url: str, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason) as error:
        check_url(url, loopback=False, networks=[])
    error.value.document.model_dump_json()  # also if the URL cannot be encoded


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/", "http://localhost/", "http://[::1]/", "https://127.0.0.1/"])
def test_loopback_is_accepted_if_it_is_allowed(url: str) -> None:
    check_url(url, loopback=True, networks=[])


def test_a_network_that_the_operator_allows_is_accepted_over_https_only() -> None:
    check_url("https://10.1.2.3/", loopback=False, networks=["10.1.0.0/16"])
    for url in ("http://10.1.2.3/", "https://10.2.0.1/"):
        with pytest.raises(InvalidRequest):
            check_url(url, loopback=True, networks=["10.1.0.0/16"])


def test_a_url_is_split_into_ascii_parts() -> None:
    url = parse_url("HTTPS://MÜLLER.example:8443/ä b?ü=%20".replace(" ", "%20"))
    assert (url.scheme, url.host, url.port) == ("https", "xn--mller-kva.example", 8443)
    assert url.target == "/%C3%A4%20b?%C3%BC=%20"
    assert (url.authority, url.origin) == ("xn--mller-kva.example:8443", "xn--mller-kva.example:8443")


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("https://example.org", "example.org"),
        ("https://example.org:443/", "example.org"),
        ("http://127.0.0.1:80/", "127.0.0.1"),
        ("https://[2606:4700::1111]/", "[2606:4700::1111]"),
        ("https://[2606:4700::1111]:1/", "[2606:4700::1111]:1"),
    ],
)
def test_the_host_header_names_only_an_unusual_port(url: str, authority: str) -> None:
    assert parse_url(url).authority == authority


def test_what_the_parser_refuses_is_a_value_error() -> None:
    with pytest.raises(MalformedUrl):
        parse_url("")
    assert issubclass(MalformedUrl, ValueError)
