"""A worker in a lane: it takes in shares while there is room, and all of them go on together, step by step."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

import structlog
import torch

from shared.claims import Claim, ClaimLost
from shared.counters import Counts
from shared.errors import Newer, OutOfMemory, Problem, TimeLimitExceeded, Unavailable
from shared.jobs import now
from shared.lanes import ALONE
from shared.tracing import within
from worker.attempt import Attempt, Bench, begin, cancel, end, explain_failure, fail, succeed
from worker.heartbeat import Cancelled, Heartbeat, Pulse
from worker.lane import Lane
from worker.pool import Pool, Want

log = structlog.get_logger()


class Interrupted(Exception):
    """There is news of a job, or the worker is to stop; what is computed for several is computed again without it."""


def nobody() -> None:
    """There is nobody to be woken."""


def run_next_lane(bench: Bench, wake_others: Callable[[], None] = nobody) -> bool:
    """Takes the next share that waits, and others of its lane; False where nothing waited, or the store was away.

    Args:
        wake_others: Called once the batch is full: others may take what is left.
    """
    claim = bench.claims.claim(bench.owner)
    if claim is None:
        return False
    with ExitStack() as held:
        run = LaneRun(bench, held)
        held.enter_context(run.pulse.beating())
        run.take(claim)
        run.take_in()
        if not run.interrupted:
            wake_others()
        run.go_on()
    leave_if_broken(bench.device)
    return not run.interrupted


def leave_if_broken(device: torch.device) -> None:
    """Ends this process if its GPU no longer works: later jobs would fail or, worse, succeed with garbage."""
    if device.type == "cuda":
        try:
            torch.cuda.synchronize(device)
        except RuntimeError:
            log.exception("device.broken")
            os._exit(1)


class LaneRun:
    """The shares that are worked on now, from the first claim until none is left.

    Attributes:
        interrupted: Whether something that all jobs need did not answer.
    """

    def __init__(self, bench: Bench, held: ExitStack) -> None:
        self.interrupted = False
        self.pulse = Pulse(bench.settings.step_seconds, bench.settings.life)
        self._bench = bench
        self._lane = Lane(bench.networks, bench.plans, bench.storage, held, self._look_up)
        self._attempts: list[Attempt] = []
        self._name = ""
        self._closes = time.monotonic() + bench.settings.lane_seconds
        self._at_work: Sequence[Attempt] = ()
        self._counts = Counts()

    def go_on(self) -> None:
        """Until nobody is left, and nobody else is taken in."""
        while self._attempts:
            if self._bench.stopping.is_set():
                self._give_everything_back()
                return
            self.take_in()
            self._step()
            if not self._attempts:
                self.take_in()
        self._counts.write(self._bench.records)

    def take_in(self) -> None:
        """Claims from the lane while there is room and time."""
        while time.monotonic() < self._closes and not self.interrupted and not self._bench.stopping.is_set():
            taken = sum(attempt.size for attempt in self._attempts)
            room = self._lane.batch - taken if taken else ALONE
            if room <= 0:
                return
            try:
                claim = self._bench.claims.claim(self._bench.owner, lane=self._name, room=room)
            except Unavailable:  # those who are here go on; their leases say for how long
                return
            if claim is None:
                return
            self.take(claim)

    def take(self, claim: Claim) -> None:
        """Begins to work on a share."""
        bench, settings = self._bench, self._bench.settings
        self._name = claim.lane
        heartbeat = Heartbeat(
            bench.claims, claim, lease_seconds=settings.lease_seconds, job_seconds=settings.job_seconds
        )
        self.pulse.add(heartbeat)
        attempt = Attempt(claim, heartbeat)
        self._attempts.append(attempt)
        with self._attending(attempt):
            log.info("job.claimed", share=claim.share)
            if (claim.whole or claim.resumes) and (why := bench.claims.renew(claim, heartbeat.progress)) is not None:
                raise Cancelled(why)
            if claim.resumes and self._has_ended(attempt):
                return
            attempt.run = begin(bench, attempt, self._lane)

    def _has_ended(self, attempt: Attempt) -> bool:
        """Whether an earlier attempt got as far as its result, and died before it could say so; now it is said."""
        bench, claim = self._bench, attempt.claim
        if (earlier := bench.storage.load_manifest(claim.job_id)) is not None:
            end(bench, attempt, earlier.job)
            self._let_go(attempt)
            return True
        if claim.shares > 1 and not claim.whole and bench.storage.load_part(claim.job_id, claim.share) is not None:
            self._conclude(attempt, bench.claims.end_share(claim, bench.owner))
            return True
        return False

    def _step(self) -> None:
        """Lets everybody go on to what they want, computes that, and gives it to them."""
        for attempt in list(self._attempts):
            if attempt.want is None:
                self._resume(attempt, None)
        waiting = [(attempt, attempt.want) for attempt in self._attempts if attempt.want is not None]
        pools = {id(want.pool): want.pool for _, want in waiting}
        for pool in pools.values():
            self._compute(pool, [(attempt, want) for attempt, want in waiting if want.pool is pool])
        self._put_away_if_due()

    def _resume(self, attempt: Attempt, answer: object) -> None:
        """Lets a method go on, until it yields, returns or raises."""
        with self._attending(attempt):
            if attempt.want is not None and attempt.stepped is None:
                attempt.stepped = now()
            attempt.want = None
            attempt.heartbeat.check()
            if attempt.run is None:
                raise ClaimLost(attempt.claim.ref)
            try:
                said = attempt.run.send(answer)
            except StopIteration as stop:
                self._conclude(attempt, succeed(self._bench, attempt, stop.value))
                self._count_end(attempt)
                return
            if isinstance(said, Want):
                attempt.want = said
            progress = said.progress if isinstance(said, Want) else said
            attempt.heartbeat.report(progress or attempt.heartbeat.progress)

    def _compute(self, pool: Pool, waiting: Sequence[tuple[Attempt, Want]]) -> None:
        """What several want, in one batch; where that fails, each alone, so that only who is at fault fails."""
        self._at_work = [attempt for attempt, _ in waiting]
        try:
            answers = pool.compute([want.what for _, want in waiting])
        except Interrupted:
            self._hear_news()
            return
        except Exception:
            leave_if_broken(self._bench.device)
            if len(waiting) == 1:
                self._compute_alone(pool, *waiting[0])
            for attempt, want in waiting if len(waiting) > 1 else ():
                self._compute_alone(pool, attempt, want)
            return
        finally:
            self._at_work = ()
        self._count_batch(waiting)
        for (attempt, _), answer in zip(waiting, answers, strict=True):
            self._resume(attempt, answer)

    def _count_end(self, attempt: Attempt) -> None:
        model, _, rest = attempt.claim.lane.partition("/")
        if not attempt.claim.whole:
            self._counts.add("archetype_targets", rest.partition("/")[0], model, by=attempt.size)

    def _count_batch(self, waiting: Sequence[tuple[Attempt, Want]]) -> None:
        model, slots = self._name.partition("/")[0], sum(attempt.size for attempt, _ in waiting)
        self._counts.add("archetype_batches", model)
        self._counts.add("archetype_batch_slots", model, by=min(slots, self._lane.batch))
        self._counts.add("archetype_batch_places", model, by=self._lane.batch)

    def _compute_alone(self, pool: Pool, attempt: Attempt, want: Want) -> None:
        answer = None
        with self._attending(attempt):
            (answer,) = pool.compute([want.what])
        if answer is not None and attempt in self._attempts:
            self._resume(attempt, answer)

    def _hear_news(self) -> None:
        """Ends those of whom there is news; the others want what they wanted."""
        for attempt in [attempt for attempt in self._attempts if attempt.heartbeat.news]:
            with self._attending(attempt):
                attempt.heartbeat.check()

    def _look_up(self) -> None:
        """Before every pass through the network."""
        self.pulse.sign()
        if self._bench.stopping.is_set():
            raise Interrupted
        if len(self._at_work) == 1:
            self._at_work[0].heartbeat.check()
        elif any(attempt.heartbeat.news for attempt in self._at_work):
            raise Interrupted

    @contextmanager
    def _attending(self, attempt: Attempt) -> Iterator[None]:
        """Works on one share; whatever happens becomes its end."""
        before, self._at_work = self._at_work, (attempt,)
        self.pulse.sign()
        facts = {"job_id": attempt.claim.job_id, "attempt": attempt.claim.attempt}
        try:
            with structlog.contextvars.bound_contextvars(**facts), within(attempt.span):
                try:
                    yield
                except Exception as error:
                    self._end_badly(attempt, error)
        finally:
            self._at_work = before

    def _end_badly(self, attempt: Attempt, error: Exception) -> None:
        """What went wrong, as the end of the share; where even that cannot be written, the sweep finds it."""
        try:
            match error:
                case Interrupted():
                    self._give_back(attempt, counts=False)
                case ClaimLost():
                    log.warning("job.lost")
                    self._let_go(attempt)
                case Newer():  # in a lane of its own, it is in nobody's way until a worker comes that can read it
                    log.warning("job.newer", error=error.detail)
                    self.interrupted = True
                    self._give_back(attempt, counts=False, alone=True)
                case Unavailable():
                    # Neither the job's fault nor a result; whoever takes it next finds the part that was away.
                    log.warning("job.interrupted", error=error.detail)
                    self.interrupted = True
                    self._give_back(attempt, counts=False)
                case Cancelled():
                    self._conclude(attempt, cancel(self._bench, attempt, str(error)))
                case _:
                    leave_if_broken(self._bench.device)
                    self._fail(attempt, explain_failure(error))
        except (ClaimLost, Unavailable) as problem:
            log.warning("job.lost", error=str(problem))
            self.interrupted = self.interrupted or isinstance(problem, Unavailable)
            with suppress(ClaimLost, Unavailable):
                self._bench.claims.give_back(attempt.claim, counts=False, max_attempts=self._most)
            self._let_go(attempt)

    def _fail(self, attempt: Attempt, problem: Problem) -> None:
        """Memory that ran out may be there for the next attempt, and time for one alone; all else fails at once."""
        if isinstance(problem, TimeLimitExceeded) and len(self._attempts) > 1:
            log.warning("job.late_in_company")
            self._put_away(attempt)
            self._bench.claims.give_back(attempt.claim, counts=False, max_attempts=self._most, alone=True)
            self._let_go(attempt)
            return
        if isinstance(problem, OutOfMemory) and attempt.claim.attempt < self._most:
            log.warning("job.out_of_memory")
            self._give_back(attempt, counts=True)
            return
        self._conclude(attempt, fail(self._bench, attempt, problem))

    def _conclude(self, attempt: Attempt, whole: Claim | None) -> None:
        """The share has ended; if it was the last of its job, the job is put together here and now."""
        self._let_go(attempt)
        if whole is not None:
            self.take(whole)

    def _give_back(self, attempt: Attempt, *, counts: bool, alone: bool = False) -> None:
        self._bench.claims.give_back(attempt.claim, counts=counts, max_attempts=self._most, alone=alone)
        self._let_go(attempt)

    def _give_everything_back(self) -> None:
        """The worker is to stop: every share goes back to the queue, with how far it came."""
        for attempt in list(self._attempts):
            with self._attending(attempt):
                self._put_away(attempt)
                self._give_back(attempt, counts=False)
                log.info("job.given_back")

    def _let_go(self, attempt: Attempt) -> None:
        """Takes down what was set up for a share."""
        if attempt in self._attempts:
            self._attempts.remove(attempt)
        self.pulse.remove(attempt.heartbeat)
        attempt.want = None
        if attempt.run is not None:
            with suppress(Exception):
                attempt.run.close()
        attempt.held.close()
        if attempt.span is not None:
            attempt.span.end()
            attempt.span = None

    def _put_away_if_due(self) -> None:
        every = self._bench.settings.checkpoint_seconds
        for attempt in self._attempts:
            if time.monotonic() - attempt.put_away > every:
                self._put_away(attempt)
                self._counts.write(self._bench.records)

    def _put_away(self, attempt: Attempt) -> None:
        """Stores how far a share has come, where its method can say so; if that fails, the share goes on without."""
        attempt.put_away = time.monotonic()
        self.pulse.sign()
        if attempt.want is None or attempt.want.put_away is None:
            return
        try:
            claim, data = attempt.claim, attempt.want.put_away()
            self._bench.storage.save_checkpoint(claim.job_id, claim.share, claim.fence, data)
            attempt.kept = True
        except Unavailable as problem:
            log.warning("checkpoint.unsaved", job_id=attempt.claim.job_id, error=problem.detail)
        except Exception:  # no reason to lose what it was to save
            log.exception("checkpoint.failed", job_id=attempt.claim.job_id)

    @property
    def _most(self) -> int:
        return self._bench.settings.max_attempts
