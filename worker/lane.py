"""What the jobs of a lane have in common while a worker is in it: the network, how it is run, and what they share."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import nn

from shared.catalogue import Release
from shared.errors import UnloadableModel
from shared.jobs import Progress
from shared.storage import Storage
from worker.engine.classifier import Classifier
from worker.engine.plan import Plan, as_planned, measure_plan
from worker.heartbeat import Heartbeat
from worker.networks import Loaded, Networks
from worker.plans import Plans, name_plan


class Lane:
    """A network that is held while jobs come and go; opened by the first of them."""

    classifier: Classifier
    climber: Classifier
    loaded: Loaded
    plan: Plan

    def __init__(
        self, networks: Networks, plans: Plans, storage: Storage, held: ExitStack, look_up: Callable[[], None]
    ) -> None:
        """A lane that nobody has entered.

        Args:
            held: Gives everything back when the worker leaves.
            look_up: Called before every pass through the network: a map may take hundreds between two steps.
        """
        self._networks = networks
        self._plans = plans
        self._storage = storage
        self._held = held
        self._look_up = look_up
        self._pools: dict[str, Any] = {}
        self._release: Release | None = None

    def open(self, release: Release, heartbeat: Heartbeat) -> None:
        """Loads the network and finds its plan, if nobody has.

        Raises:
            UnloadableModel: It cannot be built, or is not what it was.
        """
        if self._release is not None:
            return
        opened = self._networks.open(release, partial(report_load, heartbeat))
        self.classifier, self.loaded = self._held.enter_context(opened)
        describe_or_compare(self._storage, release, self.loaded)
        self._held.enter_context(watched(self.classifier.network, self._look_up))
        name = name_plan(self.loaded.sha256, self.classifier)
        self.plan = self._plans.find(name, partial(measure_plan, self.classifier))
        self.climber = as_planned(self.classifier, self.plan)
        self._release = release

    def open_judge(self, release: Release, heartbeat: Heartbeat) -> AbstractContextManager[tuple[Classifier, Loaded]]:
        """A network that says what it sees in a job's results."""
        return self._networks.open(release, partial(report_load, heartbeat))

    @property
    def batch(self) -> int:
        """Places in a batch; none before the network is here."""
        return self.plan.batch if self._release is not None else 0

    def pool(self, name: str, make: Callable[[], Any]) -> Any:
        """What jobs compute together, by its name; made if there is none yet."""
        if name not in self._pools:
            self._pools[name] = make()
        return self._pools[name]


@contextmanager
def watched(network: nn.Module, look_up: Callable[[], None]) -> Iterator[None]:
    """Calls `look_up` before every pass through the network, until the block ends."""
    hook = network.register_forward_pre_hook(lambda *_: look_up())
    try:
        yield
    finally:
        hook.remove()


def report_load(heartbeat: Heartbeat, done: int, total: int) -> None:
    """Shows how much of a network's weights has been fetched, where they lie elsewhere; a cancellation stops it."""
    heartbeat.report(Progress(done=done // 1_000_000, total=total // 1_000_000, unit="megabyte"))


def describe_or_compare(storage: Storage, release: Release, loaded: Loaded) -> None:
    """Describes a release that no worker has; raises `UnloadableModel` where its weights are not those it had then."""
    described = storage.load_description(release.name, release.release)
    if described is None:
        storage.save_description(release.name, release.release, loaded.description)
        return
    has_file = release.weights is not None or release.key is not None or release.published
    if has_file and described.sha256 != loaded.sha256:
        raise UnloadableModel(
            f"the weights of {release.reference} have changed from {described.sha256[:16]}… to {loaded.sha256[:16]}…; "
            "releases never change: put them back, or give the new ones a release of their own"
        )
