"""Submits jobs without the API, and pauses the worker of a stack."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from deploy.local import Stack
from shared.queue.celery_app import create_broker, send_job
from shared.queue.claims import Claim, Claims
from shared.state.job_ids import new_job_id
from shared.state.job_index import JobIndex
from shared.state.redis_client import RedisClient
from shared.storage.job_store import JobStore
from shared.storage.s3 import Bucket
from tests.support.jobs import make_spec

VALID: dict[str, Any] = {"method": "class_model", "model": "shapes@1", "targets": ["lemon"], "params": {"steps": 2}}


class Backdoor:
    """Submits jobs without the API: it writes them to the store, to Redis and to the queue."""

    def __init__(self, stack: Stack) -> None:
        self.settings = stack.settings
        self.storage = JobStore(Bucket(stack.settings))
        self.redis_client = RedisClient(stack.settings)
        self.job_index = JobIndex(self.redis_client)
        self.claims = Claims(self.redis_client)
        self.broker = create_broker(stack.settings)

    def submit(self, request: Any = VALID, *, send: bool = True, lane: str = "shapes@1/backdoor") -> str:
        """Submits a request, which may be invalid, or bytes instead of a request; returns the id of the job."""
        job_id = new_job_id()
        spec = make_spec(lane=lane).model_copy(update={"request": request})
        body = spec.model_dump_json().encode() if isinstance(request, dict) else request
        self.storage.bucket.put(f"open/{job_id}", b"", media_type="text/plain")
        self.storage.bucket.put(f"jobs/{job_id}/request.json", body, media_type="application/json")
        self.claims.create(job_id, make_spec(lane=lane))
        if send:
            send_job(self.broker, job_id, "interactive")
        return job_id

    def claim(self, job_id: str, lane: str) -> Claim:
        """Claims a job that has a lane of its own, as a worker that dies at once."""
        claim = self.claims.claim("a worker that dies now", lane=lane, room=10)
        assert claim is not None
        assert claim.job_id == job_id
        return claim


@contextmanager
def paused_workers(stack: Stack) -> Iterator[None]:
    """Stops the worker of the stack until the block ends."""
    stack.processes.send("worker", signal.SIGSTOP)
    try:
        yield
    finally:
        stack.processes.send("worker", signal.SIGCONT)
