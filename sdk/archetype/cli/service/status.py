"""`archetype status`: whether the service answers."""

import typer

from archetype.cli.console import print_lines
from archetype.cli.service.connection import connected


def show_status() -> None:
    """Show whether the service and the parts it depends on answer. Exits with 1 if one does not."""
    with connected() as client:
        parts = client.health()
        print_lines([f"{part}: {answer}" for part, answer in parts.items()], parts)
    if any(answer != "ok" for answer in parts.values()):
        raise typer.Exit(1)
