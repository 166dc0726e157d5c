"""The claims of the version before tenants took turns. Its scripts are in `tests/earlier/scripts`."""

from typing import Any

from archetype.contract.job import now
from shared.queue.claims import MAX_BULK_WAIT_SECONDS, Claim
from shared.queue.sharding import UNLIMITED_ROOM
from shared.state.job_ids import new_job_id
from shared.state.keys import PREFIX, RECORD_FORMAT, key, key_of_job, key_of_shard, lists_of
from shared.state.redis_client import RedisClient
from shared.storage.documents import JobSpec
from tests.support.jobs import make_spec
from tests.support.paths import ROOT

SCRIPTS = ROOT / "tests" / "earlier" / "scripts"


class EarlierClaims:
    """Queues, claims, returns and cancels as a process of the earlier version does."""

    def __init__(self, redis_client: RedisClient) -> None:
        self._redis_client = redis_client

    def place(self, **changes: Any) -> str:
        """Queues a job; returns its id."""
        spec = make_spec(**changes)
        job_id = new_job_id()
        self.create(job_id, spec)
        return job_id

    def create(self, job_id: str, spec: JobSpec) -> None:
        """Queues a job: the shards of all tenants wait in one lane."""
        job = spec.job(job_id)
        lanes, pending = key(f"lanes:{job.priority}"), key(f"pending:{job.priority}:{spec.lane}")
        created, deadline = int(spec.created_at.timestamp() * 1000), int(spec.deadline.timestamp() * 1000)
        keys = [key_of_job(job_id), key("deadlines"), lanes, pending, key("held"), *lists_of(job)]
        arguments = [PREFIX, job_id, job.tenant, job.model_dump_json(), created, deadline, spec.lane, job.priority]
        arguments += [0, spec.weight, ",".join(spec.after), RECORD_FORMAT, spec.counted_targets]
        for items in spec.shards:
            arguments += [items, "pending"]
        self._run("create", keys, arguments)

    def claim(self, lane: str = "") -> Claim | None:
        """Claims a shard, of one lane or of any."""
        keys = [key("leases"), key("lanes:interactive"), key("lanes:bulk")]
        wait = MAX_BULK_WAIT_SECONDS * 1000
        fields = self._run("claim", keys, [PREFIX, "earlier", now().isoformat(), lane, UNLIMITED_ROOM, wait])
        return Claim(*fields) if fields else None

    def give_back(self, claim: Claim) -> None:
        """Returns a shard to the queue; the attempt does not count."""
        keys = [key_of_job(claim.job_id), key_of_shard(claim.ref), key("leases")]
        assert self._run("give_back", keys, [PREFIX, claim.job_id, claim.ref, claim.fence, "", 0, 3, 0])

    def withdraw(self, job_id: str) -> None:
        """Cancels a job that no worker has claimed."""
        assert self._run("withdraw", [key_of_job(job_id), key("leases")], [PREFIX, job_id, "asked", "earlier"])

    def unblock(self, job_id: str) -> None:
        """Makes the shards of a blocked job claimable."""
        assert self._run("unblock", [key_of_job(job_id), key("held")], [PREFIX, job_id])

    def _run(self, name: str, keys: list[str], arguments: list[Any]) -> Any:
        source = (SCRIPTS / "states.lua").read_text() + (SCRIPTS / f"{name}.lua").read_text()
        with self._redis_client.connection() as redis:
            return redis.register_script(source)(keys, arguments)
