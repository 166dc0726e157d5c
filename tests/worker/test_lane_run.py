"""A worker in a lane, in this process: jobs that share a batch, one that leaves, one that fails, one that goes on."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
import torch

from deploy.local import Stack
from shared.bucket import Bucket
from shared.catalogue import load_catalogue
from shared.checks import check_request, parse_request
from shared.claims import Claims
from shared.jobs import Job, Manifest, Order, State, new_job_id, now
from shared.lanes import cut, name_lane
from shared.log import configure_logging
from shared.pictures import Facts
from shared.records import Records
from shared.storage import Storage
from tests.conftest import write_catalogue
from tests.tasks import encode, noise
from worker import attempt
from worker.attempt import Bench
from worker.climbing import Climbers
from worker.engine.plan import Plan
from worker.lane_run import run_next_lane
from worker.mapping import MapPool
from worker.networks import Loader, Networks
from worker.plans import Plans

CPU = torch.device("cpu")
QUICK = {"steps": 12, "frames": 3}


class FixedPlans(Plans):
    """Eight at a time, whatever the machine; what is measured differs each time, as it does between machines."""

    def find(self, _key: str, _measure: Callable[[], Plan]) -> Plan:
        return Plan("float32", 8, time.monotonic())


class Workplace:
    """A worker's bench with records and a bucket of its own, and what happens at every step of a batch."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        url = stack.settings.redis_url.removesuffix("/0") + "/9"
        self.settings = stack.settings.model_copy(
            update={"redis_url": url, "s3_bucket": "lane-tests", "lane_seconds": 60, "checkpoint_seconds": 1000}
        )
        self.redis = redis.Redis.from_url(url)
        self.redis.flushdb()
        bucket = Bucket(self.settings)
        bucket.create()
        self.records, self.storage = Records(self.settings), Storage(bucket)
        self.claims = Claims(self.records)
        factories = {**self.settings.factories, "greedy": "tests.networks:greedy", "picky": "tests.networks:picky"}
        path = write_catalogue(folder)
        path.write_text(path.read_text() + MORE)
        self.catalogue = load_catalogue(path)
        self.networks = Networks(Loader(factories), device=CPU)
        self.stopping = threading.Event()

    def bench(self, **settings: Any) -> Bench:
        return Bench(
            settings=self.settings.model_copy(update=settings), records=self.records, claims=self.claims,
            storage=self.storage, catalogue=self.catalogue, networks=self.networks, plans=FixedPlans(None),
            device=CPU, stopping=self.stopping,
        )  # fmt: skip

    def submit(self, targets: list[int] | None = None, model: str = "grey", seconds: float = 600, **body: Any) -> str:
        """As the API does."""
        wanted = {} if targets is None else {"targets": targets}
        body = {"method": "class_model", "model": model, "params": QUICK, **wanted, **body}
        checked = check_request(parse_request(body), self.catalogue, self.storage, self.storage.of("default"))
        shares, weight = cut(checked.request, checked.targets)
        order = Order(
            request=checked.request.model_dump(mode="json"), lane=name_lane(checked.request), shares=shares,
            weight=weight, created_at=now(), deadline=now() + timedelta(seconds=seconds),
        )  # fmt: skip
        self.storage.save_order(job_id := new_job_id(), order)
        self.claims.create(job_id, order)
        return job_id

    def work(self, **settings: Any) -> int:
        """Until nothing waits; how often the worker entered a lane."""
        runs = 0
        while self.claims.is_waiting():
            run_next_lane(self.bench(**settings))
            runs += 1
            assert runs < 20
        return runs

    def result(self, job_id: str) -> Job:
        return self.manifest(job_id).job

    def manifest(self, job_id: str) -> Manifest:
        manifest = self.storage.load_manifest(job_id)
        assert manifest is not None, self.records.find(job_id)
        return manifest

    def files(self, job_id: str) -> dict[str, bytes]:
        """The pictures and floats of a job, by name."""
        manifest = self.manifest(job_id)
        assert manifest.job.state is State.SUCCEEDED, manifest.job.error
        return {
            name: self.storage.bucket.get(key)
            for name, key in manifest.keys.items()
            if name.endswith((".png", ".npz", ".gif")) and name != "contact-sheet.png"
        }


MORE = """
[[model]]
name = "greedy"
architecture = "factory:greedy"
classes = ["one", "two", "three"]
preprocessing = { size = [16, 16] }

[[model]]
name = "picky"
architecture = "factory:picky"
classes = ["one", "two", "three"]
preprocessing = { size = [16, 16] }
"""


@pytest.fixture
def place(stack: Stack, tmp_path: Path) -> Iterator[Workplace]:
    configure_logging(stack.settings)
    made = Workplace(stack, tmp_path)
    yield made
    made.redis.flushdb()


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many jobs were in the batch at each step."""
    seen: list[int] = []
    plain = Climbers.compute

    def compute(self: Climbers, wants: Any) -> Any:
        seen.append(len(wants))
        return plain(self, wants)

    monkeypatch.setattr(Climbers, "compute", compute)
    return seen


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], object]], None]:
    """Has something done before a step of the batch."""
    actions: dict[int, Callable[[], object]] = {}
    taken = iter(range(10**6))
    plain = Climbers.compute

    def compute(self: Climbers, wants: Any) -> Any:
        if (step := next(taken)) in actions:
            actions.pop(step)()
        return plain(self, wants)

    monkeypatch.setattr(Climbers, "compute", compute)
    return actions.__setitem__


def same(ours: dict[str, bytes], theirs: dict[str, bytes]) -> bool:
    """The same names, and the same pictures to a level or two: another batch may round otherwise."""
    import io

    import numpy as np
    from PIL import Image

    def pixels(data: bytes) -> Any:
        return np.asarray(Image.open(io.BytesIO(data)), np.int16)

    pictures = [name for name in ours if name.endswith(".png") and "curve" not in name]
    return set(ours) == set(theirs) and all(
        np.abs(pixels(ours[name]) - pixels(theirs[name])).max() <= 2 for name in pictures
    )


def test_jobs_of_a_lane_share_a_batch_and_each_has_the_result_that_it_has_alone(
    place: Workplace, batches: list[int]
) -> None:
    jobs = [place.submit([target], params=QUICK | {"seeds": [target]}) for target in (0, 1, 2, 0)]
    assert place.work() == 1
    assert max(batches) == 4
    alone = place.submit([1], params=QUICK | {"seeds": [1]})
    place.work()
    assert same(place.files(jobs[1]), place.files(alone))
    assert place.result(jobs[1]).metrics.keys() == place.result(alone).metrics.keys()


def test_who_comes_late_joins_the_batch_that_runs(place: Workplace, batches: list[int], at_step: Any) -> None:
    first = place.submit([0])
    late: list[str] = []
    at_step(5, lambda: late.append(place.submit([1])))
    assert place.work() == 1
    assert place.result(first).state is place.result(late[0]).state is State.SUCCEEDED
    other = place.submit([1])
    place.work()
    assert same(place.files(late[0]), place.files(other))


def test_a_lane_that_was_open_for_long_takes_no_more_and_the_other_lane_comes_next(
    place: Workplace, at_step: Any
) -> None:
    popular = [place.submit([0], model="slow")]
    lonely = place.submit([0])
    for step in range(1, 300):
        at_step(step, lambda: popular.append(place.submit([0], model="slow")) if len(popular) < 12 else None)
    run_next_lane(place.bench(lane_seconds=1.0))
    served = [place.records.find(job_id).state for job_id in popular]
    assert 1 < served.count(State.SUCCEEDED) < 12
    run_next_lane(place.bench(lane_seconds=1.0))
    assert place.result(lonely).state is State.SUCCEEDED
    place.work()
    assert all(place.result(job_id).state is State.SUCCEEDED for job_id in popular)


def test_no_more_than_the_planned_batch_is_taken_in(place: Workplace, batches: list[int]) -> None:
    jobs = [place.submit([0, 1, 2]) for _ in range(4)]
    assert place.work() == 1
    assert max(batches) == 2  # eight places, three each
    assert all(place.result(job_id).state is State.SUCCEEDED for job_id in jobs)


def test_cancelling_one_changes_nothing_for_the_others(place: Workplace, at_step: Any) -> None:
    jobs = [place.submit([target], model="slow") for target in (0, 1, 2)]
    at_step(3, lambda: place.claims.withdraw(jobs[1], "asked", "api"))
    place.work()
    assert [place.result(job_id).state for job_id in jobs] == [State.SUCCEEDED, State.CANCELLED, State.SUCCEEDED]
    assert place.result(jobs[1]).artifacts == []
    alone = place.submit([2], model="slow")
    place.work()
    assert same(place.files(jobs[2]), place.files(alone))


def test_a_deadline_is_one_jobs_own(place: Workplace, at_step: Any) -> None:
    jobs = [place.submit([target], model="slow") for target in (0, 1)]
    at_step(3, lambda: place.claims.withdraw(jobs[1], "deadline", "sweep"))
    place.work()
    late = place.result(jobs[1])
    assert (late.state, late.error.type) == (State.CANCELLED, "/problems/deadline-exceeded")
    assert place.result(jobs[0]).state is State.SUCCEEDED


def test_who_fails_fails_alone(place: Workplace) -> None:
    jobs = [place.submit([0], model="picky", params=QUICK | {"seeds": [seed]}) for seed in (0, 1, 2)]
    poison = place.submit([1], model="picky")
    place.work()
    assert [place.result(job_id).state for job_id in jobs] == [State.SUCCEEDED] * 3
    failed = place.result(poison)
    assert (failed.state, failed.error.type) == (State.FAILED, "/problems/internal")
    assert "does not like this picture" in failed.error.detail


def test_memory_that_runs_out_every_time_fails_after_three_attempts(place: Workplace) -> None:
    greedy, other = place.submit([0], model="greedy"), place.submit([0])
    place.work()
    failed = place.result(greedy)
    assert (failed.state, failed.attempt, failed.error.type) == (State.FAILED, 3, "/problems/out-of-memory")
    assert place.result(other).state is State.SUCCEEDED


@pytest.mark.parametrize("params", [QUICK, QUICK | {"octaves": 2}, QUICK | {"keep": "best", "look_every": 3}], ids=str)
def test_a_worker_that_is_to_stop_gives_back_what_it_has_and_the_next_goes_on_from_there(
    place: Workplace, at_step: Any, batches: list[int], params: dict[str, Any]
) -> None:
    plain = [place.submit([target], params=params) for target in (0, 1)]
    place.work()
    whole, batches[:] = len(batches), []
    jobs = [place.submit([target], params=params) for target in (0, 1)]
    at_step(whole + 7, place.stopping.set)
    run_next_lane(place.bench())
    found = [place.records.find(job_id) for job_id in jobs]
    assert [(job.state, job.attempt) for job in found] == [(State.QUEUED, 0)] * 2
    taken = len(batches)
    place.stopping.clear()
    place.work()
    assert len(batches) <= whole + 1  # nothing was done twice
    assert taken < whole
    for before, after in zip(plain, jobs, strict=True):
        assert place.result(after).attempt == 1
        assert place.files(before).keys() == place.files(after).keys()
        assert same(place.files(before), place.files(after))


def test_an_attempt_goes_on_from_the_checkpoint_of_one_that_died(
    place: Workplace, at_step: Any, monkeypatch: pytest.MonkeyPatch, batches: list[int]
) -> None:
    job_id = place.submit([0], model="slow")

    class Died(BaseException):
        pass

    def die() -> None:
        raise Died

    at_step(8, die)
    with pytest.raises(Died):
        run_next_lane(place.bench(checkpoint_seconds=0.3))
    (ref, beat), *_ = place.claims.leases().items()
    assert place.claims.release(ref, beat, max_attempts=3)
    batches.clear()
    place.work()
    assert place.result(job_id).attempt == 2
    assert 4 <= len(batches) < 12
    assert list(place.storage.bucket.keys(f"jobs/{job_id}/checkpoints/")) == []  # nobody will go on from them


def test_who_runs_out_of_time_in_company_goes_on_alone(place: Workplace, at_step: Any) -> None:
    jobs = [place.submit([target], model="slow") for target in (0, 1)]
    attempts: list[Any] = []
    plain = attempt.begin

    def begin(bench: Bench, one: Any, lane: Any) -> Any:
        attempts.append(one)
        return plain(bench, one, lane)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("worker.lane_run.begin", begin)
        at_step(3, lambda: setattr(attempts[0].heartbeat, "_job_seconds", 0))
        place.work()
    assert [place.result(job_id).state for job_id in jobs] == [State.SUCCEEDED] * 2
    assert [one.claim.lane for one in attempts][2] == f"{attempts[0].claim.lane}!{jobs[0]}:0"
    assert place.result(jobs[0]).attempt == 1


def test_a_share_whose_worker_died_with_its_part_written_is_not_computed_again(
    place: Workplace, monkeypatch: pytest.MonkeyPatch, batches: list[int]
) -> None:
    job_id = place.submit([0, 1], params={"steps": 6, "seeds": [0, 1, 2, 3, 4]})
    plain = Claims.end_share
    monkeypatch.setattr(Claims, "end_share", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_next_lane(place.bench(lane_seconds=0))
    monkeypatch.setattr(Claims, "end_share", plain)
    (ref, beat), *_ = place.claims.leases().items()
    place.claims.release(ref, beat, max_attempts=3)
    batches.clear()
    place.work(lane_seconds=0)
    assert place.result(job_id).state is State.SUCCEEDED
    assert len(batches) == 6  # of the other share


def test_a_checkpoint_of_another_kind_or_none_at_all_is_not_gone_on_from(
    place: Workplace, at_step: Any, batches: list[int]
) -> None:
    job_id = place.submit([0])
    at_step(4, place.stopping.set)
    run_next_lane(place.bench())
    place.stopping.clear()
    (key,) = place.storage.bucket.keys(f"jobs/{job_id}/checkpoints/")
    place.storage.bucket.put(key, b"not what torch saves", media_type="text/plain")
    batches.clear()
    place.work()
    assert (place.result(job_id).state, len(batches)) == (State.SUCCEEDED, 12)


def test_a_job_of_many_targets_is_put_together_from_its_shares(place: Workplace, batches: list[int]) -> None:
    params = {"steps": 6, "seeds": [0, 1, 2, 3, 4], "frames": 2}
    job_id = place.submit([0, 1, 2], params=params)
    assert [place.records.find(job_id).state] == [State.QUEUED]
    place.work(lane_seconds=0)
    job = place.result(job_id)
    assert (job.state, job.progress.done, job.progress.total) == (State.SUCCEEDED, 90, 90)
    assert place.records.find(job_id).progress == job.progress
    assert [target["target"]["index"] for target in job.metrics["targets"]] == [0, 1, 2]
    names = [artifact.name for artifact in job.artifacts]
    assert names.count("contact-sheet.png") == names.count("metrics.json") == 1
    assert {artifact.target.index for artifact in job.artifacts if artifact.target} == {0, 1, 2}
    assert set(names) == place.manifest(job_id).keys.keys()
    assert len({key.split("/")[3] for key in place.manifest(job_id).keys.values()}) == 4  # three shares, and the whole
    assert job.provenance["model"]["reference"] == "grey@1"


def test_of_a_job_of_several_shares_the_one_that_fails_is_told_of_and_the_rest_kept(place: Workplace) -> None:
    params = {"steps": 6, "seeds": [0, 1, 2, 3, 4]}
    job_id = place.submit([0, 1], model="picky", params=params)
    place.work()
    job = place.result(job_id)
    assert job.state is State.SUCCEEDED
    good, bad = job.metrics["targets"]
    assert "rank" in good
    assert "does not like this picture" in bad["error"]["detail"]
    hopeless = place.submit([1], model="picky", params={"steps": 6, "seeds": list(range(16))})
    place.work()
    assert place.result(hopeless).error.type == "/problems/internal"


def test_a_job_of_several_shares_is_cancelled_as_a_whole(place: Workplace, at_step: Any) -> None:
    job_id = place.submit([0, 1, 2], model="slow", params={"steps": 20, "seeds": [0, 1, 2, 3, 4]})
    at_step(2, lambda: place.claims.withdraw(job_id, "asked", "api"))
    place.work(lane_seconds=0)
    assert (place.result(job_id).state, place.claims.leases()) == (State.CANCELLED, {})


def upload(place: Workplace, seed: int) -> str:
    return place.storage.of("default").save_image(encode(noise(28, 28, 1, seed=seed)), Facts("PNG", 28, 28)).id


def test_maps_of_several_jobs_are_made_in_one_batch(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    plain = MapPool.compute

    def compute(self: MapPool, wants: Any) -> Any:
        seen.append(sum(map(len, wants)))
        return plain(self, wants)

    monkeypatch.setattr(MapPool, "compute", compute)
    images = [upload(place, seed) for seed in range(4)]
    jobs = [
        place.submit(method="saliency", images=[image], params={}, targets=[seed % 3])
        for seed, image in enumerate(images)
    ]
    both = place.submit(method="localization", images=images[:2], params={"crops": 1, "view": "crop"}, targets=[0])
    assert place.work() == 1
    assert seen == [6]
    alone = place.submit(method="saliency", images=[images[1]], params={}, targets=[1])
    place.work()
    assert same(place.files(jobs[1]), place.files(alone))
    assert place.result(both).state is State.SUCCEEDED


def test_a_picture_that_cannot_be_read_fails_its_own_job(place: Workplace) -> None:
    good = place.submit(method="saliency", images=[upload(place, 1)], params={}, targets=[0])
    image = place.storage.of("default").save_image(b"this was a picture once", Facts("PNG", 28, 28)).id
    bad = place.submit(method="saliency", images=[image], params={}, targets=[0])
    place.work()
    assert [place.result(job_id).state for job_id in (good, bad)] == [State.SUCCEEDED, State.FAILED]


def test_a_step_that_hangs_ends_the_process(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr("worker.heartbeat.os._exit", lambda code: (ended.append(code), place.stopping.set()))
    place.submit([0], model="slow", params={"steps": 20})
    monkeypatch.setattr("tests.networks.time.sleep", lambda _: threading.Event().wait(1.2))
    run_next_lane(place.bench(step_seconds=0.4))
    assert ended[0] == 70


def test_who_has_lost_the_claim_writes_nothing(place: Workplace, at_step: Any) -> None:
    job_id = place.submit([0], model="slow")
    heirs: list[Any] = []

    def lose() -> None:
        (ref, beat), *_ = place.claims.leases().items()
        place.claims.release(ref, beat, max_attempts=3)
        heirs.append(place.claims.claim("heir"))

    at_step(2, lose)
    run_next_lane(place.bench())
    assert place.records.find(job_id).state is State.RUNNING
    assert place.storage.load_manifest(job_id) is None
    assert heirs[0].attempt == 2


def test_a_store_that_goes_away_while_results_are_written_costs_no_attempt(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.errors import Unavailable

    job_id = place.submit([0])
    plain, calls = Storage.save_manifest, []

    def save_manifest(self: Storage, manifest: Manifest) -> None:
        calls.append(manifest)
        if len(calls) == 1:
            raise Unavailable("the object store does not answer")
        plain(self, manifest)

    monkeypatch.setattr(Storage, "save_manifest", save_manifest)
    woken: list[str] = []
    monkeypatch.setattr(Storage, "load_order", lambda *_: (_ for _ in ()).throw(Unavailable("away")))
    assert run_next_lane(place.bench(), lambda: woken.append("somebody")) is False
    assert woken == []  # they would find the same, again and again
    monkeypatch.undo()
    monkeypatch.setattr(Storage, "save_manifest", save_manifest)
    assert run_next_lane(place.bench()) is False
    assert (place.records.find(job_id).state, place.records.find(job_id).attempt) == (State.QUEUED, 0)
    place.work()
    assert place.result(job_id).state is State.SUCCEEDED


def test_an_end_is_written_once_though_two_come_to_it(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second attempt finds the first one's manifest, and takes it for its own."""
    job_id = place.submit([0])
    plain = attempt.end_job

    def die_after_the_manifest(claims: Any, storage: Storage, claim: Any, job: Job, keys: Any = None) -> Job:
        storage.save_manifest(Manifest(job=job, fence=claim.fence, keys=dict(keys or {})))
        raise KeyboardInterrupt

    monkeypatch.setattr(attempt, "end_job", die_after_the_manifest)
    with pytest.raises(KeyboardInterrupt):
        run_next_lane(place.bench())
    first = place.manifest(job_id)
    monkeypatch.setattr(attempt, "end_job", plain)
    (ref, beat), *_ = place.claims.leases().items()
    place.claims.release(ref, beat, max_attempts=3)
    started = time.monotonic()
    place.work()
    assert time.monotonic() - started < 5
    assert place.manifest(job_id) == first
    assert place.records.find(job_id).state is State.SUCCEEDED
    assert place.records.find_manifest(job_id) == first.fence


def test_an_order_of_a_newer_version_goes_back_to_the_queue_and_no_attempt_counts(place: Workplace) -> None:
    job_id = place.submit([1])
    newer = json.loads(place.storage.load_order(job_id)) | {"format": 2, "shape": "unheard of"}
    place.storage.bucket.put(f"jobs/{job_id}/request.json", json.dumps(newer).encode(), media_type="application/json")
    assert run_next_lane(place.bench()) is False  # nobody else is woken for it
    job = place.records.find(job_id)
    assert job is not None
    assert (job.state, job.attempt) == (State.QUEUED, 0)
    behind = place.submit([2])
    for _ in range(4):  # it comes again and again, and in nobody's way
        run_next_lane(place.bench())
    assert place.result(behind).state is State.SUCCEEDED
    assert place.records.find(job_id).state is State.QUEUED
    lanes = place.redis.zrange("archetype:lanes:interactive", 0, -1)
    assert [lane.decode().count("!") for lane in lanes] == [1]
