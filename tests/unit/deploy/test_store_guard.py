"""The store behind Caddy: each part of the service can do what the tables of rights say, and nothing else."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import httpx2
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from deploy.credentials import read_credentials
from deploy.local_secrets import LocalSecrets, protect
from deploy.processes import ProcessGroup
from deploy.rights import STORE, Access, Role
from deploy.servers import HOST, format_address, free_port, list_hosts, run_store
from shared.settings import Settings
from shared.storage.s3 import Bucket

RESTRICTED = [role for role in Role if role is not Role.API]


@dataclass(frozen=True)
class Guarded:
    """A running store and its credentials."""

    settings: Settings
    secrets: LocalSecrets
    port: int
    clients: dict[Role, Any] = field(default_factory=dict)

    def client(self, role: Role) -> Any:
        if role not in self.clients:
            self.clients[role] = self.connect(role)
        return self.clients[role]

    def connect(self, role: Role) -> Any:
        own = read_credentials(self.secrets.folder, role)
        config = Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.settings.s3_endpoint,
            region_name="us-east-1",
            aws_access_key_id=own.access_key,
            aws_secret_access_key=own.secret_key,
            config=config,
        )

    def allows(self, role: Role, operation: str, **arguments: Any) -> bool:
        """Whether the store does what a role asks for."""
        try:
            getattr(self.client(role), operation)(Bucket="archetype", **arguments)
        except ClientError as error:
            return error.response["Error"]["Code"] not in ("AccessDenied", "403")
        return True


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder, port = tmp_path_factory.mktemp("guarded"), free_port()
    settings = Settings(s3_endpoint=f"http://localhost:{port}", picture_prefixes=["probes/"])
    protect(folder)
    secrets = LocalSecrets.create(folder, settings)
    processes = ProcessGroup(folder, dict(os.environ))
    with ExitStack() as stack:
        stack.enter_context(run_store(processes, folder / "s3", secrets, settings, settings.s3_endpoint or ""))
        owner = secrets.settings_of_owner(settings)
        processes.wait_for("store", Bucket(owner).create, "store-guard")
        yield Guarded(settings, secrets, port)


@pytest.mark.parametrize("role", RESTRICTED)
def test_a_part_can_do_what_the_table_says_and_nothing_else(guarded: Guarded, role: Role) -> None:
    for prefix, access in STORE.items():
        least = access.get(role)
        key = f"{prefix}/tenant/a b+(é).json"
        assert guarded.allows(role, "put_object", Key=key, Body=b"{}") is (least is Access.WRITE), prefix
        assert guarded.allows(role, "get_object", Key=key) is (least is not None), prefix
        assert guarded.allows(role, "list_objects_v2", Prefix=f"{prefix}/") is (least is not None), prefix
        assert guarded.allows(role, "delete_object", Key=key) is (least in (Access.WRITE, Access.DELETE)), prefix


@pytest.mark.parametrize("role", RESTRICTED)
def test_a_part_cannot_reach_other_objects_in_another_way(guarded: Guarded, role: Role) -> None:
    mine = "outbox/x"
    guarded.client(Role.API).put_object(Bucket="archetype", Key="access/keys/a.json", Body=b"secret")
    for operation, arguments in (
        ("list_objects_v2", {}),
        ("list_objects_v2", {"Prefix": "a"}),
        ("list_objects_v2", {"Prefix": "outbox/../access/"}),
        ("list_buckets", None),
        ("create_bucket", {}),
        ("copy_object", {"Key": mine, "CopySource": "archetype/access/keys/a.json"}),
        ("delete_objects", {"Delete": {"Objects": [{"Key": "access/keys/a.json"}]}}),
        ("put_object", {"Key": "outbox/../access/keys/a.json", "Body": b""}),
        ("put_object", {"Key": "outbox//../access/keys/a.json", "Body": b""}),
        ("create_multipart_upload", {"Key": "access/keys/a.json"}),
        ("put_object", {"Key": "elsewhere/x", "Body": b""}),
    ):
        if arguments is None:
            with pytest.raises(ClientError, match="AccessDenied"):
                getattr(guarded.client(role), operation)()
        else:
            assert not guarded.allows(role, operation, **arguments), (operation, arguments)
    stored = guarded.client(Role.API).get_object(Bucket="archetype", Key="access/keys/a.json")["Body"].read()
    assert stored == b"secret"


def test_operators_prefixes_can_be_read_by_workers_and_written_by_no_part_but_the_api(guarded: Guarded) -> None:
    assert guarded.allows(Role.API, "put_object", Key="probes/a.png", Body=b"x")
    assert guarded.allows(Role.WORKER, "get_object", Key="probes/a.png")
    assert not guarded.allows(Role.WORKER, "put_object", Key="probes/a.png", Body=b"y")
    assert not guarded.allows(Role.WEBHOOK_SENDER, "get_object", Key="probes/a.png")


def send(guarded: Guarded, target: str, headers: list[tuple[str, str]]) -> bytes:
    """The status line of the answer to a request with exactly these headers."""
    lines = [f"GET {target} HTTP/1.1", f"Host: {HOST}:{guarded.port}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    with socket.create_connection((HOST, guarded.port), timeout=20) as connection:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return connection.makefile("rb").readline()


def test_a_second_or_foreign_signature_gives_no_rights(guarded: Guarded) -> None:
    own = read_credentials(guarded.secrets.folder, Role.WORKER)
    target = "/archetype/access/keys/a.json"
    request = AWSRequest("GET", f"http://{HOST}:{guarded.port}{target}")
    request.headers["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD"
    S3SigV4Auth(Credentials(own.access_key, own.secret_key), "s3", "us-east-1").add_auth(request)
    amz = [(name, value) for name, value in request.headers.items() if name.lower().startswith("x-amz-")]
    mine = ("Authorization", request.headers["Authorization"])
    stolen = ("Authorization", mine[1].replace("archetype-worker/", "archetype/"))
    for headers in ([mine], [stolen], [mine, stolen], [stolen, mine], []):
        assert b" 403 " in send(guarded, target, [*headers, *amz])
    assert b" 403 " in send(guarded, f"{target}?X-Amz-Credential=archetype/1/2/3/4", [mine, *amz])
    assert b" 200 " not in send(guarded, f"{target}?X-Amz-Credential=archetype/1/2/3/4", amz)


def test_urls_that_the_api_has_signed_work_without_credentials(guarded: Guarded) -> None:
    guarded.client(Role.API).put_object(Bucket="archetype", Key="jobs/1/x.png", Body=b"picture")
    for role, status in ((Role.API, 200), (Role.WORKER, 403)):
        parameters = {"Bucket": "archetype", "Key": "jobs/1/x.png"}
        url = guarded.client(role).generate_presigned_url("get_object", Params=parameters)
        answer = httpx2.get(url, trust_env=False, timeout=20)
        assert (answer.status_code, answer.content == b"picture") == (status, role is Role.API)


def test_the_store_listens_on_both_addresses_of_localhost(guarded: Guarded) -> None:
    for host in list_hosts():
        address = format_address(host, guarded.port)
        assert httpx2.get(f"http://{address}/archetype", trust_env=False, timeout=20).status_code == 403


def test_a_large_file_is_uploaded_in_parts(guarded: Guarded, tmp_path: Path) -> None:
    content = os.urandom(1 << 20) * 20
    (tmp_path / "large").write_bytes(content)
    with (tmp_path / "large").open("rb") as file:
        guarded.client(Role.WORKER).upload_fileobj(file, "archetype", "jobs/1/large")
    stored = guarded.client(Role.WORKER).get_object(Bucket="archetype", Key="jobs/1/large")["Body"].read()
    assert stored == content


def test_the_configuration_contains_no_secret(guarded: Guarded) -> None:
    path = guarded.secrets.write_guard(guarded.settings, [":1"], Path("/tmp/x.sock"))
    text = path.read_text()
    assert json.loads(text)["admin"]["disabled"] is True
    for role in Role:
        assert read_credentials(guarded.secrets.folder, role).secret_key not in text
