"""Reads JSON documents of an identity provider, with a limit for the whole exchange and for the size of the answer."""

import asyncio
import ipaddress
import re
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from archetype.contract.strict_json import load_json

EXCHANGE_SECONDS = 4.0
"""Limit for all exchanges of one refresh, from the lookup of the host name to the last byte of the last answer."""

MAX_BYTES = 1_000_000
"""Largest answer. The keys of a provider take a few kilobytes."""

EXCERPT = 200
"""Length of the excerpt of an answer in errors."""


class ProviderFailed(Exception):
    """The identity provider does not answer, or not with what it must answer with. The message names the cause."""


def fetch_json(url: str, *, ca_bundle: Path | None = None, seconds: float = EXCHANGE_SECONDS) -> dict[str, Any]:
    """Returns the JSON object at a URL.

    Args:
        url: An http or https URL.
        ca_bundle: File with CA certificates that are accepted besides those of the system.
        seconds: Limit for the whole exchange.

    Raises:
        ProviderFailed: There is no answer in time, or it is not a JSON object.
    """
    try:
        status, body = asyncio.run(asyncio.wait_for(_read(url, ca_bundle), seconds))
    except TimeoutError as error:
        raise ProviderFailed(f"{url} did not answer within {seconds:g} s") from error
    except Exception as error:  # whatever a library raises for an address or an answer: there is no answer
        raise ProviderFailed(f"{url} does not answer ({type(error).__name__}: {_excerpt(str(error))})") from error
    return _parse(url, status, body)


async def _read(url: str, ca_bundle: Path | None) -> tuple[int, bytes]:
    host = urlsplit(url).hostname or ""
    # Without a limit of its own: the limit of `fetch_json` is for the whole exchange.
    client = httpx2.AsyncClient(timeout=None, verify=_trust(ca_bundle), trust_env=not is_loopback(host))
    async with client:
        headers = {"Accept-Encoding": "identity", "Accept": "application/json"}
        response = await client.send(client.build_request("GET", url, headers=headers), stream=True)
        body = b""
        async for chunk in response.aiter_raw():  # not decompressed: a small answer could become a large one
            body += chunk
            if len(body) > MAX_BYTES:
                raise ValueError(f"the answer is larger than {MAX_BYTES} bytes")
        return response.status_code, body


def _parse(url: str, status: int, body: bytes) -> dict[str, Any]:
    text = body.decode(errors="replace")
    if status != 200:
        raise ProviderFailed(f"{url} answered {status}: {_excerpt(text)}")
    try:
        document = load_json(text)
    except (ValueError, RecursionError) as error:
        raise ProviderFailed(f"{url} answered {status}, but not with JSON: {_excerpt(text)}") from error
    if not isinstance(document, dict):
        raise ProviderFailed(f"{url} answered {status}, but not with a JSON object: {_excerpt(text)}")
    return document


def _trust(ca_bundle: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_bundle is not None:
        context.load_verify_locations(ca_bundle)
    return context


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, to which no proxy is used."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _excerpt(text: str) -> str:
    """Returns the start of a text on one line, without control characters."""
    line = re.sub(r"[^\x20-\x7e]+", " ", text[: 4 * EXCERPT]).strip()
    return (line[:EXCERPT] + "…" if len(line) > EXCERPT else line) or "an empty answer"
