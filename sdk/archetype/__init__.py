"""The Python client of Archetype: `from archetype import Client`.

Public names are imported on first use, because the service imports `archetype.contract` and needs no HTTP client.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from archetype.version import VERSION

__version__ = VERSION

if TYPE_CHECKING:
    from archetype.client import Client as Client
    from archetype.contract.api_key import NewKey as NewKey
    from archetype.contract.audit import NewAudit as NewAudit
    from archetype.contract.audit_plan import AuditPlan as AuditPlan
    from archetype.contract.job import Artifact as Artifact
    from archetype.contract.job import Job as Job
    from archetype.contract.job import State as State
    from archetype.contract.registration import NewRelease as NewRelease
    from archetype.contract.request import Activations as Activations
    from archetype.contract.request import ClassModel as ClassModel
    from archetype.contract.request import DeepDream as DeepDream
    from archetype.contract.request import FeatureInversion as FeatureInversion
    from archetype.contract.request import Filters as Filters
    from archetype.contract.request import Fool as Fool
    from archetype.contract.request import Localization as Localization
    from archetype.contract.request import Patches as Patches
    from archetype.contract.request import Saliency as Saliency
    from archetype.contract.schedule import NewSchedule as NewSchedule
    from archetype.errors import ArchetypeError as ArchetypeError
    from archetype.errors import Conflict as Conflict
    from archetype.errors import Forbidden as Forbidden
    from archetype.errors import Gone as Gone
    from archetype.errors import InvalidRequest as InvalidRequest
    from archetype.errors import JobCancelled as JobCancelled
    from archetype.errors import JobFailed as JobFailed
    from archetype.errors import NoConnection as NoConnection
    from archetype.errors import NotFound as NotFound
    from archetype.errors import RateLimited as RateLimited
    from archetype.errors import ServerError as ServerError
    from archetype.errors import TimedOut as TimedOut
    from archetype.errors import Unauthorized as Unauthorized
    from archetype.errors import Unavailable as Unavailable
    from archetype.handles import JobHandle as JobHandle
else:
    _MODULES = {
        "Client": "archetype.client",
        "NewKey": "archetype.contract.api_key",
        "NewAudit": "archetype.contract.audit",
        "AuditPlan": "archetype.contract.audit_plan",
        "Artifact": "archetype.contract.job",
        "Job": "archetype.contract.job",
        "State": "archetype.contract.job",
        "NewRelease": "archetype.contract.registration",
        "Activations": "archetype.contract.request",
        "ClassModel": "archetype.contract.request",
        "DeepDream": "archetype.contract.request",
        "FeatureInversion": "archetype.contract.request",
        "Filters": "archetype.contract.request",
        "Fool": "archetype.contract.request",
        "Localization": "archetype.contract.request",
        "Patches": "archetype.contract.request",
        "Saliency": "archetype.contract.request",
        "NewSchedule": "archetype.contract.schedule",
        "ArchetypeError": "archetype.errors",
        "Conflict": "archetype.errors",
        "Forbidden": "archetype.errors",
        "Gone": "archetype.errors",
        "InvalidRequest": "archetype.errors",
        "JobCancelled": "archetype.errors",
        "JobFailed": "archetype.errors",
        "NoConnection": "archetype.errors",
        "NotFound": "archetype.errors",
        "RateLimited": "archetype.errors",
        "ServerError": "archetype.errors",
        "TimedOut": "archetype.errors",
        "Unauthorized": "archetype.errors",
        "Unavailable": "archetype.errors",
        "JobHandle": "archetype.handles",
    }
    __all__ = ["__version__", *_MODULES]

    def __getattr__(name):
        if name not in _MODULES:
            raise AttributeError(f"module 'archetype' has no attribute {name!r}")
        globals()[name] = value = getattr(import_module(_MODULES[name]), name)
        return value

    def __dir__():
        return sorted(__all__)
