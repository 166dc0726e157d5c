"""`archetype audit decide`: approve or reject an audited release, or waive its findings."""

from datetime import datetime
from typing import Annotated

import typer

from archetype.cli.console import print_line
from archetype.cli.service.connection import connected
from archetype.contract.report.decision import NewDecision


def decide(
    audit_id: Annotated[str, typer.Argument(help="Id of the audit.")],
    decision: Annotated[str, typer.Argument(help="approve, reject or waive.")],
    name: Annotated[str, typer.Option(help="Name of the person who decides.")],
    reason: Annotated[str, typer.Option(help="Reason of the decision.")],
    expires: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day on which the decision is valid (UTC).")
    ] = None,
    report_sha256: Annotated[
        str | None, typer.Option(help="SHA-256 digest of the report.json that was read; another one is refused.")
    ] = None,
) -> None:
    """Approve or reject an audited release, or waive its findings."""
    fields = {"decision": decision, "name": name, "reason": reason, "report_sha256": report_sha256}
    new = NewDecision.model_validate(fields | {"expires": expires.date() if expires else None})
    with connected() as client:
        stored = client.decide(audit_id, new)
        print_line(f"{stored.decision} by {stored.name}, report {stored.report_sha256}", stored)
