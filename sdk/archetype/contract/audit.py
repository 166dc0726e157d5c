"""Audits: the request, the comparisons and findings, and the report of a model release."""

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from archetype.contract.audit_plan import AuditPlan, Reference, Severity, Waiver
from archetype.contract.job import Artifact, Document, Job, Priority, Progress, State
from archetype.contract.problem import ProblemDocument
from archetype.contract.request import Tag

Verdict = Literal["pass", "warn", "fail", "error", "not_comparable"]

FIGURES = (
    "Figures of the subject without a comparison, from 0 to 1: `accuracy`, `confidence`, `focus` and `recognised`. A "
    "figure is missing if the audit did not measure it."
)


class NewAudit(Document):
    """Body of `POST /v1/audits`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Reference = Field(
        description="Release to audit (the subject): `name@release`, or `name` for its newest release."
    )
    plan: AuditPlan = Field(description="Audit plan: classes, probes, seeds and gates.")
    baselines: list[Reference] | None = Field(
        default=None,
        max_length=4,
        description="Releases to compare the subject with; if null, the baselines of the plan.",
    )
    again: bool = Field(
        default=False,
        description="Whether to run the audit again if the same releases were already audited under the same plan; "
        "otherwise the existing audit is returned.",
    )
    priority: Priority = Field(default="bulk", description="Priority of the audit's jobs.")
    tags: list[Tag] = Field(default=[], max_length=12, description="Labels of the audit and its jobs.")
    webhook: str | None = Field(
        default=None, max_length=2000, description="https URL that receives the verdict; null for none."
    )


class Estimate(Document):
    """A mean with its confidence interval.

    Attributes:
        value: The mean.
        low: Lower bound of the confidence interval (Student's t with moderated variances), corrected for the number
            of classes that are compared.
        high: Upper bound of the same interval.
    """

    value: float = Field(description="Mean change.")
    low: float = Field(description="Lower bound of the confidence interval.")
    high: float = Field(description="Upper bound of the confidence interval.")


class Finding(Document):
    """A change that exceeds a gate, or a failed sanity check."""

    gate: str = Field(description="Name of the gate.")
    severity: Severity | Literal["waived", "note"] = Field(
        description="Effect on the verdict; a `waived` finding has none."
    )
    target: str | None = Field(
        default=None,
        description="Name of the class, with its index if another class has the same name (`crane #134`); null if the "
        "finding is about all classes.",
    )
    baseline: str | None = Field(
        default=None, description="Baseline of the comparison; null if the finding is about the subject alone."
    )
    change: Estimate | None = Field(
        default=None, description="Measured change with its confidence interval; null for sanity checks."
    )
    noise: float | None = Field(
        default=None, description="Change that random seeds alone cause, as measured on the baseline."
    )
    tolerance: float | None = Field(default=None, description="Tolerance of the gate.")
    reason: str = Field(description="Description of the finding in a sentence.")
    waiver: Waiver | None = Field(default=None, description="Waiver that covers the finding; null if none does.")


class TriggerResult(Document):
    """The smallest change that turns probes of other classes into a class, in the family with the largest ratio."""

    target: str = Field(description="Name of the class, with its index if another class has the same name.")
    family: str = Field(description="Kind of the change.")
    unit: str = Field(description="Unit of the sizes.")
    subject_size: float = Field(description="Size of the smallest change for the subject.")
    baseline_size: float = Field(description="Size of the smallest change for the baseline.")
    baseline_found: bool = Field(
        description="Whether a change was found for the baseline; if not, its size is the largest that was tried."
    )
    ratio: Estimate = Field(
        description="Size for the baseline divided by the size for the subject, divided by what all classes share, "
        "with its interval, corrected for the number of classes and families."
    )
    seeds: list[int] = Field(description="Random seeds with which the change was searched.")
    turned: int = Field(description="Probes that the search did not use and that turn into the class.")
    pictures: int = Field(description="Probes of other classes that the search did not use.")
    sentence: str = Field(description="Description of the change and its effect in a sentence.")
    picture: str | None = Field(
        default=None,
        description="The change enlarged, and three probes before and after, as a `data:` URL; null without a finding.",
    )


class Comparison(Document):
    """Comparison of the subject with a baseline."""

    baseline: str = Field(description="Release that the subject is compared with.")
    comparable: bool = Field(default=True, description="Whether the two releases can be compared.")
    why: str | None = Field(default=None, description="Reason for which they cannot be compared; null if they can.")
    identical: bool = Field(
        default=False, description="Whether both releases have the same architecture and equal weights."
    )
    overall: dict[str, float] = Field(default={}, description="Measurements over all classes and probes, by name.")
    classes: list[dict[str, Any]] = Field(
        default=[], description="Measurements of each class; the class with the largest change comes first."
    )
    triggers: list[TriggerResult] = Field(
        default=[], description="Smallest changes that turn probes into each class; the most suspicious comes first."
    )
    triggers_abstained: str | None = Field(
        default=None, description="Reason for which triggers were not searched; null if they were."
    )


class Report(Document):
    """`report.json`: the results of an audit and their provenance."""

    format: Literal[1] = Field(default=1, description="Version of the report's format.")
    verdict: Verdict = Field(description="Verdict on the subject.")
    subject: str = Field(description="Audited release.")
    baselines: list[str] = Field(description="Releases that the subject was compared with.")
    plan: AuditPlan = Field(description="Audit plan.")
    plan_version: str = Field(description="Version of the plan: the first digits of its digest.")
    findings: list[Finding] = Field(description="Findings, most severe first.")
    comparisons: list[Comparison] = Field(description="Comparisons with the baselines.")
    errors: list[str] = Field(
        default=[], description="Parts of the audit that could not be evaluated, with the reasons."
    )
    figures: dict[str, float] = Field(default={}, description=FIGURES)
    identity: dict[str, Any] = Field(
        description="Provenance: digests of weights, images and results; seeds, devices and versions."
    )
    rerun: str = Field(description="Command that runs the audit again.")
    created_at: datetime = Field(description="Time at which the report was written.")


class Member(Document):
    """A job that an audit consists of."""

    role: str = Field(description="Role of the job in the audit.")
    job: str = Field(description="Id of the job.")
    state: State = Field(description="State of the job.")
    href: str = Field(description="Path of the job, relative to the server.")


class WriteBackResult(Document):
    """How the verdict of an audit was written to a model registry for one of its schedules."""

    schedule: str = Field(description="Id of the schedule.")
    model: str = Field(description="Name of the registered model.")
    version: str = Field(description="Version of the registered model.")
    state: Literal["written", "refused", "given_up"] = Field(
        description="Whether the verdict was written, was refused because the operator does not allow the tenant to "
        "write it, or was given up because the registry did not accept it for a day."
    )
    detail: str | None = Field(default=None, description="Reason; null if the verdict was written.")
    at: datetime = Field(description="Time of the last attempt.")


class AuditView(Document):
    """An audit as `GET /v1/audits/{id}` returns it."""

    id: str = Field(description="Id of the audit.")
    model: str = Field(description="Audited release.")
    baselines: list[str] = Field(description="Releases that the subject is compared with.")
    plan: str = Field(description="Name of the audit plan.")
    plan_version: str = Field(description="Version of the plan: the first digits of its digest.")
    state: State = Field(description="State of the audit.")
    verdict: Verdict | None = Field(default=None, description="Verdict; null until the audit has ended.")
    summary: str | None = Field(default=None, description="Verdict in a sentence; null until the audit has ended.")
    findings: list[Finding] = Field(default=[], description="Findings, most severe first.")
    progress: Progress = Field(description="Progress, counted in jobs of the audit.")
    members: list[Member] = Field(description="Jobs that the audit consists of.")
    tags: list[str] = Field(default=[], description="Labels of the audit.")
    created_at: datetime = Field(description="Time at which the audit was accepted.")
    finished_at: datetime | None = Field(default=None, description="Time at which the audit ended; null if it has not.")
    artifacts: list[Artifact] = Field(default=[], description="Files of the report.")
    error: ProblemDocument | None = Field(
        default=None, description="Reason for which the audit failed; null if it did not."
    )
    write_backs: list[WriteBackResult] = Field(
        default=[], description="How the verdict was written to a model registry, for each schedule that required it."
    )
    links: dict[str, str] = Field(default={}, description="Paths of related resources, by name.")


class Audits(Document):
    """A page of audits, newest first, without findings, jobs and files."""

    items: list[Job]
    next_cursor: str | None = Field(default=None, description="Cursor of the next page; null on the last page.")


class TrendPoint(Document):
    """The newest audit of a release."""

    release: str = Field(description="Name of the release.")
    audit: str = Field(description="Id of the audit.")
    plan: str = Field(description="Name of the audit plan.")
    plan_version: str = Field(description="Version of the plan: the first digits of its digest.")
    baselines: list[str] = Field(description="Releases that the release was compared with.")
    verdict: Verdict = Field(description="Verdict of the audit.")
    summary: str = Field(description="Verdict in a sentence.")
    figures: dict[str, float] = Field(description=FIGURES)
    findings: dict[str, int] = Field(description="Number of findings, by severity.")
    finished_at: datetime | None = Field(description="Time at which the audit ended.")


class Trend(Document):
    """The audits of a model's releases, oldest release first."""

    model: str = Field(description="Name of the model.")
    points: list[TrendPoint] = Field(description="The newest audit of each release.")
