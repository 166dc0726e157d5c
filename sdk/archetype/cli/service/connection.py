"""Options before the command: where the service is, and the API key."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from archetype.cli.console import Json, errors_reported, print_line, set_json
from archetype.cli.service.contexts import load
from archetype.version import VERSION

if TYPE_CHECKING:
    from archetype.client import Client

DEFAULT_URL = "http://127.0.0.1:8080"


class Service(NamedTuple):
    """The service that the command line names."""

    url: str = DEFAULT_URL
    key: str = ""


_service: ContextVar[Service] = ContextVar("service")


def print_version(wanted: bool) -> None:
    """Print the version and exit. Callback of `--version`."""
    if wanted:
        print_line(f"archetype {VERSION}", {"version": VERSION})
        raise typer.Exit


def set_service(
    url: Annotated[
        str,
        typer.Option(
            envvar="ARCHETYPE_URL", help=f"URL of the service; by default that of the context in use, or {DEFAULT_URL}."
        ),
    ] = "",
    key: Annotated[str, typer.Option(envvar="ARCHETYPE_KEY", help="API key, if the service requires one.")] = "",
    json: Json = False,
    version: Annotated[  # noqa: ARG001 - its callback has printed it
        bool, typer.Option("--version", callback=print_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Explain image classifiers and audit their releases with an Archetype service."""
    set_json(json)
    with errors_reported():
        _service.set(choose_service(url.strip(), key.strip()))


def choose_service(url: str, key: str) -> Service:
    """Return the service that the options name, or that of the context in use. Its key is sent to its URL alone.

    Raises:
        InvalidDocument: The file of the contexts is damaged.
    """
    context = None if url else load().find_used()
    if context is None:
        return Service(url or DEFAULT_URL, key)
    return Service(context.url, key or context.key)


def service_url() -> str:
    """Return the URL of the service."""
    return _service.get().url.rstrip("/")


@contextmanager
def connected() -> Iterator["Client"]:
    """Yield a client of the service; report errors as sentences."""
    from archetype.client import Client

    url, key = _service.get()
    with errors_reported(), Client(url, key=key or None) as client:
        yield client
