"""What was read a moment ago is used again for a while, and never for an earlier moment."""

import pytest

from serving.features.cache import Cache

pytestmark = pytest.mark.unit

SECOND = 1_000_000  # microseconds


class Clock:
    """A clock that a test moves."""

    now = 100.0

    def __call__(self):
        """The time."""
        return self.now


@pytest.fixture
def clock():
    """A clock that a test moves."""
    return Clock()


@pytest.mark.parametrize(
    ("later", "moment", "hit"),
    [(0, 0, True), (0, SECOND, True), (0, SECOND + 1, False), (0, -1, False), (0.9, 0, True), (1, 0, False)],
)
def test_a_value_serves_its_moment_and_those_shortly_after_for_a_limited_time(clock, later, moment, hit):
    """Neither for a moment before its own nor after its time."""
    cache = Cache(1.0, 10, clock)
    cache.put("key", 0, "value", cache.now())
    clock.now += later
    assert cache.get("key", moment) == ("value" if hit else None)
    assert (cache.hits, cache.misses) == ((1, 0) if hit else (0, 1))


def test_the_least_recently_used_goes_first(clock):
    """It never holds more than it may."""
    cache = Cache(1.0, 2, clock)
    for key in "ab":
        cache.put(key, 0, key, cache.now())
    assert cache.get("a", 0) == "a"
    cache.put("c", 0, "c", cache.now())
    assert (cache.get("a", 0), cache.get("b", 0), cache.get("c", 0), len(cache)) == ("a", None, "c", 2)


def test_without_a_time_limit_nothing_is_kept(clock):
    """Zero seconds switch it off."""
    cache = Cache(0.0, 2, clock)
    cache.put("a", 0, "a", cache.now())
    assert (cache.get("a", 0), len(cache)) == (None, 0)


def test_what_was_being_read_when_everything_was_forgotten_is_not_kept(clock):
    """It may lack what the forgetting was about."""
    cache = Cache(1.0, 2, clock)
    began = cache.now()
    clock.now += 0.1
    cache.clear()
    cache.put("a", 0, "old", began)
    assert cache.get("a", 0) is None
    clock.now += 0.1
    cache.put("a", 0, "new", cache.now())
    assert cache.get("a", 0) == "new"
