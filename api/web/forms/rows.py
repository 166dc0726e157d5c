"""The shapes of parameters that are lists or objects, so that a form shows rows of inputs instead of JSON."""

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]


def describe_rows(schema: Schema, definitions: Schema) -> dict[str, Any] | None:
    """Describes the rows of a parameter.

    Args:
        schema: The JSON Schema of the parameter, without null.
        definitions: The schemas that it refers to, by name.

    Returns:
        `choices` for a list of some of these values; otherwise `item` for what a row holds, and `most`, the largest
        number of rows; `single` if the parameter is one object, not a list. None if rows do not suit the parameter.
    """
    if schema.get("type") == "array" and "items" in schema:
        items, most = schema["items"], schema.get("maxItems")
        if "enum" in items:
            return {"choices": items["enum"]}
        item = _describe_item(items, definitions)
        return None if item is None else {"item": item, "most": most}
    variants = _describe_variants(schema, definitions)
    return None if variants is None else {"item": {"variants": variants}, "most": 1, "single": True}


def _describe_item(schema: Schema, definitions: Schema) -> dict[str, Any] | None:
    """What a row of a list holds: an object of some kind, or a value; None if it is neither."""
    variants = _describe_variants(schema, definitions)
    if variants is not None:
        return {"variants": variants}
    kind = _choose_kind(schema)
    return None if kind is None else {"kind": kind}


def _describe_variants(schema: Schema, definitions: Schema) -> dict[str, Any] | None:
    """The fields of each kind of object, by kind."""
    mapping = schema.get("discriminator", {}).get("mapping")
    if mapping is None:
        return None
    return {kind: _describe_object(definitions[name]) for kind, name in mapping.items()}


def _describe_object(schema: Schema) -> dict[str, Any]:
    required = schema.get("required", [])
    fields = [
        {
            "name": name,
            "kind": _choose_kind(_without_null(part)) or "json",
            "about": part.get("description", "").replace("`", ""),
            "default": part.get("default"),
            "required": name in required,
        }
        for name, part in schema["properties"].items()
        if name != "kind"
    ]
    return {"about": schema.get("description", "").replace("`", ""), "fields": fields}


def _choose_kind(schema: Schema) -> str | None:
    """The type of the input of a value; `numbers` are separated by commas."""
    match schema.get("type"):
        case "integer" | "number":
            return "number"
        case "string":
            return "text"
        case "boolean":
            return "flag"
        case "array":
            parts = schema.get("prefixItems", [schema.get("items", {})])
            return "numbers" if all(part.get("type") in ("integer", "number") for part in parts) else None
    return None


def _without_null(schema: Schema) -> Schema:
    parts = [part for part in schema.get("anyOf", []) if part.get("type") != "null"]
    return parts[0] if len(parts) == 1 else schema
