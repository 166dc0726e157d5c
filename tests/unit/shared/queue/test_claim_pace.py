"""How often a worker asks for another shard of its lane."""

from shared.queue.claim_pace import LONGEST_PAUSE_SECONDS, ClaimPace

STEP_SECONDS = 0.01


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.seconds


def count_questions(pace: ClaimPace, clock: Clock, seconds: float, room: int = 4) -> int:
    """Asks before each step for so long, and finds nothing; returns how often it asked."""
    asked, end = 0, clock.seconds + seconds
    while clock.seconds < end:
        if pace.is_due(room):
            asked += 1
            pace.note_refusal(room)
        clock.seconds += STEP_SECONDS
    return asked


def test_an_empty_lane_costs_about_four_questions_per_second() -> None:
    clock = Clock()
    assert count_questions(ClaimPace(clock), clock, 30) <= 30 / LONGEST_PAUSE_SECONDS + 5


def test_no_pause_is_longer_than_the_stated_time() -> None:
    clock = Clock()
    pace = ClaimPace(clock)
    count_questions(pace, clock, 30)
    pace.note_refusal(4)
    clock.seconds += LONGEST_PAUSE_SECONDS
    assert pace.is_due(4)


def test_after_a_shard_the_next_one_is_asked_for_at_once_and_pauses_are_short_again() -> None:
    clock = Clock()
    pace = ClaimPace(clock)
    count_questions(pace, clock, 30)
    pace.note_claim()
    assert pace.is_due(4)
    assert count_questions(pace, clock, 0.2) >= 4


def test_more_room_in_the_batch_is_a_reason_to_ask_at_once() -> None:
    pace = ClaimPace(Clock())
    pace.note_refusal(4)
    assert not pace.is_due(4)
    assert not pace.is_due(3)
    assert pace.is_due(5)
