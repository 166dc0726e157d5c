"""`archetype export`: results in the formats of other tools."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archetype.cli.console import print_error, print_lines
from archetype.cli.service.connection import connected
from archetype.contract.report.document import Report
from archetype.export.boxes import NotExportable, find_names, read_boxes
from archetype.export.formats import FORMATS
from archetype.export.model_card import write_model_card
from archetype.files import find_path, write_file

if TYPE_CHECKING:
    from archetype.client import Client

USAGE = 2


class Format(StrEnum):
    """What a result is written as."""

    COCO = "coco"
    VOC = "voc"
    YOLO = "yolo"
    FIFTYONE = "fiftyone"
    LABEL_STUDIO = "labelstudio"
    MODEL_CARD = "model-card"


def export_result(
    job_id: Annotated[str, typer.Argument(help="Id of a localization job, or of an audit for a model card.")],
    to: Annotated[Format, typer.Option("--to", help="Format.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the files.")] = Path(),
    images: Annotated[
        Path | None, typer.Option(help="Folder of the image files, whose names are used.", exists=True, file_okay=False)
    ] = None,
) -> None:
    """Write the boxes of a localization job in the format of another tool, or an audit as a model card."""
    with connected() as client:
        try:
            files = _write_card(client, job_id) if to is Format.MODEL_CARD else _write_boxes(client, job_id, to, images)
        except NotExportable as error:
            print_error(str(error))
            raise typer.Exit(USAGE) from error
    paths = [_save(out, name, text) for name, text in files.items()]
    print_lines(list(map(str, paths)), [str(path) for path in paths])


def _write_boxes(client: "Client", job_id: str, to: Format, images: Path | None) -> dict[str, str]:
    return FORMATS[to](read_boxes(client.job(job_id), find_names(images) if images else None))


def _write_card(client: "Client", audit_id: str) -> dict[str, str]:
    artifacts = client.get_audit(audit_id).artifacts
    document = next((artifact for artifact in artifacts if artifact.name == "report.json"), None)
    if document is None:
        raise NotExportable(f"audit {audit_id} has no report yet")
    return {"model-card.md": write_model_card(Report.model_validate_json(client.fetch(document)))}


def _save(folder: Path, name: str, text: str) -> Path:
    """Write a file into the folder, or into a folder in it."""
    *parents, last = name.split("/")
    target = folder.joinpath(*parents)
    target.mkdir(parents=True, exist_ok=True)
    path = find_path(target, last)
    write_file(path, text.encode())
    return path
