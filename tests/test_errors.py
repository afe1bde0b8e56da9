"""The error tree: its shape, what each error says and carries."""

import inspect
import re

import pytest

from streamkit import errors, outcome
from streamkit.errors import (
    ClockExpired,
    ConnectFailed,
    ConnectionLost,
    FrameTooLarge,
    InvalidEventError,
    NotAnEventStream,
    ServerError,
    StreamkitError,
    TransportError,
)


def drawn_tree() -> dict[str, str]:
    """Each error of the drawing in the docstring, and what it hangs from."""
    parents: dict[int, str] = {}
    tree: dict[str, str] = {}
    for line in inspect.getdoc(errors).splitlines():  # type: ignore[union-attr]
        found = re.match(r"([ │├└─]*)([A-Z]\w+)", line.removeprefix("    "))
        if found and hasattr(errors if hasattr(errors, found[2]) else outcome, found[2]):
            depth = len(found[1]) // 4
            parents[depth] = found[2]
            tree[found[2]] = parents.get(depth - 1, "Exception")
    return tree


def test_the_tree_is_as_drawn() -> None:
    modules = [*vars(errors).values(), *vars(outcome).values()]
    classes = {value for value in modules if isinstance(value, type) and issubclass(value, StreamkitError)}
    assert drawn_tree() == {error.__name__: error.__base__.__name__ for error in classes if error.__base__}


def test_the_message_of_a_server_error_ends_with_what_identifies_it() -> None:
    error = ServerError("No.", code="c", type="t", param="p", status=400, request_id="req_1", retry_after=2.0)
    assert str(error) == "No. (code=c, param=p, status=400, request_id=req_1)"
    assert (error.message, error.type, error.retry_after) == ("No.", "t", 2.0)
    assert str(ServerError("No.")) == "No."


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ServerError("No.", code="rate_limit_exceeded", type="t", status=429), "rate_limit_exceeded"),
        (ServerError("No.", type="invalid_request_error", status=400), "invalid_request_error"),
        (ServerError("No.", status=503), "503"),
        (ServerError("No."), "ServerError"),
        (NotAnEventStream("A page.", content_type=None, body_head=b"", status=200), "NotAnEventStream"),
        (ClockExpired("idle", 1.5), "timeout.idle"),
        (ConnectionLost("cut"), "ConnectionLost"),
        (FrameTooLarge(8), "FrameTooLarge"),
    ],
)
def test_each_error_has_a_kind_without_the_servers_words(error: StreamkitError, kind: str) -> None:
    assert error.kind == kind


def test_what_is_no_event_stream_is_a_server_error_with_the_beginning_of_the_body() -> None:
    error = NotAnEventStream("A page.", content_type="text/html", body_head=b"<html>", status=200, request_id="r")
    assert str(error) == "A page. (status=200, request_id=r)"
    assert (error.content_type, error.body_head) == ("text/html", b"<html>")


@pytest.mark.parametrize(
    ("clock", "message"),
    [
        ("connect", "no connection within 1.5 s (Timeouts.connect)"),
        ("first_event", "no event within 1.5 s (Timeouts.first_event)"),
        ("idle", "no byte within 1.5 s (Timeouts.idle)"),
        ("progress", "nothing but keepalives within 1.5 s (Timeouts.progress)"),
        ("total", "the response did not end within 1.5 s (Timeouts.total)"),
    ],
)
def test_an_expired_clock_says_which_setting_it_was(clock: str, message: str) -> None:
    error = ClockExpired(clock, 1.5)
    assert str(error) == message
    assert (error.clock, error.seconds) == (clock, 1.5)
    assert isinstance(error, TransportError)


def test_the_others_carry_what_they_are_about() -> None:
    assert FrameTooLarge(1_000_000).limit == 1_000_000
    assert str(FrameTooLarge(1_000_000)).startswith("an event is larger than max_event_bytes=1,000,000")
    assert ConnectFailed("no", url="http://localhost").url == "http://localhost"
    assert (ConnectionLost("cut").body_head, ConnectionLost("cut", body_head=b"x").body_head) == (b"", b"x")
    invalid = InvalidEventError("odd", type="response.completed", raw=b"{}")
    assert (str(invalid), invalid.type, invalid.raw) == ("odd", "response.completed", b"{}")
