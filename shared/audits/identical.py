"""Tells whether two releases are identical: whether everything that determines their outputs has equal digests."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from archetype.contract.model import Description
from archetype.contract.report.measurements import ReleaseIdentity
from archetype.contract.request import Audit
from archetype.contract.strict_json import dump_json
from shared.catalogue.release import Release
from shared.lifecycle.audit_jobs import explain_difference
from shared.storage.job_store import JobStore

SETTINGS = ("architecture", "arguments", "output", "score_layer", "preprocessing", "classes")
"""Fields of a release that determine its outputs, besides its weights."""

FILE_IS_CODE = ("program", "huggingface", "onnx")
"""Architectures whose file defines the network: equal weights alone do not make such networks equal."""


@dataclass(frozen=True)
class DescribedRelease:
    """A release with what a worker found when it loaded the release; None if no worker has."""

    release: Release
    description: Description | None

    @property
    def digests(self) -> ReleaseIdentity:
        """Digests of what determines the outputs."""
        described = self.description
        return ReleaseIdentity(
            release=self.release.reference,
            architecture=self.release.architecture,
            file_sha256=described.sha256 if described else self.release.sha256,
            weights_sha256=described.tensors if described else None,
            settings_sha256=digest_settings(self.release),
        )


@dataclass(frozen=True)
class Identity:
    """Two identical releases.

    Attributes:
        subject: Digests of the subject.
        baseline: Digests of the baseline.
        explanation: Why they are identical, in a sentence.
    """

    subject: ReleaseIdentity
    baseline: ReleaseIdentity
    explanation: str


def find_identity(subject: DescribedRelease, baseline: DescribedRelease) -> Identity | None:
    """Compares the digests of two releases; None if they differ, or if it is not known."""
    first, second = subject.release, baseline.release
    if explain_difference(first, second) is not None:
        return None
    explanation = _explain(first, second, subject.digests, baseline.digests)
    return Identity(subject.digests, baseline.digests, explanation) if explanation else None


def find_identities(
    audit: Audit, subject: Release, baselines: Sequence[Release], storage: JobStore
) -> dict[str, Identity]:
    """The baselines of an audit that are identical to its subject, by reference.

    A release that is compared with itself from other random seeds is a null control, which measures how often chance
    alone makes a gate fire. It is not identical in this sense: all jobs of such an audit run.
    """
    described = DescribedRelease(subject, storage.load_description(subject))
    identities = {}
    for baseline in baselines:
        if baseline.identity == subject.identity and audit.plan.subject_seeds is not None:
            continue
        identity = find_identity(described, DescribedRelease(baseline, storage.load_description(baseline)))
        if identity is not None:
            identities[baseline.reference] = identity
    return identities


def _explain(first: Release, second: Release, digests: ReleaseIdentity, others: ReleaseIdentity) -> str | None:
    if first.identity == second.identity:
        return "the subject and the baseline are the same release"
    if digests.settings_sha256 != others.settings_sha256:
        return None
    if _are_equal(digests.file_sha256, others.file_sha256) and first.state_dict == second.state_dict:
        return "both releases have the same weights file, architecture, preprocessing and classes"
    if first.architecture in FILE_IS_CODE or not _are_equal(digests.weights_sha256, others.weights_sha256):
        return None
    return (
        "all weights are equal after loading, and architecture, preprocessing and classes are the same; the weights "
        "files differ in format, metadata or order, which has no effect on the outputs"
    )


def _are_equal(digest: str | None, other: str | None) -> bool:
    return digest is not None and digest == other


def digest_settings(release: Release) -> str:
    """Digest of the fields of a release that determine its outputs, besides its weights."""
    settings = release.model_dump(mode="json", include=set(SETTINGS))
    return hashlib.sha256(dump_json(settings, sort_keys=True).encode()).hexdigest()
