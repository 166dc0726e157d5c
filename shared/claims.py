"""Who works on what: shares of jobs are claimed with a lease and a fence, lane by lane, and given back.

Every change is one Lua script, so that it happens whole or not at all, and only for whoever holds the share's fence. A
lease is a number that its holder raises; it has run out for whoever has seen it unchanged for too long, by a clock
that nobody can set.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, cast

from shared.jobs import Manifest, Order, Progress, now
from shared.lanes import ALONE
from shared.records import FORMAT, PREFIX, Records, key, key_of_job, lists_of

PATIENCE_SECONDS = 600
"""A bulk job that has waited for longer is taken before interactive ones."""

SCRIPTS = ("admit", "create", "claim", "renew", "end_share", "finish", "give_back", "take_over", "withdraw")


HELD = "held"
"""Where the ids of jobs lie that come after others."""


@dataclass(frozen=True)
class Claim:
    """The right to work on a share: good while the lease is renewed, void once the fence has moved on.

    Attributes:
        share: Its number; the number of shares for what puts them together.
        attempt: How often this share was claimed.
        size: How many places it takes in a batch.
        shares: How many shares the job has.
        resumes: Whether somebody may have worked on it before.
    """

    job_id: str
    share: int
    fence: int
    attempt: int
    size: int = 1
    shares: int = 1
    lane: str = ""
    resumes: bool = False

    @property
    def ref(self) -> str:
        """What the share is called."""
        return f"{self.job_id}:{self.share}"

    @property
    def whole(self) -> bool:
        """Whether it is about putting shares together."""
        return self.shares > 1 and self.share == self.shares


class ClaimLost(Exception):
    """The share is somebody else's now; nothing more may be written of it."""


class Claims:
    """Shares as they stand now. Every call raises `Unavailable` when Redis does not answer."""

    def __init__(self, records: Records) -> None:
        self._records = records
        folder = resources.files("shared") / "lua"
        with records.connection() as redis:
            states = (folder / "states.lua").read_text()
            self._scripts = {
                name: redis.register_script(states + (folder / f"{name}.lua").read_text()) for name in SCRIPTS
            }

    @property
    def records(self) -> Records:
        """The records of the same jobs."""
        return self._records

    def _run(self, script: str, keys: list[str], arguments: list[str | int]) -> object:
        with self._records.connection():
            return self._scripts[script](keys, arguments)

    def create(self, job_id: str, order: Order, *, fence: int = 0, ended: Collection[int] = ()) -> bool:
        """Writes the record of a queued job and puts its shares into their lane; False if there is a record already.

        One that comes after others is held: `admit` puts its shares there.

        Args:
            fence: The highest that was ever used for it.
            ended: Shares that have ended.
        """
        job = order.job(job_id)
        lanes, pending = key(f"lanes:{job.priority}"), key(f"pending:{job.priority}:{order.lane}")
        keys = [
            key_of_job(job_id), key("deadlines"), lanes, pending, key(HELD), *lists_of(job)
        ]  # fmt: skip
        created, deadline = (int(moment.timestamp() * 1000) for moment in (order.created_at, order.deadline))
        items = [-count if number in ended else count for number, count in enumerate(order.shares)]
        arguments: list[str | int] = [
            PREFIX, job_id, job.tenant, job.model_dump_json(), created, deadline, order.lane, job.priority, fence,
            order.weight, ",".join(order.after), FORMAT, *items,
        ]  # fmt: skip
        return bool(self._run("create", keys, arguments))

    def held(self) -> dict[str, list[str]]:
        """The jobs that are held, and those that each comes after."""
        with self._records.connection() as redis:
            ids = cast("list[str]", redis.zrange(key(HELD), 0, -1))
            afters = [cast("str | None", redis.hget(key_of_job(job_id), "after")) for job_id in ids]
        return {job_id: (after or "").split(",") for job_id, after in zip(ids, afters, strict=True)}

    def admit(self, job_id: str) -> bool:
        """Lets a job in that was held; False if it is not."""
        return bool(self._run("admit", [key_of_job(job_id), key(HELD)], [PREFIX, job_id]))

    def claim(self, owner: str, *, lane: str = "", room: int = ALONE) -> Claim | None:
        """Takes the next share; None if there is none to take.

        Args:
            lane: Stay in this one: nothing if others come before what it still has.
            room: How many more places there are in the batch; without a lane, of no matter.
        """
        keys = [key("leases"), key("lanes:interactive"), key("lanes:bulk")]
        arguments: list[str | int] = [PREFIX, owner, now().isoformat(), lane, room, PATIENCE_SECONDS * 1000]
        taken = cast("list[Any] | None", self._run("claim", keys, arguments))
        return Claim(*taken) if taken else None

    def is_waiting(self) -> bool:
        """Whether anything waits to be claimed."""
        with self._records.connection() as redis:
            return bool(redis.exists(key("lanes:interactive"), key("lanes:bulk")))

    def renew(self, claim: Claim, progress: Progress) -> str | None:
        """Extends the lease and notes progress; returns why the job is to be cancelled, if it is.

        Raises:
            ClaimLost: The share is somebody else's now.
        """
        arguments: list[str | int] = [
            PREFIX,
            claim.job_id,
            claim.ref,
            claim.fence,
            progress.done,
            progress.total,
            progress.unit,
        ]
        answer = self._run("renew", self._keys(claim), arguments)
        if answer == -1:
            raise ClaimLost(claim.ref)
        return str(answer) or None

    def end_share(self, claim: Claim, owner: str) -> Claim | None:
        """Notes that a share of several has ended; the claim to put them together, if it was the last.

        Raises:
            ClaimLost: The share is not theirs to end.
        """
        whole = f"{claim.job_id}:{claim.shares}"
        keys = [*self._keys(claim), key(f"share:{whole}")]
        answer = self._run("end_share", keys, [claim.ref, claim.fence, whole, owner])
        if answer == -1:
            raise ClaimLost(claim.ref)
        if not answer:
            return None
        fence, attempt = cast("list[int]", answer)
        return Claim(claim.job_id, claim.shares, fence, attempt, 1, claim.shares, claim.lane)

    def finish(self, claim: Claim, manifest: Manifest) -> None:
        """Writes the terminal state. Raises `ClaimLost` if the claim is void."""
        job = manifest.job
        keys = [*self._keys(claim), key("deadlines")]
        moment = (job.finished_at or now()).isoformat()
        problem = job.error.model_dump_json() if job.error is not None else ""
        arguments: list[str | int] = [
            PREFIX, claim.job_id, claim.ref, claim.fence, job.state.value, moment, manifest.fence, job.bytes, problem,
            job.progress.done, job.progress.total, job.progress.unit,
        ]  # fmt: skip
        if not self._run("finish", keys, arguments):
            raise ClaimLost(claim.ref)

    def give_back(self, claim: Claim, *, counts: bool, max_attempts: int, alone: bool = False) -> None:
        """Puts a share back where it was in the queue. Raises `ClaimLost` if the claim is void.

        Args:
            counts: Whether the attempt does; without, it is as if it had not been taken.
            max_attempts: The last of them is made without company.
            alone: The next one is.
        """
        last = "now" if alone else max_attempts
        given: list[str | int] = [PREFIX, claim.job_id, claim.ref, claim.fence, "", int(counts), last]
        if not self._run("give_back", self._keys(claim), given):
            raise ClaimLost(claim.ref)

    def leases(self) -> Mapping[str, str]:
        """Every share that is worked on, and its last beat: a number that grows with every renewal and every claim."""
        with self._records.connection() as redis:
            found = cast("list[tuple[str, float]]", redis.zrange(key("leases"), 0, -1, withscores=True))
        return {ref: f"{beats:.0f}" for ref, beats in found}

    def release(self, ref: str, beat: str, *, max_attempts: int) -> bool:
        """Gives a share back whose lease was last renewed at this beat; False if it was renewed since."""
        job_id = ref.rpartition(":")[0]
        keys = [key_of_job(job_id), key(f"share:{ref}"), key("leases")]
        return bool(self._run("give_back", keys, [PREFIX, job_id, ref, "", beat, 1, max_attempts]))

    def take_over(self, ref: str, beat: str, owner: str) -> Claim | None:
        """The claim to end a share whose lease was last renewed at this beat; None if it was renewed since."""
        job_id, _, share = ref.rpartition(":")
        keys = [key_of_job(job_id), key(f"share:{ref}"), key("leases")]
        taken = cast("list[int] | None", self._run("take_over", keys, [ref, beat, owner]))
        if not taken:
            return None
        fence, attempt, shares = taken
        return Claim(job_id, int(share), fence, attempt, shares=shares)

    def why_cancelled(self, job_id: str) -> str | None:
        """Why a job that has not ended is to be cancelled, if it is."""
        with self._records.connection() as redis:
            return cast("str | None", redis.hget(key_of_job(job_id), "cancel"))

    def attempts(self, ref: str) -> int:
        """How often a share was claimed."""
        with self._records.connection() as redis:
            return int(cast("str | None", redis.hget(key(f"share:{ref}"), "attempt")) or 0)

    def withdraw(self, job_id: str, why: str, owner: str) -> Claim | None:
        """Cancels a job; the claim to end it, if nobody else works on it."""
        keys = [key_of_job(job_id), key("leases")]
        answer = cast("list[int] | None", self._run("withdraw", keys, [PREFIX, job_id, why, owner]))
        if not answer:
            return None
        share, fence, attempt = answer
        return Claim(job_id, share, fence, attempt)

    def due(self, count: int = 100) -> list[str]:
        """Jobs whose deadline has passed."""
        moment = int(now().timestamp() * 1000)
        with self._records.connection() as redis:
            return cast("list[str]", redis.zrange(key("deadlines"), 0, moment, byscore=True, offset=0, num=count))

    def forget_deadline(self, job_id: str) -> None:
        with self._records.connection() as redis:
            redis.zrem(key("deadlines"), job_id)

    def _keys(self, claim: Claim) -> list[str]:
        return [key_of_job(claim.job_id), key(f"share:{claim.ref}"), key("leases")]
