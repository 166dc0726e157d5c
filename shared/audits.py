"""An audit: what it is made of, what it found, and what it says of a release."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from shared.catalogue import Catalogue, Release
from shared.errors import FieldError, InvalidRequest, ProblemDocument
from shared.jobs import Artifact, Document, Job, Progress, State
from shared.methods import AnyRequest, Audit, ClassModel, Saliency, Tag
from shared.parameters.audit import PREVIOUS, Plan, Reference, Severity, Waiver

Verdict = Literal["pass", "warn", "fail", "error", "not_comparable"]

MOST_CONTROLS = 12
"""Probes whose maps are held against those of shuffled weights: enough to see whether maps show what was learned."""


class NewAudit(Document):
    """What `POST /v1/audits` takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Reference = Field(description="The release that is audited: `name@release`, or `name` for its newest.")
    plan: Plan
    baselines: list[Reference] | None = Field(
        default=None, max_length=4, description="What it is held against, instead of what the plan says."
    )
    again: bool = Field(
        default=False, description="Make it anew, where the same releases were audited under the same plan before."
    )
    priority: Literal["interactive", "bulk"] = "bulk"
    tags: list[Tag] = Field(default=[], max_length=12)
    webhook: str | None = Field(default=None, max_length=2000, description="An https URL that is told the verdict.")


class Measured(Document):
    """A figure with what is known of it.

    Attributes:
        low: Of its interval (Student's, of classes with moderated variances), corrected for how many were looked at.
        high: Likewise.
    """

    value: float
    low: float
    high: float


class Finding(Document):
    """Something that is not as it was, or not as it should be."""

    gate: str
    severity: Severity | Literal["waived", "note"]
    target: str | None = Field(default=None, description="The class; null where it is about all of them.")
    baseline: str | None = None
    change: Measured | None = None
    noise: float | None = Field(default=None, description="What chance alone does, measured.")
    tolerance: float | None = None
    reason: str = Field(description="In words.")
    waiver: Waiver | None = None


class Comparison(Document):
    """How a release stands to another one.

    Attributes:
        identical: Whether both have the same weights, whatever file they are in.
        overall: What is measured of all classes and probes.
        classes: What is measured of each class, the most changed first.
    """

    baseline: str
    comparable: bool = True
    why: str | None = Field(default=None, description="Why they cannot be compared.")
    identical: bool = False
    overall: dict[str, float] = Field(default={})
    classes: list[dict[str, Any]] = Field(default=[])


class Report(Document):
    """`report.json`: all that an audit found, and what it was made with."""

    format: Literal[1] = 1
    verdict: Verdict
    subject: str
    baselines: list[str]
    plan: Plan
    plan_version: str
    findings: list[Finding] = Field(description="The worst first.")
    comparisons: list[Comparison]
    errors: list[str] = Field(default=[], description="What could not be looked at, and why.")
    figures: dict[str, float] = Field(
        default={}, description="How the subject stands by itself: accuracy, confidence, focus, recognised; 0 to 1."
    )
    identity: dict[str, Any] = Field(description="Digests of weights, pictures and jobs; seeds, devices, versions.")
    rerun: str = Field(description="The command that makes it again.")
    created_at: datetime


class Member(Document):
    """A job that an audit is made of."""

    role: str
    job: str
    state: State
    href: str


class AuditView(Document):
    """An audit as `GET /v1/audits/{id}` returns it."""

    id: str
    model: str
    baselines: list[str]
    plan: str = Field(description="Its name.")
    plan_version: str
    state: State
    verdict: Verdict | None = Field(default=None, description="Null until it has ended.")
    summary: str | None = Field(default=None, description="The verdict in a sentence.")
    findings: list[Finding] = Field(default=[], description="The worst first.")
    progress: Progress = Field(description="Its jobs.")
    members: list[Member]
    tags: list[str] = Field(default=[])
    created_at: datetime
    finished_at: datetime | None = None
    artifacts: list[Artifact] = Field(default=[])
    error: ProblemDocument | None = None
    links: dict[str, str] = Field(default={})


class Audits(Document):
    """A page of audits, newest first, without findings, members and files."""

    items: list[Job]
    next_cursor: str | None = None


class TrendPoint(Document):
    """A release, by its newest audit."""

    release: str
    audit: str
    plan: str
    plan_version: str
    baselines: list[str]
    verdict: Verdict
    summary: str
    figures: dict[str, float] = Field(
        description="How it stands by itself: accuracy, confidence, focus, recognised; 0 to 1."
    )
    findings: dict[str, int] = Field(description="How many, by severity.")
    finished_at: datetime | None


class Trend(Document):
    """A model's releases by their audits, the oldest release first."""

    model: str
    points: list[TrendPoint]


def choose_baselines(wanted: Sequence[str], subject: Release, catalogue: Catalogue) -> list[Release]:
    """The releases that are meant; the first release of a model has none before it.

    Raises:
        UnknownModel: There is no such release.
        InvalidRequest: The subject is to be held against nothing but itself by name.
    """
    chosen: dict[str, Release] = {}
    for position, reference in enumerate(wanted):
        if reference == PREVIOUS:
            releases = catalogue.releases(subject.name)
            place = next(number for number, one in enumerate(releases) if one.release == subject.release)
            found = releases[place - 1] if place else None
        else:
            found = catalogue.find(reference, field=f"/baselines/{position}")
        if found is not None:
            chosen.setdefault(found.reference, found)
    return list(chosen.values())


def explain_difference(subject: Release, baseline: Release) -> str | None:
    """Why two releases cannot be compared; None where they can."""
    ours, theirs = subject.preprocessing, baseline.preprocessing
    if subject.classes != baseline.classes:
        return f"they know other classes: {len(subject.classes)} and {len(baseline.classes)}, or in another order"
    if ours.channels != theirs.channels:
        return f"they take pictures of {ours.channels} and of {theirs.channels} channels"
    if ours.size != theirs.size:
        return f"their inputs are {_size(ours.size)} and {_size(theirs.size)} pixels"
    if ours != theirs:
        return "their pictures are prepared in different ways, which would be taken for what they learned"
    return None


def _size(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]}"


def check_plan(plan: Plan, subject: Release) -> None:
    """Raises `UnknownTarget` where the plan names a class that the subject does not know, and `InvalidRequest`."""
    subject.resolve_targets(plan.classes, field="/plan/classes")
    for position, probe in enumerate(plan.probes):
        subject.resolve_targets([probe.target], field=f"/plan/probes/{position}/target")
    for position, waiver in enumerate(plan.waivers):
        if waiver.target is not None:
            subject.resolve_targets([waiver.target], field=f"/plan/waivers/{position}/target")
    if plan.saliency.outputs != ["raw"] or plan.saliency.measures:
        detail = "an audit takes raw maps without measures: its own are in the report"
        raise InvalidRequest(detail, FieldError(field="/plan/saliency/outputs", detail=detail, allowed=["raw"]))


def plan_members(audit: Audit, subject: Release, baselines: Sequence[Release]) -> dict[str, AnyRequest]:
    """The jobs that an audit is made of, by their role in it.

    Args:
        baselines: Those that the subject can be compared with.
    """
    plan = audit.plan
    targets: list[int | str] = list(subject.resolve_targets(plan.classes))
    others = [*(release.reference for release in baselines), *plan.judges]
    members: dict[str, AnyRequest] = {
        "subject/class_models": _draw(audit, subject, targets, plan.subject_seeds or plan.seeds, others)
    }
    for baseline in baselines:
        seen = [subject.reference, *plan.judges]
        members[f"{baseline.reference}/class_models"] = _draw(audit, baseline, targets, plan.seeds, seen)
        members[f"{baseline.reference}/noise"] = _draw(audit, baseline, targets[::-1], plan.noise_seeds, [])
    if plan.probes:
        for role, release in [("subject", subject), *((one.reference, one) for one in baselines)]:
            members[f"{role}/probes"] = _look(audit, release)
        members["subject/shuffled"] = _look(audit, subject, shuffled=True)
    return members


def _draw(
    audit: Audit, release: Release, targets: list[int | str], seeds: list[int], judges: Sequence[str]
) -> ClassModel:
    own = {"seeds": seeds, "judges": [judge for judge in judges if judge != release.reference]}
    params = audit.plan.class_models.model_copy(update=own)
    return ClassModel(method="class_model", model=release.reference, targets=targets, params=params, **_common(audit))


def _look(audit: Audit, release: Release, *, shuffled: bool = False) -> Saliency:
    params = audit.plan.saliency.model_copy(update={"measures": ["randomization"]} if shuffled else {})
    chosen = audit.plan.probes[:: max(1, len(audit.plan.probes) // MOST_CONTROLS)] if shuffled else audit.plan.probes
    pictures = [probe.picture for probe in chosen]
    return Saliency(method="saliency", model=release.reference, images=list(pictures), params=params, **_common(audit))


def _common(audit: Audit) -> dict[str, Any]:
    return {"priority": audit.priority, "tags": [*audit.tags]}
