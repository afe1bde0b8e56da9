"""The events that a finished response implies: from whatever was seen, they lead to it."""

from typing import Any

import pytest
from pydantic_core import to_json

from streamkit.accumulator import Accumulator
from streamkit.codec import decode
from streamkit.events import DeltaEvent, Event, TerminalEvent
from streamkit.response import Response
from streamkit.sse import Frame
from streamkit.synthesis import missing_events
from streamkit.testing import SCENARIOS, play

NAMES = sorted(set(SCENARIOS) - {"error-nested", "error-flat"})


def accumulated(events: list[Event]) -> Accumulator:
    accumulator = Accumulator()
    for event in events:
        accumulator.add(event)
    return accumulator


@pytest.mark.parametrize("name", NAMES)
def test_seen_and_missing_together_are_the_response(name: str) -> None:
    events = [decode(Frame(event["type"], to_json(event))) for event in play(name, {"model": "m", "input": "hi"})]
    final = events[-1]
    assert isinstance(final, TerminalEvent)
    for cut in range(len(events)):
        seen = accumulated(events[:cut])
        position = events[cut - 1].sequence_number if cut else None
        missing = missing_events(final.response, seen, position)
        for event in missing:
            assert event.synthetic
            seen.add(event)
        assert seen.snapshot() == final.response
        if position is not None:
            assert [event.sequence_number for event in missing] == [position + 1 + n for n in range(len(missing))]


ODD_ITEMS: dict[str, dict[str, Any]] = {
    "no content": {"type": "message", "content": None},
    "a text without text": {"type": "message", "content": [{"type": "output_text", "text": None}]},
    "an unknown part": {"type": "message", "content": [{"type": "hologram", "size": 3}]},
    "an unknown item": {"type": "dream", "status": "completed"},
    "no arguments": {"type": "function_call", "arguments": None},
    "a patch without a diff": {"type": "apply_patch_call", "operation": {"type": "delete_file", "path": "p"}},
    "a call that failed": {"type": "mcp_call", "arguments": "{}", "error": "no", "status": "failed"},
    "empty": {},
}


@pytest.mark.parametrize("item", ODD_ITEMS.values(), ids=ODD_ITEMS.keys())
def test_items_of_any_shape_are_announced_and_done(item: dict[str, Any]) -> None:
    response = Response.model_validate({"id": "resp_1", "status": "completed", "output": [item]})
    events = missing_events(response, Accumulator(), None)
    names = [event.type for event in events]
    assert names[:3] == ["response.created", "response.in_progress", "response.output_item.added"]
    assert names[-2:] == ["response.output_item.done", "response.completed"]
    assert {event.sequence_number for event in events} == {None}
    assert not any(isinstance(event, DeltaEvent) and not event.delta for event in events)
    assert accumulated(events).snapshot() == response


def test_a_call_that_failed_says_so() -> None:
    response = Response.model_validate({"status": "completed", "output": [ODD_ITEMS["a call that failed"]]})
    names = [event.type for event in missing_events(response, Accumulator(), None)]
    assert "response.mcp_call.failed" in names
    assert "response.mcp_call.completed" not in names


@pytest.mark.parametrize("status", ["cancelled", "unheard_of", None])
def test_only_a_response_that_ended_by_itself_has_a_terminal_event(status: str | None) -> None:
    response = Response(id="resp_1", status=status)
    names = [event.type for event in missing_events(response, Accumulator(), 4)]
    assert names == ["response.created", "response.in_progress"]


def test_text_that_does_not_begin_as_the_response_does_is_replaced_not_continued() -> None:
    part = {"type": "output_text", "text": "Goodbye"}
    response = Response.model_validate({"status": "completed", "output": [{"type": "message", "content": [part]}]})
    events = [decode(Frame(event["type"], to_json(event))) for event in play("text", {"model": "m", "input": "hi"})]
    seen = accumulated(events[:6])
    missing = missing_events(response, seen, None)
    assert not any(isinstance(event, DeltaEvent) for event in missing)
    assert "response.output_text.done" in [event.type for event in missing]
