"""The command line: all groups of commands, and `archetype status`."""

import sys

import typer

from archetype.cli import audits, export, images, jobs, keys, methods, models, schedules, submit, webhooks
from archetype.cli.console import command, print_error, print_lines, set_json
from archetype.cli.service import contexts
from archetype.cli.service.connection import connected, set_service

USAGE = 2
"""Exit code of a usage error."""

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 plus the number of SIGINT."""

app = typer.Typer(no_args_is_help=True, pretty_exceptions_show_locals=False)
app.callback()(set_service)
app.add_typer(submit.app, name="submit")
app.add_typer(jobs.app, name="jobs")
app.add_typer(audits.app, name="audit")
app.add_typer(schedules.app, name="schedules")
app.add_typer(images.app, name="images")
app.add_typer(images.app, name="pictures", hidden=True)  # the name until version 0.3
app.add_typer(models.app, name="models")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(keys.app, name="keys")
app.add_typer(contexts.app, name="context")
command(app, "methods")(methods.show_methods)
command(app, "open")(jobs.open_job)
command(app, "export")(export.export_result)


@command(app, "status")
def show_status() -> None:
    """Show whether the service and the parts it depends on answer. Exits with 1 if one does not."""
    with connected() as client:
        parts = client.health()
        print_lines([f"{part}: {answer}" for part, answer in parts.items()], parts)
    if any(answer != "ok" for answer in parts.values()):
        raise typer.Exit(1)


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
