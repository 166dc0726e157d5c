"""A worker that runs lanes in the process of the test."""

import io
import threading
import time
import zipfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import redis
import torch
from PIL import Image

from archetype.contract.job import Job, State, now
from deploy.local import Stack
from shared.catalogue.catalogue import load_catalogue
from shared.media.archive import count_images, describe_archive
from shared.media.image import ImageFacts
from shared.queue.celery_app import create_broker
from shared.queue.claims import Claims
from shared.queue.lanes import name_lane
from shared.queue.sharding import split_job
from shared.settings import Settings
from shared.state.job_ids import new_job_id
from shared.state.job_index import JobIndex
from shared.state.locks import Locks
from shared.state.redis_client import RedisClient
from shared.storage.documents import JobSpec, Manifest
from shared.storage.job_store import JobStore
from shared.storage.outbox import Outbox
from shared.storage.s3 import Bucket
from shared.validation.request import check_request, parse_request
from shared.validation.stored_request import dump_stored
from tests.conftest import write_catalogue
from tests.support.run_method import encode, noise
from worker.engine.model.plan.execution_plan import ExecutionPlan
from worker.execution.lane_runner import run_next_lane
from worker.execution.recovery import LeaseMonitor, Recovery
from worker.execution.worker_context import WorkerContext
from worker.models.loader import Loader, ModelCache
from worker.models.plan_cache import PlanCache

CPU = torch.device("cpu")
QUICK = {"steps": 12, "frames": 3}

FAULTY_MODELS = """
[[model]]
name = "greedy"
architecture = "factory:greedy"
classes = ["one", "two", "three"]
preprocessing = { size = [16, 16] }

[[model]]
name = "picky"
architecture = "factory:picky"
classes = ["one", "two", "three"]
preprocessing = { size = [16, 16] }
"""


class FixedPlans(PlanCache):
    """Batches of eight on every machine; the measured seconds differ each time, as they do between machines."""

    def find(self, _key: str, _known: object = None) -> ExecutionPlan:
        return ExecutionPlan("float32", 8, time.monotonic())

    def is_due(self, _key: str, _seconds: float = 0.0) -> bool:
        return False


class LaneWorkplace:
    """A worker without a Celery process, with a Redis database and a bucket of its own."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        url = stack.settings.redis_url.removesuffix("/0") + "/9"
        self.settings = stack.settings.model_copy(
            update={
                "redis_url": url,
                "s3_bucket": "lane-tests",
                "lane_seconds": 60,
                "checkpoint_seconds": 1000,
                "max_attempts": 3,
            }
        )
        self.redis = redis.Redis.from_url(url)
        self.redis.flushdb()
        bucket = Bucket(self.settings)
        bucket.create()
        self.redis_client, self.storage = RedisClient(self.settings), JobStore(bucket)
        self.job_index = JobIndex(self.redis_client)
        self.claims = Claims(self.redis_client)
        factories = {
            **self.settings.factories,
            "greedy": "tests.support.networks:greedy",
            "picky": "tests.support.networks:picky",
        }
        path = write_catalogue(folder)
        path.write_text(path.read_text() + FAULTY_MODELS)
        self.catalogue = load_catalogue(path)
        self.networks = ModelCache(Loader(factories), device=CPU)
        self.stopping = threading.Event()

    def worker_context(self, **settings: Any) -> WorkerContext:
        """Returns the context of the worker, with some settings changed."""
        return WorkerContext(
            settings=self.settings.model_copy(update=settings),
            redis_client=self.redis_client,
            job_index=self.job_index,
            locks=Locks(self.redis_client),
            claims=self.claims,
            storage=self.storage,
            outbox=Outbox(self.redis_client, self.storage.bucket),
            catalogue=self.catalogue,
            networks=self.networks,
            plans=FixedPlans(None),
            device=CPU,
            stopping=self.stopping,
        )

    def recovery(self, settings: Settings) -> Recovery:
        """Returns a recovery of the same jobs with its own connections."""
        redis_client, bucket = RedisClient(settings), Bucket(settings)
        return Recovery(
            settings=settings,
            redis_client=redis_client,
            job_index=JobIndex(redis_client),
            locks=Locks(redis_client),
            claims=Claims(redis_client),
            storage=JobStore(bucket),
            outbox=Outbox(redis_client, bucket),
            broker=create_broker(settings),
            leases=LeaseMonitor(settings.lease_seconds),
        )

    def submit(
        self,
        targets: Any = None,
        model: str = "grey",
        seconds: float = 600,
        tenant: str = "default",
        keys: Sequence[str] = (),
        **body: Any,
    ) -> str:
        """Submits a job as the API does; returns its id. `keys` are those of the images under a prefix."""
        classes = {} if targets is None else {"targets": targets}
        params = QUICK if body.get("method", "class_model") == "class_model" else {}
        body = {"method": "class_model", "model": model, "params": params, **classes, **body}
        checked = check_request(
            parse_request(body),
            self.catalogue,
            self.storage,
            self.storage.of("default"),
            prefixes=self.settings.picture_prefixes,
        )
        split = split_job(checked.request, checked.targets, keys or checked.images)
        lane = name_lane(checked.request, checked.release.identity)
        return self.place(dump_stored(checked.request), lane, seconds=seconds, tenant=tenant, **split.stored_fields)

    def place(
        self,
        request: dict[str, Any],
        lane: str,
        *,
        seconds: float = 600,
        tenant: str = "default",
        **fields: Any,
    ) -> str:
        """Stores and queues a request as it is; returns the id of its job."""
        spec = JobSpec(
            tenant=tenant,
            request=request,
            lane=lane,
            **{"shards": [1], "weight": 1, **fields},
            created_at=now(),
            deadline=now() + timedelta(seconds=seconds),
        )
        self.storage.save_spec(job_id := new_job_id(), spec)
        self.claims.create(job_id, spec)
        return job_id

    def work(self, **settings: Any) -> int:
        """Runs lanes until no shard is left, also of those that wait for a while; returns how many lanes."""
        runs = 0
        while self.claims.is_waiting() or self.end_waits():
            run_next_lane(self.worker_context(**settings))
            runs += 1
            assert runs < 20
        return runs

    def end_waits(self) -> int:
        """Puts the shards that wait for a while back into the queue now; returns how many."""
        with self.redis_client.connection() as connection:
            for ref in connection.zrange("archetype:parked", 0, -1):
                connection.zadd("archetype:parked", {ref: 0})
        return self.claims.unpark()

    def result(self, job_id: str) -> Job:
        """Returns a job that has ended, as its manifest has it."""
        return self.manifest(job_id).job

    def manifest(self, job_id: str) -> Manifest:
        """Returns the manifest of a job that has ended."""
        manifest = self.storage.load_manifest(job_id)
        assert manifest is not None, self.job_index.find(job_id)
        return manifest

    def files(self, job_id: str) -> dict[str, bytes]:
        """Returns the images and arrays of a successful job, by name."""
        manifest = self.manifest(job_id)
        assert manifest.job.state is State.SUCCEEDED, manifest.job.error
        return {
            name: self.storage.bucket.get(key)
            for name, key in manifest.keys.items()
            if name.endswith((".png", ".npz", ".gif")) and name != "contact-sheet.png"
        }

    def upload(self, seed: int) -> str:
        """Uploads an image of noise; returns its id."""
        return self.storage.of("default").save_image(encode(noise(28, 28, 1, seed=seed)), ImageFacts("PNG", 28, 28)).id

    def upload_archive(self, members: dict[str, bytes]) -> str:
        """Uploads an archive of files, by name; returns its id."""
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        facts = describe_archive(file, count_images)
        self.storage.of("default").save_archive(file, facts)
        return facts.id

    def lose_lease(self) -> None:
        """Returns the only shard that is claimed to the queue, as the recovery does after its lease has expired."""
        (ref, beat), *_ = self.claims.leases().items()
        assert self.claims.release(ref, beat, max_attempts=3)


def assert_same_files(ours: dict[str, bytes], theirs: dict[str, bytes]) -> None:
    """Asserts equal names, and images that differ by at most two levels, because batches round differently."""
    assert set(ours) == set(theirs)
    for name in ours:
        if name.endswith(".png") and "curve" not in name:
            assert np.abs(_read_pixels(ours[name]) - _read_pixels(theirs[name])).max() <= 2, name


def _read_pixels(data: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(data)), np.int16)
