"""The alerts for Prometheus. docs/runbook.md has a section for each alert, with the same name."""

from dataclasses import dataclass
from typing import Any, Literal

from deploy.monitoring.series import grew, own, shared

RUNBOOK = "docs/runbook.md"


@dataclass(frozen=True)
class Alert:
    """An alerting rule.

    Attributes:
        condition: A PromQL expression that has a result while something is wrong.
        duration: How long the condition must hold before the alert fires.
        severity: `page` if users cannot use the service now, `ticket` if an operator should act today.
        summary: One sentence; Prometheus fills in `{{ $value }}` and `{{ $labels.… }}`.
    """

    name: str
    condition: str
    duration: str
    severity: Literal["page", "ticket"]
    summary: str

    @property
    def rule(self) -> dict[str, Any]:
        """The alert in the format of Prometheus."""
        return {
            "alert": self.name,
            "expr": self.condition,
            "for": self.duration,
            "labels": {"severity": self.severity},
            "annotations": {"summary": self.summary, "runbook": f"{RUNBOOK}#{self.name.lower()}"},
        }


REQUESTS = "archetype_http_requests_total"
ENDED = "archetype_jobs_ended_total"
RETURNED = "archetype_shares_returned_total"
TRIGGERED = "archetype_audits_triggered_total"
LAST_POLL = shared("archetype_scheduler_looked_timestamp_seconds")
MEMORY = shared("archetype_redis_memory_ratio")
WATERMARK = shared("archetype_redis_memory_watermark_ratio")
WORKERS = f"sum({shared('archetype_workers')})"

ALERTS = (
    Alert(
        "ServiceSilent",
        f"absent({shared('archetype_jobs')})",
        "3m",
        "page",
        "No API process reports metrics: none is running, or Redis does not answer.",
    ),
    Alert(
        "RequestsFail",
        f"sum({own(REQUESTS, 'status=~5..')}) / sum({own(REQUESTS)}) > 0.05",
        "5m",
        "page",
        "{{ $value | humanizePercentage }} of all requests fail with a 5xx status.",
    ),
    Alert("WorkersAbsent", f"{WORKERS} == 0", "5m", "page", "No worker is running."),
    Alert(
        "WorkersNotConsuming",
        f"sum({shared('archetype_shares', 'state=queued')}) > 0"
        f" and sum({shared('archetype_shares', 'state=running')}) == 0 and {WORKERS} > 0",
        "3m",
        "page",
        "{{ $value }} shards are queued and workers are running, but no worker claims a shard.",
    ),
    Alert(
        "InteractiveJobsWait",
        f"{shared('archetype_queue_oldest_seconds', 'priority=interactive')} > 300",
        "5m",
        "page",
        "An interactive job has been queued for {{ $value | humanizeDuration }}.",
    ),
    Alert(
        "BulkJobsWait",
        f"{shared('archetype_queue_oldest_seconds', 'priority=bulk')} > 21600",
        "15m",
        "ticket",
        "A bulk job has been queued for {{ $value | humanizeDuration }}.",
    ),
    Alert(
        "JobsStuck",
        f"{shared('archetype_job_late_seconds')} > 900",
        "5m",
        "page",
        "A job is {{ $value | humanizeDuration }} past its deadline and has not ended.",
    ),
    Alert(
        "RedisMemoryFull",
        f"{MEMORY} > {WATERMARK}",
        "1m",
        "page",
        "Redis uses {{ $value | humanizePercentage }} of its memory: new jobs are refused.",
    ),
    Alert(
        "RedisMemoryFills",
        f"{MEMORY} > 0.8 * {WATERMARK}",
        "15m",
        "ticket",
        "Redis uses {{ $value | humanizePercentage }} of its memory. Above the watermark, new jobs are refused.",
    ),
    Alert(
        "JobsFail",
        f"sum({shared(ENDED, 'state=failed', '30m')}) / sum({shared(ENDED, window='30m')}) > 0.1"
        f" and sum({shared(ENDED, window='30m')}) * 1800 >= 10",
        "5m",
        "ticket",
        "{{ $value | humanizePercentage }} of the jobs of the last 30 minutes failed.",
    ),
    Alert(
        "WorkersLost",
        f"{grew(RETURNED, 'why=abandoned', '30m')} > 5",
        "0m",
        "ticket",
        "In the last 30 minutes, {{ $value }} shards were returned because their worker stopped responding.",
    ),
    Alert(
        "SharesGivenUp",
        f"{grew(RETURNED, 'why=given_up', '1h')} > 0",
        "0m",
        "ticket",
        "A job failed because the worker of one of its shards was lost three times.",
    ),
    Alert(
        "SchedulerSilent",
        f"time() - {LAST_POLL} > 300 or absent({LAST_POLL})",
        "5m",
        "ticket",
        "The scheduler has not polled for five minutes. Scheduled audits do not start.",
    ),
    Alert(
        "AuditsMissing",
        f"{shared('archetype_audits_missing')} > 0",
        "30m",
        "ticket",
        "{{ $value }} releases with a schedule have not been audited.",
    ),
    Alert(
        "AuditsRefused",
        f"{grew(TRIGGERED, 'outcome=refused', '1d')} > 0",
        "0m",
        "ticket",
        "The API refused an audit that a schedule requested.",
    ),
    Alert(
        "AuditsFail",
        f"{grew(ENDED, 'method=audit,state=failed', '1d')} > 0",
        "0m",
        "ticket",
        "An audit failed and has no verdict.",
    ),
    Alert(
        "WebhooksWait",
        f"{shared('archetype_webhooks_overdue_seconds')} > 300",
        "5m",
        "ticket",
        "A webhook has been due for {{ $value | humanizeDuration }} without a delivery attempt.",
    ),
)


def make_rules() -> dict[str, Any]:
    """Returns the contents of rules.yml."""
    return {"groups": [{"name": "archetype", "rules": [alert.rule for alert in ALERTS]}]}
