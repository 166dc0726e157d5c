"""`archetype methods`: all methods with their parameters."""

from typing import Any

import typer

from archetype.cli.console import json_is_wanted, print_json, print_table
from archetype.cli.service.connection import connected


def show_methods() -> None:
    """Show all methods with their parameters."""
    with connected() as client:
        methods = client.methods()
    if json_is_wanted():
        print_json(methods)
        return
    for method in methods:
        definitions = method["schema"]["$defs"]
        typer.echo(f"{method['method']}: {method['description']}")
        print_table(("parameter", "default", "allowed", "description"), _list_parameters(definitions))
        components = _list_components(definitions)
        if components:
            typer.echo()
            print_table(("component", "parameters with defaults", "description"), components)
        typer.echo()


def _list_parameters(definitions: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the rows of a method's parameters, from the JSON Schema of its request."""
    return [
        (name, str(field.get("default", "")), _describe_bounds(field), field.get("description", ""))
        for kind, schema in definitions.items()
        if kind.endswith("Parameters")
        for name, field in schema["properties"].items()
    ]


def _list_components(definitions: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the rows of the components (objectives, transforms, …) that parameters are made of."""
    return [
        (schema["properties"]["kind"]["const"], _describe_fields(schema), schema["description"])
        for schema in definitions.values()
        if "kind" in schema.get("properties", {}) and "const" in schema["properties"]["kind"]
    ]


def _describe_fields(schema: dict[str, Any]) -> str:
    """Return the fields of a component with their defaults. A field without a default is required."""
    fields = {name: value for name, value in schema["properties"].items() if name != "kind"}
    return ", ".join(f"{name}={value['default']}" if "default" in value else name for name, value in fields.items())


def _describe_bounds(field: dict[str, Any]) -> str:
    """Return the values or the limits of a parameter."""
    if "enum" in field or "const" in field:
        return ", ".join(map(str, field.get("enum", [field.get("const")])))
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    return " ".join(f"{sign} {field[name]}" for name, sign in signs.items() if name in field)
