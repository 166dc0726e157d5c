"""What the command line prints: results on standard output, progress and errors on standard error.

A terminal gets tables, colors and progress bars. A file or a pipe gets plain lines, with tabs between columns. With
`--json`, standard output gets one JSON document, the result or a problem document.
"""

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from archetype.contract.problem import InvalidDocument, ProblemDocument
from archetype.contract.pydantic_errors import describe_errors
from archetype.contract.strict_json import dump_json
from archetype.errors import ArchetypeError

if TYPE_CHECKING:
    from archetype.contract.audit import AuditView
    from archetype.contract.job import Job

Function = TypeVar("Function", bound=Callable[..., None])
Watched = TypeVar("Watched", "Job", "AuditView")
Failure = ArchetypeError | InvalidDocument | ProblemDocument | str

_json_is_wanted: ContextVar[bool] = ContextVar("json", default=False)


def set_json(wanted: bool) -> None:
    """Set whether results are printed as JSON."""
    _json_is_wanted.set(wanted)


def want_json(wanted: bool) -> bool:
    """Callback of `--json`, which may stand before or after the command; returns the option's value."""
    if wanted:
        set_json(True)
    return wanted


def json_is_wanted() -> bool:
    """Whether `--json` was given."""
    return _json_is_wanted.get()


Json = Annotated[
    bool, typer.Option("--json", callback=want_json, help="Print JSON on standard output, also for errors.")
]


def command(
    app: typer.Typer, name: str, summary: str | None = None, *, epilog: str | None = None
) -> Callable[[Function], Function]:
    """Register a command that has the option `--json` besides its own.

    Args:
        app: The group of the command.
        name: The name of the command.
        summary: The help text; by default the function's docstring.
        epilog: Paragraphs after the options.
    """

    def register(function: Function) -> Function:
        @wraps(function)
        def run(*, as_json: bool = False, **arguments: Any) -> None:  # noqa: ARG001 - its callback has set it
            function(**arguments)

        signature = inspect.signature(function)
        option = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json)
        parameters = [value.replace(kind=inspect.Parameter.KEYWORD_ONLY) for value in signature.parameters.values()]
        run.__signature__ = signature.replace(parameters=[*parameters, option])  # type: ignore[attr-defined]
        run.__annotations__ = {**function.__annotations__, "as_json": Json}
        app.command(name, help=summary, epilog=epilog)(run)
        return function

    return register


def print_line(text: str, value: object) -> None:
    """Print a line of text; with `--json`, the value instead."""
    if _json_is_wanted.get():
        print_json(value)
    else:
        typer.echo(text)


def print_lines(lines: Sequence[str], value: object) -> None:
    """Print lines of text, if there are any; with `--json`, the value instead."""
    if _json_is_wanted.get():
        print_json(value)
    elif lines:
        typer.echo("\n".join(lines))


def print_step(text: str) -> None:
    """Print one of several results as soon as it is known; with `--json`, on standard error."""
    typer.echo(text, err=_json_is_wanted.get())


def print_json(value: object) -> None:
    """Print a value as JSON: models and lists and dictionaries of them."""
    text = dump_json(to_jsonable_python(value, inf_nan_mode="null"), indent=2, ensure_ascii=False)
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print_json(text)
    else:
        typer.echo(text)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], value: object = None) -> None:
    """Print a table; with `--json`, the value instead."""
    if _json_is_wanted.get():
        print_json(value)
        return
    if sys.stdout.isatty():
        _print_rich_table(columns, rows)
        return
    for row in [columns, *rows]:
        typer.echo("\t".join(" ".join(str(cell).split()) for cell in row))


def _print_rich_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for position, name in enumerate(columns):
        table.add_column(name, no_wrap=position == 0, overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    Console().print(table)


def print_note(text: str) -> None:
    """Print a line on standard error."""
    typer.echo(text, err=True)


def print_error(failure: Failure) -> None:
    """Print an error with its invalid fields on standard error; with `--json`, its problem document as the result."""
    if _json_is_wanted.get():
        print_json(_describe_problem(failure))
    problem = failure.problem or str(failure) if isinstance(failure, ArchetypeError) else failure
    message = problem if isinstance(problem, str) else problem.detail
    typer.secho("error:", fg="red", err=True, nl=False)
    typer.echo(f" {message}", err=True)
    for error in () if isinstance(problem, str) else problem.errors:
        allowed = f"; allowed: {error.allowed}" if error.allowed is not None else ""
        typer.echo(f"  {error.field}: {error.detail}{allowed}", err=True)


def _describe_problem(failure: Failure) -> object:
    if isinstance(failure, ProblemDocument):
        return failure
    if isinstance(failure, ArchetypeError) and failure.problem is not None:
        return failure.problem
    kind = {"type": "about:blank", "title": "The command failed", "detail": str(failure)}
    if isinstance(failure, ArchetypeError):
        kind["title"] = (type(failure).__doc__ or "").partition("\n")[0].rstrip(".")
    return kind | ({"errors": failure.errors} if isinstance(failure, InvalidDocument) else {})


@contextmanager
def errors_reported() -> Iterator[None]:
    """Print expected errors as a sentence, without a traceback, and exit with 1."""
    try:
        yield
    except (ArchetypeError, InvalidDocument) as error:
        print_error(error)
        raise typer.Exit(1) from error
    except ValidationError as error:
        print_error(describe_errors(error))
        raise typer.Exit(1) from error
    except OSError as error:
        if error.filename is None:  # a closed pipe, for example
            raise
        print_error(f"{error.filename} cannot be read or written: {error.strerror}")
        raise typer.Exit(1) from error


def watch_with_bar(views: Iterable[Watched], label: str, unit: str | None = None) -> Watched:
    """Show the progress of a job or an audit on standard error; return it in its terminal state.

    Args:
        views: Its states, the terminal one last.
        label: The text before the bar.
        unit: What is counted; by default what the progress says.
    """
    if sys.stderr.isatty():
        return _watch_with_rich_bar(views, label, unit)
    *_, view = views
    print_note(f"{label}: {view.progress.done}/{view.progress.total} {unit or view.progress.unit}s")
    return view


def _watch_with_rich_bar(views: Iterable[Watched], label: str, unit: str | None) -> Watched:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    count = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[unit]}s"), TimeElapsedColumn())
    with Progress(TextColumn("{task.description}"), *count, console=Console(stderr=True)) as bar:
        line = bar.add_task(label, total=None, unit=unit or "step")
        for view in views:
            progress = view.progress
            bar.update(line, completed=progress.done, total=progress.total or None, unit=unit or progress.unit)
    return view
