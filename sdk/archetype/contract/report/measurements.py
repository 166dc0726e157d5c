"""Measurements in a report: results of the gates, accuracy, calibration, and predictions for the probes."""

from typing import Literal

from pydantic import Field

from archetype.contract.audit import Estimate
from archetype.contract.audit_plan import Severity
from archetype.contract.job import Document
from archetype.contract.report.units import Unit

Outcome = Literal["passed", "warned", "failed", "waived", "abstained", "off"]


class GateResult(Document):
    """The result of a gate in the comparison with one baseline, also if it passed."""

    gate: str = Field(description="Name of the gate.")
    baseline: str | None = Field(description="Baseline of the comparison; null if the gate examines the subject alone.")
    result: Outcome = Field(
        description="`passed`, `warned` (a finding of a gate that warns), `failed`, `waived` (all findings are "
        "waived), `abstained` (the gate could not be evaluated), or `off` (the plan disables the gate)."
    )
    severity: Severity = Field(description="Effect of a finding on the verdict.")
    question: str = Field(description="What the gate measures.")
    unit: Unit = Field(
        description="Unit in which people read the values. Values in `percentage_points` are stored as fractions: "
        "0.25 is 25 percentage points."
    )
    limit: float = Field(description="Largest change that is accepted (tolerance).")
    change: Estimate | None = Field(
        default=None,
        description="Largest measured change with its confidence interval; null if nothing was measured. `low` equals "
        "`high` if the measure has no interval.",
    )
    noise: float | None = Field(default=None, description="Change that random seeds alone cause, for the same class.")
    margin: float | None = Field(
        default=None, description="Limit minus the largest change; negative if the change is beyond the limit."
    )
    target: str | None = Field(
        default=None,
        description="Class, slice or corruption with the largest change; null for the whole release.",
    )
    evaluated: int = Field(default=0, description="Number of classes that were evaluated.")
    classes: int = Field(default=0, description="Number of classes of the audit; 0 if the gate is about all classes.")
    explanation: str = Field(description="The result in a sentence.")


class Accuracy(Document):
    """Accuracy of a release on the probes."""

    release: str = Field(description="The release.")
    correct: int = Field(description="Number of probes that the release classifies correctly.")
    probes: int = Field(description="Number of probes.")
    share: float = Field(description="`correct` divided by `probes`.")
    low: float = Field(description="Lower bound of the confidence interval (Wilson 1927).")
    high: float = Field(description="Upper bound of the confidence interval.")


class CalibrationBin(Document):
    """Predictions whose probability is in one interval."""

    low: float = Field(description="Lower bound of the interval of probabilities.")
    high: float = Field(description="Upper bound of the interval of probabilities.")
    probes: int = Field(description="Number of probes.")
    confidence: float = Field(description="Mean probability of the predicted classes.")
    accuracy: float = Field(description="Share of the predictions that are correct.")


class Calibration(Document):
    """How well the probabilities of a release agree with its accuracy."""

    release: str = Field(description="The release.")
    error: float = Field(
        description="Expected calibration error: mean difference of confidence and accuracy over the intervals, "
        "weighted by their numbers of probes (Guo et al. 2017, arXiv 1706.04599)."
    )
    bins: list[CalibrationBin] = Field(description="Intervals of probabilities that contain predictions.")


class Prediction(Document):
    """The prediction of a release for a probe."""

    release: str = Field(description="The release.")
    predicted: str = Field(description="Name of the predicted class.")
    probability: float = Field(description="Probability of the predicted class.")
    correct: bool = Field(description="Whether the predicted class is the true class.")


class ProbeResult(Document):
    """A probe with the predictions of all releases."""

    id: str = Field(description="SHA-256 digest of the image file.")
    name: str | None = Field(default=None, description="File name; null if the plan does not name it.")
    target: str = Field(description="Name of the true class.")
    predictions: list[Prediction] = Field(description="Predictions of the subject and of the baselines, in this order.")
    thumbnail: str | None = Field(
        default=None, description="The image as a `data:` URL; null beyond the first of the gallery."
    )


class ReleaseIdentity(Document):
    """SHA-256 digests of what determines the outputs of a release."""

    release: str = Field(description="The release.")
    architecture: str = Field(description="Architecture.")
    file_sha256: str | None = Field(default=None, description="Digest of the weight file; null if unknown.")
    weights_sha256: str | None = Field(
        default=None,
        description="Digest of the names, types, shapes and values of all tensors of the network after loading, sorted "
        "by name. Two files with equal weights have the same one. Null if unknown.",
    )
    settings_sha256: str = Field(
        description="Digest of architecture, arguments, output, preprocessing and class names."
    )
    tensors: int | None = Field(default=None, description="Number of tensors; null if no job counted them.")
    values: int | None = Field(default=None, description="Number of values in these tensors.")
