"""What the command line prints: sentences, bars and failures."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from shared.client import Client, ServiceError
from shared.errors import Problem, ProblemDocument
from shared.jobs import Job, State

# Where there is no terminal to fit into, tables are as wide as they are: ids must not be cut.
out = Console(width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True)


@contextmanager
def told() -> Iterator[None]:
    """Failures as sentences with exit code 1, not as tracebacks."""
    try:
        yield
    except Problem as problem:
        tell(problem.document)
        raise typer.Exit(1) from problem
    except (ServiceError, TimeoutError) as error:
        tell(getattr(error, "problem", None) or str(error))
        raise typer.Exit(1) from error
    except OSError as error:
        tell(f"{error.filename} cannot be read or written: {error.strerror}")
        raise typer.Exit(1) from error


def tell(problem: ProblemDocument | str) -> None:
    if isinstance(problem, str):
        err.print(f"[red]error:[/] {escape(problem)}", highlight=False)
        return
    err.print(f"[red]error:[/] {escape(problem.detail)}", highlight=False)
    for error in problem.errors:
        allowed = f"; allowed: {error.allowed}" if error.allowed is not None else ""
        err.print(f"  {error.field}: {error.detail}{allowed}", highlight=False, markup=False)


def finish(client: Client, job_id: str, folder: Path | None) -> None:
    job = watch_with_bar(client.watch(job_id), job_id)
    if job.error is not None:
        tell(job.error)
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
