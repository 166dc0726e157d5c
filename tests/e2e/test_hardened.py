"""The service with TLS for all connections and with the minimal rights in Redis and the store."""

import re
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import httpx2
import pytest
import redis
import trustme
from safetensors.torch import save_file

from archetype.client import Client, ServiceError
from archetype.contract.api_key import Limits, NewKey, Scope
from archetype.contract.audit_plan import AuditPlan
from archetype.contract.job import State
from archetype.contract.parameters.class_model import ClassModelParameters
from archetype.contract.registration import NewRelease
from archetype.contract.request import ClassModel, Saliency
from archetype.contract.schedule import NewSchedule
from deploy.backup import restore, save
from deploy.credentials import make_secrets
from deploy.local import (
    API,
    SCHEDULER,
    WEBHOOK_SENDER,
    WORKER,
    Stack,
    make_environment,
)
from deploy.local_secrets import LocalSecrets
from deploy.processes import ProcessGroup
from deploy.rights import COMMANDS, Role, make_policy
from deploy.servers import HOST, find_rclone, find_redis, free_port
from deploy.setup import make_bucket
from shared.errors import Unavailable
from shared.queue.celery_app import create_broker, send_job
from shared.settings import Settings
from shared.state.redis_client import RedisClient
from shared.storage.layout import PREFIXES
from shared.storage.s3 import Bucket
from tests.chaos.proxy import Exchange, Proxy, Refused
from tests.support.paths import ROOT
from tests.support.releases import ENTRY, STATE
from tests.support.tunnel import tunnel
from tests.support.waiting import wait_until

PICTURES = ROOT / "deploy" / "pictures"
ACTIONS = {
    "GET": "s3:GetObject",
    "HEAD": "s3:GetObject",
    "PUT": "s3:PutObject",
    "POST": "s3:PutObject",
    "DELETE": "s3:DeleteObject",
}

RARE = {"auth", "select", "watch", "unwatch", "srem", "rpush", "rpop", "zmscore", "zrevrange", "zremrangebyrank"}
RARE |= {"punsubscribe", "unsubscribe"}
"""Commands that the service calls only after a fault or with a thousand jobs."""


@dataclass
class Guard:
    """Checks requests against the IAM policy of the access key that signed them, like AWS."""

    policies: dict[str, dict[str, Any]]
    refused: list[Exchange] = field(default_factory=list)

    def check(self, exchange: Exchange, bucket: str) -> None:
        """Raises `Refused` if the policy does not allow the request."""
        account = re.search(r"Credential=([^/%]+)", f"{exchange.signature}&{unquote(exchange.query)}")
        if account is None or not self.allows(exchange, bucket, account.group(1)):
            self.refused.append(exchange)
            raise Refused(403)

    def allows(self, exchange: Exchange, bucket: str, account: str = Role.API.account) -> bool:
        prefix = parse_qs(exchange.query, keep_blank_values=True).get("prefix", [None])[0]
        if exchange.key:
            action, resource = ACTIONS[exchange.method], f"arn:aws:s3:::{bucket}/{exchange.key}"
        elif exchange.method in ("GET", "HEAD"):
            action, resource = "s3:ListBucket", f"arn:aws:s3:::{bucket}"
        else:
            action, resource = "s3:CreateBucket", f"arn:aws:s3:::{bucket}"
        return any(_allows(statement, action, resource, prefix) for statement in self.policies[account]["Statement"])


def _allows(statement: dict[str, Any], action: str, resource: str, prefix: str | None) -> bool:
    prefixes = statement.get("Condition", {}).get("StringLikeIfExists", {}).get("s3:prefix", ["*"])
    return (
        action in as_list(statement["Action"])
        and any(fnmatchcase(resource, pattern) for pattern in as_list(statement["Resource"]))
        and (prefix is None or any(fnmatchcase(prefix, pattern) for pattern in prefixes))
    )


def as_list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


class Guarded(Proxy):
    """A proxy that refuses requests which the policy does not allow."""

    guard: Guard | None = None
    bucket = "archetype"

    def apply_faults(self, exchange: Exchange) -> bool:
        if self.guard is not None:
            self.guard.check(exchange, self.bucket)
        return super().apply_faults(exchange)


@dataclass(frozen=True)
class Hardened:
    """The running service, and access to its guard and its Redis as an administrator."""

    stack: Stack
    client: Client
    guard: Guard
    redis: "redis.Redis"
    settings: Settings


@pytest.fixture(scope="module")
def hardened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hardened]:
    folder = tmp_path_factory.mktemp("hardened")
    make_secrets(folder / "secrets", Settings())
    secrets = LocalSecrets(folder / "secrets")
    token = (folder / "secrets" / "api" / "archetype_operator_token").read_text()
    secrets.acl.chmod(0o600)
    with secrets.acl.open("a") as acl:
        acl.write("user watcher on nopass ~* &* +@all\n")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(tls)
    with ExitStack() as stack:
        port = free_port()
        store = stack.enter_context(Guarded(tls))
        tls_port = stack.enter_context(tunnel(port, tls))
        settings = Settings(
            redis_url=f"rediss://{HOST}:{tls_port}/0",
            s3_endpoint=store.url,
            operator_token=token,
            ca_bundle=folder / "ca.pem",
            cache=folder / "cache",
            plan_cache=folder / "plans.json",
            liveness_dir=folder / "liveness",
            factories={"small": "tests.support.networks:small"},
            scheduler_poll_seconds=1,
            sweep_seconds=0.5,
            lease_seconds=5,
        )
        of = {role: secrets.settings_of(role, settings) for role in Role}
        env = {role: make_environment(own) for role, own in of.items()}
        settings = of[Role.API]
        processes = ProcessGroup(folder, make_environment(None))
        (folder / "log").mkdir()
        (folder / "s3").mkdir()
        redis_command = [find_redis(), "--bind", HOST, "--port", str(port), "--dir", str(folder), "--save", ""]
        redis_command += ["--aclfile", str(secrets.acl), "--acllog-max-len", "1000"]
        stack.enter_context(processes.run("redis", redis_command))
        store_command = [find_rclone(), "serve", "s3", "--addr", store.upstream, "--config", "/dev/null"]
        store_env = {**processes.env, "RCLONE_AUTH_KEY": secrets.rclone_keys}
        stack.enter_context(processes.run("store", [*store_command, str(folder / "s3")], store_env))
        processes.wait_for("redis", RedisClient(settings).ping)
        make_bucket(settings)
        store.guard = Guard({role.account: make_policy(settings, role) for role in Role})
        for role, command in (
            (Role.WORKER, WORKER),
            (Role.WEBHOOK_SENDER, WEBHOOK_SENDER),
            (Role.SCHEDULER, SCHEDULER),
        ):
            stack.enter_context(processes.run(role, command, env[role]))
        api_port = free_port()
        stack.enter_context(processes.run("api", [*API, "--bind", f"{HOST}:{api_port}"], env[Role.API]))
        url = f"http://{HOST}:{api_port}"
        watcher = stack.enter_context(redis.Redis(port=port, username="watcher", decode_responses=True))
        client = stack.enter_context(Client(url, key=token, timeout=60))
        wait_until(lambda: is_ready(client), 90)
        yield Hardened(Stack(url, settings, processes), client, store.guard, watcher, settings)


def is_ready(client: Client) -> bool:
    try:
        return set(client.health().values()) == {"ok"}
    except (ServiceError, httpx2.HTTPError):
        return False


def make_request(steps: int = 8, **more: Any) -> ClassModel:
    params = ClassModelParameters(steps=steps, extras=False)
    return ClassModel(method="class_model", model="shapes", targets=["lemon", "bee"], params=params, **more)


def test_the_service_may_do_everything_that_it_does(hardened: Hardened, tmp_path: Path) -> None:
    client = hardened.client
    job = client.wait(client.submit(make_request()).id, timeout=400)
    assert job.state is State.SUCCEEDED
    assert client.fetch(job.artifacts[0])
    image = client.upload((PICTURES / "bee.png").read_bytes())
    assert client.wait(client.submit(Saliency(method="saliency", model="shapes", images=[image.id])).id).error is None

    save_file(STATE, tmp_path / "weights.safetensors")
    client.register(NewRelease(**ENTRY, upload=client.upload_weights(tmp_path / "weights.safetensors")))
    plan = AuditPlan.model_validate({"name": "small", "classes": ["one"], "class_models": {"steps": 8}})
    schedule = client.schedule(NewSchedule(model="mine", plan=plan, cron="0 4 * * *"))
    wait_until(lambda: client.get_schedule(schedule.id).outcomes, 90)
    audit = client.get_schedule(schedule.id).outcomes[0].audit
    assert audit is not None
    *_, ended = client.watch_audit(audit, timeout=400)
    assert ended.error is None

    limited = client.issue_key(
        NewKey(tenant="other", scopes=[Scope.SUBMIT, Scope.READ], limits=Limits(submits_per_minute=5))
    )
    with Client(hardened.stack.url, key=limited.token, timeout=60) as other:
        cancelled = other.submit(make_request(3000))
        wait_until(lambda: other.job(cancelled.id).state is State.RUNNING, 90)
        other.cancel(cancelled.id)
        assert [event.state for event in other.events(cancelled.id)][-1] is State.CANCELLED
        other.delete(cancelled.id)
        assert list(other.jobs()) == []
    client.webhook_secret()
    client.delete_schedule(schedule.id)
    client.revoke_key(limited.id)
    assert "archetype_jobs" in client.metrics()


def test_a_job_of_a_killed_worker_succeeds_with_minimal_rights(hardened: Hardened) -> None:
    job = hardened.client.submit(make_request(600))
    wait_until(lambda: hardened.client.job(job.id).progress.done > 20, 90)
    hardened.stack.processes.kill("worker")
    hardened.stack.processes.start("worker")
    ended = hardened.client.wait(job.id, timeout=400)
    assert (ended.state, ended.attempt) == (State.SUCCEEDED, 2)


def test_backup_and_restore_work_with_minimal_rights(hardened: Hardened, tmp_path: Path) -> None:
    save(hardened.settings, tmp_path)
    assert len(list(tmp_path.glob("jobs/*/manifests/*.json"))) >= 3
    assert restore(hardened.settings, tmp_path) == 0
    probes = [exchange for exchange in hardened.guard.refused if exchange.method == "HEAD" and exchange.key in PREFIXES]
    for exchange in probes:  # rclone checks whether a prefix is an object, and continues if it may not check
        hardened.guard.refused.remove(exchange)


def test_redis_and_the_store_refused_no_operation_of_the_service(hardened: Hardened) -> None:
    accounts = {role.account for role in Role}
    entries = [entry for entry in hardened.redis.acl_log() if entry["username"] in accounts]
    refused = {(entry["reason"], entry["object"]) for entry in entries}
    assert refused <= {("command", "client")}  # redis-py sends its name, and continues if it may not
    assert hardened.guard.refused == []


def test_the_service_uses_every_redis_command_that_it_may_use(hardened: Hardened) -> None:
    names = {name.partition("|")[0] for name in hardened.redis.info("commandstats")}
    used = {name.removeprefix("cmdstat_") for name in names}
    assert {name.partition("|")[0] for name in COMMANDS.split()} - used <= RARE


def test_redis_refuses_clients_without_a_login(hardened: Hardened) -> None:
    port = hardened.redis.connection_pool.connection_kwargs["port"]
    with redis.Redis(port=port) as anonymous, pytest.raises(redis.exceptions.AuthenticationError):
        anonymous.ping()
    with redis.Redis(port=port, username="health", password="-") as health:
        assert health.ping()
        with pytest.raises(redis.exceptions.NoPermissionError):
            health.get("archetype:served")


@pytest.mark.parametrize(
    "command",
    [
        "FLUSHALL",
        "FLUSHDB",
        "SHUTDOWN",
        "CONFIG GET *",
        "DEBUG SLEEP 0",
        "MONITOR",
        "ACL LIST",
        "SAVE",
        "KEYS *",
        "REPLICAOF NO ONE",
        "MODULE LIST",
        "GET other-key",
        "SET other-key 1",
        "CLIENT KILL TYPE normal",
    ],
)
def test_redis_refuses_commands_that_the_service_does_not_need(hardened: Hardened, command: str) -> None:
    """By the rights of the account, or, `DEBUG` since Redis 7, for all accounts."""
    refused = pytest.raises(redis.ResponseError, match=r"(?i)no permissions|command not allowed")
    with RedisClient(hardened.settings).connection() as client, refused:
        client.execute_command(*command.split())


@pytest.mark.parametrize("key", ["elsewhere/x", "jobs", "openly/x"])
def test_the_store_refuses_keys_outside_the_prefixes_of_the_service(hardened: Hardened, key: str) -> None:
    bucket = Bucket(hardened.settings)
    with pytest.raises(Unavailable, match="AccessDenied"):
        bucket.put(key, b"", media_type="text/plain")
    with pytest.raises(Unavailable, match="AccessDenied"):
        list(bucket.keys(key))
    hardened.guard.refused.clear()


def test_the_service_refuses_a_certificate_of_an_unknown_authority(hardened: Hardened) -> None:
    settings = hardened.settings.model_copy(update={"ca_bundle": None})
    with pytest.raises(Unavailable):
        RedisClient(settings).ping()
    with pytest.raises(Unavailable):
        Bucket(settings).ping()
    with pytest.raises(Unavailable):
        send_job(create_broker(settings), "x", "interactive")


def test_prefixes_of_operators_are_read_only() -> None:
    policy = make_policy(Settings(picture_prefixes=["probes/"], s3_bucket="shared-bucket"))
    guard = Guard({Role.API.account: policy})
    assert guard.allows(Exchange("GET", "probes/a.png"), "shared-bucket")
    assert guard.allows(Exchange("GET", "", "list-type=2&prefix=probes%2Fa"), "shared-bucket")
    assert not guard.allows(Exchange("PUT", "probes/a.png"), "shared-bucket")
    assert not guard.allows(Exchange("GET", "probes/a.png"), "another-bucket")


def test_every_prefix_of_the_policy_is_used() -> None:
    source = "".join(path.read_text() for folder in ("shared", "deploy") for path in (ROOT / folder).rglob("*.py"))
    assert {place for place in PREFIXES if f'"{place}/' not in source} == set()
