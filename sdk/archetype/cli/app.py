"""The command line `archetype`: all commands. Each is imported when it is used, so that the others start sooner."""

import sys
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from archetype.cli.console import command, print_error, set_json
from archetype.cli.service.connection import set_service

USAGE = 2
"""Exit code of a usage error."""

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 plus the number of SIGINT."""


class Entry(NamedTuple):
    """What the help of `archetype` says about a command or a group, and where it is."""

    help: str
    module: str
    attribute: str = "app"
    hidden: bool = False


COMMANDS = {
    "methods": Entry("Show all methods with their parameters.", "archetype.cli.methods", "show_methods"),
    "open": Entry(
        "Open the page of a job or an audit in the browser, and print its URL.", "archetype.cli.jobs", "open_job"
    ),
    "export": Entry(
        "Write the boxes of a localization job in the format of another tool, or an audit as a model card.",
        "archetype.cli.export",
        "export_result",
    ),
    "status": Entry(
        "Show whether the service and the parts it depends on answer. Exits with 1 if one does not.",
        "archetype.cli.service.status",
        "show_status",
    ),
    "submit": Entry("Submit a job.", "archetype.cli.submit"),
    "jobs": Entry("List, follow, cancel and retry jobs.", "archetype.cli.jobs"),
    "audit": Entry("Audit releases.", "archetype.cli.audits"),
    "schedules": Entry("Schedule automatic audits.", "archetype.cli.schedules"),
    "images": Entry("Upload images and download them.", "archetype.cli.images"),
    "pictures": Entry("Upload images and download them.", "archetype.cli.images", hidden=True),  # until version 0.3
    "models": Entry("List models and register releases.", "archetype.cli.models"),
    "webhooks": Entry("Show and repeat deliveries to webhooks.", "archetype.cli.webhooks"),
    "keys": Entry("Issue and revoke API keys (operators).", "archetype.cli.keys"),
    "context": Entry("Name services and choose one of them.", "archetype.cli.service.contexts"),
}


class CommandTable(TyperGroup):
    """The group of all `COMMANDS`: it lists them without importing them."""

    def __init__(self, **attributes: Any) -> None:
        listed = {name: TyperCommand(name, help=entry.help, hidden=entry.hidden) for name, entry in COMMANDS.items()}
        super().__init__(**attributes | {"commands": listed})

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that the arguments name, and import it. Overrides the method of click."""
        name, listed, rest = super().resolve_command(ctx, args)
        return name, listed and load_command(listed.name or "", self.rich_markup_mode), rest


@cache
def load_command(name: str, rich_markup_mode: Any = None) -> Any:
    """Import a command or a group of `COMMANDS`.

    Returns:
        A command of click, which typer does not export.
    """
    entry = COMMANDS[name]
    target = getattr(import_module(entry.module), entry.attribute)
    if isinstance(target, typer.Typer):
        target.rich_markup_mode = rich_markup_mode
        return get_group(target)
    alone = typer.Typer(add_completion=False, rich_markup_mode=rich_markup_mode)
    command(alone, name)(target)
    return get_command(alone)


app = typer.Typer(cls=CommandTable, no_args_is_help=True, pretty_exceptions_show_locals=False)
app.callback()(set_service)


def main() -> None:
    """Run the command line: colors and boxes in a terminal, plain text elsewhere, JSON if it is asked for."""
    app.rich_markup_mode = "rich" if sys.stdout.isatty() and sys.stderr.isatty() else None
    try:
        if "--json" in sys.argv:
            sys.exit(run_with_json())
        app()
    except KeyboardInterrupt:  # outside a command: typer ends the commands themselves with the same code
        sys.exit(INTERRUPTED)


def run_with_json() -> int:
    """Run the command line with problem documents for usage errors too; return the exit code."""
    set_json(True)  # for --version
    try:
        return int(app(standalone_mode=False) or 0)
    except typer.Abort:
        return 1
    except Exception as error:
        describe = getattr(error, "format_message", None)
        if describe is None:  # not one of typer's usage errors, which have no public base class
            raise
        set_json(True)
        print_error(describe())
        return USAGE
