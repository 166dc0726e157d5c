"""`archetype keys`: who may use the service, for whoever runs it."""

from datetime import timedelta
from typing import Annotated

import typer
from rich.table import Table

from shared.access import Limits, NewKey, Scope
from shared.cli.connection import connected
from shared.cli.terminal import err, out
from shared.jobs import now

app = typer.Typer(no_args_is_help=True, help="Issue and revoke keys (whoever runs the service).")


@app.command("create")
def create_key(
    tenant: Annotated[str, typer.Argument(help="Whose jobs, pictures and models it opens.")],
    name: Annotated[str, typer.Option(help="What it is for.")] = "",
    scope: Annotated[list[Scope], typer.Option(help="What it is good for; may be repeated.")] = [
        Scope.SUBMIT,
        Scope.READ,
    ],
    days: Annotated[int | None, typer.Option(min=1, help="After so many it ends.")] = None,
    submits_per_minute: Annotated[int | None, typer.Option(min=1)] = None,
    running_jobs: Annotated[int | None, typer.Option(min=1)] = None,
    queued_targets: Annotated[int | None, typer.Option(min=1)] = None,
    stored_bytes: Annotated[int | None, typer.Option(min=1)] = None,
) -> None:
    """Issue a key, and print what opens with it: it is not shown again."""
    limits = Limits(
        submits_per_minute=submits_per_minute, running_jobs=running_jobs, queued_targets=queued_targets,
        stored_bytes=stored_bytes,
    )  # fmt: skip
    expires = now() + timedelta(days=days) if days is not None else None
    with connected() as client:
        issued = client.issue_key(NewKey(tenant=tenant, name=name, scopes=scope, expires_at=expires, limits=limits))
    err.print(f"key {issued.id} of {tenant}; keep what follows, it is not shown again:", highlight=False)
    out.print(issued.token, highlight=False, soft_wrap=True)


@app.command("list")
def list_keys() -> None:
    """Show every key there is, or was."""
    table = Table("key", "tenant", "name", "scopes", "created", "ends", "state")
    with connected() as client:
        for key in client.list_keys():
            state = "revoked" if key.revoked_at else "good" if key.good else "ended"
            ends = f"{key.expires_at:%Y-%m-%d}" if key.expires_at else ""
            scopes = ", ".join(key.scopes)
            table.add_row(key.id, key.tenant, key.name, scopes, f"{key.created_at:%Y-%m-%d}", ends, state)
    out.print(table)


@app.command("revoke")
def revoke_key(key_id: str) -> None:
    """End a key for good; what was submitted with it goes on."""
    with connected() as client:
        out.print(f"{client.revoke_key(key_id).id} revoked", highlight=False)
