"""Chat completions for tests: frames made by hand, and what a decoder makes of them."""

import json
from collections.abc import Iterable
from typing import Any

from streamkit.accumulator import Accumulator
from streamkit.chat import ChatDecoder
from streamkit.events import Event
from streamkit.response import Response
from streamkit.sse import Frame

DONE = Frame(data=b"[DONE]")
HEAD = {"id": "chatcmpl_1", "object": "chat.completion.chunk", "created": 1700000000, "model": "m"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}


def frame(data: object) -> Frame:
    return Frame(data=json.dumps(data).encode())


def chunk(delta: object = None, finish: object = None, **facts: Any) -> Frame:
    """A chunk with one choice."""
    return frame({**HEAD, "choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}], **facts})


def call(arguments: Any = None, *, name: str | None = None, **facts: Any) -> dict[str, Any]:
    """A delta with a piece of a function call; facts that are None are left out."""
    function = {"name": name, "arguments": arguments}
    piece = {**facts, "function": {key: value for key, value in function.items() if value is not None}}
    return {"tool_calls": [{key: value for key, value in piece.items() if value is not None}]}


def decoded(frames: Iterable[Frame]) -> list[Event]:
    """All events of frames and of their end."""
    decoder = ChatDecoder()
    return [*(event for each in frames for event in decoder.feed(each)), *decoder.finish()]


def folded(frames: Iterable[Frame]) -> Response:
    """The response that the events of frames add up to; of what is valid in them, nothing surprises the accumulator."""
    accumulator = Accumulator()
    for event in decoded(frames):
        accumulator.add(event)
    assert {anomaly.kind for anomaly in accumulator.anomalies} <= {"invalid"}
    return accumulator.snapshot()


def names(events: Iterable[Event]) -> list[str]:
    """The wire names of events, without the raw chunks."""
    return [event.type.removeprefix("response.") for event in events if event.type != "chat.completion.chunk"]
