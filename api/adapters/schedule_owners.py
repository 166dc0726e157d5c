"""The caller that a schedule acts for: the one that created it, with the rights and limits that its key has now."""

from api.adapters.callers import find_current_caller
from api.dependencies import Services
from archetype.contract.api_key import Scope
from shared.errors import Forbidden
from shared.storage.api_keys import OIDC_PREFIX, OPERATOR, Caller, StoredKey
from shared.storage.schedules import Creator, StoredSchedule


def find_owner(schedule: StoredSchedule, services: Services) -> Caller:
    """Returns the caller whose limits the audits of a schedule count against.

    Raises:
        Forbidden: The schedule is paused, because its creator may no longer submit audits.
        Unavailable: The store does not answer.
    """
    creator, tenant = schedule.created_by or guess_creator(schedule.tenant, services), schedule.tenant
    caller = find_current_caller(creator.key, tenant, services)
    if caller is None:
        raise _pause(_explain_refusal(creator.key or "", tenant, services))
    if Scope.SUBMIT not in caller.scopes:
        raise _pause(f"the key {creator.key} does not have the scope 'submit'")
    return caller


def _explain_refusal(key_id: str, tenant: str, services: Services) -> str:
    if key_id == OPERATOR:
        return "the service no longer has an operator token"
    if key_id.startswith(OIDC_PREFIX):
        return "the service no longer accepts tokens of this tenant from an identity provider"
    key = services.api_keys.find_by_id(key_id)
    if key is None or key.tenant != tenant:
        return f"there is no key {key_id}"
    if key.revoked_at is not None:
        return f"the key {key_id} was revoked at {key.revoked_at:%Y-%m-%d %H:%M} UTC"
    return f"the key {key_id} expired at {key.expires_at:%Y-%m-%d %H:%M %Z}"


def _pause(reason: str) -> Forbidden:
    return Forbidden(f"this schedule is paused: {reason}; delete it and create it again with a valid key")


def explain_pause(schedule: StoredSchedule, services: Services) -> str | None:
    """Returns why a schedule starts no audits; None if it does."""
    try:
        find_owner(schedule, services)
    except Forbidden as problem:
        return problem.detail
    return None


def guess_creator(tenant: str, services: Services) -> Creator:
    """Returns the creator of a schedule that an earlier version stored without one.

    Returns:
        The oldest key of the tenant that is valid and may submit; if none is, the newest one that could; if the tenant
        never had one, a caller without a key.
    """
    keys = [key for key in services.api_keys if key.tenant == tenant and Scope.SUBMIT in key.scopes]
    if not keys:
        return Creator()
    valid = [key for key in keys if key.is_valid]
    return Creator(key=min(valid, key=_creation_time).id if valid else max(keys, key=_creation_time).id)


def _creation_time(key: StoredKey) -> float:
    return key.created_at.timestamp()


def adopt(schedule: StoredSchedule, services: Services) -> StoredSchedule:
    """Stores the creator of a schedule of an earlier version, so that it is determined only once."""
    if schedule.created_by is not None:
        return schedule
    adopted = schedule.model_copy(update={"created_by": guess_creator(schedule.tenant, services)})
    if services.schedules.find(schedule.tenant, schedule.id) is not None:  # it was not deleted meanwhile
        services.schedules.save(adopted)
    return adopted
