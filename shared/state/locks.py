"""Locks, places and counters in Redis that all processes share. All of them expire."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from secrets import token_hex

import structlog

from shared.errors import Unavailable
from shared.state.keys import key
from shared.state.memory import RUNS_IF_FULL
from shared.state.redis_client import RedisClient

COUNTER_SECONDS = 3600
"""How long a counter is kept after its last change."""

POLL_SECONDS = 0.05

RENEW = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) else return 0 end"
"""Renews a key if it has this value: only its owner may, because it can have expired and belong to another process."""

RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end"

TAKE = RUNS_IF_FULL + "return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])"
"""Sets a key that does not exist. It expires, so a few of them do no harm to a full Redis, and retention needs one."""

log = structlog.get_logger()


class HeldLock:
    """A lock that this process holds. It is made by `Locks` only.

    A lock that expires while its holder works can be held by another process. The holder therefore extends the lock
    before each effect, for longer than the effect can take.
    """

    def __init__(self, locks: "Locks", what: str, token: str) -> None:
        self._locks = locks
        self._what = what
        self._token = token

    def extend(self, seconds: float) -> None:
        """Makes the lock expire only after so many seconds from now. Raises `Unavailable` if it has expired before."""
        if not self._locks.renew(_lock_key(self._what), self._token, seconds):
            raise Unavailable(f"the lock on {self._what} expired before the work was done; try again")


class Locks:
    """Locks that all processes share. Every call raises `Unavailable` if Redis does not answer."""

    def __init__(self, redis_client: RedisClient) -> None:
        self._redis_client = redis_client
        with redis_client.connection() as redis:
            self._renew, self._release = redis.register_script(RENEW), redis.register_script(RELEASE)
            self._set_new = redis.register_script(TAKE)

    def count_attempt(self, what: str) -> int:
        """Counts an attempt at something and returns the number of recent attempts, including this one."""
        name = key(f"tries:{what}")
        with self._redis_client.connection() as redis, redis.pipeline(transaction=True) as pipe:
            pipe.incr(name)
            pipe.expire(name, COUNTER_SECONDS)
            return int(pipe.execute()[0])

    def reset_attempts(self, what: str) -> None:
        """Sets the counter of attempts to 0, because an attempt has succeeded."""
        with self._redis_client.connection() as redis:
            redis.delete(key(f"tries:{what}"))

    def take_turn(self, what: str, seconds: float) -> bool:
        """Whether this process should do something that one process does once in so many seconds."""
        with self._redis_client.connection():
            return bool(self._set_new([key(f"turn:{what}")], ["1", int(seconds * 1000)]))

    def keep_place(self, what: str, owner: str, *, places: int, seconds: float) -> bool:
        """Renews the place of an owner, or takes a free place. Limits how many processes do something.

        Args:
            what: What the places are for.
            owner: Name of the process.
            places: Number of places in the whole system.
            seconds: How long the place is kept without a renewal.

        Returns:
            Whether the owner has a place.
        """
        names = [key(f"place:{what}:{number}") for number in range(places)]
        if any(self.renew(name, owner, seconds) for name in names):
            return True
        return any(self._take(name, owner, seconds) for name in names)

    @contextmanager
    def try_lock(self, what: str, seconds: float) -> Iterator[HeldLock | None]:
        """Tries to lock something for the length of a `with` block, without waiting.

        Args:
            what: What is locked.
            seconds: The lock expires after this time, unless it is extended.

        Yields:
            The lock, or None if another process holds it. The block must check this; `lock` needs no check.
        """
        token = token_hex(16)
        if not self._take(_lock_key(what), token, seconds):
            yield None
            return
        try:
            yield HeldLock(self, what, token)
        finally:
            self._give_back(what, token)

    @contextmanager
    def lock(self, what: str, seconds: float, *, wait: float) -> Iterator[HeldLock]:
        """Locks something for the length of a `with` block. The block runs only if the lock was acquired.

        Args:
            what: What is locked.
            seconds: The lock expires after this time, unless it is extended.
            wait: How long to wait for another process that holds the lock, in seconds.

        Raises:
            Unavailable: Another process held the lock during the whole wait.
        """
        limit = time.monotonic() + wait
        while True:
            with self.try_lock(what, seconds) as held:
                if held is not None:
                    yield held
                    return
            if time.monotonic() > limit:
                raise Unavailable(f"another request is changing {what}; try again in a moment")
            time.sleep(POLL_SECONDS)

    @contextmanager
    def try_renewed_lock(self, what: str, seconds: float) -> Iterator[HeldLock | None]:
        """Tries to lock something, as `try_lock` does, and extends the lock until the block ends.

        If Redis does not answer for `seconds`, another process may get the lock meanwhile.
        """
        with self.try_lock(what, seconds) as held:
            if held is None:
                yield None
                return
            ended = threading.Event()
            thread = threading.Thread(target=_extend, args=(held, seconds, ended), name=f"lock-{what}", daemon=True)
            thread.start()
            try:
                yield held
            finally:
                ended.set()
                thread.join()

    def renew(self, name: str, owner: str, seconds: float) -> bool:
        """Makes a key of this owner expire only after so many seconds; returns False if the owner does not have it."""
        with self._redis_client.connection():
            return bool(self._renew([name], [owner, int(seconds * 1000)]))

    def _take(self, name: str, owner: str, seconds: float) -> bool:
        with self._redis_client.connection() as redis:
            # The client repeats a call whose answer was lost; the first one may have set the key already.
            is_set = self._set_new([name], [owner, int(seconds * 1000)])
            return bool(is_set) or redis.get(name) == owner

    def _give_back(self, what: str, token: str) -> None:
        """Releases a lock, if it is still held. If Redis does not answer, the lock expires; the work was done."""
        try:
            with self._redis_client.connection():
                self._release([_lock_key(what)], [token])
        except Unavailable as problem:
            log.warning("lock.unreleased", lock=what, error=problem.detail)


def _extend(held: HeldLock, seconds: float, ended: threading.Event) -> None:
    """Extends a lock several times before it can expire."""
    while not ended.wait(seconds / 4):
        try:
            held.extend(seconds)
        except Unavailable as problem:
            log.warning("lock.unextended", error=problem.detail)


def _lock_key(what: str) -> str:
    return key(f"alone:{what}")
