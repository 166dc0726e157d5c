"""The cache whose reader says how old a value may be."""

from shared.age_cache import AgeCache


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.moment = 100.0

    def __call__(self) -> float:
        return self.moment


def test_a_value_is_returned_until_it_has_the_maximum_age_of_the_reader() -> None:
    clock = Clock()
    cache: AgeCache[str, int] = AgeCache(clock)
    cache.put("a", 1)
    clock.moment += 2
    assert cache.get("a", max_age=2.5) == 1
    assert cache.get("a", max_age=2) is None
    assert cache.get("b", max_age=1000) is None


def test_a_value_that_is_stored_again_is_new() -> None:
    clock = Clock()
    cache: AgeCache[str, int] = AgeCache(clock)
    cache.put("a", 1)
    clock.moment += 2
    cache.put("a", 2)
    assert cache.get("a", max_age=1) == 2


def test_a_discarded_value_is_gone() -> None:
    cache: AgeCache[str, int] = AgeCache(Clock())
    cache.put("a", 1)
    cache.discard("a")
    cache.discard("a")
    assert cache.get("a", max_age=1000) is None


def test_a_full_cache_drops_the_value_that_was_stored_first() -> None:
    cache: AgeCache[str, int] = AgeCache(Clock(), max_entries=2)
    for key, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        cache.put(key, value)
    assert [cache.get(key, max_age=1) for key in "abc"] == [3, None, 4]
