"""What each part of the service may do in Redis and in the store, and which secrets it gets.

`deploy/setup.py` writes Redis users, IAM policies and folders of secrets from these tables; `deploy/store_guard.py`
applies them to a store without policies. The API has all rights of the service. The tables name those of the others.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from shared.settings import Settings
from shared.storage.layout import PREFIXES
from shared.validation.store_keys import TENANT


class Role(StrEnum):
    """A part of the service with credentials of its own."""

    API = "api"
    SCHEDULER = "scheduler"
    WORKER = "worker"
    WEBHOOK_SENDER = "webhook-sender"

    @property
    def account(self) -> str:
        """Name of the role's user in Redis and of its access key in the store."""
        return "archetype" if self is Role.API else f"archetype-{self}"


class Access(StrEnum):
    """What a role may do with the objects under a prefix, besides listing and reading them."""

    READ = "read"
    DELETE = "delete"
    WRITE = "write"


READ, DELETE, WRITE = Access
API, SCHEDULER, WORKER, WEBHOOK_SENDER = Role

STORE: dict[str, dict[Role, Access]] = {
    "open": {SCHEDULER: WRITE, WORKER: WRITE},
    "keys": {SCHEDULER: WRITE, WORKER: DELETE},  # a worker deletes what is older than the retention
    "jobs": {SCHEDULER: WRITE, WORKER: WRITE},
    "history": {SCHEDULER: READ, WORKER: WRITE},
    "expired": {SCHEDULER: READ, WORKER: WRITE},
    "images": {SCHEDULER: READ, WORKER: DELETE},
    "archives": {SCHEDULER: READ, WORKER: DELETE},
    "models": {SCHEDULER: READ, WORKER: WRITE},
    "weights": {SCHEDULER: WRITE, WORKER: READ},  # the scheduler imports versions of a registry
    "audits": {SCHEDULER: WRITE},
    "members": {SCHEDULER: WRITE},
    "searches": {WORKER: WRITE},
    "releases": {SCHEDULER: WRITE, WORKER: WRITE},
    "schedules": {SCHEDULER: WRITE},
    "outcomes": {SCHEDULER: WRITE},
    "imports": {SCHEDULER: WRITE},
    "writebacks": {SCHEDULER: WRITE},
    "outbox": {SCHEDULER: WRITE, WORKER: WRITE, WEBHOOK_SENDER: WRITE},
    "deliveries": {SCHEDULER: WRITE, WORKER: WRITE, WEBHOOK_SENDER: WRITE},
    "access/keys": {SCHEDULER: READ},
    "access/webhooks": {WEBHOOK_SENDER: WRITE},
    "setup": {},
}
"""The access of each role by prefix. A role that is not listed has no access. The API has access to all."""

SECRETS: dict[str, Role | None] = {
    "operator_token": API,
    "metrics_token": API,
    "mlflow_secret": API,
    "signing_key": API,
    "mlflow_token": SCHEDULER,
    "s3_session_token": None,  # belongs to access keys that another system creates
}
"""The only role that gets a secret setting. All roles get passwords of their own for Redis and the store."""

QUEUES = ("interactive*", "bulk*", "releases*", "worker.*", "_kombu.*", "unacked*", "*.pidbox*")
"""Patterns of the Redis keys of Celery's queues."""

REDIS_NAMES: dict[Role, tuple[str, ...]] = {
    WORKER: (
        *(
            "alone",
            "counters",
            "deadlines",
            "deliveries",
            "events",
            "held",
            "history",
            "job",
            "lanes",
            "leases",
            "list",
            "outbox",
        ),
        *(
            "parked",
            "pending",
            "place",
            "releases",
            "served",
            "share",
            "state",
            "stored",
            "targets",
            "thumbnail",
            "tries",
            "turn",
            "turns",
        ),
        *("worker", "workers"),
    ),
    WEBHOOK_SENDER: ("alone", "counters", "deliveries", "outbox"),
}
"""The keys of a role: each is the part after `archetype:`, up to the next colon. Other roles have all keys."""

COMMANDS = """
    auth hello select ping info multi exec watch unwatch evalsha script|load script|exists
    get set mget incr incrby decrby expire pexpire pttl exists del time
    hget hset hsetnx hmget hgetall hdel hincrby hincrbyfloat sadd srem smembers srandmember
    zadd zrem zcard zscore zmscore zincrby zrange zrevrange zrangebyscore zremrangebyrank
    lpush rpush brpop rpop llen lindex ltrim publish psubscribe punsubscribe unsubscribe xadd xread xrevrange
"""
"""Commands that the service and its libraries call. None of them empties, stops or configures the server, or shows the
commands of others."""


HELD_BY_THE_API = "only the API has the token"
"""What the scheduler has as operator token: it needs to know that there is an operator, whose schedules it runs."""


def list_key_patterns(role: Role) -> tuple[str, ...]:
    """Returns the patterns of the Redis keys of a role."""
    names = REDIS_NAMES.get(role)
    if names is None:
        return ("archetype:*", "LIMITS:*", *QUEUES)
    ours = tuple(pattern for name in names for pattern in (f"archetype:{name}", f"archetype:{name}:*"))
    return ours if role is WEBHOOK_SENDER else (*ours, *QUEUES)


def make_redis_user(role: Role, password: str) -> str:
    """Returns the line of a role in an ACL file of Redis."""
    keys = " ".join(f"~{pattern}" for pattern in list_key_patterns(role))
    channels = "resetchannels" if role is WEBHOOK_SENDER else "resetchannels &*"
    commands = " ".join(f"+{command}" for command in COMMANDS.split())
    return f"user {role.account} on >{password} resetkeys {keys} {channels} -@all {commands}\n"


def list_prefixes(role: Role, *least: Access) -> list[str]:
    """Returns the prefixes, each with a slash at its end, to which a role has one of these kinds of access."""
    if role is API:
        return [f"{prefix}/" for prefix in PREFIXES] if WRITE in least else []
    return [f"{prefix}/" for prefix, access in STORE.items() if access.get(role) in least]


def list_operator_prefixes(role: Role, settings: Settings) -> list[str]:
    """Returns the prefixes of other objects in the bucket that a role may read; `{tenant}` stands for any tenant."""
    if role is WEBHOOK_SENDER:
        return []
    return sorted({*settings.picture_prefixes, *settings.weight_prefixes})


def make_policy(settings: Settings, role: Role = Role.API) -> dict[str, Any]:
    """Returns an IAM policy (version 2012-10-17) that allows a role access to its prefixes and to no others.

    The policy includes `s3:ListBucket`: without it, S3 answers 403 instead of 404 for a missing object, and the service
    depends on 404. A request for a missing object has no prefix, hence `StringLikeIfExists`.
    """
    statements = [{"Effect": "Allow", **statement} for statement in _list_statements(settings, role)]
    return {"Version": "2012-10-17", "Statement": statements}


def _list_statements(settings: Settings, role: Role) -> Iterator[dict[str, Any]]:
    bucket = f"arn:aws:s3:::{settings.s3_bucket}"
    change = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    others = [prefix.replace(TENANT, "*") for prefix in list_operator_prefixes(role, settings)]
    readable = sorted({*list_prefixes(role, READ, DELETE, WRITE), *others})
    groups = {
        tuple(change): list_prefixes(role, WRITE),
        ("s3:GetObject", "s3:DeleteObject"): list_prefixes(role, DELETE),
        ("s3:GetObject",): sorted({*list_prefixes(role, READ), *others}),
    }
    for actions, prefixes in groups.items():
        if prefixes:
            yield {"Action": list(actions), "Resource": [f"{bucket}/{prefix}*" for prefix in prefixes]}
    condition = {"StringLikeIfExists": {"s3:prefix": [f"{prefix}*" for prefix in readable]}}
    yield {"Action": "s3:ListBucket", "Resource": bucket, "Condition": condition}
