"""The command line: `archetype submit class-model --model shapes --targets lemon,bee --wait`."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from shared.checks import parse_release, parse_request
from shared.client import Client, ServiceError
from shared.errors import Problem, ProblemDocument
from shared.jobs import Job, State
from shared.methods import MENU, Looking

app = typer.Typer(no_args_is_help=True, help="Ask a running Archetype service for pictures.")
submit_app = typer.Typer(no_args_is_help=True, help="Submit a job.")
jobs_app = typer.Typer(no_args_is_help=True, help="Look after jobs.")
models_app = typer.Typer(no_args_is_help=True, help="Look into the catalogue, and add to it.")
app.add_typer(submit_app, name="submit")
app.add_typer(models_app, name="models")
app.add_typer(jobs_app, name="jobs")

# Where there is no terminal to fit into, tables are as wide as they are: ids must not be cut.
out = Console(width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True)

Url = Annotated[str, typer.Option("--url", envvar="ARCHETYPE_URL", help="Where the service is.")]
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

DEFAULT_URL = "http://127.0.0.1:8080"


def _add_drawing(method: str, what: str) -> None:
    """The command of a method that looks into the network alone."""

    @submit_app.command(method.replace("_", "-"), help=what)
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
        url: Url = DEFAULT_URL,
    ) -> None:
        wanted = {} if targets is None else {"targets": "all" if targets == "all" else _split(targets)}
        body = {"method": method, "model": model, **wanted, **_common(param, priority, tag)}
        _submit(body, cancel_after, url=url, wait=wait, folder=save_to)


def _add_looking(method: str, what: str) -> None:
    """The command of a method that looks at pictures."""

    @submit_app.command(method.replace("_", "-"), help=what)
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
        url: Url = DEFAULT_URL,
    ) -> None:
        body = {"method": method, "model": model, **_look_at(pictures, targets, top, url)}
        _submit(body | _common(param, priority, tag), cancel_after, url=url, wait=wait, folder=save_to)


for _name, _kind in MENU.items():
    (_add_looking if issubclass(_kind, Looking) else _add_drawing)(_name, _kind.__doc__ or "")


@jobs_app.command("list")
def list_jobs(
    state: Annotated[State | None, typer.Option(help="Only jobs in this state.")] = None,
    limit: Annotated[int, typer.Option(help="How many to show.")] = 20,
    url: Url = DEFAULT_URL,
) -> None:
    """Show jobs, newest first."""
    table = Table("job", "method", "model", "state", "progress", "created", "why")
    with _told(), Client(url) as client:
        for _, job in zip(range(limit), client.jobs(state=state), strict=False):
            progress = f"{job.progress.done}/{job.progress.total} {job.progress.unit}"
            created, why = f"{job.created_at:%Y-%m-%d %H:%M:%S}", job.error.title if job.error else ""
            table.add_row(job.id, job.method, job.model, job.state, progress, created, why)
    out.print(table)


@jobs_app.command("show")
def show_job(job_id: str, url: Url = DEFAULT_URL) -> None:
    """Print a job as JSON."""
    with _told(), Client(url) as client:
        out.print_json(client.job(job_id).model_dump_json())


@jobs_app.command("wait")
def wait_job(job_id: str, save_to: Out = None, url: Url = DEFAULT_URL) -> None:
    """Show a job's progress, then save its pictures."""
    with _told(), Client(url) as client:
        _finish(client, job_id, save_to)


@jobs_app.command("cancel")
def cancel_job(job_id: str, url: Url = DEFAULT_URL) -> None:
    """Cancel a job."""
    with _told(), Client(url) as client:
        out.print(f"{job_id} {client.cancel(job_id).state}")


@jobs_app.command("retry")
def retry_jobs(
    job_ids: Annotated[list[str] | None, typer.Argument(help="Jobs that failed or were cancelled.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Or every job that failed.")] = False,
    limit: Annotated[int, typer.Option(help="How many of those, newest first.")] = 100,
    url: Url = DEFAULT_URL,
) -> None:
    """Try jobs again: each becomes a new job with the same request."""
    if bool(job_ids) == failed:
        raise typer.BadParameter("give jobs, or --failed")
    with _told(), Client(url) as client:
        chosen = job_ids or [job.id for _, job in zip(range(limit), client.jobs(state=State.FAILED), strict=False)]
        for job_id in chosen:
            out.print(f"{job_id} -> {client.retry(job_id).id}", highlight=False)


@jobs_app.command("delete")
def delete_job(job_id: str, url: Url = DEFAULT_URL) -> None:
    """Remove a job that has ended, and all that it made."""
    with _told(), Client(url) as client:
        client.delete(job_id)


@models_app.command("list")
def list_models(url: Url = DEFAULT_URL) -> None:
    """Show the catalogue."""
    table = Table("model", "releases", "classes", "input")
    with _told(), Client(url) as client:
        for model in client.models():
            height, width = model["size"]
            table.add_row(model["name"], ", ".join(model["releases"]), str(model["classes"]), f"{width} x {height}")
    out.print(table)


@models_app.command("show")
def show_model(name: Annotated[str, typer.Argument(help="name, or name@release.")], url: Url = DEFAULT_URL) -> None:
    """Print a model's releases, classes and layers as JSON."""
    with _told(), Client(url) as client:
        out.print_json(json.dumps(client.model(name)))


@models_app.command("add")
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
    token: Annotated[str, typer.Option(envvar="ARCHETYPE_OPERATOR_TOKEN", help="Of the operators.")] = "",
    url: Url = DEFAULT_URL,
) -> None:
    """Register a release (operators): it is loaded once, and refused with a reason if it does not work."""
    body: dict[str, Any] = {
        "name": name, "release": release, "architecture": architecture, "published": published,
        "classes": Path(classes).read_text().split("\n") if Path(classes).is_file() else classes,
        "arguments": dict(map(_read_parameter, argument)),
        "preprocessing": dict(map(_read_parameter, preprocessing)),
    }  # fmt: skip
    if isinstance(body["classes"], list):
        body["classes"] = [line.strip() for line in body["classes"] if line.strip()]
    with _told(), Client(url, operator_token=token) as client:
        sources = {"key": key, "upload": client.upload_weights(weights) if weights else None}
        sources |= {"sha256": sha256, "score_layer": score_layer}
        body |= {source: value for source, value in sources.items() if value is not None}
        model = client.register(parse_release(body))
    out.print(f"{name}@{release} works: {len(model['class_names'])} classes, {len(model['layers'])} layers")


@app.command("methods")
def show_methods(url: Url = DEFAULT_URL) -> None:
    """Show the menu: methods and their parameters."""
    with _told(), Client(url) as client:
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


def _submit(body: dict[str, Any], cancel_after: str | None, *, url: str, wait: bool, folder: Path | None) -> None:
    with _told(), Client(url) as client:
        job = client.submit(parse_request(body), cancel_after=cancel_after)
        if wait:
            _finish(client, job.id, folder)
        else:
            out.print(job.id)


def _finish(client: Client, job_id: str, folder: Path | None) -> None:
    job = watch_with_bar(client.watch(job_id), job_id)
    if job.error is not None:
        _tell(job.error)
    if job.state is not State.SUCCEEDED:
        err.print(f"job {job_id} {job.state}")
        raise typer.Exit(1)
    folder = folder or Path(f"archetype-{job_id}")
    paths = client.save(job, folder)
    out.print(f"{len(paths)} files in {folder}", highlight=False)


def watch_with_bar(jobs: Iterable[Job], label: str) -> Job:
    """Shows a job's progress as a bar on standard error; returns it as it ended."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}s"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err) as bar:
        line = bar.add_task(label, total=None, unit="step")
        for job in jobs:
            bar.update(line, completed=job.progress.done, total=job.progress.total or None, unit=job.progress.unit)
    return job


def _common(param: list[str], priority: str, tags: list[str]) -> dict[str, Any]:
    return {"params": dict(_read_parameter(given) for given in param), "priority": priority, "tags": tags}


def _read_parameter(given: str) -> tuple[str, Any]:
    name, equals, value = given.partition("=")
    if not equals:
        raise typer.BadParameter(f"{given!r} is not name=value")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _look_at(pictures: list[Path], targets: str | None, top: int | None, url: str) -> dict[str, Any]:
    """Uploads the pictures; what of a request says which they are, and what to look for."""
    if len(pictures) > 1 and any(map(_is_zip, pictures)):
        raise typer.BadParameter("give pictures, or one archive alone")
    with _told(), Client(url) as client:
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


@contextmanager
def _told() -> Iterator[None]:
    """Failures as sentences with exit code 1, not as tracebacks."""
    try:
        yield
    except Problem as problem:
        _tell(problem.document)
        raise typer.Exit(1) from problem
    except (ServiceError, TimeoutError) as error:
        _tell(getattr(error, "problem", None) or str(error))
        raise typer.Exit(1) from error
    except OSError as error:
        _tell(f"{error.filename} cannot be read or written: {error.strerror}")
        raise typer.Exit(1) from error


def _tell(problem: ProblemDocument | str) -> None:
    if isinstance(problem, str):
        err.print(f"[red]error:[/] {escape(problem)}", highlight=False)
        return
    err.print(f"[red]error:[/] {escape(problem.detail)}", highlight=False)
    for error in problem.errors:
        allowed = f"; allowed: {error.allowed}" if error.allowed is not None else ""
        err.print(f"  {error.field}: {error.detail}{allowed}", highlight=False, markup=False)


if __name__ == "__main__":
    sys.exit(app())
