"""More than one worker."""

import time
from pathlib import Path

from deploy.local import run_stack
from shared.client import Client
from shared.jobs import Job, State
from shared.methods import ClassModel, ClassModelParameters
from shared.presence import Presence
from shared.records import Records
from shared.settings import Settings


def test_a_job_goes_to_the_worker_that_holds_its_network(tmp_path: Path) -> None:
    request = ClassModel(method="class_model", model="shapes", targets=["bee"], params=ClassModelParameters(steps=2))

    def ask(client: Client) -> Job:
        job = client.wait(client.submit(request).id, timeout=90)
        assert job.state is State.SUCCEEDED, job.error
        time.sleep(0.5)  # until the worker has said that it is idle
        return job

    with run_stack(tmp_path, Settings(cache=tmp_path / "cache"), workers=2) as stack, Client(stack.url) as client:
        first = ask(client)
        for _ in range(8):
            ask(client)
        workers = Presence(Records(stack.settings))
        assert first.model == "shapes@1"
        assert workers.find_idle("shapes@1") is not None
        assert workers.find_idle("shapes@1") is None  # only one of them has ever loaded it
        assert workers.find_idle("other@1") is None
        # Both are busy as far as is known, and the job goes to whoever is there.
        ask(client)
