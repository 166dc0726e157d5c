"""`archetype audit`: compare releases of a model, for people and for pipelines."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from archetype.cli import console
from archetype.cli.audit_plan_file import InvalidPlan, load_plan
from archetype.cli.console import command, print_error, print_json, print_line, print_lines, print_note, print_table
from archetype.cli.review.decisions import decide
from archetype.cli.review.signatures import save_key, save_signature, save_signature_of, verify
from archetype.cli.service.connection import connected
from archetype.contract.audit import AuditView, NewAudit, Verdict
from archetype.contract.job import State
from archetype.contract.pydantic_errors import describe_errors
from archetype.contract.report.units import write_estimate, write_value
from archetype.errors import ArchetypeError

if TYPE_CHECKING:
    from archetype.client import Client

FAILED, WRONG, BROKEN, NOT_COMPARABLE = 1, 2, 3, 4
"""Exit codes other than 0: a gate failed, the call or the plan is wrong, the service failed, not comparable."""

EXIT_CODES: dict[Verdict, int] = {
    "pass": 0,
    "warn": 0,
    "fail": FAILED,
    "error": BROKEN,
    "not_comparable": NOT_COMPARABLE,
}

FIGURES = ("accuracy", "confidence", "focus", "recognised")
"""What the table of a trend shows of each release."""

AuditId = Annotated[str, typer.Argument(help="Id of the audit.")]

app = typer.Typer(no_args_is_help=True, help="Audit releases.")
command(app, "decide")(decide)
command(app, "signature")(save_signature)
command(app, "key")(save_key)
command(app, "verify")(verify)


@contextmanager
def audit_exit_codes() -> Iterator[None]:
    """Report errors and exit with `WRONG` or `BROKEN`."""
    try:
        yield
    except InvalidPlan as error:
        print_error(error)
        raise typer.Exit(WRONG) from error
    except ValidationError as error:
        print_error(describe_errors(error, NewAudit))
        raise typer.Exit(WRONG) from error
    except ArchetypeError as error:
        print_error(error)
        raise typer.Exit(WRONG if _is_refused(error) else BROKEN) from error


def _is_refused(error: ArchetypeError) -> bool:
    return error.problem is not None and 400 <= error.problem.status < 500 and error.problem.status != 429


@command(app, "run")
def run_audit(
    model: Annotated[str, typer.Argument(help="Release to audit: NAME@RELEASE, or NAME for its newest release.")],
    plan: Annotated[Path, typer.Option(help="Audit plan in TOML, or the report.json of an audit.", dir_okay=False)],
    baseline: Annotated[
        list[str],
        typer.Option(metavar="RELEASE", help="Release to compare with, instead of those of the plan; may be repeated."),
    ] = [],
    again: Annotated[bool, typer.Option("--again", help="Repeat an audit that was made before.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the verdict.")] = 3600,
    save_to: Annotated[Path | None, typer.Option("--out", help="Folder for the report; by default audit-ID.")] = None,
) -> None:
    """Audit a release and save the report.

    Exit codes: 0 passed, 1 a gate failed, 2 the call or the plan is wrong, 3 the service failed, 4 not comparable.
    """
    with connected() as client, audit_exit_codes():
        new = NewAudit(model=model, plan=load_plan(plan, client), baselines=baseline or None, again=again)
        audit = watch_with_bar(client, client.audit(new), timeout)
        if audit.verdict is None:
            print_error(audit.error or f"audit {audit.id} was {audit.state}")
            print_note(f"audit {audit.id} {audit.state}")
            raise typer.Exit(BROKEN)
        folder = save_to or Path(f"audit-{audit.id}")
        paths = client.save_artifacts(audit.artifacts, folder)
        signature = save_signature_of(audit, client, folder)
        paths += [signature] if signature is not None else []
        print_audit(audit, folder, paths)
    raise typer.Exit(EXIT_CODES[audit.verdict])


def watch_with_bar(client: "Client", audit: AuditView, timeout: float) -> AuditView:
    """Show on standard error how many jobs of an audit have ended; return the audit in its terminal state."""
    views = client.watch_audit(audit.id, timeout=timeout)
    return console.watch_with_bar(views, f"audit of {audit.model}", unit="job")


def print_audit(audit: AuditView, folder: Path, paths: list[Path]) -> None:
    """Print the verdict, all findings and where the report is."""
    if console.json_is_wanted():
        print_json(audit.model_dump(mode="json") | {"files": paths})
        return
    baselines = ", ".join(audit.baselines) or "no baseline"
    print_line(f"{audit.verdict}: {audit.model} compared with {baselines}", None)
    rows = []
    for finding in audit.findings:
        change = finding.change
        interval = "" if change is None else write_estimate(change, finding.gate)
        tolerance = "" if finding.tolerance is None else write_value(finding.tolerance, finding.gate)
        rows.append((finding.severity, finding.gate, finding.target or "all", interval, tolerance, finding.reason))
    if rows:
        print_table(("severity", "gate", "class", "change", "tolerance", "reason"), rows)
    if audit.error is not None:
        print_error(audit.error)
    print_lines([f"report: {folder / 'report.html'}"], None)


@command(app, "list")
def list_audits(
    model: Annotated[str | None, typer.Option(help="Only audits of this model: NAME or NAME@RELEASE.")] = None,
    limit: Annotated[int, typer.Option(help="Maximum number of audits to show.")] = 20,
) -> None:
    """List audits, newest first."""
    with connected() as client:
        audits = []
        for job in islice(client.audits(model=model), limit):
            verdict = client.get_audit(job.id).verdict if job.state is State.SUCCEEDED else None
            audits.append((job, verdict))
    rows = [
        (job.id, job.model, job.state, verdict or "", f"{job.created_at:%Y-%m-%d %H:%M:%S}") for job, verdict in audits
    ]
    values = [job.model_dump(mode="json") | {"verdict": verdict} for job, verdict in audits]
    print_table(("audit", "model", "state", "verdict", "created"), rows, values)


@command(app, "trend")
def show_trend(model: Annotated[str, typer.Argument(help="Name of the model.")]) -> None:
    """Show the audit results of all releases of a model, oldest release first."""
    with connected() as client:
        trend = client.trend(model)
    rows = []
    for point in trend.points:
        figures = [f"{point.figures[name]:.2f}" if name in point.figures else "" for name in FIGURES]
        rows.append((point.release, point.verdict, ", ".join(point.baselines), *figures, point.audit))
    print_table(("release", "verdict", "baselines", *FIGURES, "audit"), rows, trend)


@command(app, "show")
def show_audit(audit_id: AuditId) -> None:
    """Print an audit as JSON."""
    with connected() as client:
        print_json(client.get_audit(audit_id))


@command(app, "cancel")
def cancel_audit(audit_id: AuditId) -> None:
    """Cancel an audit with all of its jobs."""
    with connected() as client:
        audit = client.cancel_audit(audit_id)
        print_line(f"{audit_id} {audit.state}", audit)
