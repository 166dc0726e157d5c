"""The network of a lane: loaded once, and shared by all jobs that run in the lane."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import structlog

from archetype.contract.job import Progress
from archetype.contract.model import Description
from shared.catalogue.release import Release
from shared.errors import UnloadableModel
from shared.storage.job_store import JobStore
from worker.engine.model.classifier import Classifier
from worker.engine.model.plan.autotune import measure_plan
from worker.engine.model.plan.execution_plan import ExecutionPlan, apply_plan, choose_first_plan
from worker.execution.heartbeat import Heartbeat
from worker.execution.interruption import Interrupted
from worker.models.loader import LoadedModel, ModelCache
from worker.models.plan_cache import MAX_LOAD, PlanCache, name_plan
from worker.models.tensor_digest import add_tensor_digest
from worker.models.trial import try_network

log = structlog.get_logger()

MEASURE_SECONDS = 120.0
"""A measurement of an execution plan that takes longer is given up: jobs may wait."""


class Lane:
    """The network of a lane and its batch executors. The first job opens it; it closes when the worker leaves.

    Attributes:
        classifier: The network in float32.
        fast_classifier: The network in the precision of its plan.
        loaded: The loaded model that `classifier` uses.
        plan: The execution plan: precision and batch size.
    """

    classifier: Classifier
    fast_classifier: Classifier
    loaded: LoadedModel
    plan: ExecutionPlan

    def __init__(
        self,
        networks: ModelCache,
        plans: PlanCache,
        storage: JobStore,
        resources: ExitStack,
        check_interrupted: Callable[[], None],
    ) -> None:
        """Creates a lane that is not open.

        Args:
            networks: Loads the networks.
            plans: Finds the execution plan.
            storage: Where descriptions of releases are stored.
            resources: Closes the network when the worker leaves the lane.
            check_interrupted: Called before every forward pass, because a method may run hundreds between two yields.
        """
        self._networks = networks
        self._plans = plans
        self._storage = storage
        self._resources = resources
        self._check_interrupted = check_interrupted
        self._executors: dict[str, Any] = {}
        self._release: Release | None = None
        self._plan_name = ""
        self._opened_at = 0.0

    def open(self, release: Release, heartbeat: Heartbeat) -> None:
        """Loads the network and chooses its execution plan, unless the lane is open.

        Raises:
            UnloadableModel: The network cannot be built, or its weights have changed.
        """
        if self._release is not None:
            if release.identity != self._release.identity:  # the jobs of a lane have one network
                raise UnloadableModel(f"the lane computes {self._release.identity}, not {release.identity}")
            return
        opened = self._networks.open(release, partial(report_download, heartbeat))
        classifier, self.loaded = self._resources.enter_context(opened)
        self.classifier = replace(classifier, before_pass=self._check_interrupted)
        description = describe_or_compare(self._storage, release, self.classifier, self.loaded)
        self._plan_name = name_plan(self.loaded.sha256, release, self.classifier)
        self.plan = self._plans.find(self._plan_name, description.plans) or choose_first_plan(self.classifier)
        self.fast_classifier = apply_plan(self.classifier, self.plan)
        self._release, self._opened_at = release, time.monotonic()

    def must_measure(self) -> bool:
        """Whether the network has been used for so long that its plan is worth measuring."""
        return self._release is not None and self._plans.is_due(self._plan_name, time.monotonic() - self._opened_at)

    def leave(self) -> None:
        """Measures the execution plan of the network for the next lane, if that is worth it; no job may run."""
        if self._release is None:
            return
        self._plans.note_use(self._plan_name, time.monotonic() - self._opened_at)
        if not self._plans.is_due(self._plan_name):
            return
        self._executors.clear()  # their memory is needed
        try:
            plan = self._plans.measure(self._plan_name, partial(measure_plan, self._limit(MEASURE_SECONDS)))
            if plan is not None and plan.load <= MAX_LOAD:
                self._store_plan(self._release, plan)
        except Interrupted:
            log.info("plan.interrupted", model=self._release.reference)
        except Exception as error:  # the jobs have ended, with the plan that the network started with
            log.warning("plan.unmeasured", model=self._release.reference, error=f"{type(error).__name__}: {error}")

    def _limit(self, seconds: float) -> Classifier:
        """The network, which raises `Interrupted` before a pass that would begin after so many seconds."""
        ends_at = time.monotonic() + seconds

        def check() -> None:
            self._check_interrupted()
            if time.monotonic() > ends_at:
                raise Interrupted

        return replace(self.classifier, before_pass=check)

    def _store_plan(self, release: Release, plan: ExecutionPlan) -> None:
        """Stores a plan with its release, for workers on other machines."""
        described = self._storage.load_description(release)
        if described is not None and self._plan_name not in described.plans:
            plans = {**described.plans, self._plan_name: asdict(plan)}
            self._storage.save_description(release, described.model_copy(update={"plans": plans}))

    def open_evaluator(
        self, release: Release, heartbeat: Heartbeat
    ) -> AbstractContextManager[tuple[Classifier, LoadedModel]]:
        """Opens a network that classifies the results of a job."""
        return self._networks.open(release, partial(report_download, heartbeat))

    @property
    def batch(self) -> int:
        """Number of places in a batch; 0 before the network is loaded."""
        return self.plan.batch if self._release is not None else 0

    def executor(self, name: str, make: Callable[[], Any]) -> Any:
        """Returns the batch executor with this name, which is made on the first call."""
        if name not in self._executors:
            self._executors[name] = make()
        return self._executors[name]


def report_download(heartbeat: Heartbeat, done: int, total: int) -> None:
    """Reports how many megabytes of a network's weights have been fetched; raises if the job was cancelled."""
    heartbeat.report(Progress(done=done // 1_000_000, total=total // 1_000_000, unit="megabyte"))


def describe_or_compare(
    storage: JobStore, release: Release, classifier: Classifier, loaded: LoadedModel
) -> Description:
    """Tries a release that was not tried yet, and stores its description; otherwise compares its weights with it.

    Returns:
        The description.

    Raises:
        UnloadableModel: The weights are not those that were described, or the network does not work.
    """
    described = storage.load_description(release)
    has_file = release.weights is not None or release.key is not None or release.published
    if described is not None and has_file and described.sha256 != loaded.sha256:
        raise UnloadableModel(
            f"the weights of {release.reference} have changed from {described.sha256[:16]}… to {loaded.sha256[:16]}…; "
            "releases never change: put them back, or give the new ones a release of their own"
        )
    if described is None or described.capabilities is None:  # the latter by an earlier version
        described = add_tensor_digest(try_network(classifier, loaded.description, release), loaded.network)
        storage.save_description(release, described)
    elif "tensors" not in described.model_fields_set:  # an earlier version described it
        described = add_tensor_digest(described, loaded.network)
        storage.save_description(release, described)
    return described
