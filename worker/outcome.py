"""What an attempt has to show so far, and how its files come to be stored."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from shared.claims import Claim
from shared.jobs import Artifact, Part, TargetClass
from shared.storage import Storage

MOST_WARNINGS = 20
"""Of one job."""

MEDIA_TYPES = {
    "png": "image/png",
    "gif": "image/gif",
    "webp": "image/webp",
    "html": "text/html",
    "json": "application/json",
    "md": "text/markdown",
    "npz": "application/octet-stream",
    "xml": "application/xml",
    "npy": "application/octet-stream",
}


@dataclass
class Outcome:
    """What an attempt has to show so far.

    Attributes:
        keys: Where in the bucket each artefact lies, by name.
    """

    artifacts: list[Artifact] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def warn(self, sentence: str) -> None:
        """Adds a warning to the job's metrics, up to a bound."""
        if len(self.warnings) < MOST_WARNINGS:
            self.warnings.append(sentence)

    def add(self, part: Part) -> None:
        """Takes in what a share of the job has to show."""
        self.artifacts.extend(part.artifacts)
        self.keys |= part.keys
        for sentence in part.warnings:
            self.warn(sentence)


@dataclass(frozen=True)
class Saver:
    """Stores artefacts under the attempt's own prefix and lists them for the manifest."""

    storage: Storage
    claim: Claim
    outcome: Outcome

    def __call__(self, name: str, data: bytes, *, target: TargetClass | None = None, image: str | None = None) -> None:
        if name in self.outcome.keys:
            raise ValueError(f"the method saved two artefacts as {name!r}")
        media_type = MEDIA_TYPES[name.rpartition(".")[2]]
        job_id, fence = self.claim.job_id, self.claim.fence
        self.outcome.keys[name] = self.storage.save_artifact(job_id, fence, name, data, media_type=media_type)
        self.outcome.artifacts.append(
            Artifact(
                name=name,
                media_type=media_type,
                bytes=len(data),
                sha256=hashlib.sha256(data).hexdigest(),
                href=f"/v1/jobs/{job_id}/artifacts/{name}",
                target=target,
                image=image,
            )
        )
