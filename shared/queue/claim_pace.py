"""How often a worker whose batch has room asks Redis for another shard of its lane."""

import math
from collections.abc import Callable

FIRST_PAUSE_SECONDS = 0.02
"""Pause after the first time that Redis has no shard."""

LONGEST_PAUSE_SECONDS = 0.5
"""A pause is twice as long as the one before, up to this. A shard joins a running batch within this time and a step."""


class ClaimPace:
    """Decides before each step whether to ask for another shard.

    Without pauses, a worker would ask at every step: fifty times per second on a fast GPU, and a thousand of them
    would occupy Redis with questions alone.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Creates a pace at which the worker may ask at once.

        Args:
            clock: A monotonic clock, in seconds.
        """
        self._clock = clock
        self.note_claim()

    def is_due(self, room: int) -> bool:
        """Whether to ask now.

        Args:
            room: Number of free slots in the batch. If there is more than when Redis had no shard, a shard that was too
                large may fit now.
        """
        return room > self._refused_room or self._clock() >= self._next

    def note_claim(self) -> None:
        """Notes that Redis had a shard: another one may wait behind it."""
        self._refused_room, self._next, self._pause = math.inf, -math.inf, FIRST_PAUSE_SECONDS

    def note_refusal(self, room: int) -> None:
        """Notes that Redis had no shard for so many free slots, or did not answer."""
        self._refused_room, self._next = room, self._clock() + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
