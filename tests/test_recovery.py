"""Which attempt follows a failure."""

from streamkit.cursor import Cursor, Retry
from streamkit.errors import ClockExpired, ConnectionLost, FrameTooLarge, NotAnEventStream, ServerError, StreamkitError
from streamkit.recovery import Plan, Poll, Recovery, Reopen, Restart

LOST = ConnectionLost("cut")
GONE = ServerError("too old", status=400)
RETRY = Retry(attempts=3, first_delay=1)
BEGUN = Cursor("resp_1", 7)


def plans(recovery: Recovery, *failures: tuple[StreamkitError, int], cursor: Cursor = BEGUN) -> list[Plan | None]:
    """Return what follows each failure, given as the error and the events that had come by then."""
    return [recovery.plan(error, cursor, progress=events, begun=events > 0, jitter=0) for error, events in failures]


def test_without_a_policy_every_failure_is_the_end() -> None:
    recovery = Recovery(None, background=True, restart=True)
    assert plans(recovery, (LOST, 0), (LOST, 1)) == [None, None]


def test_before_the_first_event_the_request_is_made_again() -> None:
    recovery = Recovery(RETRY, background=False, restart=False)
    assert plans(recovery, (LOST, 0), (LOST, 0), (LOST, 0), cursor=Cursor()) == [Reopen(1, 2), Reopen(2, 3), None]


def test_after_the_first_event_it_is_not() -> None:
    assert plans(Recovery(RETRY, background=False, restart=False), (LOST, 1)) == [None]


def test_unless_a_restart_is_allowed_and_not_for_ever() -> None:
    recovery = Recovery(RETRY, background=False, restart=True)
    assert plans(recovery, (LOST, 1), (LOST, 2), (LOST, 3)) == [Restart(1), Restart(1), None]
    assert plans(Recovery(RETRY, background=False, restart=True), (FrameTooLarge(1), 1)) == [None]


def test_a_background_response_is_taken_up_for_as_long_as_events_come() -> None:
    recovery = Recovery(RETRY, background=True, restart=False)
    failures = [(LOST, events) for events in range(1, 6)]
    assert plans(recovery, *failures) == [Reopen(1, 2)] * 5


def test_and_is_looked_at_when_its_stream_brings_nothing_any_more() -> None:
    recovery = Recovery(RETRY, background=True, restart=False)
    failures = [(LOST, 5)] * 6
    assert plans(recovery, *failures) == [Reopen(1, 2), Reopen(2, 3), Poll(0), Poll(1), Poll(2), None]


def test_or_when_the_server_says_that_it_is_gone() -> None:
    not_a_stream = NotAnEventStream("json", content_type=None, body_head=b"{}", status=200)
    for gone in (GONE, ServerError("", status=404), ServerError("", status=405), not_a_stream):
        recovery = Recovery(RETRY, background=True, restart=False)
        assert plans(recovery, (LOST, 5), (gone, 5), (ServerError("", status=404), 5)) == [Reopen(1, 2), Poll(0), None]


def test_or_when_its_events_have_no_numbers() -> None:
    recovery = Recovery(RETRY, background=True, restart=False)
    assert plans(recovery, (LOST, 5), cursor=Cursor("resp_1")) == [Poll(0)]


def test_a_background_response_without_an_id_is_requested_again() -> None:
    recovery = Recovery(RETRY, background=True, restart=False)
    assert plans(recovery, (LOST, 0), cursor=Cursor()) == [Reopen(1, 2)]


def test_some_failures_are_the_end_in_the_background_too() -> None:
    for final in (FrameTooLarge(1), ClockExpired("total", 1), ServerError("", status=401)):
        assert plans(Recovery(RETRY, background=True, restart=False), (final, 5)) == [None]


def test_looks_that_succeed_begin_the_count_of_failures_anew() -> None:
    recovery = Recovery(RETRY, background=True, restart=False)
    assert plans(recovery, (GONE, 5), (LOST, 5), (LOST, 5)) == [Poll(0), Poll(1), Poll(2)]
    recovery.looked()
    assert plans(recovery, (LOST, 5), (LOST, 5), (LOST, 5)) == [Poll(1), Poll(2), None]


def test_an_error_instead_of_a_stream_is_looked_into() -> None:
    assert plans(Recovery(RETRY, background=True, restart=False), (ServerError("no stream"), 5)) == [Poll(0)]
