"""Audits as the API shows them: one with its members and findings, and the trend of a model over its releases."""

from collections.abc import Sequence
from typing import cast

from api.dependencies import Services
from api.services.describe_model import find_releases
from api.services.find_job import StoredArtifact, find_artifact, find_job, load_manifest
from api.services.review.decisions import DOCUMENT
from archetype.contract.audit import AuditView, Finding, Member, Phase, Trend, TrendPoint
from archetype.contract.job import Job, Progress, State
from archetype.contract.request import Audit
from shared.errors import Gone, NotFound, Problem
from shared.lifecycle.rebuild import load_spec
from shared.validation.stored_request import parse_stored

REPORT = "report.html"

PHASES = {
    "class_models": "class visualizations",
    "noise": "class visualizations",
    "probes": "saliency maps and predictions",
    "shuffled": "saliency maps and predictions",
}
"""The phase of a job of an audit, by the last part of its role."""

OTHER_PHASE = "other measurements"

MAX_TREND_AUDITS = 200
"""Number of newest audits that a trend is built from."""


def find_audit(audit_id: str, tenant: str, services: Services) -> Job:
    """Returns the job of an audit. Raises `NotFound` and `Gone`."""
    job = find_job(audit_id, tenant, services)
    if job.method != "audit":
        raise NotFound(f"{audit_id} is a job of method {job.method}, not an audit; GET /v1/audits lists your audits")
    return job


def find_report(audit_id: str, tenant: str, services: Services) -> StoredArtifact:
    """Returns the HTML report of an audit. Raises `NotFound` and `Gone`."""
    job = find_audit(audit_id, tenant, services)
    if not any(artifact.name == REPORT for artifact in job.artifacts):
        raise NotFound(
            f"audit {audit_id} is {job.state} and has no report; GET /v1/audits/{audit_id} returns its state"
        )
    return find_artifact(audit_id, REPORT, tenant, services)


def view_audit(job: Job, services: Services) -> AuditView:
    """Returns the current state of an audit, with its member jobs and findings."""
    audit = cast("Audit", parse_stored(load_spec(services.storage, job.id).request))
    members = [_view_member(role, member_id, job.tenant, services) for role, member_id in audit.members.items()]
    ended = sum(member.state.terminal for member in members)
    state = choose_state(job, [member.state for member in members])
    href = f"/v1/audits/{job.id}"
    return AuditView(
        id=job.id,
        model=job.model,
        baselines=audit.baselines,
        plan=audit.plan.name,
        plan_version=audit.plan.version,
        state=state,
        verdict=job.metrics.get("verdict"),
        summary=job.metrics.get("summary"),
        findings=[Finding.model_validate(finding) for finding in job.metrics.get("findings", [])],
        progress=Progress(done=ended + job.state.terminal, total=len(members) + 1, unit="job"),
        members=members,
        tags=job.tags,
        created_at=job.created_at,
        finished_at=job.finished_at,
        artifacts=job.artifacts,
        error=job.error,
        write_backs=services.schedules.list_write_back_results(job.tenant, job.id) if job.state.terminal else [],
        phases=list_phases(members, job.state),
        decisions=services.decisions.list(job.tenant, job.id) if job.state.terminal else [],
        links=_link(href, job, services),
    )


def show_running(job: Job, services: Services) -> Job:
    """Returns a job as lists show it: an audit runs from the start of its first member job."""
    if job.method != "audit" or job.state is not State.QUEUED:
        return job
    try:
        audit = cast("Audit", parse_stored(load_spec(services.storage, job.id).request))
    except Problem:  # a list of jobs needs no store
        return job
    members = [services.job_index.find(member_id) for member_id in audit.members.values()]
    # A member that has no record was deleted, which only a job that has ended can be.
    states = [member.state if member else State.SUCCEEDED for member in members]
    return job.model_copy(update={"state": choose_state(job, states)})


def choose_state(audit: Job, members: Sequence[State]) -> State:
    """The state of an audit. Its own job waits in the queue until all members have ended."""
    started = any(state is not State.QUEUED for state in members)
    return State.RUNNING if audit.state is State.QUEUED and started else audit.state


def _link(href: str, job: Job, services: Services) -> dict[str, str]:
    """Returns the links of an audit. One leads to the signature if there is a report and the service signs it."""
    links = {"self": href, "cancel": f"{href}/cancel", "report": f"{href}/report", "events": f"{href}/events"}
    if services.signer is not None and any(artifact.name == DOCUMENT for artifact in job.artifacts):
        links["signature"] = f"{href}/signature"
    return links


def list_phases(members: Sequence[Member], state: State) -> list[Phase]:
    """Returns the phases of an audit with their progress; the last one is the comparison."""
    jobs: dict[str, list[Member]] = {}
    for member in members:
        jobs.setdefault(PHASES.get(member.role.rpartition("/")[2], OTHER_PHASE), []).append(member)
    phases = [_measure_phase(name, found) for name, found in jobs.items()]
    done = int(state.terminal)
    return [*phases, Phase(name="comparison and report", done=done, total=1, share=float(done))]


def _measure_phase(name: str, members: Sequence[Member]) -> Phase:
    shares = [
        1.0 if member.state.terminal else member.progress.done / max(1, member.progress.total) for member in members
    ]
    done = sum(member.state.terminal for member in members)
    return Phase(name=name, done=done, total=len(members), share=round(sum(shares) / len(shares), 3))


def _view_member(role: str, job_id: str, tenant: str, services: Services) -> Member:
    job = services.job_index.find(job_id) or find_job(job_id, tenant, services)
    href = f"/v1/jobs/{job_id}"
    return Member(role=role, job=job_id, state=job.state, progress=job.progress, href=href)


def find_trend(name: str, tenant: str, services: Services, *, plan: str | None = None) -> Trend:
    """Returns the newest audit of every release of a model, the oldest release first.

    Args:
        name: The name of the model.
        tenant: The tenant whose audits count.
        services: The services.
        plan: The name of an audit plan; only audits under it count.

    Raises:
        NotFound: The catalogue does not have the model.
    """
    references = [release.reference for release in find_releases(name, tenant, services)]
    filters = {"method": "audit", "model": name, "state": State.SUCCEEDED.value}
    jobs, _ = services.job_list.page(tenant, filters=filters, limit=MAX_TREND_AUDITS, after=None)
    newest: dict[str, TrendPoint] = {}
    for job in jobs:
        point = _make_point(job, services)
        if point is not None and plan in (None, point.plan):
            newest.setdefault(job.model, point)
    return Trend(model=name, points=[newest[reference] for reference in references if reference in newest])


def _make_point(job: Job, services: Services) -> TrendPoint | None:
    try:
        manifest = load_manifest(job.id, job.tenant, services)
    except (Gone, NotFound):  # the audit was deleted meanwhile
        return None
    metrics = {} if manifest is None else manifest.job.metrics
    if "verdict" not in metrics:
        return None
    severities = [finding["severity"] for finding in metrics["findings"]]
    return TrendPoint(
        release=job.model.partition("@")[2],
        audit=job.id,
        plan=metrics["plan"],
        plan_version=metrics["plan_version"],
        baselines=metrics["baselines"],
        verdict=metrics["verdict"],
        summary=metrics["summary"],
        figures=metrics["figures"],
        findings={severity: severities.count(severity) for severity in dict.fromkeys(severities)},
        finished_at=job.finished_at,
    )
