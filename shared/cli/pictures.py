"""`archetype pictures`: what jobs look at, uploaded once."""

from pathlib import Path
from typing import Annotated

import typer

from shared.cli.connection import connected
from shared.cli.terminal import out

app = typer.Typer(no_args_is_help=True, help="Upload pictures, and get them back.")


@app.command("upload")
def upload_pictures(files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False)]) -> None:
    """Upload pictures or ZIP archives of them; print the id of each."""
    with connected() as client:
        for path in files:
            archive = path.suffix.lower() == ".zip"
            found = client.upload_archive(path) if archive else client.upload(path.read_bytes(), path.name)
            out.print(f"{found.id}  {path}", highlight=False, soft_wrap=True)


@app.command("get")
def get_picture(image_id: str, path: Annotated[Path, typer.Argument(help="Where to save it.", dir_okay=False)]) -> None:
    """Save a picture as it was uploaded."""
    with connected() as client:
        path.write_bytes(client.picture(image_id))
