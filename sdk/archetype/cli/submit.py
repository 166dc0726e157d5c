"""`archetype submit METHOD`: one command per method."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from archetype.cli.console import command, print_line
from archetype.cli.jobs import Out, Timeout, finish_job
from archetype.cli.service.completion import complete_models
from archetype.cli.service.connection import connected
from archetype.cli.targets import Index, Target, Targets, load_class_names, read_targets
from archetype.contract.pydantic_errors import parse_request
from archetype.contract.request import METHODS, ImageRequest
from archetype.contract.strict_json import dump_json, load_json

if TYPE_CHECKING:
    from archetype.client import Client

Model = Annotated[
    str, typer.Option(help="NAME or NAME@RELEASE; see `archetype models list`.", autocompletion=complete_models)
]
Priority = Annotated[str, typer.Option(help="interactive or bulk.")]
Tags = Annotated[list[str], typer.Option("--tag", metavar="TAG", help="Label to find the job by; may be repeated.")]
Params = Annotated[
    list[str], typer.Option("--param", "-p", metavar="NAME=VALUE", help="A parameter; see `archetype methods`.")
]
Images = Annotated[
    list[Path], typer.Argument(help="Image files, or one ZIP archive of images.", exists=True, dir_okay=False)
]
Top = Annotated[int | None, typer.Option(help="Instead of --targets: this many highest-scoring classes per image.")]
CancelAfter = Annotated[str | None, typer.Option(help="90s, 15m, 1h30m: cancel the job if it has not ended by then.")]
Wait = Annotated[bool, typer.Option("--wait", help="Show progress, then save the files.")]

app = typer.Typer(no_args_is_help=True, help="Submit a job.")


def read_parameter(text: str) -> tuple[str, Any]:
    """Return name and value of `NAME=VALUE`. The value is JSON; if it is not, it is a string."""
    name, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE")
    try:
        return name, load_json(value)
    except ValueError:
        return name, value


def describe_parameters(kind: type[BaseModel]) -> str:
    """Return a paragraph for each parameter of a kind of request: name, default, and the first sentence about it."""
    fields = kind.model_fields["params"].annotation.model_fields  # type: ignore[union-attr]
    lines = ["Parameters, each as `--param NAME=VALUE` with JSON as the value:"]
    for name, field in fields.items():
        default = dump_json(to_jsonable_python(field.get_default(call_default_factory=True)))
        sentence = (field.description or "").partition(". ")[0].rstrip(".")
        lines.append(f"{name}={default}: {sentence}.")
    return "\n\n".join(lines)


def _add_method(method: str, summary: str, epilog: str) -> None:
    """Add the command of a method that takes no images."""

    @command(app, method.replace("_", "-"), summary, epilog=epilog)
    def submit(
        model: Model,
        targets: Targets = [],
        target: Target = [],
        index: Index = [],
        param: Params = [],
        priority: Priority = "interactive",
        tag: Tags = [],
        cancel_after: CancelAfter = None,
        wait: Wait = False,
        save_to: Out = None,
        timeout: Timeout = 3600,
    ) -> None:
        with connected() as client:
            chosen = read_targets(targets, target, index, partial(load_class_names, client, model))
            body = {"method": method, "model": model, **_read_common(chosen, param, priority, tag)}
            _submit(client, body, cancel_after, wait=wait, folder=save_to, timeout=timeout)


def _add_image_method(method: str, summary: str, epilog: str, default: Any = ...) -> None:
    """Add the command of a method that takes images; they are required unless there is a default."""

    @command(app, method.replace("_", "-"), summary, epilog=epilog)
    def submit(
        model: Model,
        images: Images = default,
        targets: Targets = [],
        target: Target = [],
        index: Index = [],
        top: Top = None,
        param: Params = [],
        priority: Priority = "interactive",
        tag: Tags = [],
        cancel_after: CancelAfter = None,
        wait: Wait = False,
        save_to: Out = None,
        timeout: Timeout = 3600,
    ) -> None:
        if top is not None and (targets or target or index):
            raise typer.BadParameter("--top stands instead of --targets, --target and --index; give one of them")
        with connected() as client:
            named = read_targets(targets, target, index, partial(load_class_names, client, model))
            chosen = named if top is None else {"top": top}
            body = {"method": method, "model": model, **_read_common(chosen, param, priority, tag)}
            body["images"] = _upload(client, images)
            _submit(client, body, cancel_after, wait=wait, folder=save_to, timeout=timeout)


for _name, _kind in METHODS.items():
    _texts = _kind.__doc__ or "", describe_parameters(_kind)
    if issubclass(_kind, ImageRequest):
        _add_image_method(_name, *_texts, ... if _kind.model_fields["images"].is_required() else [])
    else:
        _add_method(_name, *_texts)


def _submit(
    client: "Client", body: dict[str, Any], cancel_after: str | None, *, wait: bool, folder: Path | None, timeout: float
) -> None:
    job = client.submit(parse_request(body), cancel_after=cancel_after)
    if wait:
        finish_job(client, job.id, folder, timeout)
    else:
        print_line(job.id, job)


def _read_common(targets: object, params: list[str], priority: str, tags: list[str]) -> dict[str, Any]:
    """Return the fields of a request that all methods share."""
    fields: dict[str, Any] = {"params": dict(map(read_parameter, params)), "priority": priority, "tags": tags}
    return fields | ({} if targets is None else {"targets": targets})


def _upload(client: "Client", images: list[Path]) -> dict[str, str] | list[str]:
    """Upload images or an archive; return the value of the request's `images`."""
    if any(map(_is_zip, images)):
        if len(images) > 1:
            raise typer.BadParameter("give images, or one archive alone")
        return {"archive": client.upload_archive(images[0]).id}
    return [client.upload(path.read_bytes(), path.name).id for path in images]


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip"
