"""Where the service is, and what opens it: said once, before the command."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Annotated, NamedTuple

import typer

from shared.cli.terminal import told
from shared.client import Client

DEFAULT_URL = "http://127.0.0.1:8080"


class Service(NamedTuple):
    """What the command line names."""

    url: str = DEFAULT_URL
    key: str = ""


_named: ContextVar[Service] = ContextVar("service")


def remember(
    url: Annotated[str, typer.Option(envvar="ARCHETYPE_URL", help="Where the service is.")] = DEFAULT_URL,
    key: Annotated[str, typer.Option(envvar="ARCHETYPE_KEY", help="What opens it, where it needs a key.")] = "",
) -> None:
    """Ask a running Archetype service for pictures."""
    _named.set(Service(url, key))


@contextmanager
def connected() -> Iterator[Client]:
    """A client of the service that the command line names; its failures become sentences."""
    url, key = _named.get()
    with told(), Client(url, key=key or None) as client:
        yield client
