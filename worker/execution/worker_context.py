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

BACKGROUND = 16
"""Jobs whose requests are read or whose results are stored at the same time, while the GPU computes others."""


def create_uploads() -> Executor:
    """Creates the threads that store artifacts."""
    return ThreadPoolExecutor(UPLOADS, thread_name_prefix="upload")


def create_background() -> Executor:
    """Creates the threads that read requests and store results."""
    return ThreadPoolExecutor(BACKGROUND, thread_name_prefix="background")


@dataclass(frozen=True)
class WorkerContext:
    """The context of a worker process.

    Attributes:
        owner: Name of this process in claims.
        uploads: Threads that store artifacts.
        background: Threads that read requests and store results. They wait for `uploads`.
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
    background: Executor = field(default_factory=create_background)
    stopping: threading.Event = field(default_factory=threading.Event)
