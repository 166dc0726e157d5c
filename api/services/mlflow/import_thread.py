"""The thread of the scheduler that imports versions of an MLflow registry: schedules do not wait for downloads."""

import threading
import time

import structlog

from api.dependencies import Services
from api.services.mlflow.import_versions import import_versions, look_for_versions
from api.services.mlflow.registry import RegistryFailed
from shared.errors import Problem

log = structlog.get_logger()

PASS_SECONDS = 2.0
"""Pause between two looks at the pending imports."""

LOOK_SECONDS = 30.0
"""Pause between two looks at the registry."""

LOCK_SECONDS = 60.0
"""A scheduler that is silent for longer loses its turn to another one."""


def start_imports(services: Services) -> None:
    """Starts the thread if versions are imported. It ends with the process."""
    if services.settings.mlflow_models and services.settings.mlflow_url is not None:
        threading.Thread(target=_run, args=[services], name="imports", daemon=True).start()


def _run(services: Services) -> None:
    while True:
        try:
            run_once(services)
        except (Problem, RegistryFailed) as error:
            log.warning("imports.interrupted", error=str(error)[:300])
        except Exception:
            log.exception("imports.failed")
        time.sleep(PASS_SECONDS)


def run_once(services: Services) -> None:
    """Continues the imports, unless another scheduler does.

    Raises:
        RegistryFailed: The registry does not answer.
        Unavailable: Redis or the store does not answer.
    """
    with services.locks.try_renewed_lock("imports", LOCK_SECONDS) as held:
        if held is None:
            return
        import_versions(services)
        if services.locks.take_turn("registry", LOOK_SECONDS):
            look_for_versions(services)
