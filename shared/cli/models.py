"""`archetype models`: the catalogue, and what is added to it."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from shared.checks import parse_release
from shared.cli.connection import connected
from shared.cli.options import Params, read_parameter
from shared.cli.terminal import out

app = typer.Typer(no_args_is_help=True, help="Look into the catalogue, and add to it.")


@app.command("list")
def list_models() -> None:
    """Show the catalogue."""
    table = Table("model", "releases", "classes", "input")
    with connected() as client:
        for model in client.models():
            height, width = model["size"]
            table.add_row(model["name"], ", ".join(model["releases"]), str(model["classes"]), f"{width} x {height}")
    out.print(table)


@app.command("show")
def show_model(name: Annotated[str, typer.Argument(help="name, or name@release.")]) -> None:
    """Print a model's releases, classes and layers as JSON."""
    with connected() as client:
        out.print_json(json.dumps(client.model(name)))


@app.command("add")
def add_model(
    name: Annotated[str, typer.Argument(help="What it is called.")],
    architecture: Annotated[str, typer.Option(help="torchvision:NAME, timm:NAME, factory:NAME, or program.")],
    classes: Annotated[str, typer.Option(help="imagenet, cifar10, or a file with a name per line.")],
    release: Annotated[str, typer.Option(help="Which release of it this is.")] = "1",
    weights: Annotated[Path | None, typer.Option(help="A file to upload.", exists=True, dir_okay=False)] = None,
    key: Annotated[str | None, typer.Option(help="Or where in the bucket they lie.")] = None,
    published: Annotated[bool, typer.Option("--published", help="Or the library's own.")] = False,
    sha256: Annotated[str | None, typer.Option(help="Of the weights; checked when given.")] = None,
    score_layer: Annotated[str | None, typer.Option(help="The layer of the class scores.")] = None,
    argument: Annotated[list[str], typer.Option("--argument", "-a", help="name=value, of the architecture.")] = [],
    preprocessing: Params = [],
) -> None:
    """Register a release (operators): it is loaded once, and refused with a reason if it does not work."""
    body: dict[str, Any] = {
        "name": name, "release": release, "architecture": architecture, "published": published,
        "classes": Path(classes).read_text().split("\n") if Path(classes).is_file() else classes,
        "arguments": dict(map(read_parameter, argument)),
        "preprocessing": dict(map(read_parameter, preprocessing)),
    }  # fmt: skip
    if isinstance(body["classes"], list):
        body["classes"] = [line.strip() for line in body["classes"] if line.strip()]
    with connected() as client:
        sources = {"key": key, "upload": client.upload_weights(weights) if weights else None}
        sources |= {"sha256": sha256, "score_layer": score_layer}
        body |= {source: value for source, value in sources.items() if value is not None}
        model = client.register(parse_release(body))
    out.print(f"{name}@{release} works: {len(model['class_names'])} classes, {len(model['layers'])} layers")
