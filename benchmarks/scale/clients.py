"""The simulated clients: tenants that submit, read and list jobs through the code of the API."""

import random
from dataclasses import dataclass, field

from api.dependencies import Services
from api.services.submit_job import accept
from benchmarks.scale.clock import SimulatedClock
from benchmarks.scale.metered_redis import RedisMeter
from benchmarks.scale.mix import draw_job
from shared.errors import LimitReached, QueueFull
from shared.state.job_ids import new_job_id
from shared.storage.api_keys import Caller

READS = 5
"""How often a client reads the state of its job."""

READ_SECONDS = 2.0
"""Time between two of them."""

LISTS_PER_JOB = 0.1


@dataclass
class Clients:
    """Clients of all tenants.

    Attributes:
        accepted: Ids of accepted jobs.
        refused: Number of refused submissions.
        submits: Seconds of each accepted submission, without the parsing of its body.
        lists: Seconds of each list of a tenant's newest jobs.
    """

    clock: SimulatedClock
    services: Services
    meter: RedisMeter
    generator: random.Random
    accepted: list[str] = field(default_factory=list)
    refused: int = 0
    submits: list[float] = field(default_factory=list)
    lists: list[float] = field(default_factory=list)

    def reset(self) -> None:
        """Forgets what was counted."""
        self.accepted.clear()
        self.submits.clear()
        self.lists.clear()
        self.refused = 0

    def arrive(self, rate: float) -> None:
        """Sends jobs at random times, for ever: so many per second."""
        while True:
            self.clock.sleep(self.generator.expovariate(rate))
            self.clock.spawn(self.follow_job)

    def follow_job(self) -> None:
        """Submits a job, and reads its state some times."""
        job_id, tenant = self.submit()
        if self.generator.random() < LISTS_PER_JOB:
            began = self.clock.seconds
            self.services.job_index.page(tenant, filters={}, limit=50, after=None)
            self.lists.append(self.clock.seconds - began)
        for _ in range(READS if job_id else 0):
            self.clock.sleep(READ_SECONDS)
            self.services.job_index.find(job_id)

    def submit(self) -> tuple[str, str]:
        """Submits a job; returns its id, which is empty if it was refused, and its tenant."""
        moment, began = self.services.redis_client.now(), self.clock.seconds
        spec, job_id = draw_job(self.generator, moment), new_job_id(moment)
        try:
            accept(job_id, spec, Caller(tenant=spec.tenant), self.services)
        except (QueueFull, LimitReached):
            self.refused += 1
            return "", spec.tenant
        self.submits.append(self.clock.seconds - began)
        self.accepted.append(job_id)
        return job_id, spec.tenant
