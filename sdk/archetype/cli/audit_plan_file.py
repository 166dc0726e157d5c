"""Audit plans in files: TOML, or the report of an earlier audit."""

import csv
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from archetype.contract.audit_plan import AuditPlan
from archetype.contract.problem import InvalidDocument
from archetype.contract.pydantic_errors import describe_errors
from archetype.contract.strict_json import load_json
from archetype.contract.upload import has_image_name
from archetype.errors import ArchetypeError

if TYPE_CHECKING:
    from archetype.client import Client

BOXES = "boxes.json"
"""File in the folder of probes with the true boxes: `{"CLASS/FILE": [[left, top, right, bottom]]}`, in pixels."""


ATTRIBUTES = "attributes.csv"
"""File in the folder of probes with a column `file` (`CLASS/FILE`) and one column for each attribute."""


class InvalidPlan(InvalidDocument):
    """The file holds no valid audit plan."""


def load_plan(path: Path, client: "Client") -> AuditPlan:
    """Return the audit plan of a file. If it names a folder of probes, the probes are uploaded.

    Raises:
        InvalidPlan: The file cannot be read or is not a valid plan.
    """
    try:
        fields = _read(path)
        probes = fields.get("probes")
        if isinstance(probes, dict):
            folder = path.parent / str(probes.get("folder", ""))
            fields["probes"] = list(_upload_probes(folder, client))
        return AuditPlan.model_validate(fields)
    except (ArchetypeError, InvalidPlan):
        raise  # an upload that took too long is an `OSError` too
    except ValidationError as error:
        document = describe_errors(error)
        raise InvalidPlan(f"{path}: {document.detail}", *document.errors) from error
    except (OSError, ValueError) as error:
        raise InvalidPlan(f"{path} cannot be read: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    if path.suffix == ".json":
        document = load_json(path.read_text("utf-8-sig"))
        return dict(document.get("plan", document))
    return tomllib.loads(path.read_text("utf-8-sig"))


def find_probes(folder: Path) -> list[Path]:
    """Return the images of a folder, which lie in one subfolder per class."""
    return sorted(path for path in folder.glob("*/*") if has_image_name(path.relative_to(folder).as_posix()))


def _upload_probes(folder: Path, client: "Client") -> Iterator[dict[str, Any]]:
    """Upload all probes of a folder; yield each with its class, its boxes and its attributes."""
    boxes = load_json((folder / BOXES).read_text("utf-8-sig")) if (folder / BOXES).is_file() else {}
    attributes = read_attributes(folder / ATTRIBUTES)
    paths = find_probes(folder)
    if not paths:
        raise InvalidPlan(f"{folder} has no images; put them into subfolders that are named by their classes")
    for path in paths:
        name = path.relative_to(folder).as_posix()
        known = [dict(zip(("left", "top", "right", "bottom"), box, strict=True)) for box in boxes.get(name, [])]
        yield {
            "id": client.upload(path.read_bytes(), path.name).id,
            "target": path.parent.name,
            "name": name[-200:],
            "boxes": known,
            "attributes": attributes.get(name, {}),
        }


def read_attributes(path: Path) -> dict[str, dict[str, str]]:
    """Return the attributes of each probe, by `CLASS/FILE`; nothing if there is no file.

    An empty cell means that the probe does not have the attribute.

    Raises:
        InvalidPlan: The file has no column `file`, or a row has more cells than there are columns.
    """
    if not path.is_file():
        return {}
    rows = list(csv.DictReader(path.read_text("utf-8-sig").splitlines()))
    if any("file" not in row or None in row for row in rows):
        raise InvalidPlan(f"{path} needs a header with the column 'file', and as many cells in each row as columns")
    return {row["file"]: {name: value for name, value in row.items() if name != "file" and value} for row in rows}
