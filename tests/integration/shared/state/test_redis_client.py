"""The Redis client, with and without a server."""

import pytest

from shared.errors import Unavailable
from shared.settings import Settings
from shared.state.redis_client import RedisClient


def test_a_redis_that_does_not_answer_is_unavailable(settings: Settings) -> None:
    RedisClient(settings).ping()
    unreachable = RedisClient(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}))
    with pytest.raises(Unavailable, match="Redis"):
        unreachable.ping()
