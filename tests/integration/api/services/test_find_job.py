"""Jobs by id: also one that ended without a manifest, because the store refused it."""

from collections.abc import Iterator

import pytest
import redis

from archetype.contract.job import State
from deploy.local import Stack
from shared.errors import JobRefused
from shared.lifecycle.finish import NO_MANIFEST, to_finished
from shared.queue.claims import Claims
from shared.settings import Settings
from shared.state.redis_client import RedisClient
from shared.storage.documents import Manifest
from tests.support.callers import make_app_client
from tests.support.jobs import place


@pytest.fixture
def settings(stack: Stack) -> Iterator[Settings]:
    """Settings with a Redis database that no worker reads."""
    url = stack.settings.redis_url.removesuffix("/0") + "/10"
    yield stack.settings.model_copy(update={"redis_url": url})
    redis.Redis.from_url(url).flushdb()


def test_a_job_whose_manifest_the_store_refused_is_answered_with_the_reason(stack: Stack, settings: Settings) -> None:
    claims = Claims(RedisClient(settings))
    job = place(claims)
    claim = claims.claim("me")
    assert claim is not None
    failed = to_finished(job, State.FAILED, problem=JobRefused("the object store refused a call"))
    claims.finish_job(claim, Manifest(job=failed, fence=NO_MANIFEST))
    http = make_app_client(stack, redis_url=settings.redis_url)
    for path in (f"/v1/jobs/{job.id}", "/v1/jobs"):
        answer = http.get(path)
        assert answer.status_code == 200
        found = answer.json if "items" not in answer.json else answer.json["items"][0]
        assert (found["id"], found["state"], found["error"]["type"]) == (job.id, "failed", "/problems/refused-by-store")
    assert http.get(f"/v1/jobs/{job.id}/artifacts/metrics.json").status_code == 404
    assert http.delete(f"/v1/jobs/{job.id}").status_code == 204
    assert http.get(f"/v1/jobs/{job.id}").status_code == 404
