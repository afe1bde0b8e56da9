"""Where a stream stands, and when a failed attempt is made again."""

from typing import Any

import pytest

from streamkit.cursor import Cursor, Retry
from streamkit.errors import (
    ClockExpired,
    ConnectFailed,
    ConnectionLost,
    FrameTooLarge,
    NotAnEventStream,
    ServerError,
    StreamkitError,
    UsageError,
)
from streamkit.events import Event, Keepalive, ResponseCreated
from streamkit.response import Response


def numbered(*numbers: int | None) -> list[Event]:
    return [Keepalive(sequence_number=number) for number in numbers]


def test_the_cursor_follows_numbers_and_learns_the_id() -> None:
    cursor = Cursor()
    assert cursor.advance(ResponseCreated(sequence_number=0, response=Response(id="resp_1")))
    assert all(cursor.advance(event) for event in numbered(1, 2))
    assert (cursor.response_id, cursor.position, cursor.gaps) == ("resp_1", 2, 0)


def test_numbers_are_not_compared_before_a_reconnection() -> None:
    cursor = Cursor()
    assert all(cursor.advance(event) for event in numbered(0, 0, 5, 3, None))
    assert cursor.position == 3


REPEATS: dict[str, tuple[int | None, list[int | None], list[bool]]] = {
    "taken up behind the last": (3, [4, 5], [True, True]),
    "from the start": (2, [0, 1, 2, 3], [False, False, False, True]),
    "numbers that go back later": (2, [3, 1], [True, True]),
    "events without numbers": (2, [None, 3], [True, True]),
    "nothing was seen": (None, [0, 1], [True, True]),
}


@pytest.mark.parametrize(("position", "numbers", "new"), REPEATS.values(), ids=REPEATS.keys())
def test_what_a_reconnection_repeats_is_dropped(
    position: int | None, numbers: list[int | None], new: list[bool]
) -> None:
    cursor = Cursor("resp_1", position)
    cursor.reconnected()
    assert [cursor.advance(event) for event in numbered(*numbers)] == new


@pytest.mark.parametrize(("position", "numbers", "new"), REPEATS.values(), ids=REPEATS.keys())
def test_it_is_so_too_where_the_events_before_were_seen_here(
    position: int | None, numbers: list[int | None], new: list[bool]
) -> None:
    cursor = Cursor("resp_1")
    assert all(cursor.advance(event) for event in numbered(position))
    cursor.reconnected()
    assert [cursor.advance(event) for event in numbered(*numbers)] == new
    assert not cursor.is_replaying


def test_gaps_are_counted() -> None:
    cursor = Cursor()
    for event in numbered(0, 1, 4, 5, 9):
        cursor.advance(event)
    assert cursor.gaps == 2


def server_error(status: int | None, **facts: Any) -> ServerError:
    return ServerError("no", status=status, **facts)


WORTH_ANOTHER: list[tuple[StreamkitError, bool]] = [
    (server_error(408), True),
    (server_error(409), True),
    (server_error(429), True),
    (server_error(500), True),
    (server_error(529), True),
    (server_error(400), False),
    (server_error(401), False),
    (server_error(None), False),
    (server_error(429, code="insufficient_quota"), False),
    (server_error(400, should_retry=True), True),
    (server_error(500, should_retry=False), False),
    (ConnectFailed("no", url="u"), True),
    (ConnectionLost("cut"), True),
    (ClockExpired("connect", 1), True),
    (ClockExpired("idle", 1), True),
    (ClockExpired("total", 1), False),
    (FrameTooLarge(1), False),
    (NotAnEventStream("html", content_type=None, body_head=b"", status=200), False),
]


@pytest.mark.parametrize(("error", "again"), WORTH_ANOTHER, ids=lambda value: repr(value)[:60])
def test_what_is_tried_again(error: StreamkitError, again: bool) -> None:
    assert (Retry().delay(1, error, 0.5) is not None) == again


def test_delays_double_up_to_the_longest_and_are_jittered_down() -> None:
    retry = Retry(attempts=10, first_delay=0.5, longest_delay=3)
    lost = ConnectionLost("cut")
    assert [retry.delay(failures, lost, 0.0) for failures in (1, 2, 3, 4, 5)] == [0.5, 1.0, 2.0, 3, 3]
    assert retry.delay(1, lost, 1.0) == 0.375
    assert retry.delay(10_000, lost, 0.0) is None
    assert Retry(attempts=10**6).delay(10_000, lost, 0.0) == 8


def test_attempts_count_the_first() -> None:
    lost = ConnectionLost("cut")
    assert Retry(attempts=1).delay(1, lost, 0) is None
    assert Retry(attempts=2).delay(1, lost, 0) is not None
    assert Retry(attempts=2).delay(2, lost, 0) is None


@pytest.mark.parametrize(("asked", "delay"), [(7.0, 7.0), (0.0, 0.0), (120.0, 120.0), (121.0, 0.5)])
def test_a_server_is_obeyed_unless_it_is_absurd(asked: float, delay: float) -> None:
    assert Retry().delay(1, server_error(429, retry_after=asked), 0.0) == delay


@pytest.mark.parametrize(
    "wrong", [{"attempts": 0}, {"first_delay": -1}, {"longest_delay": -1}, {"poll_every": float("nan")}]
)
def test_policies_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Retry(**wrong)


@pytest.mark.parametrize(
    ("number", "unread", "position", "gaps"),
    [(3, 2, 3, 0), (4, 2, 4, 1), (1, 0, 1, 0), (2, 0, 2, 1), (0, 5, 0, 0), (None, 5, 0, 0)],
)
def test_numbers_are_compared_across_what_was_not_looked_at(
    number: int | None, unread: int, position: int, gaps: int
) -> None:
    cursor = Cursor("resp_1", 0)
    cursor.advance_past_unread(Keepalive(sequence_number=number), unread)
    assert (cursor.position, cursor.gaps) == (position, gaps)


def test_what_is_read_late_moves_the_position_only_on() -> None:
    cursor = Cursor("resp_1", 5)
    for event in numbered(3, None, 7, 6):
        cursor.note_read_late(event)
    assert (cursor.position, cursor.gaps) == (7, 0)
