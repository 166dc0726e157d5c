"""Digests of the releases, and a sentence about which of them are equal and why others differ."""

from collections.abc import Sequence

from archetype.contract.report.measurements import ReleaseIdentity
from shared.audits.identical import FILE_IS_CODE, digest_settings
from worker.audit.compare import Side
from worker.models.tensor_digest import digest_tensors


def describe_release(side: Side, file_sha256: str | None) -> ReleaseIdentity:
    """Digests of a release. The digest of its weights does not depend on the format of the weight file."""
    network = side.classifier.network
    weights = network.state_dict()
    return ReleaseIdentity(
        release=side.release.reference,
        architecture=side.release.architecture,
        file_sha256=file_sha256,
        weights_sha256=digest_tensors(network),
        settings_sha256=digest_settings(side.release),
        tensors=len(weights),
        values=sum(tensor.numel() for tensor in weights.values()),
    )


def explain_identity(releases: Sequence[ReleaseIdentity]) -> str:
    """Which digests of the releases are equal, and why others differ."""
    subject, *baselines = releases
    return " ".join(_explain_pair(subject, baseline) for baseline in baselines)


def _explain_pair(subject: ReleaseIdentity, baseline: ReleaseIdentity) -> str:
    names = f"{subject.release} and {baseline.release}"
    if subject.file_sha256 is not None and subject.file_sha256 == baseline.file_sha256:
        return f"The weight files of {names} are the same."
    if subject.weights_sha256 is None or baseline.weights_sha256 is None:
        return (
            f"The weight files of {names} differ; weights alone cannot be compared, because a network has none to read."
        )
    if subject.weights_sha256 != baseline.weights_sha256:
        return f"The weights of {names} differ."
    if subject.architecture != baseline.architecture:
        return f"The weights of {names} are equal, but their architectures have different names."
    same = f"All {subject.tensors} tensors of {names} are equal, so the digests of their weights are the same."
    if subject.architecture in FILE_IS_CODE:
        return f"{same} The files differ, and each also says how its network computes, so the networks can differ."
    return (
        f"{same} The digests of the weight files differ, because a file also contains metadata and an order of the "
        "tensors, which do not change the network."
    )
