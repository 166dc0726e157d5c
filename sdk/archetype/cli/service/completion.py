"""Completes names of models and classes in the shell, from the service."""

from collections.abc import Iterable
from typing import Any

import typer

from archetype.cli.service.connection import choose_service
from archetype.contract.problem import InvalidDocument
from archetype.errors import ArchetypeError

SECONDS = 2.0
"""Longest time for an answer of the service: a person waits for it after pressing Tab."""

MOST = 100


def complete_models(context: typer.Context, incomplete: str) -> list[str]:
    """Return the models, or the releases of a model once its name and `@` are typed, that begin with the text."""
    models = _ask(context, None)
    releases = [f"{model['name']}@{release}" for model in models for release in model["releases"]]
    return _select(releases if "@" in incomplete else [model["name"] for model in models], incomplete)


def complete_classes(context: typer.Context, incomplete: str) -> list[str]:
    """Return the classes of the model of `--model` that begin with the text."""
    model = context.params.get("model")
    return _select([name for each in _ask(context, model) for name in each.get("class_names", [])], incomplete)


def _ask(context: typer.Context, model: str | None) -> list[dict[str, Any]]:
    """Return all models, or one; nothing if there is no answer, because completion is silent about errors."""
    from archetype.client import Client

    options = context.find_root().params
    try:
        url, key = choose_service(options.get("url") or "", options.get("key") or "")
        with Client(url, key=key or None, timeout=SECONDS, retry_seconds=0) as client:
            return client.models() if model is None else [client.model(model)]
    except (ArchetypeError, InvalidDocument, OSError):
        return []


def _select(names: Iterable[object], incomplete: str) -> list[str]:
    return [str(name) for name in names if str(name).startswith(incomplete)][:MOST]
