"""Audit plans in files: TOML, or the report of an earlier audit."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from archetype.contract.audit_plan import MAX_PROBES, AuditPlan
from archetype.contract.problem import InvalidDocument
from archetype.contract.pydantic_errors import describe_errors
from archetype.contract.strict_json import load_json
from archetype.datasets.formats import open_dataset
from archetype.errors import ArchetypeError

if TYPE_CHECKING:
    from archetype.client import Client


class InvalidPlan(InvalidDocument):
    """The file holds no valid audit plan."""


def load_plan(path: Path, client: "Client") -> AuditPlan:
    """Return the audit plan of a file. If it names a dataset of probes, the probes are uploaded.

    Raises:
        InvalidPlan: The file cannot be read or is not a valid plan.
    """
    try:
        fields = _read(path)
        probes = fields.get("probes")
        if isinstance(probes, dict):
            fields["probes"] = list(_upload_probes(probes, path.parent, client))
        return AuditPlan.model_validate(fields)
    except (ArchetypeError, InvalidPlan):
        raise  # an upload that took too long is an `OSError` too
    except ValidationError as error:
        document = describe_errors(error, AuditPlan)
        raise InvalidPlan(f"{path}: {document.detail}", *document.errors) from error
    except (OSError, ValueError) as error:
        raise InvalidPlan(f"{path} cannot be read: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    if path.suffix == ".json":
        document = load_json(path.read_text("utf-8-sig"))
        return dict(document.get("plan", document))
    return tomllib.loads(path.read_text("utf-8-sig"))


def _upload_probes(source: dict[str, Any], place: Path, client: "Client") -> Iterator[dict[str, Any]]:
    """Upload all probes of a dataset; yield each with its class, its boxes and its attributes."""
    unknown = sorted(set(source) - {"folder", "format", "annotations"})
    if unknown:
        raise InvalidPlan(f"[probes] has folder, format and annotations, not {', '.join(unknown)}")
    annotations = source.get("annotations")
    with open_dataset(
        place / str(source.get("folder", "")),
        source.get("format", "folder"),
        None if annotations is None else place / str(annotations),
    ) as images:
        if len(images) > MAX_PROBES:
            raise InvalidPlan(f"[probes] has {len(images)} images, and a plan has at most {MAX_PROBES}; choose some")
        for image in images:
            uploaded = client.upload(image.path.read_bytes(), image.path.name)
            yield {
                "id": uploaded.id,
                "target": image.label,
                "name": image.name[-200:],
                "boxes": image.scale_boxes(uploaded.width, uploaded.height),
                "attributes": dict(image.attributes),
            }
