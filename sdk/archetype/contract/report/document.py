"""`report.json`: everything that an audit measured and concluded, as `report.html` and `report.pdf` show it."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from archetype.contract.audit import FIGURES, Comparison, Finding, MapFaithfulness, Verdict
from archetype.contract.audit_plan import AuditPlan
from archetype.contract.job import Document
from archetype.contract.report.evidence import Evidence, Table
from archetype.contract.report.measurements import Accuracy, Calibration, GateResult, ProbeResult, ReleaseIdentity
from archetype.contract.report.standing import Standing
from archetype.contract.request import Requested


class Machine(Document):
    """A device and the versions with which jobs of the audit ran."""

    device: str = Field(description="Name of the device.")
    versions: dict[str, str] = Field(description="Versions of the service and of the libraries, by name.")
    roles: list[str] = Field(description="Roles of the jobs that ran there.")


class Conclusion(Document):
    """The first page: what to do, what that is based on, and what was not tested."""

    decision: str = Field(description="The recommended decision in one sentence.")
    basis: list[str] = Field(description="What the decision is based on.")
    untested: list[str] = Field(description="What the audit did not test.")


class Report(Document):
    """`report.json`: the results of an audit and their provenance."""

    format: Literal[2] = Field(default=2, description="Version of this schema.")
    verdict: Verdict = Field(description="Verdict on the subject.")
    summary: str = Field(description="The verdict in a sentence, as lists of audits show it.")
    conclusion: Conclusion = Field(description="The first page.")
    subject: str = Field(description="Audited release.")
    baselines: list[str] = Field(description="Releases that the subject was compared with.")
    standings: list[Standing] = Field(
        default=[], description="What audits and people had said about the baselines when the audit was accepted."
    )
    skipped: list[Standing] = Field(
        default=[], description="Later releases that are no baselines because they were rejected or failed their audit."
    )
    gates: list[GateResult] = Field(description="Results of all gates, also of those that passed or abstained.")
    accuracy: list[Accuracy] = Field(
        default=[], description="Accuracy of the subject and of the baselines on the probes, in this order."
    )
    calibration: list[Calibration] = Field(default=[], description="Calibration of the same releases on the probes.")
    findings: list[Finding] = Field(description="Findings, most severe first, each with a recommended action.")
    errors: list[str] = Field(
        default=[], description="Parts of the audit that could not be evaluated, with the reasons."
    )
    not_run: list[str] = Field(
        default=[],
        description="Parts of the plan that were not run, with the reasons; empty unless the subject is identical to "
        "all baselines.",
    )
    maps: MapFaithfulness | None = Field(
        default=None, description="Faithfulness of the saliency maps of the subject; null if it was not measured."
    )
    evidence: list[Evidence] = Field(
        default=[], description="Pictures: first those of the classes with findings, in the order of the findings."
    )
    tables: list[Table] = Field(default=[], description="Further measurements, as the pages show them.")
    comparisons: list[Comparison] = Field(description="All measurements of the comparisons with the baselines.")
    probes: list[ProbeResult] = Field(
        default=[], description="The probes; first those whose prediction changed or is wrong."
    )
    probes_left_out: int = Field(default=0, description="Number of further probes, which the list leaves out.")
    figures: dict[str, float] = Field(default={}, description=FIGURES)
    level: float = Field(description="Confidence level of all intervals; 0.95 is 95 %.")
    plan: AuditPlan = Field(description="Audit plan.")
    plan_version: str = Field(description="Version of the plan: the first digits of its digest.")
    plan_in_words: list[str] = Field(description="The plan in sentences, with all tolerances.")
    releases: list[ReleaseIdentity] = Field(default=[], description="Digests of the subject and of the baselines.")
    identity_note: str = Field(
        default="", description="Which digests of the releases are equal, and why others differ."
    )
    requested: Requested | None = Field(
        default=None, description="Requester and time of the request; null if an earlier version accepted it."
    )
    machines: list[Machine] = Field(default=[], description="Devices and versions.")
    seconds: float | None = Field(
        default=None, description="Time from the request to the report in seconds; null if it is not known."
    )
    identity: dict[str, Any] = Field(
        description="Provenance of the results: seeds, and for each job its id, devices, versions and digests, and "
        "whether an earlier audit computed its results (`reused`)."
    )
    rerun: str = Field(description="Command that runs the audit again.")
    created_at: datetime = Field(description="Time at which the report was written.")
