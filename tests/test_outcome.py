"""Outcomes and notices: values that cannot change, and what ``finished`` makes of each outcome."""

import dataclasses
from typing import get_args

import pytest

from streamkit.errors import ConnectionLost, ServerError
from streamkit.outcome import (
    Cancelled,
    Closed,
    Completed,
    Disconnected,
    Failed,
    HandlerFailed,
    Incomplete,
    Notice,
    Opened,
    Outcome,
    ResponseCancelledError,
    ResponseDisconnectedError,
    ResponseFailedError,
    ResponseIncompleteError,
    UnfinishedResponse,
    finished,
)
from streamkit.response import Response

RESPONSE = Response(id="resp_1")
REFUSED = ServerError("Busy.", code="rate_limit_exceeded", status=429)
LOST = ConnectionLost("the stream was cut")
BUG = ValueError("a bug")

UNFINISHED: dict[type[UnfinishedResponse], tuple[Outcome, str, BaseException | None]] = {
    ResponseIncompleteError: (
        Incomplete(response=RESPONSE, reason="max_output_tokens"),
        "the response is incomplete: max_output_tokens",
        None,
    ),
    ResponseFailedError: (
        Failed(response=RESPONSE, error=REFUSED),
        "Busy. (code=rate_limit_exceeded, status=429)",
        REFUSED,
    ),
    ResponseCancelledError: (
        Cancelled(response=RESPONSE, cause=BUG),
        "the run was cancelled before the response ended",
        BUG,
    ),
    ResponseDisconnectedError: (Disconnected(response=RESPONSE, error=LOST), "the stream was cut", LOST),
}


def test_a_completed_run_gives_its_response() -> None:
    assert finished(Completed(response=RESPONSE)) is RESPONSE


def test_every_other_outcome_has_an_error_of_its_own() -> None:
    assert {Completed, *(type(outcome) for outcome, _, _ in UNFINISHED.values())} == set(get_args(Outcome))
    assert set(UNFINISHED) == set(UnfinishedResponse.__subclasses__())


@pytest.mark.parametrize(("error", "case"), UNFINISHED.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_an_unfinished_run_raises(
    error: type[UnfinishedResponse], case: tuple[Outcome, str, BaseException | None]
) -> None:
    outcome, message, cause = case
    with pytest.raises(error) as caught:
        finished(outcome)
    assert type(caught.value) is error
    assert str(caught.value) == message
    assert caught.value.__cause__ is cause
    assert caught.value.outcome is outcome
    assert caught.value.response is RESPONSE


def test_a_cancelled_run_need_not_have_a_cause() -> None:
    with pytest.raises(ResponseCancelledError) as caught:
        finished(Cancelled(response=RESPONSE))
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("kind", [*get_args(Outcome), *get_args(Notice)])
def test_outcomes_and_notices_are_frozen(kind: type) -> None:
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert not hasattr(kind, "__dict__") or "__slots__" in vars(kind)


def test_notices_carry_what_they_are_about() -> None:
    opened = Opened(url="http://localhost", headers={})
    assert (opened.status, opened.request_id) == (None, None)
    assert HandlerFailed(handler="show", event=opened, error=BUG).event is opened
    assert Closed(outcome=Completed(response=RESPONSE)).outcome == Completed(response=RESPONSE)
