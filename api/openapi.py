"""OpenAPI 3.1 from the definitions that the views check with: each view says what it takes and what it gives."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import Flask
from pydantic import BaseModel, TypeAdapter

from shared.access import Scope
from shared.errors import MEDIA_TYPE, ProblemDocument
from shared.version import VERSION

V = TypeVar("V", bound=Callable[..., Any])


@dataclass(frozen=True)
class Content:
    """A body that is no JSON document of ours."""

    media_type: str
    schema: Mapping[str, Any]
    example: str | None = None


@dataclass(frozen=True)
class Examples:
    """What calls and answers look like.

    Attributes:
        bodies: Of requests, by their type, and by a name each.
        answers: By type.
        problems: By status.
        parameters: By name, of paths and headers.
    """

    bodies: Mapping[Any, Mapping[str, Any]]
    answers: Mapping[Any, Any]
    problems: Mapping[int, Any]
    parameters: Mapping[str, str]


BINARY = Content("*/*", {"type": "string", "contentMediaType": "application/octet-stream"})
TEXT = Content("text/plain", {"type": "string"}, 'archetype_jobs{state="queued"} 3.0\n')
UPLOAD = Content(
    "multipart/form-data",
    {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "string", "contentMediaType": "application/octet-stream", "format": "binary"}},
    },
)

REASONS = {
    200: "Done", 201: "Stored", 202: "Accepted", 204: "Removed", 302: "Go to the URL in `Location`",
    304: "Nothing has changed", 400: "The body is not JSON", 404: "There is nothing here",
    401: "There is no key, or none that is good", 403: "Not for this key", 411: "The body has no length",
    409: "Not in this state", 413: "Too large", 415: "Wrong content type", 422: "The request is not as it should be",
    410: "What was here was kept for as long as results are",
    429: "The queue is full, or a limit of the key is reached", 503: "A part that this call needs does not answer",
}  # fmt: skip


KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key of `archetype keys create`, or a token of the service's identity provider. On a port that "
    "only its own machine can reach, the service may take calls without one.",
}


@dataclass(frozen=True)
class Description:
    """What a view says of itself."""

    summary: str
    scope: Scope | None
    body: Any
    query: type[BaseModel] | None
    headers: Mapping[str, str]
    answers: Mapping[int, Any]
    problems: tuple[int, ...]


def describes(
    summary: str,
    *,
    answers: Mapping[int, Any],
    scope: Scope | None = None,
    body: Any = None,
    query: type[BaseModel] | None = None,
    headers: Mapping[str, str] | None = None,
    problems: tuple[int, ...] = (),
) -> Callable[[V], V]:
    """Attaches a description to a view, by which it is also guarded.

    Args:
        answers: By status; bodies are pydantic types, `Content`, or None where there is none.
        scope: What a key must be good for; None where everybody may ask.
    """
    refused = (401, 403) if scope is not None else ()

    def attach(view: V) -> V:
        view.description = Description(  # type: ignore[attr-defined]
            summary, scope, body, query, headers or {}, answers, tuple(sorted({*problems, *refused}))
        )
        view.scope = scope  # type: ignore[attr-defined]
        return view

    return attach


def describe_api(app: Flask, examples: Examples) -> dict[str, Any]:
    """The OpenAPI document of every described view of the application."""
    views: list[tuple[Any, str, Any]] = [
        (rule, method.lower(), app.view_functions[rule.endpoint])
        for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule)
        for method in sorted(rule.methods or ())
        if method not in ("HEAD", "OPTIONS") and hasattr(app.view_functions[rule.endpoint], "description")
    ]
    schemas = _Schemas([view.description for _, _, view in views], examples)
    paths: dict[str, dict[str, Any]] = {}
    for rule, method, view in views:
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        paths.setdefault(path, {})[method] = _operation(view, sorted(rule.arguments), rule.endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Archetype",
            "version": VERSION,
            "summary": "Shows what an image classifier has learned.",
        },
        "paths": paths,
        "components": {"schemas": schemas.components, "securitySchemes": {"key": KEY}},
    }


class _Schemas:
    """JSON Schemas of every type that the views name, as references into one set of components."""

    def __init__(self, descriptions: list[Description], examples: Examples) -> None:
        self.examples = examples
        inputs = [
            found.body for found in descriptions if found.body is not None and not isinstance(found.body, Content)
        ]
        outputs = [kind for found in descriptions for kind in found.answers.values() if isinstance(kind, type)]
        wanted: list[tuple[int, Any, TypeAdapter[Any]]] = [
            (id(kind), "validation", TypeAdapter(kind)) for kind in inputs
        ]
        wanted += [(id(kind), "serialization", TypeAdapter(kind)) for kind in {*outputs, ProblemDocument}]
        self._references, rest = TypeAdapter.json_schemas(wanted, ref_template="#/components/schemas/{model}")
        self.components: dict[str, Any] = rest.get("$defs", {})

    def body(self, kind: Any) -> dict[str, Any]:
        """What a request sends."""
        if isinstance(kind, Content):
            return self._content(kind)
        named = {name: {"value": value} for name, value in self.examples.bodies[kind].items()}
        return {"application/json": {"schema": self._references[(id(kind), "validation")], "examples": named}}

    def answer(self, kind: Any, status: int) -> dict[str, Any]:
        """What is answered with a status."""
        if isinstance(kind, Content):
            return self._content(kind)
        problem = kind is ProblemDocument
        example = self.examples.problems[status] if problem else self.examples.answers[kind]
        found = {"schema": self._references[(id(kind), "serialization")], "example": example}
        return {MEDIA_TYPE if problem else "application/json": found}

    def _content(self, kind: Content) -> dict[str, Any]:
        example = {"example": kind.example} if kind.example is not None else {}
        return {kind.media_type: {"schema": kind.schema, **example}}


def _operation(view: Any, arguments: list[str], endpoint: str, schemas: _Schemas) -> dict[str, Any]:
    found: Description = view.description
    responses = {
        str(status): {"description": REASONS[status]} | ({"content": schemas.answer(kind, status)} if kind else {})
        for status, kind in found.answers.items()
    }
    for status in found.problems:
        problem = schemas.answer(ProblemDocument, status)
        responses[str(status)] = {"description": REASONS[status], "content": problem}
    operation: dict[str, Any] = {
        "operationId": endpoint.partition(".")[2],
        "tags": [endpoint.partition(".")[0]],
        "summary": found.summary,
        "description": (view.__doc__ or "").strip(),
        "parameters": _parameters(found, arguments, schemas.examples.parameters),
        "responses": responses,
    }
    if found.scope is not None:
        operation["security"] = [{"key": [found.scope.value]}]
    if found.body is not None:
        operation["requestBody"] = {"required": True, "content": schemas.body(found.body)}
    return operation


def _parameters(found: Description, arguments: list[str], examples: Mapping[str, str]) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "example": examples[name]}
        for name in arguments
    ]
    if found.query:
        schema = found.query.model_json_schema(ref_template="#/components/schemas/{model}")
        for name, part in schema["properties"].items():
            described = {
                "name": name,
                "in": "query",
                "description": part.pop("description", ""),
                "schema": _inline(part, schema),
            }
            parameters.append(described)
    for name, text in found.headers.items():
        parameters.append(
            {"name": name, "in": "header", "description": text, "schema": {"type": "string"}, "example": examples[name]}
        )
    return parameters


def _inline(part: Any, schema: dict[str, Any]) -> Any:
    """A query parameter's schema with its references resolved: it stands alone."""
    if isinstance(part, dict):
        if "$ref" in part:
            return schema["$defs"][part["$ref"].rpartition("/")[2]]
        return {key: _inline(value, schema) for key, value in part.items()}
    return [_inline(value, schema) for value in part] if isinstance(part, list) else part
