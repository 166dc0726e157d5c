"""Settings that a process refuses when it starts, with the reason."""

from pathlib import Path
from typing import Any

import pytest
import trustme

from shared.process.check_settings import ADDRESSES, UnsupportedSetting, check_settings
from shared.settings import Settings


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("redis_url", "redis.example.org:6379", "must begin with redis:// or rediss://"),
        ("redis_url", "unix:///run/redis.sock", "must begin with redis:// or rediss://"),
        ("redis_url", "redis+sentinel://a:26379/0", "must begin with redis:// or rediss://"),
        ("redis_url", "redis://a:6379,b:6379/0", "Port could not be cast|several hosts"),
        ("redis_url", "redis:///0", "names no host"),
        ("redis_url", "redis://:secret-word@::1:6379/0", "needs brackets"),
        ("s3_endpoint", "localhost:9000", "must begin with http:// or https://"),
        ("s3_endpoint", "http://[::1:9000", "needs brackets"),
        ("s3_endpoint", "http://store:99999", "Port out of range"),
        ("oidc_issuer", "id.example.org", "must begin with"),
        ("mlflow_url", "file:///mlruns", "must begin with"),
        ("otlp_endpoint", "grpc://collector:4317", "must begin with"),
    ],
)
def test_an_address_that_is_not_supported_is_refused_with_the_reason(name: str, value: str, reason: str) -> None:
    changes: dict[str, Any] = {name: value}
    with pytest.raises(UnsupportedSetting, match=reason) as refused:
        check_settings(Settings(**changes))
    assert f"ARCHETYPE_{name.upper()} is " in str(refused.value)
    assert ADDRESSES[name][1] in str(refused.value)
    assert "secret-word" not in str(refused.value)


@pytest.mark.parametrize(
    "address", ["host", "host:81", "[::1]", "[::1]:9000", "10.0.0.1:8443", "user:pass@host:1", "user:pass@[::1]:1"]
)
def test_addresses_with_ipv6_logins_and_ports_are_accepted(address: str) -> None:
    for name, (schemes, _) in ADDRESSES.items():
        for scheme in schemes:
            changes: dict[str, Any] = {name: f"{scheme}://{address}/path"}
            check_settings(Settings(**changes))


def test_every_setting_that_is_an_address_is_checked() -> None:
    addresses = {name for name in Settings.model_fields if name.endswith(("_url", "_endpoint", "_issuer", "_jwks"))}
    assert set(ADDRESSES) == addresses


def test_a_file_of_certificates_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UnsupportedSetting, match=r"ARCHETYPE_CA_BUNDLE is .*none\.pem': the file cannot be read \(No such file"
    ):
        check_settings(Settings(ca_bundle=tmp_path / "none.pem"))
    (tmp_path / "text.pem").write_text("no certificate")
    with pytest.raises(UnsupportedSetting, match="no certificates in PEM format"):
        check_settings(Settings(ca_bundle=tmp_path / "text.pem"))
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    check_settings(Settings(ca_bundle=tmp_path / "ca.pem"))
