"""`archetype images`: upload images and download them."""

from pathlib import Path
from typing import Annotated

import typer

from archetype.cli.console import command, print_lines, print_step
from archetype.cli.service.connection import connected

app = typer.Typer(no_args_is_help=True, help="Upload images and download them.")


@command(app, "upload")
def upload_images(
    files: Annotated[list[Path], typer.Argument(help="Images or ZIP archives of images.", exists=True, dir_okay=False)],
) -> None:
    """Upload images or ZIP archives of images; print the id of each."""
    uploads = []
    with connected() as client:
        for path in files:
            is_archive = path.suffix.lower() == ".zip"
            upload = client.upload_archive(path) if is_archive else client.upload(path.read_bytes(), path.name)
            uploads.append({"file": path, **upload.model_dump(mode="json")})
            print_step(f"{upload.id}  {path}")
        print_lines([], uploads)


@command(app, "get")
def get_image(
    image_id: Annotated[str, typer.Argument(help="Id of the image.")],
    path: Annotated[Path, typer.Argument(help="File to write.", dir_okay=False)],
) -> None:
    """Download an image as it was uploaded."""
    with connected() as client:
        path.write_bytes(client.image(image_id))
