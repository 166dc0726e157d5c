"""The form of a method, generated from the JSON Schema of its request."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from api.web.forms.rows import describe_rows
from archetype.contract.parameters.types import Parameters
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
        choices: The values to choose from.
        limits: Attributes of a number input: `min`, `max`, `step`.
        rows: The rows of a parameter with a nested structure; None if it is entered as JSON.
        condition: The parameter that decides whether this one is used, and its values with which it is; None if it is
            always used.
    """

    name: str
    kind: Literal["choice", "flag", "number", "text", "json"]
    description: str
    default: str
    choices: list[str] = field(default_factory=list)
    limits: dict[str, str] = field(default_factory=dict)
    condition: tuple[str, tuple[str, ...]] | None = None
    rows: dict[str, Any] | None = None

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
        takes_all: Whether the targets can be all classes.
        default_top: Number of most probable classes that are used without targets; 0 if the targets cannot be these.
        first: The parameters at the top of the form.
        rest: The other parameters.
        presets: For each preset, the text of the input of every parameter that a preset sets.
    """

    method: str
    description: str
    has_images: bool
    targets: TargetUse
    takes_all: bool
    default_top: int
    first: list[Field]
    rest: list[Field]
    presets: dict[str, dict[str, str]]

    @property
    def takes_top(self) -> bool:
        """Whether the targets can be the most probable classes."""
        return self.default_top > 0

    @property
    def label(self) -> str:
        """The name of the method as words."""
        return self.method.replace("_", " ")


def make_form(method: str) -> Form:
    """Builds the form of a method from the schema of its request."""
    request_type, params = METHODS[method], find_parameters(method)
    schema = request_type.model_json_schema(ref_template="{model}")
    properties, required = schema["properties"], schema["required"]
    defaults = write_values(params().model_dump(mode="json"))
    parts = schema["$defs"][params.__name__]["properties"]
    fields = [
        make_field(name, part, defaults[name], params.APPLIES.get(name), schema["$defs"])
        for name, part in parts.items()
    ]
    alternatives = properties.get("targets", {}).get("anyOf", [])
    targets: TargetUse = "none"
    if "targets" in properties:
        targets = "required" if "targets" in required else "optional"
    return Form(
        method=method,
        description=(request_type.__doc__ or "").strip(),
        has_images="images" in properties,
        targets=targets,
        takes_all={"const": "all", "type": "string"} in alternatives,
        default_top=(properties["targets"].get("default") or {"top": 1})["top"]
        if {"$ref": "Top"} in alternatives
        else 0,
        first=[field for name in FIRST for field in fields if field.name == name],
        rest=[field for field in fields if field.name not in FIRST],
        presets=list_presets(params),
    )


def find_parameters(method: str) -> type[Parameters]:
    """Returns the class of the parameters of a method."""
    return type(METHODS[method].model_fields["params"].default)


def list_presets(params: type[Parameters]) -> dict[str, dict[str, str]]:
    """Returns, for each preset, the texts of all parameters that any preset sets."""
    names = {name for values in params.PRESETS.values() for name in values}
    filled = {preset: params.model_validate({"preset": preset}) for preset in params.PRESETS}
    return {preset: write_values(values.model_dump(mode="json", include=names)) for preset, values in filled.items()}


def write_values(values: dict[str, Any]) -> dict[str, str]:
    """Returns JSON values as the texts of inputs: text as it is, nothing for null."""
    return {
        name: "" if value is None else value if isinstance(value, str) else dump_json(value)
        for name, value in values.items()
    }


def make_field(
    name: str,
    schema: dict[str, Any],
    default: str,
    condition: tuple[str, tuple[str, ...]] | None = None,
    definitions: Mapping[str, Any] = MappingProxyType({}),
) -> Field:
    """Builds the field of a parameter from the schema of the parameter, which may refer to these definitions."""
    plain = _without_null(schema)
    kind, choices = _choose_kind(schema, plain)
    return Field(
        name,
        kind,
        schema.get("description", "").replace("`", ""),
        default,
        choices,
        _read_limits(plain) if kind == "number" else {},
        condition,
        describe_rows(plain, definitions) if kind == "json" else None,
    )


def _choose_kind(
    schema: dict[str, Any], plain: dict[str, Any]
) -> tuple[Literal["choice", "flag", "number", "text", "json"], list[str]]:
    """Returns the type of the input, and the values to choose from; the empty one stands for null."""
    null = [] if schema is plain else [""]
    if "enum" in plain:
        return "choice", [*null, *map(str, plain["enum"])]
    match plain.get("type"):
        case "boolean":
            return ("choice", ["", "true", "false"]) if null else ("flag", [])
        case "integer" | "number":
            return "number", []
        case "string":
            return "text", []
    return "json", []


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
