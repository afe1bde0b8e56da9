"""The figures of a run."""

import pytest

from streamkit.stats import RunStats


def test_bytes_are_counted_with_the_time_of_the_first_and_the_last() -> None:
    stats = RunStats()
    for size, after in ((10, 1.0), (20, 2.0), (5, 4.0)):
        stats.received(size, after)
    assert (stats.chunks, stats.bytes, stats.first_byte_after, stats.last_byte_after) == (3, 35, 1.0, 4.0)


def test_a_pace_needs_time() -> None:
    assert (RunStats().events_per_second, RunStats().text_characters_per_second) == (None, None)
    at_once = RunStats(first_byte_after=1, first_text_after=2, last_byte_after=2, events=5, text_characters=9)
    assert (at_once.events_per_second, at_once.text_characters_per_second) == (5.0, None)
    slowly = RunStats(first_byte_after=1, first_text_after=2, last_byte_after=5, events=8, text_characters=9)
    assert (slowly.events_per_second, slowly.text_characters_per_second) == (2.0, 3.0)
    assert RunStats(first_byte_after=1, last_byte_after=1, events=5).events_per_second is None


BUFFERED: dict[str, tuple[RunStats, bool]] = {
    "nothing came": (RunStats(), False),
    "all at once after a silence": (RunStats(first_byte_after=2, last_byte_after=2.05, events=50), True),
    "all at once, but at once": (RunStats(first_byte_after=0.1, last_byte_after=0.1, events=50), False),
    "few events": (RunStats(first_byte_after=2, last_byte_after=2, events=3), False),
    "a stream": (RunStats(first_byte_after=2, last_byte_after=3, events=50), False),
}


@pytest.mark.parametrize(("stats", "suspected"), BUFFERED.values(), ids=BUFFERED.keys())
def test_a_proxy_that_collects_is_suspected(stats: RunStats, suspected: bool) -> None:
    assert stats.buffered_suspected is suspected
