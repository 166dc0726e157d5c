"""All commands of `archetype`."""

import typer

from shared.cli import jobs, menu, models, submit

app = typer.Typer(no_args_is_help=True, help="Ask a running Archetype service for pictures.")
app.add_typer(submit.app, name="submit")
app.add_typer(models.app, name="models")
app.add_typer(jobs.app, name="jobs")
app.command("methods")(menu.show_methods)
