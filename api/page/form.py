"""The form of a method, from the JSON Schema of its request: what the menu says is what the page asks for."""

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from shared.methods import MENU

FIRST = ("preset", "kind", "layers", "layer", "steps")
"""Parameters that are asked for first; the others are below."""


@dataclass(frozen=True)
class Field:
    """One parameter as it is asked for.

    Attributes:
        kind: What it is edited with; `json` for what has parts of its own.
        default: What it is without being set, as it is written into the field.
        limits: Attributes of a number's input: `min`, `max`, `step`.
    """

    name: str
    kind: Literal["choice", "flag", "number", "text", "json"]
    description: str
    default: str
    choices: list[str] = field(default_factory=list)
    limits: dict[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return self.name.replace("_", " ")


@dataclass(frozen=True)
class Form:
    """What a method is asked with.

    Attributes:
        pictures: Whether it looks at pictures.
        targets: Whether it takes classes, and whether it needs some.
    """

    method: str
    description: str
    pictures: bool
    targets: Literal["none", "may", "must"]
    first: list[Field]
    rest: list[Field]

    @property
    def label(self) -> str:
        return self.method.replace("_", " ")


def make_form(method: str) -> Form:
    """The form of a method of the menu."""
    kind = MENU[method]
    schema = kind.model_json_schema(ref_template="{model}")
    properties, required = schema["properties"], schema["required"]
    named = properties["params"].get("$ref") or properties["params"]["allOf"][0]["$ref"]
    fields = [make_field(name, part) for name, part in schema["$defs"][named]["properties"].items()]
    targets: Literal["none", "may", "must"] = "none"
    if "targets" in properties:
        targets = "must" if "targets" in required else "may"
    return Form(
        method=method,
        description=(kind.__doc__ or "").strip(),
        pictures="images" in properties,
        targets=targets,
        first=[one for name in FIRST for one in fields if one.name == name],
        rest=[one for one in fields if one.name not in FIRST],
    )


def make_field(name: str, part: dict[str, Any]) -> Field:
    """The field of a parameter, from its part of the schema."""
    plain = _without_null(part)
    default = part.get("default")
    written = "" if default is None else default if isinstance(default, str) else json.dumps(default)
    description = part.get("description", "").replace("`", "")
    if "enum" in plain:
        choices = [str(choice) for choice in plain["enum"]]
        return Field(name, "choice", description, written, choices if part is plain else ["", *choices])
    match plain.get("type"):
        case "boolean":
            if part is not plain:
                return Field(name, "choice", description, written, ["", "true", "false"])
            return Field(name, "flag", description, written)
        case "integer" | "number":
            return Field(name, "number", description, written, limits=_limits(plain))
        case "string":
            return Field(name, "text", description, written)
    return Field(name, "json", description, written)


def _without_null(part: dict[str, Any]) -> dict[str, Any]:
    """The one kind that a parameter has beside null; itself where it has none or several."""
    kinds = [kind for kind in part.get("anyOf", []) if kind.get("type") != "null"]
    return kinds[0] if len(kinds) == 1 else part


def _limits(part: dict[str, Any]) -> dict[str, str]:
    found = {"step": "1" if part["type"] == "integer" else "any"}
    for limit, names in (("min", ("minimum", "exclusiveMinimum")), ("max", ("maximum", "exclusiveMaximum"))):
        for name in names:
            if name in part:
                found[limit] = str(part[name])
    return found
