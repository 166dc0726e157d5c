"""More than one worker."""

import json
import time
from pathlib import Path

from deploy.local import run_stack
from shared.client import Client
from shared.jobs import Job, State
from shared.methods import ClassModel, ClassModelParameters
from shared.presence import WORKERS, Presence
from shared.records import Records
from shared.settings import Settings


def wait_for_both(records: Records) -> None:
    """Until both wait for jobs: whichever was asked longest ago would get the next one, were it not for the hint."""
    limit = time.monotonic() + 90
    while True:
        with records.connection() as redis:
            if redis.scard(WORKERS) == 2:
                break
        assert time.monotonic() < limit
        time.sleep(0.2)
    time.sleep(2)


def test_a_job_goes_to_the_worker_that_holds_its_network(tmp_path: Path) -> None:
    request = ClassModel(method="class_model", model="shapes", targets=["bee"], params=ClassModelParameters(steps=2))

    def ask(client: Client) -> Job:
        job = client.wait(client.submit(request).id, timeout=90)
        assert job.state is State.SUCCEEDED, job.error
        time.sleep(0.5)  # until the worker has said that it is idle
        return job

    with run_stack(tmp_path, Settings(cache=tmp_path / "cache"), workers=2) as stack, Client(stack.url) as client:
        records = Records(stack.settings)
        wait_for_both(records)
        first = ask(client)
        for _ in range(8):
            ask(client)
        assert first.model == "shapes@1"
        assert sorted(map(len, list_loaded(records))) == [0, 1]  # only one of them has ever loaded it
        presence = Presence(records)
        assert presence.find_idle("other@1") is None
        assert presence.find_idle("shapes@1") is not None
        assert presence.find_idle("shapes@1") is None  # it was just given a job, as far as is known
        ask(client)  # which goes to whoever is there


def list_loaded(records: Records) -> list[list[str]]:
    """What each worker holds."""
    with records.connection() as redis:
        entries = [redis.get(f"archetype:worker:{worker}") for worker in redis.smembers(WORKERS)]
    return [json.loads(entry)["releases"] for entry in entries]
