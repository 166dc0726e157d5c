"""Each process of a local stack holds only the secrets that it needs; another account of the machine has no access."""

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from archetype.contract.api_key import NewKey, Scope
from deploy.credentials import read_credentials
from deploy.local import Stack
from deploy.local_secrets import LocalSecrets
from deploy.rights import Role
from shared.errors import Unavailable
from shared.storage.api_keys import ApiKeyStore
from shared.storage.s3 import Bucket

PARTS = {"worker": Role.WORKER, "webhook-sender": Role.WEBHOOK_SENDER, "scheduler": Role.SCHEDULER, "api": Role.API}


@pytest.fixture
def secrets(stack: Stack) -> LocalSecrets:
    return LocalSecrets(stack.processes.folder / "secrets")


def read_environment(stack: Stack, name: str) -> str:
    return Path(f"/proc/{stack.processes.children[name].pid}/environ").read_text()


def list_secrets(secrets: LocalSecrets, role: Role) -> set[str]:
    own = read_credentials(secrets.folder, role)
    return {own.password, own.secret_key}


def test_only_the_api_has_the_operator_token(stack: Stack) -> None:
    token = (stack.processes.folder / "operator-token").read_text()
    assert {name for name in stack.processes.children if token in read_environment(stack, name)} == {"api"}


def test_no_process_has_the_passwords_of_another_part(stack: Stack, secrets: LocalSecrets) -> None:
    for name, role in PARTS.items():
        environment = read_environment(stack, name)
        for other in Role:
            present = [secret for secret in list_secrets(secrets, other) if secret in environment]
            assert len(present) == (2 if other is role else 0), (name, other)
    assert "ARCHETYPE_MLFLOW_SECRET" not in read_environment(stack, "worker")


def test_no_secret_is_in_a_command_line(stack: Stack, secrets: LocalSecrets) -> None:
    values = {secret for role in Role for secret in list_secrets(secrets, role)}
    values |= {
        (stack.processes.folder / "operator-token").read_text(),
        (secrets.folder / "redis/admin_password").read_text(),
    }
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command = (entry / "cmdline").read_text(errors="replace")
            except OSError:
                continue
            assert not any(value in command for value in values), command


def walk(folder: Path) -> Iterator[Path]:
    yield folder
    yield from folder.rglob("*")


def test_other_accounts_can_read_neither_secrets_nor_data(stack: Stack) -> None:
    folder = stack.processes.folder
    for path in walk(folder / "secrets"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert (folder / "operator-token").stat().st_mode & 0o077 == 0
    for name in ("redis", "s3", "log"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o700, name


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another account")
def test_another_account_cannot_use_redis_or_the_store(stack: Stack) -> None:
    store = (stack.settings.s3_endpoint or "").removeprefix("http://")
    code = f"""
import http.client, socket
connection = socket.create_connection(("127.0.0.1", {stack.settings.redis_url.rpartition(":")[2].partition("/")[0]}))
connection.sendall(b"GET archetype:served\\r\\n")
print(connection.recv(100).decode())
server = http.client.HTTPConnection("{store}")
server.request("GET", "/archetype?list-type=2&prefix=access/")
print(server.getresponse().status)
"""
    command = ["python3", "-c", code]
    answer = subprocess.run(
        command, user=65534, group=65534, extra_groups=[], capture_output=True, text=True, timeout=60, cwd="/"
    )
    assert "NOAUTH" in answer.stdout, answer
    assert "403" in answer.stdout


@pytest.mark.parametrize("role", [Role.WORKER, Role.WEBHOOK_SENDER, Role.SCHEDULER])
def test_no_part_but_the_api_can_make_or_change_an_api_key(stack: Stack, secrets: LocalSecrets, role: Role) -> None:
    settings = secrets.settings_of(role, stack.settings)
    new = NewKey(tenant="other", scopes=[Scope.READ])
    with pytest.raises(Unavailable, match="AccessDenied"):
        ApiKeyStore(Bucket(settings)).issue(new)
    key, _ = ApiKeyStore(Bucket(stack.settings)).issue(new)
    with pytest.raises(Unavailable, match="AccessDenied"):
        Bucket(settings).delete(f"access/keys/{key.id}.json")


def test_a_worker_deletes_many_objects_although_the_store_allows_it_no_batches(
    stack: Stack, secrets: LocalSecrets
) -> None:
    bucket, keys = Bucket(secrets.settings_of(Role.WORKER, stack.settings)), [f"jobs/many/{n}" for n in range(20)]
    for name in keys:
        bucket.put(name, b"", media_type="text/plain")
    bucket.delete_all([*keys, "jobs/many/missing"])
    assert list(bucket.keys("jobs/many/")) == []
    with pytest.raises(Unavailable, match="AccessDenied"):
        bucket.delete_all(["schedules/one", "schedules/two"])


@pytest.mark.parametrize("role", [Role.WORKER, Role.WEBHOOK_SENDER])
def test_workers_have_no_access_to_the_keys_of_the_api_in_redis(
    stack: Stack, secrets: LocalSecrets, role: Role
) -> None:
    url = secrets.settings_of(role, stack.settings).redis_url
    with redis.Redis.from_url(url) as client:
        assert client.ping()
        for command in (
            "GET archetype:idempotency:t:k",
            "SET archetype:session:x 1",
            "GET LIMITS:x",
            "FLUSHALL",
            "ACL LIST",
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command.split())


def test_the_secrets_are_kept_between_two_runs(stack: Stack, secrets: LocalSecrets) -> None:
    before = {path: path.read_text() for path in walk(secrets.folder) if path.is_file()}
    LocalSecrets.create(stack.processes.folder, stack.settings)
    assert {path: path.read_text() for path in walk(secrets.folder) if path.is_file()} == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another account")
def test_another_account_needs_a_key_for_the_api(stack: Stack) -> None:
    port = int(stack.url.rpartition(":")[2])
    code = f"""
import http.client
for host in ("127.0.0.1", "localhost"):
    server = http.client.HTTPConnection(host, {port}, timeout=20)
    server.request("GET", "/v1/jobs")
    print(server.getresponse().status)
"""
    command = ["python3", "-c", code]
    for user, status in ((65534, "401"), (0, "200")):
        answer = subprocess.run(command, user=user, capture_output=True, text=True, timeout=60, cwd="/", check=False)
        assert answer.stdout.split() == [status, status], answer
