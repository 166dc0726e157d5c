"""A client of the real Redis that measures the CPU time of each call, and waits for its turn on the simulated clock."""

import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.scale.clock import SimulatedClock
from benchmarks.scale.redis_server import RedisServer
from shared.queue.claims import Claims
from shared.state.redis_client import RedisClient

if TYPE_CHECKING:
    import redis

NETWORK_SECONDS = 0.0002
"""Time of a call on the network of a data center, there and back."""


@dataclass
class CallCosts:
    """What the calls of one kind cost.

    Attributes:
        cpu: CPU seconds of Redis, for each call.
        waits: Seconds until the answer, for each call: the calls before it, the call itself, the network.
    """

    cpu: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)


class RedisMeter:
    """Measures calls, and simulates that Redis makes one after the other.

    Attributes:
        costs: What calls have cost since the last `reset`, by their kind.
    """

    def __init__(self, server: RedisServer, clock: SimulatedClock) -> None:
        self._server, self._clock = server, clock
        self._free_at = clock.seconds
        self._depth = 0
        self.costs: defaultdict[str, CallCosts] = defaultdict(CallCosts)

    def reset(self) -> None:
        """Forgets what was measured, and which calls wait."""
        self.costs.clear()
        self._free_at = self._clock.seconds

    @contextmanager
    def call(self, kind: str) -> Iterator[None]:
        """Measures the calls of a `with` block; a block inside another one belongs to it."""
        if self._depth:
            yield
            return
        self._server.set_clock()
        self._depth, began = 1, self._server.read_cpu_seconds()
        try:
            yield
        finally:
            self._depth = 0
            wait = self._take_turn(kind, self._server.read_cpu_seconds() - began)
        self._clock.sleep(wait)

    def _take_turn(self, kind: str, cpu: float) -> float:
        self._free_at = max(self._free_at, self._clock.seconds) + cpu
        wait = self._free_at - self._clock.seconds + NETWORK_SECONDS
        self.costs[kind].cpu.append(cpu)
        self.costs[kind].waits.append(wait)
        return wait


class MeteredRedisClient(RedisClient):
    """The client of the service, with a meter."""

    def __init__(self, server: RedisServer, meter: RedisMeter) -> None:
        super().__init__(server.settings)
        self.meter = meter

    @contextmanager
    def connection(self) -> Iterator["redis.Redis"]:
        """As that of the service; the kind of the call is the name of the function that makes it."""
        caller = sys._getframe(2).f_code  # below this generator and its context manager
        with self.meter.call(caller.co_qualname), super().connection() as redis:
            yield redis


class MeteredClaims(Claims):
    """The claims of the service; the kind of a call is the name of its script."""

    def __init__(self, redis_client: MeteredRedisClient) -> None:
        super().__init__(redis_client)
        self._meter = redis_client.meter

    def _run(self, script: str, keys: list[str], arguments: list[str | int]) -> object:
        with self._meter.call(script):
            return super()._run(script, keys, arguments)
