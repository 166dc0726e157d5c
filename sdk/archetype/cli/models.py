"""`archetype models`: the catalogue of models, and how to register a release."""

from pathlib import Path
from typing import Annotated, Any

import typer

from archetype.cli.console import command, print_json, print_lines, print_table
from archetype.cli.service.completion import complete_models
from archetype.cli.service.connection import connected
from archetype.cli.submit import read_parameter
from archetype.contract.class_names import read_class_file
from archetype.contract.model import OutputKind
from archetype.contract.problem import InvalidDocument
from archetype.contract.pydantic_errors import parse_release

app = typer.Typer(no_args_is_help=True, help="List models and register releases.")


@command(app, "list")
def list_models() -> None:
    """List the models of the catalogue."""
    with connected() as client:
        models = client.models()
    rows = [
        (model["name"], ", ".join(model["releases"]), model["classes"], f"{model['size'][0]} x {model['size'][1]}")
        for model in models
    ]
    print_table(("model", "releases", "classes", "height x width"), rows, models)


@command(app, "registrations")
def list_registrations() -> None:
    """List registered releases, newest first, also those that wait for their check or were refused (operators)."""
    with connected() as client:
        releases = client.registrations()
    rows = [
        (
            each.model,
            each.state,
            each.attempts,
            f"{each.registered_at:%Y-%m-%d %H:%M:%S}",
            each.error.detail if each.error else "",
        )
        for each in releases
    ]
    print_table(("model", "state", "attempts", "registered", "reason"), rows, releases)


@command(app, "show")
def show_model(
    name: Annotated[str, typer.Argument(help="NAME or NAME@RELEASE.", autocompletion=complete_models)],
) -> None:
    """Print a model as JSON: its releases, classes and layers, what works with it, and notes of the trial."""
    with connected() as client:
        print_json(client.model(name))


@command(app, "add")
def add_model(
    name: Annotated[str, typer.Argument(help="Name of the model.")],
    architecture: Annotated[
        str, typer.Option(help="torchvision:NAME, timm:NAME, factory:NAME, huggingface, onnx, or program.")
    ],
    classes: Annotated[
        str | None,
        typer.Option(
            help="imagenet, cifar10, or a UTF-8 file with one class name per line. A model folder has its own."
        ),
    ] = None,
    release: Annotated[str, typer.Option(help="Name of the release.")] = "1",
    weights: Annotated[
        Path | None,
        typer.Option(
            help="File of weights to upload. A model folder, and NAME.onnx with NAME.onnx.data, are packed first.",
            exists=True,
        ),
    ] = None,
    key: Annotated[str | None, typer.Option(help="Instead of --weights: key of the weights in the bucket.")] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Instead of --weights: the weights that the library publishes.")
    ] = False,
    repository: Annotated[
        str | None,
        typer.Option(
            metavar="OWNER/NAME@COMMIT",
            help="Instead of --weights: a public repository of the Hugging Face hub (--architecture huggingface).",
        ),
    ] = None,
    sha256: Annotated[str | None, typer.Option(help="SHA-256 of the weights, to be verified.")] = None,
    state_dict: Annotated[
        str | None, typer.Option(help="Which state dict of the file to load, such as model_ema, if it has several.")
    ] = None,
    score_layer: Annotated[str | None, typer.Option(help="Layer that outputs the class scores.")] = None,
    output_kind: Annotated[
        OutputKind | None, typer.Option(help="What the network returns; without this option, it is detected.")
    ] = None,
    output_select: Annotated[
        str | None, typer.Option(help="Index or key of the output that has the scores, if there are several.")
    ] = None,
    argument: Annotated[
        list[str], typer.Option("--argument", "-a", metavar="NAME=VALUE", help="An argument of the architecture.")
    ] = [],
    preprocessing: Annotated[
        list[str], typer.Option("--param", "-p", metavar="NAME=VALUE", help="A field of the preprocessing.")
    ] = [],
) -> None:
    """Register a release (operators). A worker tries it; a release that does not work is refused with the reason."""
    body: dict[str, Any] = {
        "name": name,
        "release": release,
        "architecture": architecture,
        "published": repository or published,
        "arguments": dict(map(read_parameter, argument)),
    }
    with connected() as client:
        upload = client.upload_weights(weights) if weights else None
        optional = {
            "classes": _read_classes(classes) if classes is not None else None,
            "preprocessing": dict(map(read_parameter, preprocessing)) or None,
            "key": key,
            "upload": upload,
            "sha256": sha256,
            "state_dict": state_dict,
            "score_layer": score_layer,
            "output": _describe_output(output_kind, output_select),
        }
        body |= {field: value for field, value in optional.items() if value is not None}
        model = client.register(parse_release(body))
        print_lines(_report(f"{name}@{release}", model), model)


def _describe_output(kind: str | None, select: str | None) -> dict[str, Any] | None:
    """Return what the options declare about the network's output, or None if there are none."""
    selected = int(select) if select is not None and select.isdecimal() else select
    fields = {"kind": kind, "select": selected}
    return {name: value for name, value in fields.items() if value is not None} or None


def _report(reference: str, model: dict[str, Any]) -> list[str]:
    """Return what the trial of a release found: its size, notes, and what does not work with the reason."""
    lines = [f"{reference} works: {len(model['class_names'])} classes, {len(model['layers'])} layers"]
    lines += [f"note: {note}" for note in model.get("notes", [])]
    missing: dict[str, list[str]] = {}
    for capability in model.get("capabilities") or []:
        if not capability["available"]:
            kind = f" {capability['kind']}" if capability["kind"] else ""
            missing.setdefault(capability["reason"], []).append(f"{capability['method']}{kind}")
    return lines + [f"unavailable: {', '.join(names)} ({reason})" for reason, names in missing.items()]


def _read_classes(text: str) -> list[str] | str:
    """Return the class names of a file, or the name of a known list of classes."""
    path = Path(text)
    if not path.is_file():
        if path.suffix or path.name != text:
            raise InvalidDocument(f"there is no file {text}; give a file of class names, imagenet or cifar10")
        return text
    try:
        return read_class_file(path.read_bytes(), text)
    except ValueError as error:
        raise InvalidDocument(str(error)) from error
