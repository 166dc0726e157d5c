"""What a job made, arranged for a gallery: the files that belong to one picture and one target together."""

from dataclasses import dataclass, field
from typing import Any

from shared.jobs import Artifact, Job, TargetClass

OVERVIEWS = ("contact-sheet.png", "filters.png")
ENDINGS = {
    "heat_map": "-heat-map.png", "overlay": "-overlay.png", "curve": "-curve.png", "box": "-box.png",
    "mask": "-mask.png", "difference": "-difference.png", "marked": "-marked.png",
    "side_by_side": "-side-by-side.png", "animation": ".webp", "picture": ".png",
}  # fmt: skip
"""What files are, by how their names end; the first that fits."""


@dataclass
class Exhibit:
    """Everything that was made of one picture and one target.

    Attributes:
        parts: Files that can be looked at, by what they are.
        files: All of its files.
        verdict: What was measured of it, where that is a class model: probability, score.
    """

    title: str
    target: TargetClass | None
    image: str | None
    parts: dict[str, Artifact] = field(default_factory=dict)
    others: list[Artifact] = field(default_factory=list)
    files: list[Artifact] = field(default_factory=list)
    verdict: dict[str, Any] = field(default_factory=dict)


def find_overview(job: Job) -> Artifact | None:
    """The picture that shows all of a job at once."""
    return next((one for name in OVERVIEWS for one in job.artifacts if one.name == name), None)


def arrange_exhibits(job: Job) -> list[Exhibit]:
    """A job's files by what they belong to, in the order in which they were made."""
    found: dict[tuple[str, int | None], Exhibit] = {}
    verdicts = _read_verdicts(job)
    for artifact in job.artifacts:
        if artifact.target is None and artifact.image is None:
            continue
        place = (artifact.image or "", artifact.target.index if artifact.target else None)
        if place not in found:
            verdict = verdicts.get(place[1], {}) if artifact.image is None else {}
            found[place] = Exhibit(_title(artifact), artifact.target, artifact.image, verdict=verdict)
        _add(found[place], artifact)
    return list(found.values())


def list_rest(job: Job) -> list[Artifact]:
    """The files that belong to the whole job."""
    return [artifact for artifact in job.artifacts if artifact.target is None and artifact.image is None]


def _add(exhibit: Exhibit, artifact: Artifact) -> None:
    exhibit.files.append(artifact)
    if not artifact.media_type.startswith("image/") or artifact.media_type == "image/gif":
        return
    part = next(name for name, ending in ENDINGS.items() if artifact.name.endswith(ending))
    if part in exhibit.parts:
        exhibit.others.append(artifact)  # another try, a patch, a still
    else:
        exhibit.parts[part] = artifact


def _title(artifact: Artifact) -> str:
    if artifact.target is not None:
        return artifact.target.name
    return f"picture {artifact.image[:8]}" if artifact.image else "the whole job"


def _read_verdicts(job: Job) -> dict[int | None, dict[str, Any]]:
    """What was measured of each target."""
    said = job.metrics.get("targets")
    if not isinstance(said, list):
        return {}
    return {one["target"]["index"]: one for one in said if isinstance(one, dict) and "target" in one}
