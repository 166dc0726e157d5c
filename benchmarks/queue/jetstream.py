"""Tries NATS JetStream as the queue, in the small: what a claim costs there, and what is lost if its leader is killed.

.venv-bench/bin/python -m benchmarks.queue.jetstream --shards 2000

It needs `nats-server` on the PATH. Three servers form a cluster on this machine, with three copies of each message. A
consumer for each lane of a tenant stands for the turns of tenants; a worker asks them in turn, renews each message once
and acknowledges it. `python -m benchmarks.scale` prints what a claim, a renewal and an end cost on Redis.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import nats
from nats.aio.client import Client
from nats.errors import Error
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StreamConfig

from deploy.servers import HOST, free_port

SERVERS, COPIES = 3, 3
TENANTS, LANES, WORKERS = 5, 4, 20
LEASE_SECONDS = 5.0
READY_SECONDS, END_SECONDS = 30.0, 120.0
STREAM = "shards"
OUT = Path("var/bench/jetstream.json")


@dataclass(frozen=True)
class Cluster:
    """The servers of a cluster, by name, and the addresses of their clients."""

    processes: dict[str, "subprocess.Popen[bytes]"]
    addresses: list[str]

    def measure_cpu(self) -> float:
        """CPU seconds that the servers have used."""
        ticks = os.sysconf("SC_CLK_TCK")
        running = [process.pid for process in self.processes.values() if process.poll() is None]
        fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in running]
        return sum(int(each[11]) + int(each[12]) for each in fields) / ticks


@contextmanager
def run_cluster(folder: Path) -> Iterator[Cluster]:
    """Runs the servers until the block ends. Raises `SystemExit` if they are not installed."""
    program = shutil.which("nats-server")
    if program is None:
        raise SystemExit("nats-server is not installed: apt-get install nats-server")
    names = [f"n{number}" for number in range(SERVERS)]
    ports, routes = ({name: free_port() for name in names} for _ in range(2))
    peers = ",".join(f"nats://{HOST}:{port}" for port in routes.values())
    processes = {}
    try:
        for name in names:
            path = folder / f"{name}.conf"
            path.write_text(
                f'server_name: {name}\nlisten: "{HOST}:{ports[name]}"\n'
                f'jetstream {{ store_dir: "{folder / name}" }}\n'
                f'cluster {{ name: bench, listen: "{HOST}:{routes[name]}", routes: [{peers}] }}\n'
            )
            with (folder / f"{name}.log").open("wb") as log:
                processes[name] = subprocess.Popen([program, "-c", str(path)], stdout=log, stderr=log)
        yield Cluster(processes, [f"nats://{HOST}:{port}" for port in ports.values()])
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


@dataclass
class Ends:
    """How often each shard was delivered and acknowledged, and how long claims took, in seconds."""

    delivered: Counter[str] = field(default_factory=Counter)
    acknowledged: Counter[str] = field(default_factory=Counter)
    claim_seconds: list[float] = field(default_factory=list)


async def ignore(_: Exception) -> None:
    """Ignores a lost connection: the client connects to another server."""


async def connect(cluster: Cluster) -> Client:
    """Connects to a server of the cluster, and to another one if that is lost."""
    return await nats.connect(cluster.addresses, max_reconnect_attempts=-1, reconnect_time_wait=0.2, error_cb=ignore)


async def place(cluster: Cluster, shards: int) -> None:
    """Creates the stream and its consumers, and publishes the shards."""
    client = await connect(cluster)
    stream = client.jetstream(timeout=2)
    config = StreamConfig(STREAM, subjects=["work.*.*"], retention=RetentionPolicy.WORK_QUEUE, num_replicas=COPIES)
    limit = time.monotonic() + READY_SECONDS
    while True:
        try:
            await stream.add_stream(config)
            break
        except Error:
            if time.monotonic() > limit:
                raise
            await asyncio.sleep(0.5)  # the servers have not found each other yet
    for tenant, lane in list_lanes():
        await stream.add_consumer(
            STREAM,
            ConsumerConfig(
                durable_name=f"{tenant}-{lane}",
                filter_subject=f"work.{tenant}.{lane}",
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=LEASE_SECONDS,
                max_deliver=5,
            ),
        )
    lanes = list_lanes()
    for number in range(shards):
        tenant, lane = lanes[number % len(lanes)]
        await stream.publish(f"work.{tenant}.{lane}", str(number).encode())
    await client.close()


def list_lanes() -> list[tuple[str, str]]:
    """The lanes of all tenants."""
    return [(f"t{tenant}", f"l{lane}") for tenant in range(TENANTS) for lane in range(LANES)]


async def work(cluster: Cluster, number: int, shards: int, ends: Ends) -> None:
    """A worker: asks the lanes in turn, renews and acknowledges, until all shards are acknowledged or time is up."""
    client = await connect(cluster)
    stream = client.jetstream(timeout=LEASE_SECONDS)
    lanes = list_lanes()
    consumers = [await stream.pull_subscribe_bind(f"{tenant}-{lane}", STREAM) for tenant, lane in lanes]
    limit, turn = time.monotonic() + END_SECONDS, number
    while len(ends.acknowledged) < shards and time.monotonic() < limit:
        consumer, turn = consumers[turn % len(lanes)], turn + 1
        started = time.perf_counter()
        with suppress(Error, asyncio.TimeoutError):  # an empty lane, or a server that has died
            (message,) = await consumer.fetch(1, timeout=0.2)
            ends.claim_seconds.append(time.perf_counter() - started)
            shard = message.data.decode()
            ends.delivered[shard] += 1
            await message.in_progress()
            await message.ack_sync(timeout=LEASE_SECONDS)
            ends.acknowledged[shard] += 1
    await client.close()


async def find_leader(cluster: Cluster) -> str:
    """Name of the server that leads the stream."""
    client = await connect(cluster)
    info = await client.jetstream().stream_info(STREAM)
    await client.close()
    return str(info.cluster.leader if info.cluster else "")


async def measure(cluster: Cluster, shards: int, *, kills: bool) -> dict[str, float]:
    """Runs all shards; with `kills`, the leader is killed once a fifth of them is acknowledged."""
    await place(cluster, shards)
    ends, before = Ends(), cluster.measure_cpu()
    workers = [asyncio.create_task(work(cluster, number, shards, ends)) for number in range(WORKERS)]
    if kills:
        while len(ends.acknowledged) < shards / 5:
            await asyncio.sleep(0.05)
        cluster.processes[await find_leader(cluster)].send_signal(signal.SIGKILL)
    await asyncio.gather(*workers)
    waits = sorted(ends.claim_seconds)
    used = {} if kills else {"server CPU, ms per shard": round(1000 * (cluster.measure_cpu() - before) / shards, 2)}
    return used | {
        "shards": shards,
        "acknowledged": len(ends.acknowledged),
        "delivered twice": sum(count > 1 for count in ends.delivered.values()),
        "acknowledged twice": sum(count > 1 for count in ends.acknowledged.values()),
        "claim, median, ms": round(1000 * waits[len(waits) // 2], 1),
        "claim, 99th percentile, ms": round(1000 * waits[len(waits) * 99 // 100], 1),
    }


def main() -> None:
    """Prints the figures, and writes them to `var/bench`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=2000)
    shards = parser.parse_args().shards
    results = {}
    for title, kills in (("quiet", False), ("leader killed", True)):
        with tempfile.TemporaryDirectory() as folder, run_cluster(Path(folder)) as cluster:
            results[title] = asyncio.run(measure(cluster, shards, kills=kills))
        print(title, json.dumps(results[title]), flush=True)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
