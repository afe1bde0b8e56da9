"""The figures of a run."""

import pytest

from streamkit.stats import RunStats


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


def test_the_figures_of_responses_in_a_row_add_up_and_times_count_from_the_first() -> None:
    first = RunStats(began_at=100.0, first_byte_after=1.0, last_byte_after=2.0, ended_after=2.5, events=3, attempts=1)
    first.longest_handler, first.longest_handler_seconds = "slow", 0.5
    second = RunStats(
        began_at=110.0, first_byte_after=1.0, first_text_after=1.5, last_byte_after=4.0, events=4, attempts=2
    )
    whole = first.followed_by(second)
    assert (whole.began_at, whole.first_byte_after, whole.first_text_after) == (100.0, 1.0, 11.5)
    assert (whole.last_byte_after, whole.ended_after) == (14.0, 2.5)
    assert (whole.events, whole.attempts, whole.longest_handler) == (7, 3, "slow")
    assert first.events == 3
