"""`archetype jobs`: list, follow, cancel and retry jobs."""

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archetype.cli.console import (
    command,
    print_error,
    print_json,
    print_line,
    print_lines,
    print_note,
    print_step,
    print_table,
    watch_with_bar,
)
from archetype.cli.service.connection import connected, service_url
from archetype.contract.job import State
from archetype.contract.strict_json import dump_json

if TYPE_CHECKING:
    from archetype.client import Client

JobId = Annotated[str, typer.Argument(help="Id of the job.")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder for the files; by default archetype-JOB.")]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds to wait for the job.")]

app = typer.Typer(no_args_is_help=True, help="List, follow, cancel and retry jobs.")


@command(app, "list")
def list_jobs(
    state: Annotated[State | None, typer.Option(help="Only jobs in this state.")] = None,
    method: Annotated[str | None, typer.Option(help="Only jobs of this method.")] = None,
    model: Annotated[str | None, typer.Option(help="Only jobs of this model: NAME or NAME@RELEASE.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only jobs with this tag.")] = None,
    limit: Annotated[int, typer.Option(help="Maximum number of jobs to show.")] = 20,
) -> None:
    """List jobs, newest first."""
    with connected() as client:
        jobs = list(islice(client.jobs(state=state, method=method, model=model, tag=tag), limit))
    rows = [
        (
            job.id,
            job.method,
            job.model,
            job.state,
            f"{job.progress.done}/{job.progress.total} {job.progress.unit}" if job.progress.total else "",
            f"{job.created_at:%Y-%m-%d %H:%M:%S}",
            job.error.title if job.error else "",
        )
        for job in jobs
    ]
    print_table(("job", "method", "model", "state", "progress", "created", "error"), rows, jobs)


@command(app, "show")
def show_job(job_id: JobId) -> None:
    """Print a job as JSON."""
    with connected() as client:
        print_json(client.job(job_id))


def open_job(job_id: JobId) -> None:
    """Open the page of a job or an audit in the browser, and print its URL."""
    with connected() as client:
        job = client.job(job_id)
    url = f"{service_url()}/{'audits' if job.method == 'audit' else 'jobs'}/{job.id}"
    print_line(url, {"url": url})
    typer.launch(url)


@command(app, "wait")
def wait_job(job_id: JobId, save_to: Out = None, timeout: Timeout = 3600) -> None:
    """Show the progress of a job, then save its files."""
    with connected() as client:
        finish_job(client, job_id, save_to, timeout)


def finish_job(client: "Client", job_id: str, folder: Path | None, timeout: float) -> None:
    """Wait for a job and save its files. Exits with 1 if it does not succeed."""
    job = watch_with_bar(client.watch(job_id, timeout=timeout), job_id)
    if job.state is not State.SUCCEEDED:
        print_error(job.error or f"job {job_id} was {job.state}")
        print_note(f"job {job_id} {job.state}")
        raise typer.Exit(1)
    folder = folder or Path(f"archetype-{job_id}")
    if folder.is_dir() and any(folder.iterdir()):
        print_note(f"{folder} has files already; those of the same names are replaced")
    paths = client.save(job, folder)
    fields = job.model_dump(mode="json") | {"files": paths}
    print_line(f"{len(paths)} files in {folder}", fields)


@command(app, "follow")
def follow_jobs(
    job_id: Annotated[str | None, typer.Argument(help="Id of a job; without it, all jobs until Ctrl-C.")] = None,
) -> None:
    """Print events as they happen, one line of JSON per event."""
    with connected() as client:
        for event in client.events(job_id):
            fields = {"event": event.event, **event.model_dump(mode="json", exclude={"thumbnail"})}
            typer.echo(dump_json(fields))


@command(app, "cancel")
def cancel_job(job_id: JobId) -> None:
    """Cancel a job."""
    with connected() as client:
        job = client.cancel(job_id)
        print_line(f"{job_id} {job.state}", job)


@command(app, "retry")
def retry_jobs(
    job_ids: Annotated[list[str] | None, typer.Argument(help="Ids of jobs that failed or were cancelled.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Retry all failed jobs instead.")] = False,
    limit: Annotated[int, typer.Option(help="With --failed: maximum number of jobs, newest first.")] = 100,
) -> None:
    """Submit the requests of jobs again, each as a new job."""
    if bool(job_ids) == failed:
        raise typer.BadParameter("give ids of jobs, or --failed")
    with connected() as client:
        chosen = job_ids or [job.id for job in islice(client.jobs(state=State.FAILED), limit)]
        retries = []
        for job_id in chosen:
            retries.append(client.retry(job_id))
            print_step(f"{job_id} -> {retries[-1].id}")
        print_lines([], retries)


@command(app, "delete")
def delete_job(job_id: JobId) -> None:
    """Delete a job that has ended, with its files."""
    with connected() as client:
        client.delete(job_id)
