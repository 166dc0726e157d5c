"""`archetype submit METHOD`: a command per method of the menu."""

from pathlib import Path
from typing import Annotated, Any

import typer

from shared.checks import parse_request
from shared.cli.connection import connected
from shared.cli.options import (
    CancelAfter,
    Model,
    Out,
    Params,
    Pictures,
    Priority,
    Tags,
    Top,
    Wait,
    read_parameter,
)
from shared.cli.terminal import finish, out
from shared.methods import MENU, Looking

app = typer.Typer(no_args_is_help=True, help="Submit a job.")


def _add_drawing(method: str, what: str) -> None:
    """The command of a method that looks into the network alone."""

    @app.command(method.replace("_", "-"), help=what)
    def submit(
        model: Model,
        targets: Annotated[
            str | None, typer.Option(help="Class names or indices, separated by commas; or all.")
        ] = None,
        param: Params = [],
        priority: Priority = "interactive",
        tag: Tags = [],
        cancel_after: CancelAfter = None,
        wait: Wait = False,
        save_to: Out = None,
    ) -> None:
        wanted = {} if targets is None else {"targets": "all" if targets == "all" else _split(targets)}
        body = {"method": method, "model": model, **wanted, **_common(param, priority, tag)}
        _submit(body, cancel_after, wait=wait, folder=save_to)


def _add_looking(method: str, what: str) -> None:
    """The command of a method that looks at pictures."""

    @app.command(method.replace("_", "-"), help=what)
    def submit(
        model: Model,
        pictures: Pictures,
        targets: Annotated[
            str | None, typer.Option(help="Classes; what there is without any, the method says.")
        ] = None,
        top: Top = None,
        param: Params = [],
        priority: Priority = "interactive",
        tag: Tags = [],
        cancel_after: CancelAfter = None,
        wait: Wait = False,
        save_to: Out = None,
    ) -> None:
        body = {"method": method, "model": model, **_look_at(pictures, targets, top)}
        _submit(body | _common(param, priority, tag), cancel_after, wait=wait, folder=save_to)


for _name, _kind in MENU.items():
    (_add_looking if issubclass(_kind, Looking) else _add_drawing)(_name, _kind.__doc__ or "")


def _submit(body: dict[str, Any], cancel_after: str | None, *, wait: bool, folder: Path | None) -> None:
    with connected() as client:
        job = client.submit(parse_request(body), cancel_after=cancel_after)
        if wait:
            finish(client, job.id, folder)
        else:
            out.print(job.id)


def _common(param: list[str], priority: str, tags: list[str]) -> dict[str, Any]:
    return {"params": dict(read_parameter(given) for given in param), "priority": priority, "tags": tags}


def _look_at(pictures: list[Path], targets: str | None, top: int | None) -> dict[str, Any]:
    """Uploads the pictures; what of a request says which they are, and what to look for."""
    if len(pictures) > 1 and any(map(_is_zip, pictures)):
        raise typer.BadParameter("give pictures, or one archive alone")
    with connected() as client:
        images: Any = (
            {"archive": client.upload_archive(pictures[0]).id}
            if _is_zip(pictures[0])
            else [client.upload(picture.read_bytes(), picture.name).id for picture in pictures]
        )
    wanted: dict[str, Any] = {"targets": _split(targets)} if targets else {}
    return {"images": images, **({"targets": {"top": top}} if top else wanted)}


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip"


def _split(targets: str) -> list[str | int]:
    parts = [part.strip() for part in targets.split(",") if part.strip()]
    return [int(part) if part.isdecimal() else part for part in parts]
