"""The context of a worker process: its connections, networks and settings, set up once."""

import threading
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field

import torch

from shared.catalogue.catalogue import Catalogue
from shared.queue.claims import Claims
from shared.settings import Settings
from shared.state.job_index import JobIndex
from shared.state.locks import Locks
from shared.state.redis_client import RedisClient
from shared.storage.job_store import JobStore
from shared.storage.outbox import Outbox
from worker.models.loader import ModelCache
from worker.models.plan_cache import PlanCache
from worker.output.artifacts import UPLOADS


def create_uploads() -> Executor:
    """Creates the threads that store artifacts."""
    return ThreadPoolExecutor(UPLOADS, thread_name_prefix="upload")


@dataclass(frozen=True)
class WorkerContext:
    """The context of a worker process.

    Attributes:
        owner: Name of this process in claims.
        uploads: Threads that store artifacts.
        stopping: Set when the worker must return its shards and stop.
    """

    settings: Settings
    redis_client: RedisClient
    job_index: JobIndex
    locks: Locks
    claims: Claims
    storage: JobStore
    outbox: Outbox
    catalogue: Catalogue
    networks: ModelCache
    plans: PlanCache
    device: torch.device
    owner: str = "worker"
    uploads: Executor = field(default_factory=create_uploads)
    stopping: threading.Event = field(default_factory=threading.Event)
