"""Audits: the request, the comparisons and findings, and the report of a model release."""

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from archetype.contract.audit_plan import AuditPlan, Reference, Severity, Waiver
from archetype.contract.job import Artifact, Document, Job, Priority, Progress, State
from archetype.contract.problem import ProblemDocument
from archetype.contract.report.decision import Decision
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
    action: str | None = Field(default=None, description="Recommended action; null in reports of earlier versions.")
    waiver: Waiver | None = Field(default=None, description="Waiver that covers the finding; null if none does.")


ALL = "all"
"""Name of a change of the whole release in `Comparison.changes`."""


class SliceRow(Document):
    """Accuracy of both releases on the probes with one value of an attribute."""

    attribute: str = Field(description="Name of the attribute.")
    value: str = Field(description="Value of the attribute.")
    probes: int = Field(description="Number of probes.")
    subject: Estimate = Field(description="Accuracy of the subject, with its Wilson interval.")
    baseline: Estimate = Field(description="Accuracy of the baseline, with its Wilson interval.")
    fall: Estimate | None = Field(
        default=None, description="Fall of the accuracy, with its interval; null for fewer than five probes."
    )


class CorruptionRow(Document):
    """Accuracy of both releases on corrupted probes."""

    corruption: str = Field(description="How the probes were corrupted.")
    probes: int = Field(description="Number of probes.")
    subject: float = Field(description="Accuracy of the subject on the corrupted probes.")
    baseline: float = Field(description="Accuracy of the baseline on the corrupted probes.")
    change: Estimate | None = Field(
        default=None,
        description="Fall of the accuracy from baseline to subject, minus the same fall on the probes as they are.",
    )


class ChangedGroup(Document):
    """Probes that one of the two releases places next to each other, and the other one does not."""

    kind: Literal["confused", "separated"] = Field(
        description="`confused` if the subject places them together, `separated` if the baseline does."
    )
    images: list[str] = Field(description="Ids of the probes, the central one first.")
    classes: dict[str, int] = Field(description="Number of probes of each class.")
    strength: float = Field(description="Mean affinity of the probes to the central one, from 0 to 1.")
    description: str = Field(description="The group in a sentence.")


class ComponentRow(Document):
    """The component of a class' features that gives pictures of other classes the largest part of the class score.

    Strengths are relative to the difference between the score of the class in its own and in other pictures.
    """

    target: str = Field(description="Name of the class.")
    component: int = Field(description="Number of the component in the subject, from 1.")
    subject: float = Field(description="Strength in the subject.")
    baseline: float = Field(description="Strength in the baseline.")
    change: Estimate = Field(description="Strength in the subject minus strength in the baseline.")
    images: list[str] = Field(description="Ids of the probes with the largest parts, the largest first.")


class TriggerResult(Document):
    """The smallest change that turns probes of other classes into a class, in the family with the largest ratio."""

    target: str = Field(description="Name of the class, with its index if another class has the same name.")
    family: str = Field(description="Kind of the change.")
    families: list[str] = Field(
        default=[], description="Kinds of changes that the ratio is the mean of; several if they are similar."
    )
    unit: str = Field(description="Unit of the sizes.")
    subject_size: float = Field(description="Size of the smallest change for the subject.")
    baseline_size: float = Field(description="Size of the smallest change for the baseline.")
    baseline_found: bool = Field(
        description="Whether a change was found for the baseline; if not, its size is a lower bound."
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
        description="The change enlarged, and three probes before and after, and saliency maps, as a `data:` URL; null "
        "without a finding.",
    )


class Comparison(Document):
    """Comparison of the subject with a baseline."""

    baseline: str = Field(description="Release that the subject is compared with.")
    comparable: bool = Field(default=True, description="Whether the two releases can be compared.")
    why: str | None = Field(
        default=None, description="Why they cannot be compared, or why they are known to be identical; null otherwise."
    )
    identical: bool = Field(
        default=False, description="Whether both releases have the same architecture and equal weights."
    )
    overall: dict[str, float] = Field(default={}, description="Measurements over all classes and probes, by name.")
    changes: dict[str, dict[str, Estimate]] = Field(
        default={},
        description="Changes that are not measured per class, with their confidence intervals: by gate, and then by "
        "what was measured; `all` is the whole release.",
    )
    abstentions: dict[str, str] = Field(
        default={}, description="Reasons for which gates could not be evaluated, by the name of the gate."
    )
    left_out: list[str] = Field(
        default=[], description="What gates did not examine although they were evaluated, in sentences."
    )
    slices: list[SliceRow] = Field(default=[], description="Accuracy on each slice that the plan declares.")
    corruptions: list[CorruptionRow] = Field(default=[], description="Accuracy on corrupted probes.")
    changed_groups: list[ChangedGroup] = Field(
        default=[], description="Groups of probes whose neighborhoods in the features changed most, at most three."
    )
    components: list[ComponentRow] = Field(default=[], description="Strongest component of each class.")
    classes: list[dict[str, Any]] = Field(
        default=[], description="Measurements of each class; the class with the largest change comes first."
    )
    triggers: list[TriggerResult] = Field(
        default=[], description="Smallest changes that turn probes into each class; the most suspicious comes first."
    )
    triggers_reused: bool = Field(
        default=False,
        description="Whether an earlier audit with the same probes measured sizes of the baseline's triggers.",
    )


class MapFaithfulness(Document):
    """How well saliency maps rank the parts of an image as the score does when each part is deleted alone.

    All figures are rank correlations from -1 to 1 (single deletion, Hesse et al. 2024, arXiv 2407.11910).
    """

    kind: str = Field(description="Kind of the maps.")
    probes: int = Field(description="Number of probes on which the kind was measured, after others had chosen it.")
    correlation: Estimate = Field(description="Rank correlation of the maps.")
    random: float = Field(description="Rank correlation of random maps.")
    edges: float = Field(description="Rank correlation of maps of the edges of the images.")
    faithful: bool = Field(
        description="Whether the maps are better than random maps and edge maps, with confidence intervals above 0."
    )
    kinds: dict[str, float] = Field(description="Rank correlation of each kind on the probes that chose the kind.")


class Member(Document):
    """A job that an audit consists of."""

    role: str = Field(description="Role of the job in the audit.")
    job: str = Field(description="Id of the job.")
    state: State = Field(description="State of the job.")
    progress: Progress = Field(default=Progress(), description="Progress of the job.")
    href: str = Field(description="Path of the job, relative to the server.")


class Phase(Document):
    """A phase of an audit."""

    name: str = Field(description="What the jobs of the phase compute.")
    done: int = Field(description="Number of its jobs that have ended.")
    total: int = Field(description="Number of its jobs.")
    share: float = Field(description="Part of its work that is done, from 0 to 1.")


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
    phases: list[Phase] = Field(default=[], description="Progress by phase; the comparison is the last phase.")
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
    decisions: list[Decision] = Field(
        default=[], description="Decisions of people, oldest first. The newest one that has not expired is valid."
    )
    links: dict[str, str] = Field(
        default={},
        description="Paths of related resources, by name; `signature` only if the service signs the report.",
    )


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
