"""Exchanges with an identity provider have a limit for the whole of them."""

import gzip
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from api.adapters.oidc import load_keys
from api.adapters.oidc_http import ProviderFailed, fetch_json, is_loopback
from shared.settings import Settings
from tests.support.identity_provider import DISCOVERY, KEYS, IdentityProvider, drip, run_identity_provider, send


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    with run_identity_provider() as running:
        yield running


HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n"


@pytest.mark.parametrize(
    "data", [b"", b"HTTP/1.0 200 OK\r\nA: " + b"a" * 500, HEAD + b" " * 500], ids=["nothing", "headers", "body"]
)
def test_a_provider_that_sends_slowly_or_never_is_given_up_in_time(provider: IdentityProvider, data: bytes) -> None:
    end = threading.Event()
    provider.answers[KEYS] = drip(data, end=end)
    began = time.monotonic()
    with pytest.raises(ProviderFailed, match=r"did not answer within 0\.5 s"):
        fetch_json(provider.url + KEYS, seconds=0.5)
    end.set()
    assert time.monotonic() - began < 20


def test_a_compressed_answer_is_not_decompressed(provider: IdentityProvider) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    provider.answers[KEYS] = send(200, bomb, Content_Encoding="gzip")
    with pytest.raises(ProviderFailed, match="not with JSON"):
        fetch_json(provider.url + KEYS)


def test_a_provider_on_this_machine_is_asked_without_a_proxy(
    provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert fetch_json(provider.url + KEYS)["keys"]
    assert is_loopback("localhost")
    assert is_loopback("::1")
    assert not is_loopback("idp.example")


@pytest.mark.parametrize(
    "url", ["", "nothing", "http://", "ftp://127.0.0.1/", "http://[::1", "http://127.0.0.1:99999/", 7]
)
def test_an_address_that_is_none_is_a_failure_of_the_provider(url: Any) -> None:
    with pytest.raises(ProviderFailed, match="does not answer"):
        fetch_json(url)


def test_a_provider_with_a_certificate_of_the_ca_bundle_is_accepted_and_another_is_not(
    tmp_path: Path,
) -> None:
    authority, bundle = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with run_identity_provider(context) as secure:
        assert secure.url.startswith("https://")
        assert fetch_json(secure.url + KEYS, ca_bundle=bundle)["keys"]
        settings = Settings(ca_bundle=bundle)
        assert load_keys(secure.url, settings)
        with pytest.raises(ProviderFailed, match=r"does not answer \(ConnectError: .*certificate"):
            fetch_json(secure.url + KEYS)
        secure.answers[DISCOVERY] = {"jwks_uri": secure.url.replace("https:", "http:") + KEYS}
        with pytest.raises(ProviderFailed, match="has no https:// URL in jwks_uri"):
            load_keys(secure.url, settings)
