"""Imports versions of an MLflow registry: fetches the weights, registers the release, and reports what became of it.

A version is noted in the store before anything else happens, and its import can be continued by any scheduler after any
step: weights are stored under their digest, and a release is registered once.
"""

from collections.abc import Callable
from datetime import timedelta
from random import uniform
from tempfile import TemporaryFile
from typing import IO, Literal

import httpx2
import structlog

from api.dependencies import Services
from api.services.mlflow.fetch_weights import fetch_weights
from api.services.mlflow.find_weights import RefusedVersion
from api.services.mlflow.import_store import PendingImport
from api.services.mlflow.registry import MlflowRegistry, NotProxied, RegistryFailed, TooManyBytes
from api.services.register_model import register
from api.services.store_uploads import store_weights
from archetype.contract.api_key import Scope
from archetype.contract.job import now
from archetype.contract.protocols.mlflow_import import ImportedVersion, ImportedVersions
from shared.errors import LimitReached, Problem, ReleaseTaken, Unavailable
from shared.storage.api_keys import Caller
from shared.storage.documents import Registration, RegistrationState
from shared.validation.imports import ImportRule

log = structlog.get_logger()

EXCHANGE_SECONDS = 10.0
"""Limit for a call of the registry that is not a download."""

CHECK_SECONDS = 2.0
"""Pause before the next look at a release that a worker tries."""

FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS, MAX_TRIES = 5.0, 900.0, 20
GIVE_UP_AFTER = timedelta(days=1)

MAX_VERSIONS = 1000
"""Versions of a model that one look at the registry lists, the newest first."""

MAX_LISTED = 1000

TAG = "archetype.import"
"""Tags that say in the registry what became of a version: the state, and with further parts, details."""

MAX_DETAIL = 1000

EndState = Literal["registered", "refused", "given_up"]


def announce_version(registered_model: str, version: str, services: Services) -> bool:
    """Notes a version for import if the operator has a rule for its model and it is new. Returns whether it has one."""
    rule = services.settings.mlflow_models.get(registered_model)
    if rule is None or services.settings.mlflow_url is None or not rule.covers(version):
        return False
    if not services.imports.is_known(rule.name, version):
        moment = services.redis_client.now()
        services.imports.save(
            PendingImport(
                registered_model=registered_model, version=version, model=rule.name, begun_at=moment, next_at=moment
            )
        )
        log.info("version.announced", registry_model=registered_model, version=version)
    return True


def look_for_versions(services: Services) -> None:
    """Notes all versions of the registry that were not announced: a registry sends an event a few times at most.

    Raises:
        RegistryFailed: The registry does not answer.
    """
    registry = MlflowRegistry(services.settings)
    for registered_model, rule in services.settings.mlflow_models.items():
        query = {
            "filter": "name = '{}'".format(registered_model.replace("'", "\\'")),
            "max_results": str(MAX_VERSIONS),
            "order_by": "version_number DESC",
        }
        found = registry.get("model-versions/search", query, seconds=EXCHANGE_SECONDS).get("model_versions") or []
        known = services.imports.list_versions(rule.name)
        for version in reversed([str(each.get("version")) for each in found if isinstance(each, dict)]):
            if version not in known:
                announce_version(registered_model, version, services)


def import_versions(services: Services, check_interrupted: Callable[[], None]) -> None:
    """Continues the imports that are due, the most overdue first.

    Args:
        services: The services.
        check_interrupted: Called often; may raise an exception to stop.
    """
    moment = services.redis_client.now()
    due = [pending for pending in services.imports.list_pending() if pending.next_at <= moment]
    for pending in sorted(due, key=lambda pending: pending.next_at):
        check_interrupted()
        _continue(pending, services, check_interrupted)


def _continue(pending: PendingImport, services: Services, check_interrupted: Callable[[], None]) -> None:
    rule = services.settings.mlflow_models.get(pending.registered_model)
    if rule is None:
        _end(pending, "refused", services, detail="the operator has removed the rule of the registered model")
        return
    try:
        registration = _find(pending, rule, services) or _register(pending, rule, services, check_interrupted)
    except (RefusedVersion, NotProxied, TooManyBytes) as error:
        _end(pending, "refused", services, detail=_explain(error))
    except (RegistryFailed, Unavailable, LimitReached) as error:
        _postpone(pending, str(error), services)
    except Problem as problem:
        _end(pending, "refused", services, detail=problem.detail)
    else:
        _follow(pending, registration, services)


def _find(pending: PendingImport, rule: ImportRule, services: Services) -> Registration | None:
    return services.storage.load_registration(rule.name, pending.version, services.settings.mlflow_tenant)


def _register(
    pending: PendingImport, rule: ImportRule, services: Services, check_interrupted: Callable[[], None]
) -> Registration:
    """Fetches the weights of a version and registers it as a release of the tenant.

    Raises:
        RefusedVersion, NotProxied, TooManyBytes: The version cannot be used.
        RegistryFailed: The registry does not answer.
        Problem: The release is not accepted.
    """
    caller = Caller(tenant=services.settings.mlflow_tenant, scopes=frozenset({Scope.READ, Scope.OPERATE}))
    with TemporaryFile() as file:
        fetch_weights(pending, rule, file, services.settings, check_interrupted)
        check_interrupted()
        sha256 = _store(file, caller, services)
    services.imports.save(pending.model_copy(update={"sha256": sha256}))
    check_interrupted()
    try:
        return register(rule.make_release(pending.version, sha256), caller, services)
    except ReleaseTaken:
        registration = _find(pending, rule, services)  # another scheduler was faster
        if registration is None:
            raise
        return registration


def _store(file: IO[bytes], caller: Caller, services: Services) -> str:
    file.seek(0)
    return store_weights(file, caller, services).id


def _follow(pending: PendingImport, registration: Registration, services: Services) -> None:
    """Ends an import whose release a worker has tried; otherwise looks again in a moment."""
    known = pending.model_copy(update={"sha256": registration.entry.sha256 or pending.sha256})
    if registration.state is RegistrationState.TRYING:
        next_at = services.redis_client.now() + timedelta(seconds=CHECK_SECONDS)
        services.imports.save(known.model_copy(update={"next_at": next_at, "tries": 0, "detail": None}))
    elif registration.state is RegistrationState.ACCEPTED:
        services.registered_releases.invalidate()
        _end(known, "registered", services)
    else:
        _end(known, "refused", services, detail=registration.error.detail if registration.error else None)


def _end(pending: PendingImport, state: EndState, services: Services, *, detail: str | None = None) -> None:
    """Reports what became of a version to the registry, then stores it."""
    tags = {TAG: state, f"{TAG}.detail": detail, f"{TAG}.sha256": pending.sha256}
    version = {"name": pending.registered_model, "version": pending.version}
    calls = [
        ("model-versions/set-tag", {**version, "key": key, "value": value[:MAX_DETAIL]})
        for key, value in tags.items()
        if value is not None
    ]
    try:
        MlflowRegistry(services.settings).post(calls, seconds=EXCHANGE_SECONDS)
    except (httpx2.HTTPError, TimeoutError, OSError) as error:
        if state != "given_up":
            _postpone(pending, f"the registry does not accept the tags ({str(error)[:200]})", services)
            return
    log.info("version.imported", registry_model=pending.registered_model, version=pending.version, state=state)
    services.imports.end(
        pending, view_pending(pending).model_copy(update={"state": state, "detail": detail, "at": now()})
    )


def _postpone(pending: PendingImport, detail: str, services: Services) -> None:
    """Schedules the next attempt, or gives up after a day."""
    log.warning("version.postponed", registry_model=pending.registered_model, version=pending.version, error=detail)
    moment = services.redis_client.now()
    if moment - pending.begun_at > GIVE_UP_AFTER:
        _end(pending, "given_up", services, detail=detail)
        return
    delay = min(MAX_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2**pending.tries) * uniform(0.8, 1.2)  # noqa: S311
    changes = {
        "tries": min(pending.tries + 1, MAX_TRIES),
        "next_at": moment + timedelta(seconds=delay),
        "detail": detail[:MAX_DETAIL],
    }
    services.imports.save(pending.model_copy(update=changes))


def view_pending(pending: PendingImport) -> ImportedVersion:
    """Returns a pending import as the API shows it."""
    return ImportedVersion(
        registered_model=pending.registered_model,
        version=pending.version,
        model=f"{pending.model}@{pending.version}",
        state="pending",
        detail=pending.detail,
        sha256=pending.sha256,
        at=pending.begun_at,
    )


def list_imports(caller: Caller, services: Services) -> ImportedVersions:
    """Returns the versions that are or were imported, the newest first, if they belong to the caller's tenant."""
    if not caller.root and caller.tenant != services.settings.mlflow_tenant:
        return ImportedVersions(items=[])
    pending = [view_pending(each) for each in services.imports.list_pending()]
    both = {(each.model): each for each in (*pending, *services.imports.list_ended())}  # one may end meanwhile
    return ImportedVersions(items=sorted(both.values(), key=lambda each: each.at, reverse=True)[:MAX_LISTED])


def _explain(error: Exception) -> str:
    if isinstance(error, NotProxied):
        return (
            f"the artifacts are at {str(error)[:200]!r}, which the tracking server does not pass on; start it with "
            "--serve-artifacts, or upload the weights with POST /v1/weights"
        )
    if isinstance(error, TooManyBytes):
        return f"{error}; the operator sets the limit with ARCHETYPE_MAX_WEIGHTS_BYTES"
    return str(error)
