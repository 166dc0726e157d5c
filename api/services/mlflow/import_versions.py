"""Imports versions of an MLflow registry: fetches the weights, registers the release, and reports what became of it.

A version is noted in the store before anything else happens, and its import can be continued by any scheduler after any
step: weights are stored under their digest, and a release is registered once.
"""

from datetime import timedelta
from random import uniform
from tempfile import TemporaryFile
from typing import Literal

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
from shared.storage import layout
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

PAGE_VERSIONS, MAX_PAGES = 100, 100
"""Versions of a model that one call of the registry lists, and number of calls."""

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
        RegistryFailed: The registry does not answer for a model; the others were looked at.
    """
    failures = []
    for registered_model, rule in services.settings.mlflow_models.items():
        try:
            _look_at(registered_model, rule, services)
        except RegistryFailed as error:
            failures.append(f"{registered_model}: {error}")
    if failures:
        raise RegistryFailed("; ".join(failures))


def _look_at(registered_model: str, rule: ImportRule, services: Services) -> None:
    """Notes the new versions of a model: those on the pages before the first one that has none, the newest first.

    The oldest is noted first, so that after an interruption the first page still has a new one.
    """
    new: list[str] = []
    registry, known = MlflowRegistry(services.settings), services.imports.list_versions(rule.name)
    query = {
        "filter": "name = '{}'".format(registered_model.replace("'", "\\'")),
        "max_results": str(PAGE_VERSIONS),
        "order_by": "version_number DESC",
    }
    for _ in range(MAX_PAGES):
        page = registry.get("model-versions/search", query, seconds=EXCHANGE_SECONDS)
        found = [str(each.get("version")) for each in page.get("model_versions") or [] if isinstance(each, dict)]
        unknown = [version for version in found if version not in known and rule.covers(version)]
        new += unknown
        if not unknown or not page.get("next_page_token"):
            break
        query["page_token"] = str(page["next_page_token"])
    for version in reversed(new):
        announce_version(registered_model, version, services)


def import_versions(services: Services) -> None:
    """Continues the imports that are due, the most overdue first. An error postpones its import, and no other."""
    moment = services.redis_client.now()
    due = [pending for pending in services.imports.list_pending() if pending.next_at <= moment]
    for pending in sorted(due, key=lambda pending: pending.next_at):
        _continue(pending, services)


def _continue(pending: PendingImport, services: Services) -> None:
    rule = services.settings.mlflow_models.get(pending.registered_model)
    if rule is None:
        _end(pending, "refused", services, detail="the operator has removed the rule of the registered model")
        return
    fetched = pending
    try:
        if not _has_weights(pending, services):
            fetched = _fetch(pending, rule, services)
        registration = _register(fetched, rule, services)
    except (RefusedVersion, NotProxied, TooManyBytes) as error:
        _end(pending, "refused", services, detail=_explain(error))
    except (Unavailable, LimitReached) as error:
        _postpone(fetched, str(error), services)
    except Problem as problem:
        _end(fetched, "refused", services, detail=problem.detail)
    except Exception as error:  # whatever a registry answers: other imports go on
        _postpone(fetched, str(error) or type(error).__name__, services)
    else:
        _follow(fetched, registration, services)


def _has_weights(pending: PendingImport, services: Services) -> bool:
    """Whether the weights of a version are in the store already."""
    tenant = services.settings.mlflow_tenant
    return pending.sha256 is not None and services.storage.has(layout.uploaded_weights(pending.sha256, tenant))


def _fetch(pending: PendingImport, rule: ImportRule, services: Services) -> PendingImport:
    """Copies the weights of a version to the store, and notes their digest.

    Raises as `fetch_weights`, and `Problem` if the store does not accept them.
    """
    with TemporaryFile() as file:
        fetch_weights(pending, rule, file, services.settings)
        file.seek(0)
        stored = store_weights(file, make_caller(services), services)
    fetched = pending.model_copy(update={"sha256": stored.id})
    services.imports.save(fetched)
    return fetched


def make_caller(services: Services) -> Caller:
    """The caller in whose name versions are registered: the tenant of the registry."""
    return Caller(tenant=services.settings.mlflow_tenant, scopes=frozenset({Scope.READ, Scope.OPERATE}))


def _register(pending: PendingImport, rule: ImportRule, services: Services) -> Registration:
    """Registers a version as a release of the tenant; returns its registration if that was done before.

    Raises:
        ReleaseTaken: The tenant has a release of this name with other weights.
        Problem: The release is not accepted.
    """
    found = _find_own(pending, rule, services)
    if found is not None:
        return found
    try:
        return register(rule.make_release(pending.version, pending.sha256 or ""), make_caller(services), services)
    except ReleaseTaken:
        found = _find_own(pending, rule, services)  # another scheduler was faster
        if found is None:
            raise
        return found


def _find_own(pending: PendingImport, rule: ImportRule, services: Services) -> Registration | None:
    """Returns the registration of the weights of a version, unless it was refused before the version was announced."""
    found = services.storage.load_registration(rule.name, pending.version, services.settings.mlflow_tenant)
    if found is None or found.entry.sha256 != pending.sha256:
        return None
    is_old = found.state is RegistrationState.REFUSED and found.registered_at < pending.begun_at
    return None if is_old else found


def _follow(pending: PendingImport, registration: Registration, services: Services) -> None:
    """Ends an import whose release a worker has tried; otherwise looks again in a moment."""
    if registration.state is RegistrationState.TRYING:
        next_at = services.redis_client.now() + timedelta(seconds=CHECK_SECONDS)
        services.imports.save(pending.model_copy(update={"next_at": next_at, "tries": 0, "detail": None}))
    elif registration.state is RegistrationState.ACCEPTED:
        services.registered_releases.invalidate()
        _end(pending, "registered", services)
    else:
        _end(pending, "refused", services, detail=registration.error.detail if registration.error else None)


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
    except Exception as error:  # whatever a registry answers: other imports go on
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
    both = {each.model: each for each in (*pending, *services.imports.list_ended())}  # one may end meanwhile
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
