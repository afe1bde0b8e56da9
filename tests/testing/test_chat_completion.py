"""Responses told as chat completions, event by event, without a server."""

import json

import pytest

from streamkit.sse import Decoder
from streamkit.testing.answers import Pause
from streamkit.testing.chat_completion import ChatStream, foreign_item
from streamkit.testing.scenarios import play
from streamkit.testing.script import Script
from streamkit.testing.sending import Pace, paced


def test_every_piece_waits_for_its_turn() -> None:
    events = play("text", {"input": "Hi"})
    stream = ChatStream(include_usage=False)
    steps = list(paced(events, Pace(10, clock=lambda: 0.0), encode=stream.frames))
    waits = [step.seconds for step in steps if isinstance(step, Pause)]
    deltas = sum(event["type"].endswith(".delta") for event in events)
    assert waits[:deltas] == pytest.approx([0.1 * (number + 1) for number in range(deltas)])


def test_calls_are_numbered_apart_from_other_items() -> None:
    script = Script()
    script.reasoning("Hm.").function_call("f", {"a": 1}).text("And").custom_tool_call("g", "free text").complete()
    stream = ChatStream(include_usage=False)
    content = b"".join(map(stream.frames, script.events)).removesuffix(b"data: [DONE]\n\n")
    chunks = [json.loads(frame.data) for frame in Decoder().feed(content)]
    pieces = [piece for chunk in chunks for piece in chunk["choices"][0]["delta"].get("tool_calls", [])]
    first = [piece for piece in pieces if "id" in piece]
    assert [(piece["index"], piece["type"]) for piece in first] == [(0, "function"), (1, "custom")]
    assert [piece["index"] for piece in pieces] == sorted(piece["index"] for piece in pieces)
    assert "".join(piece["custom"]["input"] for piece in pieces if "custom" in piece) == "free text"


def test_events_without_a_counterpart_say_nothing() -> None:
    script = Script()
    script.event("keepalive").event("vendor:thing")
    stream = ChatStream(include_usage=False)
    assert [bool(stream.frames(event)) for event in script.events] == [True, False, False, False]


@pytest.mark.parametrize(
    ("name", "item_type"),
    [("text", None), ("reasoning", None), ("custom-tool-call", None), ("mcp", "mcp_list_tools"), ("failed", None)],
)
def test_items_that_cannot_be_told(name: str, item_type: str | None) -> None:
    assert foreign_item(play(name)) == item_type
