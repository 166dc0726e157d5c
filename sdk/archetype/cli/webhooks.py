"""`archetype webhooks`: deliveries to webhooks, and the secret that they are signed with."""

from typing import Annotated

import typer

from archetype.cli.console import command, print_json, print_line, print_table
from archetype.cli.service.connection import connected

DeliveryId = Annotated[str, typer.Argument(help="Id of the delivery.")]

app = typer.Typer(no_args_is_help=True, help="Show and repeat deliveries to webhooks.")


@command(app, "secret")
def show_secret(
    renew: Annotated[
        bool, typer.Option("--renew", help="Make a new secret; the former one stays valid for a day.")
    ] = False,
) -> None:
    """Print the secret with which receivers check signatures."""
    with connected() as client:
        secret = client.webhook_secret(renew=renew)
        print_line(secret, {"secret": secret})


@command(app, "list")
def list_deliveries(limit: Annotated[int, typer.Option(help="Maximum number of deliveries to show.")] = 20) -> None:
    """List the newest deliveries with the last answer of the receiver."""
    with connected() as client:
        deliveries = client.deliveries(limit=limit)
    rows = []
    for delivery in deliveries:
        last = delivery.tries[-1] if delivery.tries else None
        answer = "" if last is None else str(last.status or last.error)
        rows.append((delivery.id, delivery.event, delivery.url, delivery.state, len(delivery.tries), answer))
    print_table(("delivery", "event", "url", "state", "attempts", "last answer"), rows, deliveries)


@command(app, "show")
def show_delivery(delivery_id: DeliveryId) -> None:
    """Print a delivery with all its attempts as JSON."""
    with connected() as client:
        print_json(client.delivery(delivery_id))


@command(app, "replay")
def replay_delivery(delivery_id: DeliveryId) -> None:
    """Send a message again."""
    with connected() as client:
        delivery = client.replay(delivery_id)
        print_line(f"{delivery.id} is sent again", delivery)
