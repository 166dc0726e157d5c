"""The servers of a local stack: on which addresses they listen, and which addresses are refused."""

import socket
from contextlib import closing
from pathlib import Path

import pytest
import redis

from deploy.processes import ProcessGroup
from deploy.servers import COMPACT, check_addresses, free_port, is_free, list_hosts, redis_command
from shared.settings import Settings
from tests.support.paths import ROOT


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_redis_listens_where_its_url_leads(host: str, tmp_path: Path) -> None:
    if host == "[::1]" and len(list_hosts()) == 1:
        pytest.skip("this machine has no IPv6")
    settings = Settings(redis_url=f"redis://{host}:{free_port()}/0")
    processes = ProcessGroup(tmp_path, {})
    (tmp_path / "log").mkdir()
    command = redis_command(tmp_path / "redis", settings)
    with processes.run("redis", command), redis.Redis.from_url(settings.redis_url) as client:
        processes.wait_for("redis", lambda: ping(client))


def ping(client: "redis.Redis") -> None:
    try:
        client.ping()
    except redis.ConnectionError as error:
        raise ConnectionError from error


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"redis_url": "redis://redis.example.org:6379/0"}, "ARCHETYPE_REDIS_URL"),
        ({"redis_url": "rediss://127.0.0.1:6379/0"}, "ARCHETYPE_REDIS_URL"),
        ({"s3_endpoint": "https://s3.example.org"}, "ARCHETYPE_S3_ENDPOINT"),
        ({"s3_endpoint": "https://127.0.0.1:9000"}, "ARCHETYPE_S3_ENDPOINT"),
    ],
)
def test_servers_that_a_local_stack_cannot_start_are_refused_with_the_reason(
    settings: dict[str, str], name: str
) -> None:
    with pytest.raises(RuntimeError, match=f"{name} is an address that a local stack cannot serve"):
        check_addresses(Settings(**settings))


def test_a_port_that_is_in_use_on_either_loopback_address_is_not_free() -> None:
    for host in list_hosts():
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with closing(socket.create_server((host, 0), family=family)) as server:
            assert not is_free(server.getsockname()[1])


@pytest.mark.parametrize("place", ["docker-compose.yml", "deploy/kubernetes/backing/redis.yaml"])
def test_every_redis_of_the_service_keeps_records_in_their_compact_form(place: str, tmp_path: Path) -> None:
    name, value = COMPACT
    text = (ROOT / place).read_text().replace('"', "")
    assert f"{name}, {value}" in text
    assert list(COMPACT) == redis_command(tmp_path / "redis", Settings())[-2:]
