"""Lists show audits as running while their jobs run, although their own job waits for these."""

from collections.abc import Iterator

import pytest
import redis

from api.dependencies import connect
from api.services.submit_audit import submit_audit
from archetype.contract.audit import NewAudit
from deploy.local import Stack
from shared.queue.claims import Claims
from shared.settings import Settings
from shared.state.redis_client import RedisClient
from shared.storage.api_keys import Caller
from tests.support.callers import make_app_client

PLAN = {
    "name": "listed",
    "classes": ["lemon"],
    "seeds": [1, 2],
    "noise_seeds": [3, 4],
    "baselines": [],
    "class_models": {"steps": 2, "extras": False},
}


@pytest.fixture
def settings(stack: Stack) -> Iterator[Settings]:
    """Settings with a Redis database that no worker reads."""
    url = stack.settings.redis_url.removesuffix("/0") + "/11"
    yield stack.settings.model_copy(update={"redis_url": url})
    redis.Redis.from_url(url).flushdb()


def test_an_audit_is_listed_as_running_from_the_start_of_its_first_job(stack: Stack, settings: Settings) -> None:
    audit = submit_audit(NewAudit.model_validate({"model": "shapes", "plan": PLAN}), connect(settings), Caller())
    http = make_app_client(stack, redis_url=settings.redis_url)

    def list_states() -> set[str]:
        listed = http.get("/v1/audits").json["items"][0]  # audits of other tests are in the store
        return {listed["state"], http.get(f"/v1/audits/{audit.id}").json["state"]}

    assert list_states() == {"queued"}
    assert "queued" in http.get("/audits").text
    assert Claims(RedisClient(settings)).claim("me") is not None
    assert list_states() == {"running"}
    assert "queued" not in http.get("/audits").text
