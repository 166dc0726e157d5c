"""`archetype schedules`: audits that come by themselves."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.table import Table

from shared.cli.audit import WRONG, judged
from shared.cli.connection import connected
from shared.cli.plans import load_plan
from shared.cli.terminal import out, tell
from shared.explanation import explain
from shared.schedules import NewSchedule, WriteBack

app = typer.Typer(no_args_is_help=True, help="Audit releases by themselves.")


@app.command("add")
def add_schedule(
    model: Annotated[str, typer.Argument(help="Whose releases are audited.")],
    plan: Annotated[Path, typer.Option(help="A plan in TOML, or the report.json of an audit.", dir_okay=False)],
    cron: Annotated[str | None, typer.Option(help="Minute, hour, day, month, day of the week: '30 3 * * 1-5'.")] = None,
    timezone: Annotated[str, typer.Option(help="Whose clock that is.")] = "UTC",
    jitter: Annotated[int, typer.Option(help="Up to so many seconds later.")] = 0,
    on_release: Annotated[bool, typer.Option(help="As soon as there is a new release.")] = True,
    webhook: Annotated[str | None, typer.Option(help="An https URL that is told every verdict.")] = None,
    tag: Annotated[str | None, typer.Option(help="A tag in the registry that gets the verdict.")] = None,
    alias: Annotated[str | None, typer.Option(help="An alias in the registry for what passed.")] = None,
) -> None:
    """Have a model's releases audited: every new one, at times, or both."""
    back = WriteBack(tag=tag, alias=alias) if tag or alias else None
    with connected() as client, judged():
        try:
            new = NewSchedule(
                model=model, plan=load_plan(plan, client), cron=cron, timezone=timezone, jitter_seconds=jitter,
                on_release=on_release, webhook=webhook, write_back=back,
            )  # fmt: skip
        except ValidationError as error:
            tell(explain(error).detail)
            raise typer.Exit(WRONG) from error
        made = client.schedule(new)
    due = f", next at {made.next_at:%Y-%m-%d %H:%M %Z}" if made.next_at else ""
    out.print(f"schedule {made.id}: {made.model} under {made.plan.name}{due}", highlight=False, soft_wrap=True)


@app.command("list")
def list_schedules() -> None:
    """Show what is audited by itself."""
    table = Table("schedule", "model", "plan", "on release", "next at", "last release", "audit")
    with connected() as client:
        for one in client.schedules():
            last = one.outcomes[0] if one.outcomes else None
            came = "" if last is None else last.audit or (last.problem.title if last.problem else "")
            due = f"{one.next_at:%Y-%m-%d %H:%M %Z}" if one.next_at else ""
            released = last.release if last else ""
            table.add_row(one.id, one.model, one.plan.name, "yes" if one.on_release else "no", due, released, came)
    out.print(table)


@app.command("show")
def show_schedule(schedule_id: str) -> None:
    """Print a schedule, with what came of it for every release, as JSON."""
    with connected() as client:
        out.print_json(client.get_schedule(schedule_id).model_dump_json())


@app.command("remove")
def remove_schedule(schedule_id: str) -> None:
    """Remove a schedule; its audits stay."""
    with connected() as client:
        client.delete_schedule(schedule_id)
    out.print(f"schedule {schedule_id} is removed", highlight=False)


@app.command("announce")
def announce_release(model: Annotated[str, typer.Argument(help="name@release, or name for its newest.")]) -> None:
    """Say that there is a release: the audits start that its model's schedules ask for."""
    with connected() as client, judged():
        for one in client.announce(model).audits:
            said = one.outcome.audit or (one.outcome.problem.detail if one.outcome.problem else "")
            out.print(f"schedule {one.schedule}: {said}", highlight=False, soft_wrap=True)
