"""Writes the figures and the report of an audit to the run that made a registered version."""

import re
import time
from collections.abc import Iterator
from typing import Any

import structlog

from api.dependencies import Services
from api.services.find_job import find_manifest
from api.services.mlflow.registry import PROXIED, MlflowRegistry, locate
from archetype.contract.job import Job, State
from archetype.contract.report.document import Report
from shared.storage.schedules import PendingWriteBack

log = structlog.get_logger()

PREFIX = "archetype"
FILES = ("report.html", "report.json")

METRIC = re.compile(r"[A-Za-z0-9_. /-]{1,200}")
"""Names of metrics that MLflow accepts."""

MAX_METRICS = 100


def write_to_run(pending: PendingWriteBack, job: Job, services: Services, *, seconds: float) -> None:
    """Logs the figures as metrics of the version's run, and stores the report among the artifacts of the run.

    Without a report or a run, it does nothing. Written again, it replaces what was written. `seconds` is the limit for
    all calls together.

    Raises:
        RegistryFailed: The registry does not answer.
        httpx2.HTTPError: The registry refuses a call, or does not answer.
        TimeoutError: The calls took too long.
    """
    if job.state is not State.SUCCEEDED:
        return
    manifest = find_manifest(job.id, pending.tenant, services)
    files = {name: services.storage.bucket.get(manifest.keys[name]) for name in FILES if name in manifest.keys}
    end = time.monotonic() + seconds

    def left() -> float:
        return max(0.0, end - time.monotonic())  # a call without time fails at once

    registry = MlflowRegistry(services.settings)
    query = {"name": pending.model, "version": pending.version}
    version = registry.get("model-versions/get", query, seconds=left()).get("model_version") or {}
    run = version.get("run_id")
    if not run or not files:
        return
    registry.post([("runs/log-batch", {"run_id": run, "metrics": list(_list_metrics(files, job))})], seconds=left())
    info = (registry.get("runs/get", {"run_id": run}, seconds=left()).get("run") or {}).get("info") or {}
    folder = locate(str(info.get("artifact_uri", "")))
    if folder is None:
        log.warning("report.not_stored", audit=job.id, reason=f"the artifacts of the run are not {PROXIED}")
        return
    for name, data in files.items():
        registry.put_artifact(f"{folder}/{PREFIX}/{job.id}/{name}", data, seconds=left())


def _list_metrics(files: dict[str, bytes], job: Job) -> Iterator[dict[str, Any]]:
    moment = round((job.finished_at or job.created_at).timestamp() * 1000)
    for name, value in list(_list_figures(Report.model_validate_json(files["report.json"])))[:MAX_METRICS]:
        if METRIC.fullmatch(name):
            yield {"key": f"{PREFIX}.{name}", "value": value, "timestamp": moment, "step": 0}


def _list_figures(report: Report) -> Iterator[tuple[str, float]]:
    """Yields names and values of the metrics: counts of findings, accuracy, and the subject's own figures."""
    for severity in ("fail", "warn"):
        yield f"findings.{severity}", float(sum(finding.severity == severity for finding in report.findings))
    if report.accuracy:
        yield "accuracy", report.accuracy[0].share
    yield from report.figures.items()
