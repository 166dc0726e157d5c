"""`archetype audit`: what a release has learned that another one had not, for people and for pipelines."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from shared.audits import AuditView, NewAudit
from shared.cli.connection import connected
from shared.cli.plans import WrongPlan, load_plan
from shared.cli.terminal import err, out, tell
from shared.client import Client, ServiceError
from shared.jobs import State

FAILED, WRONG, BROKEN, NOT_COMPARABLE = 1, 2, 3, 4
"""Exit codes beside 0: a bad model is another thing than a wrong call, and that than a broken tool."""

EXITS = {"pass": 0, "warn": 0, "fail": FAILED, "error": BROKEN, "not_comparable": NOT_COMPARABLE}
REFUSED = range(400, 500)

app = typer.Typer(no_args_is_help=True, help="Audit releases.")


@contextmanager
def judged() -> Iterator[None]:
    """What goes wrong as an exit code."""
    try:
        yield
    except WrongPlan as error:
        tell(str(error))
        raise typer.Exit(WRONG) from error
    except ServiceError as error:
        tell(error.problem or str(error))
        refused = error.problem is not None and error.problem.status in REFUSED and error.problem.status != 429
        raise typer.Exit(WRONG if refused else BROKEN) from error
    except TimeoutError as error:
        tell(str(error))
        raise typer.Exit(BROKEN) from error


@app.command("run")
def run_audit(
    model: Annotated[str, typer.Argument(help="The release: name@release, or name for its newest.")],
    plan: Annotated[Path, typer.Option(help="A plan in TOML, or the report.json of an earlier audit.", dir_okay=False)],
    baseline: Annotated[list[str], typer.Option(help="What to hold it against, instead of what the plan says.")] = [],
    again: Annotated[bool, typer.Option("--again", help="Also where this was audited before.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the verdict.")] = 3600,
    save_to: Annotated[Path | None, typer.Option("--out", help="Folder for the report; default audit-ID.")] = None,
) -> None:
    """Audit a release, save its report. Exits 0: pass, 1: gate failed, 2: wrong call, 3: broken, 4: not comparable."""
    with connected() as client, judged():
        new = NewAudit(model=model, plan=load_plan(plan, client), baselines=baseline or None, again=again)
        audit = watch_with_bar(client, client.audit(new), timeout)
        if audit.error is not None:
            tell(audit.error)
        if audit.verdict is None:
            err.print(f"audit {audit.id} {audit.state}")
            raise typer.Exit(BROKEN)
        folder = save_to or Path(f"audit-{audit.id}")
        client.save_artifacts(audit.artifacts, folder)
        show(audit)
        out.print(f"report: {folder / 'report.html'}", highlight=False, soft_wrap=True)
    raise typer.Exit(EXITS[audit.verdict])


def watch_with_bar(client: Client, audit: AuditView, timeout: float) -> AuditView:
    """Shows how many of its jobs have ended, on standard error; the audit once it has ended."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("jobs"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err) as bar:
        line = bar.add_task(f"audit of {audit.model}", total=None)
        for audit in client.watch_audit(audit.id, timeout=timeout):  # noqa: B020
            bar.update(line, completed=audit.progress.done, total=audit.progress.total)
    return audit


def show(audit: AuditView) -> None:
    """The verdict and every finding."""
    out.print(f"{audit.verdict}: {audit.model} beside {', '.join(audit.baselines) or 'nothing'}", highlight=False)
    if audit.findings:
        table = Table("", "gate", "class", "change", "tolerated", "why")
        for one in audit.findings:
            change = f"{one.change.value:.2f} ({one.change.low:.2f} to {one.change.high:.2f})" if one.change else ""
            tolerated = "" if one.tolerance is None else f"{one.tolerance:g}"
            table.add_row(one.severity, one.gate, one.target or "all", change, tolerated, one.reason)
        out.print(table)


@app.command("list")
def list_audits(
    model: Annotated[str | None, typer.Option(help="Only of this model: name, or name@release.")] = None,
    limit: Annotated[int, typer.Option(help="How many to show.")] = 20,
) -> None:
    """Show audits, newest first."""
    table = Table("audit", "model", "state", "verdict", "created")
    with connected() as client:
        for _, job in zip(range(limit), client.audits(model=model), strict=False):
            verdict = client.get_audit(job.id).verdict if job.state is State.SUCCEEDED else None
            table.add_row(job.id, job.model, job.state, verdict or "", f"{job.created_at:%Y-%m-%d %H:%M:%S}")
    out.print(table)


@app.command("trend")
def show_trend(model: Annotated[str, typer.Argument(help="The model's name.")]) -> None:
    """Show how a model's releases have done, the oldest first."""
    names = ("accuracy", "confidence", "focus", "recognised")
    table = Table("release", "verdict", "beside", *names, "audit")
    with connected() as client:
        for point in client.trend(model).points:
            figures = [f"{point.figures[name]:.2f}" if name in point.figures else "" for name in names]
            table.add_row(point.release, point.verdict, ", ".join(point.baselines), *figures, point.audit)
    out.print(table)


@app.command("show")
def show_audit(audit_id: str) -> None:
    """Print an audit as JSON."""
    with connected() as client:
        out.print_json(json.dumps(client.get_audit(audit_id).model_dump(mode="json")))


@app.command("cancel")
def cancel_audit(audit_id: str) -> None:
    """Cancel an audit with all of its jobs."""
    with connected() as client:
        out.print(f"{audit_id} {client.cancel_audit(audit_id).state}")
