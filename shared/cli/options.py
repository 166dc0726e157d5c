"""The options that commands have in common."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

Model = Annotated[str, typer.Option(help="name or name@release; see `archetype models`.")]
Priority = Annotated[str, typer.Option(help="interactive or bulk.")]
Tags = Annotated[list[str], typer.Option("--tag", help="Label to find the job by; may be repeated.")]
Params = Annotated[list[str], typer.Option("--param", "-p", help="name=value; see `archetype methods`.")]
Pictures = Annotated[
    list[Path], typer.Argument(help="Picture files, or one ZIP archive of them.", exists=True, dir_okay=False)
]
Top = Annotated[int | None, typer.Option(help="Instead of classes: so many of the model's own first ones.")]
CancelAfter = Annotated[str | None, typer.Option(help="90s, 15m, 1h30m: cancelled if it has not ended by then.")]
Wait = Annotated[bool, typer.Option("--wait", help="Show progress, then save the pictures.")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder for the pictures; default archetype-JOB.")]


def read_parameter(given: str) -> tuple[str, Any]:
    name, equals, value = given.partition("=")
    if not equals:
        raise typer.BadParameter(f"{given!r} is not name=value")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
