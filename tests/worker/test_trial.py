"""A trial always decides."""

from types import SimpleNamespace

import torch

from shared.catalogue import Release
from shared.registration import Registration, RegistrationState
from worker.downloads import Report, ignore
from worker.networks import Loaded, Loader, Networks
from worker.trial import MOST_ATTEMPTS, decide

CPU = torch.device("cpu")
ENTRY = Release(name="odd", architecture="factory:odd", classes=["a", "b"])


class Broken(Loader):
    """Fails as nobody has foreseen."""

    def load(self, release: Release, device: torch.device, report: Report = ignore) -> Loaded:  # noqa: ARG002
        raise ZeroDivisionError("what nobody has foreseen")


def test_whatever_happens_while_it_is_loaded_refuses_it_with_the_reason() -> None:
    bench = SimpleNamespace(networks=Networks(Broken(), device=CPU), storage=None)
    decided = decide(bench, Registration(entry=ENTRY, attempt=1), ignore)
    assert decided.state is RegistrationState.REFUSED
    assert "ZeroDivisionError: what nobody has foreseen" in decided.error.detail


def test_after_three_silent_workers_it_is_refused_untried() -> None:
    decided = decide(SimpleNamespace(networks=None), Registration(entry=ENTRY, attempt=MOST_ATTEMPTS + 1), ignore)
    assert decided.state is RegistrationState.REFUSED
    assert "three workers fell silent" in decided.error.detail
