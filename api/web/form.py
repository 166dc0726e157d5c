"""The form of a method, generated from the JSON Schema of its request."""

from dataclasses import dataclass, field
from typing import Any, Literal

from archetype.contract.request import METHODS
from archetype.contract.strict_json import dump_json

FIRST = ("preset", "kind", "layers", "layer", "steps")
"""Parameters at the top of the form; the rest are under "More parameters"."""

TargetUse = Literal["none", "optional", "required"]


@dataclass(frozen=True)
class Field:
    """One parameter of a form.

    Attributes:
        kind: The type of the input; `json` for a parameter with a nested structure.
        default: The default value, as the text of the input.
        limits: Attributes of a number input: `min`, `max`, `step`.
    """

    name: str
    kind: Literal["choice", "flag", "number", "text", "json"]
    description: str
    default: str
    choices: list[str] = field(default_factory=list)
    limits: dict[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name as words."""
        return self.name.replace("_", " ")


@dataclass(frozen=True)
class Form:
    """The form of a method.

    Attributes:
        has_images: Whether the method takes images.
        targets: Whether the method takes target classes, and whether they are required.
        first: The parameters at the top of the form.
        rest: The other parameters.
    """

    method: str
    description: str
    has_images: bool
    targets: TargetUse
    first: list[Field]
    rest: list[Field]

    @property
    def label(self) -> str:
        """The name of the method as words."""
        return self.method.replace("_", " ")


def make_form(method: str) -> Form:
    """Builds the form of a method from the schema of its request."""
    request_type = METHODS[method]
    schema = request_type.model_json_schema(ref_template="{model}")
    properties, required = schema["properties"], schema["required"]
    params = properties["params"].get("$ref") or properties["params"]["allOf"][0]["$ref"]
    fields = [make_field(name, part) for name, part in schema["$defs"][params]["properties"].items()]
    targets: TargetUse = "none"
    if "targets" in properties:
        targets = "required" if "targets" in required else "optional"
    return Form(
        method=method,
        description=(request_type.__doc__ or "").strip(),
        has_images="images" in properties,
        targets=targets,
        first=[field for name in FIRST for field in fields if field.name == name],
        rest=[field for field in fields if field.name not in FIRST],
    )


def make_field(name: str, schema: dict[str, Any]) -> Field:
    """Builds the field of a parameter from the schema of the parameter."""
    plain = _without_null(schema)
    value = schema.get("default")
    default = "" if value is None else value if isinstance(value, str) else dump_json(value)
    description = schema.get("description", "").replace("`", "")
    if "enum" in plain:
        choices = [str(choice) for choice in plain["enum"]]
        return Field(name, "choice", description, default, choices if schema is plain else ["", *choices])
    match plain.get("type"):
        case "boolean":
            if schema is not plain:
                return Field(name, "choice", description, default, ["", "true", "false"])
            return Field(name, "flag", description, default)
        case "integer" | "number":
            return Field(name, "number", description, default, limits=_read_limits(plain))
        case "string":
            return Field(name, "text", description, default)
    return Field(name, "json", description, default)


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The only alternative besides null; the schema itself if there is none or more than one."""
    alternatives = [part for part in schema.get("anyOf", []) if part.get("type") != "null"]
    return alternatives[0] if len(alternatives) == 1 else schema


def _read_limits(schema: dict[str, Any]) -> dict[str, str]:
    limits = {"step": "1" if schema["type"] == "integer" else "any"}
    for limit, names in (("min", ("minimum", "exclusiveMinimum")), ("max", ("maximum", "exclusiveMaximum"))):
        for name in names:
            if name in schema:
                limits[limit] = str(schema[name])
    return limits
