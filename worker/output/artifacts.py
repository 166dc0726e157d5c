"""The artifacts of an attempt, and how their files are stored."""

import hashlib
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from archetype.contract.job import Artifact, TargetClass
from shared.queue.claims import Claim
from shared.storage import layout
from shared.storage.documents import ShardResult
from shared.storage.job_store import JobStore

MAX_WARNINGS = 20
"""Maximum number of warnings of one job."""

UPLOADS = 16
"""Files that a worker stores at the same time: the GPU waits while the files of a shard are stored."""

MAX_PENDING = 64
"""Files of an attempt that are in memory because they are not stored yet."""

MEDIA_TYPES = {
    "png": "image/png",
    "gif": "image/gif",
    "webp": "image/webp",
    "html": "text/html",
    "pdf": "application/pdf",
    "json": "application/json",
    "md": "text/markdown",
    "sarif": "application/sarif+json",
    "npz": "application/octet-stream",
    "xml": "application/xml",
    "npy": "application/octet-stream",
}


@dataclass
class AttemptOutput:
    """The output of an attempt so far.

    Attributes:
        artifacts: The artifacts, in the order in which they were saved.
        keys: The key of each artifact in the bucket, by name.
        provenance: What the result was made with.
        warnings: Warnings for the job's metrics.
        pending: Files that may not be stored yet. One that could not be stored stays here.
    """

    artifacts: list[Artifact] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    pending: deque["Future[Any]"] = field(default_factory=deque)

    def wait_for_files(self, most: int = 0) -> None:
        """Waits until at most so many files are not stored yet.

        Raises:
            Unavailable: The store does not answer, or refuses a file. Each later call raises it, too.
        """
        while len(self.pending) > most:
            self.pending[0].result()
            self.pending.popleft()

    def warn(self, sentence: str) -> None:
        """Adds a warning to the job's metrics, unless there are `MAX_WARNINGS` already."""
        if len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(sentence)

    def add(self, result: ShardResult) -> None:
        """Adds the output of a shard, without files that an earlier one has: both have the same image."""
        self.artifacts.extend(artifact for artifact in result.artifacts if artifact.name not in self.keys)
        for name, key in result.keys.items():
            self.keys.setdefault(name, key)
        for sentence in result.warnings:
            self.warn(sentence)

    def pack(self) -> dict[str, Any]:
        """Returns the artifacts and their keys as JSON, for a checkpoint, when all files are stored."""
        self.wait_for_files()
        return {"artifacts": [artifact.model_dump(mode="json") for artifact in self.artifacts], "keys": self.keys}

    def restore(self, packed: Mapping[str, Any]) -> None:
        """Lists artifacts that an earlier attempt has stored, under that attempt's keys."""
        self.artifacts.extend(Artifact.model_validate(artifact) for artifact in packed["artifacts"])
        self.keys |= packed["keys"]


@dataclass(frozen=True)
class ArtifactWriter:
    """Stores artifacts under the attempt's own prefix and lists them in its output.

    The files are stored in other threads. Until `AttemptOutput.wait_for_files` has returned, no document may name them.
    """

    storage: JobStore
    claim: Claim
    output: AttemptOutput
    pool: Executor

    def __call__(self, name: str, data: bytes, *, target: TargetClass | None = None, image: str | None = None) -> None:
        """Begins to store one artifact.

        Args:
            name: File name, unique within the job.
            data: Content of the file.
            target: The class that the file belongs to.
            image: Id of the image that the file belongs to.

        Raises:
            ValueError: The job has an artifact of this name.
            Unavailable: The store does not answer, or refuses an earlier file.
        """
        if name in self.output.keys:
            raise ValueError(f"the method saved two artifacts as {name!r}")
        media_type = MEDIA_TYPES[name.rpartition(".")[2]]
        job_id, fence = self.claim.job_id, self.claim.fence
        self.output.wait_for_files(MAX_PENDING - 1)
        save = partial(self.storage.save_artifact, job_id, fence, name, data, media_type=media_type)
        self.output.pending.append(self.pool.submit(save))
        self.output.keys[name] = layout.artifact(job_id, fence, name)
        self.output.artifacts.append(
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
