"""Refuses settings with which a process would start and then fail in ways that do not name the setting."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from shared.settings import PREFIX, Settings

ADDRESSES: dict[str, tuple[tuple[str, ...], str]] = {
    "redis_url": (("redis", "rediss"), "redis://user:password@host:6379/0"),
    "s3_endpoint": (("http", "https"), "https://host:9000"),
    "s3_public_endpoint": (("http", "https"), "https://host:9000"),
    "oidc_issuer": (("http", "https"), "https://host/realms/name"),
    "oidc_jwks": (("http", "https"), "https://host/keys"),
    "public_url": (("http", "https"), "https://archetype.example.com"),
    "mlflow_url": (("http", "https"), "https://host:5000"),
    "otlp_endpoint": (("http", "https"), "http://host:4318"),
}
"""The settings that are addresses: the supported schemes, and an example."""


class UnsupportedSetting(ValueError):
    """The service cannot run with the value of a setting. The message names the setting, the value and a remedy."""


def check_settings(settings: Settings) -> None:
    """Raises `UnsupportedSetting` for the first address or file of certificates that cannot be used."""
    for name, (schemes, example) in ADDRESSES.items():
        value = getattr(settings, name)
        for reason in _find_faults(value, schemes) if value is not None else ():
            raise UnsupportedSetting(f"{PREFIX}{name.upper()} is {_hide_password(value)!r}: {reason}; write {example}")
    if settings.ca_bundle is not None:
        _check_certificates(settings.ca_bundle)


def _find_faults(value: str, schemes: tuple[str, ...]) -> Iterator[str]:
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        yield f"{error} (an IPv6 address needs brackets, as in http://[::1]:9000)"
        return
    address = parts.netloc.rpartition("@")[2]
    if parts.scheme.lower() not in schemes:
        yield f"it must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}"
    elif not parts.hostname or port == 0:
        yield "it names no host, or the port 0"
    elif "," in address:
        yield "it names several hosts, and only one is supported"
    elif address.count(":") > 1 and not address.startswith("["):
        yield "an IPv6 address needs brackets, as in http://[::1]:9000"


def _hide_password(value: str) -> str:
    login, separator, address = value.rpartition("@")
    return f"{login.partition('://')[0]}://…@{address}" if separator else value


def _check_certificates(path: Path) -> None:
    setting = f"{PREFIX}CA_BUNDLE is {str(path)!r}"
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError as error:
        raise UnsupportedSetting(f"{setting}: the file contains no certificates in PEM format ({error})") from error
    except OSError as error:
        raise UnsupportedSetting(f"{setting}: the file cannot be read ({error.strerror})") from error
