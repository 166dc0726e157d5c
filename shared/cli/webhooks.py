"""`archetype webhooks`: what was told to whom, and what it was signed with."""

from typing import Annotated

import typer
from rich.table import Table

from shared.cli.connection import connected
from shared.cli.terminal import out

app = typer.Typer(no_args_is_help=True, help="See what webhooks were told.")


@app.command("secret")
def show_secret(
    renew: Annotated[bool, typer.Option("--renew", help="Make a new one; the one before is good for a day.")] = False,
) -> None:
    """Print what messages are signed with, for their receiver."""
    with connected() as client:
        out.print(client.webhook_secret(renew=renew), highlight=False, soft_wrap=True)


@app.command("list")
def list_deliveries(limit: Annotated[int, typer.Option(help="How many to show.")] = 20) -> None:
    """Show the newest messages, and what their receivers answered."""
    table = Table("delivery", "event", "to", "state", "tries", "last answer")
    with connected() as client:
        for one in client.deliveries(limit=limit):
            last = one.tries[-1] if one.tries else None
            answer = "" if last is None else str(last.status or last.error)
            table.add_row(one.id, one.event, one.url, one.state, str(len(one.tries)), answer)
    out.print(table)


@app.command("show")
def show_delivery(delivery_id: str) -> None:
    """Print a message with every try as JSON."""
    with connected() as client:
        out.print_json(client.delivery(delivery_id).model_dump_json())


@app.command("replay")
def replay_delivery(delivery_id: str) -> None:
    """Send a message again."""
    with connected() as client:
        out.print(f"{client.replay(delivery_id).id} is sent again", highlight=False)
