"""A release check always decides."""

from types import SimpleNamespace

import torch

from shared.catalogue.release import Release
from shared.storage.documents import Registration, RegistrationState
from worker.execution.release_check import MAX_ATTEMPTS, decide
from worker.models.download_cache import Report, ignore
from worker.models.loader import LoadedModel, Loader, ModelCache

CPU = torch.device("cpu")
ENTRY = Release(name="odd", architecture="factory:odd", classes=["a", "b"])


class Broken(Loader):
    """Fails with an unexpected exception."""

    def load(self, release: Release, device: torch.device, report: Report = ignore) -> LoadedModel:  # noqa: ARG002
        raise ZeroDivisionError("an unexpected error")


def test_a_release_that_fails_unexpectedly_while_it_is_loaded_is_refused_with_the_reason() -> None:
    context = SimpleNamespace(networks=ModelCache(Broken(), device=CPU), storage=None)
    decided = decide(context, Registration(entry=ENTRY, attempt=1), ignore)
    assert decided.state is RegistrationState.REFUSED
    assert "ZeroDivisionError: an unexpected error" in decided.error.detail


def test_a_release_that_stopped_three_workers_is_refused_without_another_load() -> None:
    decided = decide(SimpleNamespace(networks=None), Registration(entry=ENTRY, attempt=MAX_ATTEMPTS + 1), ignore)
    assert decided.state is RegistrationState.REFUSED
    assert "3 workers stopped responding" in decided.error.detail
