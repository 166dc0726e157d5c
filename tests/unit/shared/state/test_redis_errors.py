"""Causes of errors of Redis, by the texts that servers send."""

import pytest
import redis

from shared.errors import Refused
from shared.state.redis_errors import explain


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("WRONGPASS invalid username-password pair or user is disabled.", "password"),
        ("Authentication required.", "password"),
        ("this user has no permissions to run the 'set' command", "permission"),
        ("command not allowed when used memory > 'maxmemory'.", "memory"),
        ("MISCONF Redis is configured to save RDB snapshots, but it's unable to persist to disk.", "disk"),
        ("You can't write against a read only replica.", "replica"),
        ("MOVED 3999 127.0.0.1:6381", "cluster mode"),
        ("Keys in request don't hash to the same slot", "cluster mode"),
        ("Redis is loading the dataset in memory", "loading"),
        ("max number of clients reached", "maxclients"),
    ],
)
def test_the_cause_of_a_refusal_is_named(text: str, cause: str) -> None:
    problem = explain(redis.ResponseError(text))
    assert isinstance(problem, Refused)
    assert cause in problem.detail


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("Error 111 connecting to 127.0.0.1:1. Connection refused.", "refused"),
        ("Error -2 connecting to redis.invalid:6379. Name or service not known.", "DNS"),
        ("Timeout reading from 127.0.0.1:6379", "in time"),
        ("Error 1 connecting: certificate verify failed", "TLS"),
    ],
)
def test_the_cause_of_a_broken_connection_is_named(text: str, cause: str) -> None:
    problem = explain(redis.ConnectionError(text))
    assert not isinstance(problem, Refused)
    assert cause in problem.detail
