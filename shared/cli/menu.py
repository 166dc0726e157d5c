"""`archetype methods`: the menu, as tables."""

from typing import Any

from rich.table import Table

from shared.cli.connection import connected
from shared.cli.terminal import out


def show_methods() -> None:
    """Show the menu: methods and their parameters."""
    with connected() as client:
        for method in client.methods():
            out.print(f"[bold]{method['method']}[/]: {method['description']}", highlight=False)
            table = Table("parameter", "default", "allowed", "what it is", show_edge=False)
            for parameters in (part for name, part in method["schema"]["$defs"].items() if name.endswith("Parameters")):
                for name, part in parameters["properties"].items():
                    table.add_row(name, str(part.get("default", "")), _bounds(part), part.get("description", ""))
            out.print(table, "")
            parts = Table("part", "its parameters, with their defaults", "what it is", show_edge=False)
            for part in method["schema"]["$defs"].values():
                if "kind" in part.get("properties", {}):
                    parts.add_row(part["properties"]["kind"]["const"], _parameters(part), part["description"])
            if parts.row_count:
                out.print(parts, "")


def _parameters(part: dict[str, Any]) -> str:
    """The parameters of a recipe's part, from its JSON Schema: those without a default must be given."""
    named = {name: value for name, value in part["properties"].items() if name != "kind"}
    return ", ".join(f"{name}={value['default']}" if "default" in value else name for name, value in named.items())


def _bounds(part: dict[str, Any]) -> str:
    """A parameter's values or limits, from its JSON Schema."""
    if "enum" in part or "const" in part:
        return ", ".join(map(str, part.get("enum", [part.get("const")])))
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    return " ".join(f"{sign} {part[name]}" for name, sign in signs.items() if name in part)
