"""`archetype keys`: API keys, for operators."""

from datetime import timedelta
from typing import Annotated

import typer

from archetype.cli.console import command, print_line, print_note, print_table
from archetype.cli.service.connection import connected
from archetype.contract.api_key import Limits, NewKey, Scope
from archetype.contract.job import now

app = typer.Typer(no_args_is_help=True, help="Issue and revoke API keys (operators).")


@command(app, "create")
def create_key(
    tenant: Annotated[str, typer.Argument(help="Tenant whose jobs, images and models the key gives access to.")],
    name: Annotated[str, typer.Option(help="What the key is for.")] = "",
    scope: Annotated[list[Scope], typer.Option(help="What the key permits; may be repeated.")] = [
        Scope.SUBMIT,
        Scope.READ,
    ],
    days: Annotated[int | None, typer.Option(min=1, help="Days until the key expires; without it, never.")] = None,
    submits_per_minute: Annotated[int | None, typer.Option(min=1, help="Maximum submissions per minute.")] = None,
    running_jobs: Annotated[
        int | None, typer.Option(min=1, help="Maximum running jobs of the tenant; more are refused.")
    ] = None,
    queued_targets: Annotated[
        int | None, typer.Option(min=1, help="Maximum queued targets of the tenant: classes, or images times classes.")
    ] = None,
    stored_bytes: Annotated[
        int | None, typer.Option(min=1, help="Maximum bytes of images and results of the tenant.")
    ] = None,
) -> None:
    """Issue a key and print its token, which is not shown again."""
    with connected() as client:
        new = NewKey(
            tenant=tenant,
            name=name,
            scopes=scope,
            expires_at=None if days is None else now() + timedelta(days=days),
            limits=Limits(
                submits_per_minute=submits_per_minute,
                running_jobs=running_jobs,
                queued_targets=queued_targets,
                stored_bytes=stored_bytes,
            ),
        )
        issued = client.issue_key(new)
    print_note(f"key {issued.id} of {tenant}; save the token, it is not shown again:")
    print_line(issued.token, issued)


@command(app, "list")
def list_keys() -> None:
    """List all keys, including those that are revoked or expired."""
    with connected() as client:
        keys = client.list_keys()
    rows = [
        (
            key.id,
            key.tenant,
            key.name,
            ", ".join(key.scopes),
            f"{key.created_at:%Y-%m-%d}",
            f"{key.expires_at:%Y-%m-%d}" if key.expires_at else "",
            "revoked" if key.revoked_at else "active" if key.is_valid else "expired",
        )
        for key in keys
    ]
    print_table(("key", "tenant", "name", "scopes", "created", "expires", "state"), rows, keys)


@command(app, "revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(help="Id of the key.")]) -> None:
    """Revoke a key. Jobs that were submitted with it continue."""
    with connected() as client:
        key = client.revoke_key(key_id)
        print_line(f"{key.id} revoked", key)
