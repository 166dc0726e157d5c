"""Builds the OpenAPI 3.1 document from the descriptions of the views and from the models that they validate with."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import Flask
from pydantic import BaseModel, TypeAdapter

from archetype.contract.api_key import Scope
from archetype.contract.problem import ProblemDocument
from archetype.version import VERSION
from shared.errors import MEDIA_TYPE

V = TypeVar("V", bound=Callable[..., Any])


@dataclass(frozen=True)
class Content:
    """A body that is not a JSON document of the contract.

    Attributes:
        media_type: The media type.
        schema: JSON Schema of the body.
        example: An example, if the body is text.
    """

    media_type: str
    schema: Mapping[str, Any]
    example: str | None = None


@dataclass(frozen=True)
class Examples:
    """Examples of requests and responses.

    Attributes:
        requests: Request bodies, by type and then by the title of the example.
        responses: Response bodies, by type.
        problems: Problem documents, by status.
        parameters: Values of path, query and header parameters, by name.
    """

    requests: Mapping[Any, Mapping[str, Any]]
    responses: Mapping[Any, Any]
    problems: Mapping[int, Any]
    parameters: Mapping[str, Any]


BINARY = Content("*/*", {"type": "string", "contentMediaType": "application/octet-stream"})
ARCHIVE = Content("application/zip", {"type": "string", "contentMediaType": "application/zip"})
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
    200: "Success",
    201: "Created",
    202: "Accepted",
    204: "Deleted",
    302: "Redirect to the URL in `Location`",
    304: "Not modified since the `ETag` that the client has",
    400: "The body is not valid JSON",
    401: "The key is missing or not valid",
    403: "The key does not have the required scope",
    404: "Not found",
    409: "Not possible in the current state",
    410: "The result has expired",
    411: "The body has no Content-Length",
    413: "The body is too large",
    415: "The content type is not accepted",
    422: "The request is not valid",
    429: "The queue is full, or a limit of the key is reached",
    503: "A part of the service that this call needs does not answer",
}
"""Descriptions of responses, by status."""

SECURITY_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key from `archetype keys create`, or a token of the configured identity provider. On a port that "
    "only the service's own machine can reach, the service can accept calls without a key.",
}


@dataclass(frozen=True)
class Description:
    """The description of a view."""

    summary: str
    scope: Scope | None
    body: Any
    query: type[BaseModel] | None
    headers: Mapping[str, str]
    responses: Mapping[int, Any]
    problems: tuple[int, ...]


def describes(
    summary: str,
    *,
    responses: Mapping[int, Any],
    scope: Scope | None = None,
    body: Any = None,
    query: type[BaseModel] | None = None,
    headers: Mapping[str, str] | None = None,
    problems: tuple[int, ...] = (),
) -> Callable[[V], V]:
    """Attaches a description to a view. Authorization uses the scope of the description.

    Args:
        summary: The title of the call.
        responses: Bodies by status: a pydantic type, `Content`, or None for an empty body.
        scope: The scope that the call requires; None if it needs no key.
        body: Type of the request body: a pydantic type or `Content`.
        query: Model of the query string.
        headers: Descriptions of request headers, by name.
        problems: Statuses of the problem documents that the call can return.
    """
    auth_problems = (401, 403) if scope is not None else ()

    def attach(view: V) -> V:
        view.description = Description(  # type: ignore[attr-defined]
            summary, scope, body, query, headers or {}, responses, tuple(sorted({*problems, *auth_problems}))
        )
        view.scope = scope  # type: ignore[attr-defined]
        return view

    return attach


def describe_api(app: Flask, examples: Examples) -> dict[str, Any]:
    """Returns the OpenAPI document of every described view of the application."""
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
        paths.setdefault(path, {})[method] = _describe_operation(view, sorted(rule.arguments), rule.endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Archetype",
            "version": VERSION,
            "summary": "Visualizes what an image classifier has learned.",
        },
        "paths": paths,
        "components": {"schemas": schemas.components, "securitySchemes": {"key": SECURITY_SCHEME}},
    }


class _Schemas:
    """JSON Schemas of all types that the views name, as references into one set of components."""

    def __init__(self, descriptions: list[Description], examples: Examples) -> None:
        self.examples = examples
        bodies = [description.body for description in descriptions]
        inputs = [body for body in bodies if body is not None and not isinstance(body, Content)]
        outputs = [
            body for description in descriptions for body in description.responses.values() if isinstance(body, type)
        ]
        types: list[tuple[int, Any, TypeAdapter[Any]]] = [
            (id(body), "validation", TypeAdapter(body)) for body in inputs
        ]
        types += [(id(body), "serialization", TypeAdapter(body)) for body in {*outputs, ProblemDocument}]
        self._references, definitions = TypeAdapter.json_schemas(types, ref_template="#/components/schemas/{model}")
        self.components: dict[str, Any] = definitions.get("$defs", {})

    def describe_request(self, body: Any) -> dict[str, Any]:
        """Returns the content of a request body."""
        if isinstance(body, Content):
            return _describe_content(body)
        examples = {title: {"value": value} for title, value in self.examples.requests[body].items()}
        return {"application/json": {"schema": self._references[(id(body), "validation")], "examples": examples}}

    def describe_response(self, body: Any, status: int) -> dict[str, Any]:
        """Returns the content of a response body."""
        if isinstance(body, Content):
            return _describe_content(body)
        is_problem = body is ProblemDocument
        example = self.examples.problems[status] if is_problem else self.examples.responses[body]
        content = {"schema": self._references[(id(body), "serialization")], "example": example}
        return {MEDIA_TYPE if is_problem else "application/json": content}


def _describe_content(content: Content) -> dict[str, Any]:
    example = {"example": content.example} if content.example is not None else {}
    return {content.media_type: {"schema": content.schema, **example}}


def _describe_operation(view: Any, arguments: list[str], endpoint: str, schemas: _Schemas) -> dict[str, Any]:
    description: Description = view.description
    responses: dict[str, Any] = {}
    for status, body in description.responses.items():
        content = {"content": schemas.describe_response(body, status)} if body else {}
        responses[str(status)] = {"description": REASONS[status]} | content
    for status in description.problems:
        problem = schemas.describe_response(ProblemDocument, status)
        responses[str(status)] = {"description": REASONS[status], "content": problem}
    operation: dict[str, Any] = {
        "operationId": endpoint.partition(".")[2],
        "tags": [endpoint.partition(".")[0]],
        "summary": description.summary,
        "description": inspect.getdoc(view) or "",
        "parameters": _describe_parameters(description, arguments, schemas.examples.parameters),
        "responses": responses,
    }
    if description.scope is not None:
        operation["security"] = [{"key": [description.scope.value]}]
    if description.body is not None:
        operation["requestBody"] = {"required": True, "content": schemas.describe_request(description.body)}
    return operation


def _describe_parameters(
    description: Description, arguments: list[str], examples: Mapping[str, Any]
) -> list[dict[str, Any]]:
    path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "example": examples[name]}
        for name in arguments
    ]
    headers = [
        {"name": name, "in": "header", "description": text, "schema": {"type": "string"}, "example": examples[name]}
        for name, text in description.headers.items()
    ]
    return path + (_describe_query(description.query, examples) if description.query else []) + headers


def _describe_query(query: type[BaseModel], examples: Mapping[str, Any]) -> list[dict[str, Any]]:
    schema = query.model_json_schema(ref_template="#/components/schemas/{model}")
    return [
        {
            "name": name,
            "in": "query",
            "description": field.pop("description", ""),
            "schema": _resolve_references(field, schema),
            "example": examples[name],
        }
        for name, field in schema["properties"].items()
    ]


def _resolve_references(node: Any, schema: dict[str, Any]) -> Any:
    """Returns a part of a JSON Schema with every reference replaced by its definition in the schema."""
    if isinstance(node, dict):
        if "$ref" in node:
            return schema["$defs"][node["$ref"].rpartition("/")[2]]
        return {key: _resolve_references(value, schema) for key, value in node.items()}
    return [_resolve_references(value, schema) for value in node] if isinstance(node, list) else node
