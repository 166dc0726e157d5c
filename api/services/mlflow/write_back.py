"""Writes the verdicts of audits to an MLflow model registry, where the operator allows the tenant to write."""

import time
from datetime import timedelta
from random import uniform
from typing import Literal

import httpx2
import structlog

from api.dependencies import Services
from api.services.find_job import find_job
from api.services.mlflow.registry import MlflowRegistry
from api.services.mlflow.run_report import write_to_run
from archetype.contract.audit import WriteBackResult
from archetype.contract.job import Job, State, now
from shared.errors import Gone, NotFound, UnsupportedFormat
from shared.settings import Settings
from shared.storage.schedules import PendingWriteBack, interleave
from shared.validation.write_back import explain_refusal, name_tags

log = structlog.get_logger()

EXCHANGE_SECONDS = 10.0
"""Limit for all calls of one write-back together, however slowly the registry answers."""

PASS_SECONDS = 20.0
"""After this time, a pass leaves the remaining verdicts to the next one, because schedules wait for it meanwhile."""

FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS = 10.0, 3600.0
"""Delay after the first failed attempt, which doubles with every further one, and its maximum."""

MAX_TRIES = 20
"""Attempts that are counted: more would only overflow the delay."""

GIVE_UP_AFTER = timedelta(days=1)
"""Time since the end of the audit after which a verdict is no longer written."""

Call = tuple[str, dict[str, str]]
"""Path and body of a call of the registry's API."""


def write_pending_verdicts(services: Services) -> None:
    """Writes the pending verdicts whose audit has ended and whose next attempt is due, the most overdue first.

    Tenants take turns. The pass ends early if the registry does not answer: it is the same registry for all.
    """
    end = time.monotonic() + PASS_SECONDS
    moment = services.redis_client.now()
    due = [pending for pending in services.schedules.list_write_backs() if pending.next_at <= moment]
    for pending in interleave(sorted(due, key=lambda pending: pending.next_at)):
        if time.monotonic() > end or not process_pending(pending, services):
            return


def process_pending(pending: PendingWriteBack, services: Services) -> bool:
    """Writes a pending verdict if its audit has ended and it was not written before.

    Returns:
        False if the registry did not answer.
    """
    if services.schedules.find_write_back_result(pending.tenant, pending.audit, pending.schedule) is not None:
        services.schedules.end_write_back(pending)  # a repeated trigger has stored it again
        return True
    try:
        job = find_job(pending.audit, pending.tenant, services)
    except (NotFound, Gone):
        services.schedules.end_write_back(pending)
        return True
    except UnsupportedFormat:  # a scheduler of the newer version writes it
        return True
    return attempt_write_back(pending, job, services) if job.state.terminal else True


def attempt_write_back(pending: PendingWriteBack, job: Job, services: Services) -> bool:
    """Writes a verdict, unless the operator no longer allows it.

    If that fails, schedules the next attempt, or gives up after `GIVE_UP_AFTER`.

    Returns:
        False if the registry did not answer.
    """
    rules = services.settings.mlflow_write_back
    refusal = explain_refusal(pending.tenant, pending.model, pending.write_back, rules)
    if refusal is not None:
        end(pending, "refused", services, detail=refusal)
        return True
    try:
        write_verdict(pending, read_verdict(job), services.settings)
        if pending.write_back.run:
            write_to_run(pending, job, services, seconds=EXCHANGE_SECONDS)
    except Exception as error:  # whatever the registry does, it is a failed attempt
        message = str(error)[:300] or type(error).__name__
        if services.redis_client.now() - (job.finished_at or pending.begun_at) > GIVE_UP_AFTER:
            end(pending, "given_up", services, detail=message)
        else:
            postpone(pending, message, services)
        return isinstance(error, httpx2.HTTPStatusError)
    end(pending, "written", services)
    return True


def end(
    pending: PendingWriteBack,
    state: Literal["written", "refused", "given_up"],
    services: Services,
    *,
    detail: str | None = None,
) -> None:
    """Records on the audit how a write-back has ended, and removes it from the pending ones."""
    result = WriteBackResult(
        schedule=pending.schedule, model=pending.model, version=pending.version, state=state, detail=detail, at=now()
    )
    write = log.info if state == "written" else log.warning
    write(f"verdict.{state}", audit=pending.audit, registry_model=pending.model, version=pending.version, error=detail)
    services.schedules.end_write_back(pending, result)


def postpone(pending: PendingWriteBack, message: str, services: Services) -> None:
    """Schedules the next attempt."""
    log.warning("verdict.write_failed", audit=pending.audit, registry_model=pending.model, error=message)
    delay = min(MAX_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2**pending.tries) * uniform(0.8, 1.2)  # noqa: S311
    next_at = services.redis_client.now() + timedelta(seconds=delay)
    changes = {"tries": min(pending.tries + 1, MAX_TRIES), "next_at": next_at}
    services.schedules.put_write_back(pending.model_copy(update=changes))


def read_verdict(job: Job) -> str:
    """Returns the verdict of an audit, or the state of its job if it did not reach a verdict."""
    return str(job.metrics.get("verdict", "error")) if job.state is State.SUCCEEDED else str(job.state)


def write_verdict(pending: PendingWriteBack, verdict: str, settings: Settings) -> None:
    """Sets the tags of the verdict and of the report's URL, and the alias if the verdict is pass or warn.

    Raises:
        httpx2.HTTPStatusError: The registry refuses a call.
        httpx2.HTTPError: The registry does not answer.
        TimeoutError: The registry has not answered all calls within `EXCHANGE_SECONDS`.
    """
    try:
        MlflowRegistry(settings).post(list_calls(pending, verdict), seconds=EXCHANGE_SECONDS)
    except TimeoutError as error:
        raise TimeoutError(f"the registry did not answer within {EXCHANGE_SECONDS:g} s") from error


def list_calls(pending: PendingWriteBack, verdict: str) -> list[Call]:
    """Returns the calls that write a verdict."""
    target, version = pending.write_back, {"name": pending.model, "version": pending.version}
    values = (verdict, f"/v1/audits/{pending.audit}/report")
    calls: list[Call] = [
        ("model-versions/set-tag", {**version, "key": tag, "value": value})
        for tag, value in zip(name_tags(target), values, strict=False)
    ]
    if target.alias is not None and verdict in ("pass", "warn"):
        calls.append(("registered-models/alias", {**version, "alias": target.alias}))
    return calls
