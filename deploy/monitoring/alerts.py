"""What somebody is told of, and when. What to do then is in docs/runbook.md, under the alert's name."""

from dataclasses import dataclass
from typing import Any, Literal

from deploy.monitoring.series import grew, own, shared

RUNBOOK = "docs/runbook.md"


@dataclass(frozen=True)
class Alert:
    """A rule.

    Attributes:
        when: A PromQL expression that is true of something while it is wrong.
        after: For how long it must be.
        severity: `page` where users are without the service now, `ticket` where somebody should look today.
        says: In one sentence; `{{ $value }}` and `{{ $labels.… }}` are Prometheus'.
    """

    name: str
    when: str
    after: str
    severity: Literal["page", "ticket"]
    says: str

    @property
    def rule(self) -> dict[str, Any]:
        return {
            "alert": self.name, "expr": self.when, "for": self.after, "labels": {"severity": self.severity},
            "annotations": {"summary": self.says, "runbook": f"{RUNBOOK}#{self.name.lower()}"},
        }  # fmt: skip


REQUESTS = "archetype_http_requests_total"
ENDED = "archetype_jobs_ended_total"
RETURNED = "archetype_shares_returned_total"
TRIGGERED = "archetype_audits_triggered_total"
LOOKED = shared("archetype_scheduler_looked_timestamp_seconds")
WORKERS = f"sum({shared('archetype_workers')})"

ALERTS = (
    Alert(
        "ServiceSilent", f"absent({shared('archetype_jobs')})", "3m", "page",
        "No API says how things stand: none runs, or Redis does not answer.",
    ),
    Alert(
        "RequestsFail",
        f"sum({own(REQUESTS, 'status=~5..')}) / sum({own(REQUESTS)}) > 0.05",
        "5m", "page", "{{ $value | humanizePercentage }} of all requests are answered with 5xx.",
    ),
    Alert("WorkersAbsent", f"{WORKERS} == 0", "5m", "page", "There is no worker."),
    Alert(
        "WorkersNotConsuming",
        f'sum({shared("archetype_shares", "state=queued")}) > 0'
        f' and sum({shared("archetype_shares", "state=running")}) == 0 and {WORKERS} > 0',
        "3m", "page", "{{ $value }} shares wait, workers are there, and none takes any.",
    ),
    Alert(
        "InteractiveJobsWait", f'{shared("archetype_queue_oldest_seconds", "priority=interactive")} > 300', "5m",
        "page", "An interactive job has waited for {{ $value | humanizeDuration }}.",
    ),
    Alert(
        "BulkJobsWait", f'{shared("archetype_queue_oldest_seconds", "priority=bulk")} > 21600', "15m", "ticket",
        "A bulk job has waited for {{ $value | humanizeDuration }}.",
    ),
    Alert(
        "JobsStuck", f"{shared('archetype_job_late_seconds')} > 900", "5m", "page",
        "A job is {{ $value | humanizeDuration }} past its deadline and has not ended.",
    ),
    Alert(
        "JobsFail",
        f'sum({shared(ENDED, "state=failed", "30m")}) / sum({shared(ENDED, window="30m")}) > 0.1'
        f" and sum({shared(ENDED, window='30m')}) * 1800 >= 10",
        "5m", "ticket", "{{ $value | humanizePercentage }} of the jobs of half an hour have failed.",
    ),
    Alert(
        "WorkersLost", f"{grew(RETURNED, 'why=abandoned', '30m')} > 5", "0m",
        "ticket", "{{ $value }} times in half an hour a worker fell silent over a share.",
    ),
    Alert(
        "SharesGivenUp", f"{grew(RETURNED, 'why=given_up', '1h')} > 0", "0m", "ticket",
        "A share was lost with its worker three times, and its job has failed.",
    ),
    Alert(
        "SchedulerSilent", f"time() - {LOOKED} > 300 or absent({LOOKED})", "5m", "ticket",
        "The scheduler has not looked around for five minutes: no audit starts by itself.",
    ),
    Alert(
        "AuditsMissing", f"{shared('archetype_audits_missing')} > 0", "30m", "ticket",
        "{{ $value }} releases that a schedule waits for have no audit.",
    ),
    Alert(
        "AuditsRefused", f"{grew(TRIGGERED, 'outcome=refused', '1d')} > 0", "0m", "ticket",
        "A schedule asked for an audit that was refused.",
    ),
    Alert(
        "AuditsFail", f"{grew(ENDED, 'method=audit,state=failed', '1d')} > 0", "0m", "ticket",
        "An audit came to no verdict.",
    ),
    Alert(
        "WebhooksWait", f"{shared('archetype_webhooks_overdue_seconds')} > 300", "5m", "ticket",
        "A webhook has been due for {{ $value | humanizeDuration }}, and nobody has tried to deliver it.",
    ),
)  # fmt: skip


def make_rules() -> dict[str, Any]:
    """As Prometheus reads them."""
    return {"groups": [{"name": "archetype", "rules": [alert.rule for alert in ALERTS]}]}
