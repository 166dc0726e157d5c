"""What an attempt has to show so far, and how its files come to be stored."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from shared.jobs import Artifact, TargetClass
from shared.records import Claim
from shared.storage import Storage

MOST_WARNINGS = 20
"""Of one job."""

MEDIA_TYPES = {
    "png": "image/png",
    "gif": "image/gif",
    "webp": "image/webp",
    "json": "application/json",
    "npz": "application/octet-stream",
    "npy": "application/octet-stream",
}


@dataclass
class Outcome:
    """What an attempt has to show so far."""

    artifacts: list[Artifact] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def warn(self, sentence: str) -> None:
        """Adds a sentence to the warnings in the job's metrics, up to a bound."""
        warnings = self.metrics.setdefault("warnings", [])
        if len(warnings) < MOST_WARNINGS:
            warnings.append(sentence)


@dataclass(frozen=True)
class Saver:
    """Stores artefacts under the attempt's own prefix and lists them for the manifest."""

    storage: Storage
    claim: Claim
    outcome: Outcome
    names: set[str] = field(default_factory=set)

    def __call__(self, name: str, data: bytes, *, target: TargetClass | None = None, image: str | None = None) -> None:
        if name in self.names:
            raise ValueError(f"the method saved two artefacts as {name!r}")
        self.names.add(name)
        media_type = MEDIA_TYPES[name.rpartition(".")[2]]
        prefix = self.storage.attempt_prefix(self.claim.job_id, self.claim.fence)
        self.storage.save_artifact(prefix, name, data, media_type=media_type)
        self.outcome.artifacts.append(
            Artifact(
                name=name,
                media_type=media_type,
                bytes=len(data),
                sha256=hashlib.sha256(data).hexdigest(),
                href=f"/v1/jobs/{self.claim.job_id}/artifacts/{name}",
                target=target,
                image=image,
            )
        )
