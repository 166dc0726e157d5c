"""The service as a careful operator sets it up: TLS everywhere, and rights to what it uses and to nothing else."""

import re
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest
import redis
import trustme
from safetensors.torch import save_file

from deploy.backup import restore, save
from deploy.family import Family
from deploy.local import (
    API,
    COURIER,
    HOST,
    SCHEDULER,
    WORKER,
    Stack,
    find_rclone,
    find_redis,
    free_port,
    make_environment,
)
from deploy.setup import COMMANDS, REDIS_USER, make_bucket, make_policy, make_secrets
from shared.access import Limits, NewKey, Scope
from shared.broker import create_broker, send_job
from shared.bucket import Bucket
from shared.client import Client, ServiceError
from shared.errors import Unavailable
from shared.jobs import State
from shared.methods import ClassModel, Saliency
from shared.parameters.audit import Plan
from shared.parameters.class_model import ClassModelParameters
from shared.records import Records
from shared.registration import NewRelease
from shared.schedules import NewSchedule
from shared.settings import Settings
from shared.storage import PLACES
from tests.chaos.proxy import Exchange, Proxy, Refused
from tests.releases import ENTRY, STATE
from tests.tunnel import tunnel

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "deploy" / "pictures"
ACTIONS = {"GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject", "POST": "s3:PutObject",
           "DELETE": "s3:DeleteObject"}  # fmt: skip

RARE = {
    "auth", "select", "watch", "unwatch", "srem", "rpush", "rpop", "zmscore", "zrevrange", "zremrangebyrank",
    "punsubscribe", "unsubscribe",
}  # fmt: skip
"""What needs a fault, or a thousand jobs, to be called."""


@dataclass
class Guard:
    """Holds requests against a policy, as AWS would."""

    policy: dict[str, Any]
    refused: list[Exchange] = field(default_factory=list)

    def check(self, exchange: Exchange, bucket: str) -> None:
        """Raises `Refused`."""
        if not self.allows(exchange, bucket):
            self.refused.append(exchange)
            raise Refused(403)

    def allows(self, exchange: Exchange, bucket: str) -> bool:
        prefix = parse_qs(exchange.query, keep_blank_values=True).get("prefix", [None])[0]
        if exchange.key:
            action, resource = ACTIONS[exchange.method], f"arn:aws:s3:::{bucket}/{exchange.key}"
        elif exchange.method in ("GET", "HEAD"):
            action, resource = "s3:ListBucket", f"arn:aws:s3:::{bucket}"
        else:
            action, resource = "s3:CreateBucket", f"arn:aws:s3:::{bucket}"
        return any(self._says(one, action, resource, prefix) for one in self.policy["Statement"])

    def _says(self, statement: dict[str, Any], action: str, resource: str, prefix: str | None) -> bool:
        wanted = statement.get("Condition", {}).get("StringLikeIfExists", {}).get("s3:prefix", ["*"])
        return (
            action in as_list(statement["Action"])
            and any(fnmatchcase(resource, one) for one in as_list(statement["Resource"]))
            and (prefix is None or any(fnmatchcase(prefix, one) for one in wanted))
        )


def as_list(given: Any) -> list[str]:
    return given if isinstance(given, list) else [given]


class Guarded(Proxy):
    """A store in front of which somebody stands."""

    guard: Guard | None = None
    bucket = "archetype"

    def suffer(self, exchange: Exchange) -> bool:
        if self.guard is not None:
            self.guard.check(exchange, self.bucket)
        return super().suffer(exchange)


@dataclass(frozen=True)
class Hardened:
    """The service, and who watches it."""

    stack: Stack
    client: Client
    guard: Guard
    redis: "redis.Redis"
    settings: Settings


@pytest.fixture(scope="module")
def hardened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hardened]:
    folder = tmp_path_factory.mktemp("hardened")
    make_secrets(folder / "secrets")
    secret = {path.name: path.read_text() for path in (folder / "secrets").iterdir()}
    password = re.search(rf"{REDIS_USER}:(.+)@", secret["archetype_redis_url"])
    assert password is not None
    (folder / "secrets" / "redis.acl").chmod(0o600)
    with (folder / "secrets" / "redis.acl").open("a") as acl:
        acl.write("user watcher on nopass ~* &* +@all\n")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(tls)
    with ExitStack() as held:
        port = free_port()
        store = held.enter_context(Guarded(tls))
        near = held.enter_context(tunnel(port, tls))
        settings = Settings(
            redis_url=f"rediss://{REDIS_USER}:{password.group(1)}@{HOST}:{near}/0", s3_endpoint=store.url,
            s3_secret_key=secret["archetype_s3_secret_key"], operator_token=secret["archetype_operator_token"],
            ca=folder / "ca.pem", cache=folder / "cache", plans=folder / "plans.json", life=folder / "life",
            factories={"small": "tests.networks:small"}, look_seconds=1, sweep_seconds=0.5, lease_seconds=5,
        )  # fmt: skip
        family = Family(folder, make_environment(settings))
        (folder / "log").mkdir()
        (folder / "s3").mkdir()
        command = [find_redis(), "--bind", HOST, "--port", str(port), "--dir", str(folder), "--save", "",
                   "--aclfile", str(folder / "secrets" / "redis.acl"), "--acllog-max-len", "1000"]  # fmt: skip
        held.enter_context(family.run("redis", command))
        served = [find_rclone(), "serve", "s3", "--addr", store.upstream, "--config", "/dev/null", str(folder / "s3")]
        held.enter_context(family.run("store", served))
        family.wait_for("redis", Records(settings).ping)
        make_bucket(settings)
        store.guard = Guard(make_policy(settings))
        for name, what in (("worker", WORKER), ("courier", COURIER), ("scheduler", SCHEDULER)):
            held.enter_context(family.run(name, what))
        listens = free_port()
        held.enter_context(family.run("api", [*API, "--bind", f"{HOST}:{listens}"]))
        url = f"http://{HOST}:{listens}"
        watcher = held.enter_context(redis.Redis(port=port, username="watcher", decode_responses=True))
        client = held.enter_context(Client(url, key=secret["archetype_operator_token"], timeout=60))
        wait_until(lambda: is_ready(client))
        yield Hardened(Stack(url, settings, family), client, store.guard, watcher, settings)


def wait_until(holds: Any, seconds: float = 90) -> None:
    limit = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.1)


def is_ready(client: Client) -> bool:
    try:
        return set(client.health().values()) == {"ok"}
    except (ServiceError, httpx2.HTTPError):
        return False


def ask(steps: int = 8, **more: Any) -> ClassModel:
    params = ClassModelParameters(steps=steps, extras=False)
    return ClassModel(method="class_model", model="shapes", targets=["lemon", "bee"], params=params, **more)


def test_all_that_the_service_does_is_allowed(hardened: Hardened, tmp_path: Path) -> None:
    client = hardened.client
    job = client.wait(client.submit(ask()).id, timeout=120)
    assert job.state is State.SUCCEEDED
    assert client.fetch(job.artifacts[0])
    picture = client.upload((PICTURES / "bee.png").read_bytes())
    assert client.wait(client.submit(Saliency(method="saliency", model="shapes", images=[picture.id])).id).error is None

    save_file(STATE, tmp_path / "weights.safetensors")
    client.register(NewRelease(**ENTRY, upload=client.upload_weights(tmp_path / "weights.safetensors")))
    plan = Plan.model_validate({"name": "small", "classes": ["one"], "class_models": {"steps": 8}})
    schedule = client.schedule(NewSchedule(model="mine", plan=plan, cron="0 4 * * *"))
    wait_until(lambda: client.get_schedule(schedule.id).outcomes)
    audit = client.get_schedule(schedule.id).outcomes[0].audit
    assert audit is not None
    *_, ended = client.watch_audit(audit, timeout=180)
    assert ended.error is None

    limited = client.issue_key(
        NewKey(tenant="other", scopes=[Scope.SUBMIT, Scope.READ], limits=Limits(submits_per_minute=5))
    )
    with Client(hardened.stack.url, key=limited.token, timeout=60) as other:
        cancelled = other.submit(ask(3000))
        wait_until(lambda: other.job(cancelled.id).state is State.RUNNING)
        other.cancel(cancelled.id)
        assert [event.state for event in other.events(cancelled.id)][-1] is State.CANCELLED
        other.delete(cancelled.id)
        assert list(other.jobs()) == []
    client.webhook_secret()
    client.delete_schedule(schedule.id)
    client.revoke_key(limited.id)
    assert "archetype_jobs" in client.metrics()


def test_a_worker_that_is_killed_is_replaced_under_the_same_rights(hardened: Hardened) -> None:
    job = hardened.client.submit(ask(600))
    wait_until(lambda: hardened.client.job(job.id).progress.done > 20)
    hardened.stack.family.kill("worker")
    hardened.stack.family.start("worker")
    ended = hardened.client.wait(job.id, timeout=180)
    assert (ended.state, ended.attempt) == (State.SUCCEEDED, 2)


def test_it_can_be_saved_and_filled_again(hardened: Hardened, tmp_path: Path) -> None:
    save(hardened.settings, tmp_path)
    assert len(list(tmp_path.glob("jobs/*/manifests/*.json"))) >= 3
    assert restore(hardened.settings, tmp_path) == 0
    asked = [one for one in hardened.guard.refused if (one.method, one.key in PLACES) == ("HEAD", True)]
    for one in asked:  # rclone asks whether a place is a file, and goes on where it may not know
        hardened.guard.refused.remove(one)


def test_nothing_was_refused(hardened: Hardened) -> None:
    refused = {(one["reason"], one["object"]) for one in hardened.redis.acl_log() if one["username"] == REDIS_USER}
    assert refused <= {("command", "client")}  # redis-py introduces itself, and goes on where it may not
    assert hardened.guard.refused == []


def test_and_all_that_is_allowed_is_used(hardened: Hardened) -> None:
    used = {name.partition("|")[0] for name in hardened.redis.info("commandstats")}
    used = {name.removeprefix("cmdstat_") for name in used}

    assert {name.partition("|")[0] for name in COMMANDS.split()} - used <= RARE


def test_who_says_no_name_may_nothing(hardened: Hardened) -> None:
    port = hardened.redis.connection_pool.connection_kwargs["port"]
    with redis.Redis(port=port) as nobody, pytest.raises(redis.exceptions.AuthenticationError):
        nobody.ping()
    with redis.Redis(port=port, username="health", password="-") as health:
        assert health.ping()
        with pytest.raises(redis.exceptions.NoPermissionError):
            health.get("archetype:served")


@pytest.mark.parametrize(
    "command",
    ["FLUSHALL", "FLUSHDB", "SHUTDOWN", "CONFIG GET *", "DEBUG SLEEP 0", "MONITOR", "ACL LIST", "SAVE", "KEYS *",
     "REPLICAOF NO ONE", "MODULE LIST", "GET somebody-elses", "SET somebody-elses 1", "CLIENT KILL TYPE normal"],
)  # fmt: skip
def test_what_the_service_does_not_need_redis_refuses(hardened: Hardened, command: str) -> None:
    with Records(hardened.settings).connection() as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command.split())


@pytest.mark.parametrize("key", ["elsewhere/x", "jobs", "openly/x"])
def test_outside_its_places_the_store_refuses(hardened: Hardened, key: str) -> None:
    bucket = Bucket(hardened.settings)
    with pytest.raises(Unavailable, match="AccessDenied"):
        bucket.put(key, b"", media_type="text/plain")
    with pytest.raises(Unavailable, match="AccessDenied"):
        list(bucket.keys(key))
    hardened.guard.refused.clear()


def test_a_server_that_nobody_vouches_for_is_not_spoken_to(hardened: Hardened) -> None:
    trusting = hardened.settings.model_copy(update={"ca": None})
    with pytest.raises(Unavailable):
        Records(trusting).ping()
    with pytest.raises(Unavailable):
        Bucket(trusting).ping()
    with pytest.raises(Unavailable):
        send_job(create_broker(trusting), "x", "interactive")


def test_secrets_are_made_once_and_for_their_owner(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    make_secrets(folder)
    assert folder.stat().st_mode & 0o077 == 0
    before = {path.name: path.read_text() for path in folder.iterdir()}
    (folder / "archetype_operator_token").unlink()
    make_secrets(folder)
    after = {path.name: path.read_text() for path in folder.iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"archetype_operator_token"}


def test_places_that_operators_lend_can_be_read_and_not_written() -> None:
    policy = make_policy(Settings(picture_prefixes=["probes/"], s3_bucket="shared-bucket"))
    guard = Guard(policy)
    assert guard.allows(Exchange("GET", "probes/a.png"), "shared-bucket")
    assert guard.allows(Exchange("GET", "", "list-type=2&prefix=probes%2Fa"), "shared-bucket")
    assert not guard.allows(Exchange("PUT", "probes/a.png"), "shared-bucket")
    assert not guard.allows(Exchange("GET", "probes/a.png"), "another-bucket")


def test_every_place_is_used() -> None:
    source = "".join(path.read_text() for folder in ("shared", "deploy") for path in (ROOT / folder).rglob("*.py"))
    assert {place for place in PLACES if f'"{place}/' not in source} == set()
