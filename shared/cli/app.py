"""All commands of `archetype`."""

import typer

from shared.cli import audit, jobs, keys, menu, models, pictures, schedules, status, submit, webhooks
from shared.cli.connection import remember

app = typer.Typer(no_args_is_help=True)
app.callback()(remember)
for commands in (submit, jobs, audit, schedules, pictures, models, webhooks, keys):
    app.add_typer(commands.app, name=commands.__name__.rpartition(".")[2])
app.command("methods")(menu.show_methods)
app.command("status")(status.show_status)
