"""Which outcome a run has, from what the server said last or did not say."""

import dataclasses
from typing import Any

import pytest

from streamkit import ending
from streamkit.errors import ConnectionLost, NotAnEventStream, ServerError
from streamkit.outcome import Completed, Disconnected, Failed, Incomplete, Opened, Outcome
from streamkit.response import ErrorDetail, Response

OPENED = Opened(url="http://localhost/v1/responses", status=200, headers={}, request_id="req_1")


def at_terminal_event(name: str, reported: ErrorDetail | None = None, **response: Any) -> Outcome:
    return ending.at_terminal_event(
        name, Response.model_validate({"id": "r", **response}), reported=reported, request_id="req_1"
    )


def at_end_of_bytes(body: bytes = b"", *, events: int = 0, content_type: str | None = None) -> Outcome:
    headers = {"content-type": content_type} if content_type else {}
    opened = dataclasses.replace(OPENED, headers=headers)
    error = ending.error_at_end_of_bytes(events=events, body_head=body, opened=opened)
    return ending.after_error(error, Response(id="r"))


def failure(outcome: Outcome) -> ServerError:
    assert isinstance(outcome, Failed)
    return outcome.error


def loss(outcome: Outcome) -> ConnectionLost:
    assert isinstance(outcome, Disconnected)
    assert isinstance(outcome.error, ConnectionLost)
    return outcome.error


def test_a_completed_response_completes_the_run() -> None:
    assert at_terminal_event("response.completed") == Completed(response=Response(id="r"))


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({"reason": "max_output_tokens"}, "max_output_tokens"),
        ({"reason": "from the future"}, "from the future"),
        ({"reason": None}, "unknown"),
        ({}, "unknown"),
        (None, "unknown"),
    ],
)
def test_an_incomplete_response_says_why(details: dict[str, Any] | None, reason: str) -> None:
    outcome = at_terminal_event("response.incomplete", incomplete_details=details)
    assert isinstance(outcome, Incomplete)
    assert outcome.reason == reason


def test_a_failed_response_fails_the_run() -> None:
    error = failure(at_terminal_event("response.failed", error={"code": "server_error", "message": "Sorry."}))
    assert (error.code, error.message, error.request_id) == ("server_error", "Sorry.", "req_1")


def test_an_error_event_before_a_failed_response_adds_what_it_knows() -> None:
    reported = ErrorDetail(code="x", message="Oh.", type="server_error")
    error = failure(at_terminal_event("response.failed", reported, error={"code": "server_error", "message": "Sorry."}))
    assert (error.code, error.message, error.type) == ("server_error", "Sorry.", "server_error")


def test_an_error_event_and_then_a_completed_response_is_a_completed_run() -> None:
    assert isinstance(at_terminal_event("response.completed", ErrorDetail(message="Oh.")), Completed)


def test_events_and_then_nothing_is_a_disconnection() -> None:
    assert str(loss(at_end_of_bytes(events=3))) == (
        "the stream ended after 3 events without saying how the response ended"
    )


@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        (b"", "text/event-stream", "without sending a byte"),
        (b" \r\n", None, "without sending a byte"),
        (b": ping\n\n", "text/event-stream; charset=utf-8", "without sending an event"),
        (b"data: {", "Text/Event-Stream", "without sending an event"),
    ],
)
def test_a_stream_without_an_event_is_a_disconnection(body: bytes, content_type: str | None, message: str) -> None:
    error = loss(at_end_of_bytes(body, content_type=content_type))
    assert str(error) == f"{OPENED.url} answered, then closed the stream {message}"
    assert error.body_head == body


@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream", None])
def test_an_error_in_json_is_what_it_says(content_type: str | None) -> None:
    error = failure(at_end_of_bytes(b'\n{"error":{"message":"Busy.","code":503}}', content_type=content_type))
    assert (error.message, error.code, error.request_id) == ("Busy.", "503", "req_1")
    assert not isinstance(error, NotAnEventStream)


@pytest.mark.parametrize(
    ("body", "content_type", "shown"),
    [
        (b"<html>\n<h1>Hi</h1>", "text/html", "text/html instead of an event stream, beginning '<html> <h1>Hi</h1>'"),
        (b'{"id":"resp_1"}', "application/json", 'application/json instead of an event stream, beginning \'{"id"'),
        (b'[{"id":1}]', "text/event-stream", "text/event-stream instead of an event stream, beginning '[{"),
        (b"hello", None, "no content type instead of an event stream, beginning 'hello'"),
    ],
)
def test_any_other_body_is_no_event_stream(body: bytes, content_type: str | None, shown: str) -> None:
    error = failure(at_end_of_bytes(body, content_type=content_type))
    assert isinstance(error, NotAnEventStream)
    assert f"{OPENED.url} answered with {shown}" in str(error)
    assert (error.content_type, error.body_head) == (content_type, body)
    assert (error.status, error.request_id) == (200, "req_1")


def test_an_error_is_the_servers_or_the_ways() -> None:
    response = Response(id="r")
    refused, lost = ServerError("no"), ConnectionLost("cut")
    assert ending.after_error(refused, response) == Failed(response=response, error=refused)
    assert ending.after_error(lost, response) == Disconnected(response=response, error=lost)
