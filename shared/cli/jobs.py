"""`archetype jobs`: what became of jobs."""

import json
from typing import Annotated

import typer
from rich.table import Table

from shared.cli.connection import connected
from shared.cli.options import Out
from shared.cli.terminal import finish, out
from shared.jobs import State

app = typer.Typer(no_args_is_help=True, help="Look after jobs.")


@app.command("list")
def list_jobs(
    state: Annotated[State | None, typer.Option(help="Only jobs in this state.")] = None,
    method: Annotated[str | None, typer.Option(help="Only jobs of this method.")] = None,
    model: Annotated[str | None, typer.Option(help="Only jobs of this model: name, or name@release.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only jobs with this tag.")] = None,
    limit: Annotated[int, typer.Option(help="How many to show.")] = 20,
) -> None:
    """Show jobs, newest first."""
    table = Table("job", "method", "model", "state", "progress", "created", "why")
    with connected() as client:
        for _, job in zip(range(limit), client.jobs(state=state, method=method, model=model, tag=tag), strict=False):
            progress = f"{job.progress.done}/{job.progress.total} {job.progress.unit}"
            created, why = f"{job.created_at:%Y-%m-%d %H:%M:%S}", job.error.title if job.error else ""
            table.add_row(job.id, job.method, job.model, job.state, progress, created, why)
    out.print(table)


@app.command("show")
def show_job(job_id: str) -> None:
    """Print a job as JSON."""
    with connected() as client:
        out.print_json(client.job(job_id).model_dump_json())


@app.command("wait")
def wait_job(job_id: str, save_to: Out = None) -> None:
    """Show a job's progress, then save its pictures."""
    with connected() as client:
        finish(client, job_id, save_to)


@app.command("follow")
def follow_jobs(job_id: Annotated[str | None, typer.Argument(help="Or all jobs, until Ctrl-C.")] = None) -> None:
    """Print what happens, a line of JSON per event."""
    with connected() as client:
        for event in client.events(job_id):
            line = {"event": event.event, **event.model_dump(mode="json", exclude={"thumbnail"})}
            out.print(json.dumps(line), highlight=False, markup=False, soft_wrap=True)


@app.command("cancel")
def cancel_job(job_id: str) -> None:
    """Cancel a job."""
    with connected() as client:
        out.print(f"{job_id} {client.cancel(job_id).state}")


@app.command("retry")
def retry_jobs(
    job_ids: Annotated[list[str] | None, typer.Argument(help="Jobs that failed or were cancelled.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Or every job that failed.")] = False,
    limit: Annotated[int, typer.Option(help="How many of those, newest first.")] = 100,
) -> None:
    """Try jobs again: each becomes a new job with the same request."""
    if bool(job_ids) == failed:
        raise typer.BadParameter("give jobs, or --failed")
    with connected() as client:
        chosen = job_ids or [job.id for _, job in zip(range(limit), client.jobs(state=State.FAILED), strict=False)]
        for job_id in chosen:
            out.print(f"{job_id} -> {client.retry(job_id).id}", highlight=False)


@app.command("delete")
def delete_job(job_id: str) -> None:
    """Remove a job that has ended, and all that it made."""
    with connected() as client:
        client.delete(job_id)
