"""`archetype status`: whether the service answers."""

import typer

from shared.cli.connection import connected
from shared.cli.terminal import out


def show_status() -> None:
    """Show whether the service and what it depends on answer; 1 if something does not."""
    with connected() as client:
        parts = client.health()
    for part, answer in parts.items():
        out.print(f"{part}: {answer}", highlight=False)
    if any(answer != "ok" for answer in parts.values()):
        raise typer.Exit(1)
