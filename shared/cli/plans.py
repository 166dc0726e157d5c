"""The plan of an audit from a file: TOML, or the report of an earlier audit."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from shared.client import Client
from shared.explanation import explain
from shared.parameters.audit import Plan

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".npy"}
BOXES = "boxes.json"


class WrongPlan(ValueError):
    """The file is no plan; the message says why."""


def load_plan(path: Path, client: Client) -> Plan:
    """The plan that a file describes; its probes are uploaded where it names a folder of them.

    Raises:
        WrongPlan: It cannot be read, or is not as it should be.
    """
    try:
        said = _read(path)
        probes = said.get("probes")
        if isinstance(probes, dict):
            folder = path.parent / str(probes.get("folder", ""))
            said["probes"] = list(_upload(folder, client))
        return Plan.model_validate(said)
    except ValidationError as error:
        raise WrongPlan(f"{path}: {explain(error).detail}") from error
    except (OSError, ValueError) as error:
        raise WrongPlan(f"{path} cannot be read: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    if path.suffix == ".json":
        document = json.loads(path.read_text())
        return dict(document.get("plan", document))
    return tomllib.loads(path.read_text())


def _upload(folder: Path, client: Client) -> Iterator[dict[str, Any]]:
    """Every picture of a folder, in subfolders named by class, with the boxes that `boxes.json` gives for it."""
    boxes = json.loads((folder / BOXES).read_text()) if (folder / BOXES).is_file() else {}
    files = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in PICTURES)
    if not files:
        raise WrongPlan(f"{folder} has no pictures; put them into subfolders that are named by their classes")
    for path in files:
        name = path.relative_to(folder).as_posix()
        known = [dict(zip(("left", "top", "right", "bottom"), box, strict=True)) for box in boxes.get(name, [])]
        yield {"id": client.upload(path.read_bytes(), path.name).id, "target": path.parent.name, "boxes": known}
