"""`archetype schedules`: automatic audits."""

from pathlib import Path
from typing import Annotated

import typer

from archetype.cli.audit_plan_file import load_plan
from archetype.cli.audits import audit_exit_codes
from archetype.cli.console import command, print_json, print_line, print_lines, print_table
from archetype.cli.service.connection import connected
from archetype.contract.schedule import NewSchedule, WriteBack

ScheduleId = Annotated[str, typer.Argument(help="Id of the schedule.")]

app = typer.Typer(no_args_is_help=True, help="Schedule automatic audits.")


@command(app, "add")
def add_schedule(
    model: Annotated[str, typer.Argument(help="Model whose releases are audited.")],
    plan: Annotated[Path, typer.Option(help="Audit plan in TOML, or the report.json of an audit.", dir_okay=False)],
    cron: Annotated[
        str | None, typer.Option(help="Minute, hour, day, month and day of the week: '30 3 * * 1-5'.")
    ] = None,
    timezone: Annotated[str, typer.Option(help="Time zone of --cron, such as Europe/Berlin.")] = "UTC",
    jitter: Annotated[int, typer.Option(help="Maximum delay in seconds that is added to the time of --cron.")] = 0,
    on_release: Annotated[bool, typer.Option(help="Audit every new release.")] = True,
    webhook: Annotated[str | None, typer.Option(help="https URL that receives every verdict.")] = None,
    tag: Annotated[str | None, typer.Option(help="Tag in the MLflow registry to write the verdict to.")] = None,
    alias: Annotated[str | None, typer.Option(help="Alias in the MLflow registry for releases that pass.")] = None,
    run: Annotated[
        bool, typer.Option(help="Write figures and report to the MLflow run that made the version.")
    ] = False,
    registered_model: Annotated[
        str | None, typer.Option(help="Name of the model in the MLflow registry, if it has another one there.")
    ] = None,
) -> None:
    """Audit the releases of a model automatically: on every new release, on a cron schedule, or both."""
    with connected() as client, audit_exit_codes():
        schedule = client.schedule(
            NewSchedule(
                model=model,
                plan=load_plan(plan, client),
                cron=cron,
                timezone=timezone,
                jitter_seconds=jitter,
                on_release=on_release,
                webhook=webhook,
                write_back=WriteBack(registered_model=registered_model, tag=tag, alias=alias, run=run)
                if tag or alias or run
                else None,
            )
        )
        due = f", next at {schedule.next_at:%Y-%m-%d %H:%M %Z}" if schedule.next_at else ""
        print_line(f"schedule {schedule.id}: {schedule.model} with plan {schedule.plan.name}{due}", schedule)


@command(app, "list")
def list_schedules() -> None:
    """List all schedules with their last outcome."""
    with connected() as client:
        schedules = client.schedules()
    rows = []
    for schedule in schedules:
        last = schedule.outcomes[0] if schedule.outcomes else None
        outcome = "" if last is None else last.audit or (last.problem.title if last.problem else "")
        due = f"{schedule.next_at:%Y-%m-%d %H:%M %Z}" if schedule.next_at else ""
        due = "paused" if schedule.paused else due
        on_release, release = "yes" if schedule.on_release else "no", last.release if last else ""
        rows.append((schedule.id, schedule.model, schedule.plan.name, on_release, due, release, outcome))
    columns = ("schedule", "model", "plan", "on release", "next at", "last release", "audit")
    print_table(columns, rows, schedules)


@command(app, "show")
def show_schedule(schedule_id: ScheduleId) -> None:
    """Print a schedule with the outcome for every release as JSON."""
    with connected() as client:
        print_json(client.get_schedule(schedule_id))


@command(app, "remove")
def remove_schedule(schedule_id: ScheduleId) -> None:
    """Remove a schedule. Its audits are kept."""
    with connected() as client:
        client.delete_schedule(schedule_id)
        print_line(f"schedule {schedule_id} is removed", {"id": schedule_id, "removed": True})


@command(app, "announce")
def announce_release(
    model: Annotated[str, typer.Argument(help="NAME@RELEASE, or NAME for its newest release.")],
) -> None:
    """Announce a new release: start the audits that the schedules of its model ask for."""
    with connected() as client, audit_exit_codes():
        announcement = client.announce(model)
        lines = []
        for audit in announcement.audits:
            problem = audit.outcome.problem
            lines.append(f"schedule {audit.schedule}: {audit.outcome.audit or (problem.detail if problem else '')}")
        print_lines(lines, announcement)
