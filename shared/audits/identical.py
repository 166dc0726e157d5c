"""Tells whether two releases are identical: whether everything that determines their outputs has equal digests."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from archetype.contract.audit import ReleaseDigests
from archetype.contract.model import Description
from archetype.contract.request import Audit
from archetype.contract.strict_json import dump_json
from shared.catalogue.release import Release
from shared.lifecycle.audit_jobs import explain_difference
from shared.storage.job_store import JobStore

SETTINGS = ("architecture", "arguments", "output", "score_layer", "preprocessing", "classes")
"""Fields of a release that determine its outputs, besides its weights."""

FILE_IS_CODE = ("program", "huggingface")
"""Architectures whose file defines the network: equal weights alone do not make such networks equal."""


@dataclass(frozen=True)
class DescribedRelease:
    """A release with what a worker found when it loaded the release; None if no worker has."""

    release: Release
    description: Description | None

    @property
    def digests(self) -> ReleaseDigests:
        """Digests of what determines the outputs."""
        described = self.description
        return ReleaseDigests(
            file=described.sha256 if described else self.release.sha256,
            tensors=described.tensors if described else None,
            settings=_digest_settings(self.release),
        )


@dataclass(frozen=True)
class Identity:
    """Two identical releases.

    Attributes:
        baseline: Reference of the baseline.
        digests: Digests of both, by `subject` and `baseline`.
        explanation: Why they are identical, in a sentence.
    """

    baseline: str
    digests: Mapping[str, ReleaseDigests]
    explanation: str


def find_identity(subject: DescribedRelease, baseline: DescribedRelease) -> Identity | None:
    """Compares the digests of two releases; None if they differ, or if it is not known."""
    first, second = subject.release, baseline.release
    if explain_difference(first, second) is not None:
        return None
    digests = {"subject": subject.digests, "baseline": baseline.digests}
    explanation = _explain(first, second, digests["subject"], digests["baseline"])
    return Identity(second.reference, digests, explanation) if explanation else None


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


def _explain(first: Release, second: Release, digests: ReleaseDigests, others: ReleaseDigests) -> str | None:
    if first.identity == second.identity:
        return "the subject and the baseline are the same release"
    if digests.settings != others.settings:
        return None
    if digests.file is not None and digests.file == others.file and first.state_dict == second.state_dict:
        return "both releases have the same weights file, architecture, preprocessing and classes"
    if digests.tensors is None or digests.tensors != others.tensors or first.architecture in FILE_IS_CODE:
        return None
    return (
        "all weights are equal after loading, and architecture, preprocessing and classes are the same; the weights "
        "files differ in format, metadata or order, which has no effect on the outputs"
    )


def _digest_settings(release: Release) -> str:
    settings = release.model_dump(mode="json", include=set(SETTINGS))
    return hashlib.sha256(dump_json(settings, sort_keys=True).encode()).hexdigest()
