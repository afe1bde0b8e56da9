"""Everything that servers and networks are known to do to a stream, and the one outcome that each has."""

import asyncio
import gzip
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from streamkit import (
    Client,
    Closed,
    Completed,
    Disconnected,
    Dispatcher,
    Failed,
    Incomplete,
    Limits,
    Outcome,
    Timeouts,
    UnfinishedResponse,
)
from streamkit.errors import (
    ClockExpired,
    ConnectFailed,
    ConnectionLost,
    FrameTooLarge,
    NotAnEventStream,
    ResponseTooLarge,
    ServerError,
)
from streamkit.events import Event, InvalidEvent, UnknownEvent
from tests.raw_server import Answer, answering, chunked, head, ok, raw_server, resetting
from tests.scripted import ADDED, BEFORE_END, COMPLETED, CREATED, DELTAS, HELLO, PART, frame

pytestmark = pytest.mark.anyio

WHOLE = b"".join(HELLO)
BEGUN = b"".join(BEFORE_END)
INCOMPLETE = frame("response.incomplete", response={"incomplete_details": {"reason": "max_output_tokens"}})
FAILED = frame("response.failed", response={"status": "failed", "error": {"code": "server_error", "message": "oh"}})
NESTED = frame("error", error={"type": "t", "code": "rate_limit_exceeded", "message": "slow down", "param": None})
FLAT = frame("error", code="rate_limit_exceeded", message="slow down", param=None)
UNTYPED = b'data: {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}\n\n'
NUMBERED = frame("error", error={"code": 429, "message": "slow down"})
UNFINISHED_TEXT = frame(
    "response.completed",
    response={"id": "resp_1", "status": "completed", "output": None},
)


@dataclass(frozen=True)
class Row:
    """An answer and what comes of it."""

    answer: Answer
    outcome: type[Any]
    error: type[BaseException] | None = None
    text: str = "Hello"
    facts: dict[str, object] = field(default_factory=dict)
    """Attributes of the outcome, or of its error."""
    options: dict[str, Any] = field(default_factory=dict)
    seen: type[Event] | None = None
    """An event that must be among the delivered ones."""


def sent(*frames: bytes) -> Answer:
    return answering(ok(b"".join(frames)))


async def never() -> None:
    await asyncio.Event().wait()


async def silent(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    await never()


def one_byte_chunks(body: bytes) -> bytes:
    return chunked(*(body[i : i + 1] for i in range(len(body))))


async def huge_line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(ok(BEGUN + b"event: response.image_generation_call.partial_image\ndata: "))
    with suppress(ConnectionError):
        for _ in range(100):
            writer.write(b"x" * (1024 * 1024))
            await writer.drain()
        writer.write(b"\n\n" + COMPLETED)
        await writer.drain()


BRIEF = Timeouts(first_event=0.05, idle=0.05, progress=0.05)

ROWS: dict[str, Row] = {
    # How responses end.
    "completed": Row(sent(WHOLE), Completed),
    "incomplete": Row(sent(BEGUN, INCOMPLETE), Incomplete, facts={"reason": "max_output_tokens"}),
    "failed": Row(sent(BEGUN, FAILED), Failed, ServerError, facts={"code": "server_error", "message": "oh"}),
    "a clean end without a terminal event": Row(sent(BEGUN), Disconnected, ConnectionLost),
    "[DONE] without a terminal event": Row(sent(BEGUN, b"data: [DONE]\n\n"), Disconnected, ConnectionLost),
    "[DONE] behind the terminal event": Row(sent(WHOLE, b"data: [DONE]\n\n"), Completed),
    "two terminal events": Row(sent(WHOLE, FAILED), Completed),
    "frames after the end": Row(sent(WHOLE, *DELTAS, *DELTAS), Completed),
    "a last event without its blank line": Row(sent(WHOLE.rstrip(b"\n")), Completed),
    "a last event that is cut off": Row(sent(BEGUN, COMPLETED[:-9]), Disconnected, ConnectionLost),
    "a terminal event without output": Row(sent(BEGUN, UNFINISHED_TEXT), Completed),
    "a terminal event with a wrong field": Row(
        sent(BEGUN, frame("response.completed", response={"id": "resp_1", "usage": 1})),
        Completed,
        seen=InvalidEvent,
    ),
    # Errors within the stream.
    "an error, nested": Row(sent(BEGUN, NESTED), Failed, ServerError, facts={"code": "rate_limit_exceeded"}),
    "an error, flat": Row(sent(BEGUN, FLAT), Failed, ServerError, facts={"code": "rate_limit_exceeded"}),
    "an error, untyped": Row(sent(BEGUN, UNTYPED), Failed, ServerError, facts={"code": "rate_limit_exceeded"}),
    "an error with a number": Row(sent(BEGUN, NUMBERED), Failed, ServerError, facts={"code": "429"}),
    "an error, then failed": Row(sent(BEGUN, NESTED, FAILED), Failed, ServerError, facts={"message": "oh"}),
    "an error first": Row(sent(NESTED), Failed, ServerError, text="", facts={"message": "slow down"}),
    "an error, then silence": Row(
        answering(ok(BEGUN + NESTED), then=never), Failed, ServerError, options={"timeouts": BRIEF}
    ),
    "an error, then a reset": Row(resetting(ok(BEGUN + NESTED)), Failed, ServerError),
    # Events that do not fit.
    "a delta before its part": Row(sent(CREATED, ADDED, *DELTAS), Disconnected, ConnectionLost),
    "a delta before its item": Row(sent(CREATED, *DELTAS, COMPLETED), Completed),
    "a beginning in the middle": Row(sent(*DELTAS), Disconnected, ConnectionLost),
    "an item that is added twice": Row(sent(CREATED, ADDED, PART, ADDED, PART, *DELTAS, COMPLETED), Completed),
    "an unknown event": Row(sent(BEGUN, frame("vendor:news", x=1), COMPLETED), Completed, seen=UnknownEvent),
    "keepalives": Row(sent(frame("keepalive", sequence_number=1), BEGUN, frame("keepalive"), COMPLETED), Completed),
    "malformed JSON": Row(sent(BEGUN, b'event: x\ndata: {"type": \n\n', COMPLETED), Completed, seen=InvalidEvent),
    "a wrong field": Row(
        sent(BEGUN, frame("response.output_text.delta", delta=[1]), COMPLETED), Completed, seen=InvalidEvent
    ),
    "bytes that are not UTF-8": Row(
        sent(BEGUN, frame("vendor:news", x="?").replace(b"?", b"\xff"), COMPLETED), Completed, seen=UnknownEvent
    ),
    "comments and empty blocks": Row(sent(b": hi\n\n\n\n", BEGUN, b"event: x\n\n: hi\n\n", COMPLETED), Completed),
    # Framing.
    "CRLF": Row(sent(WHOLE.replace(b"\n", b"\r\n")), Completed),
    "a byte order mark": Row(sent(b"\xef\xbb\xbf", WHOLE), Completed),
    "one-byte chunks": Row(answering(one_byte_chunks(WHOLE)), Completed),
    "a line of 100 MiB, above the limit": Row(huge_line, Disconnected, FrameTooLarge),
    "a line of 100 MiB, with a higher limit": Row(
        huge_line,
        Completed,
        options={"limits": Limits(max_event_bytes=128 * 1024 * 1024)},
        seen=InvalidEvent,
    ),
    "a response without end": Row(
        answering(ok(BEGUN), then=never),
        Disconnected,
        ResponseTooLarge,
        text="",
        options={"limits": Limits(max_response_bytes=len(BEGUN) - 1)},
    ),
    "compressed all the same": Row(answering(ok(gzip.compress(WHOLE), "Content-Encoding: gzip")), Completed),
    # The connection.
    "a reset": Row(resetting(ok(BEGUN)), Disconnected, ConnectionLost),
    "a reset in the middle of an event": Row(resetting(ok(BEGUN + COMPLETED[:40])), Disconnected, ConnectionLost),
    "a missing last chunk": Row(answering(chunked(BEGUN, last=False)), Disconnected, ConnectionLost),
    "a missing last chunk behind the end": Row(answering(chunked(WHOLE, last=False)), Completed),
    "fewer bytes than announced": Row(answering(ok(BEGUN, "Content-Length: 99999")), Disconnected, ConnectionLost),
    "silence": Row(
        answering(ok(BEGUN), then=never),
        Disconnected,
        ClockExpired,
        facts={"clock": "idle", "seconds": 0.05},
        options={"timeouts": Timeouts(idle=0.05)},
    ),
    "nothing but keepalives": Row(
        answering(ok(BEGUN + frame("keepalive")), then=never),
        Disconnected,
        ClockExpired,
        facts={"clock": "progress"},
        options={"timeouts": Timeouts(progress=0.05)},
    ),
    "a server that never answers": Row(
        silent, Disconnected, ClockExpired, text="", facts={"clock": "first_event"}, options={"timeouts": BRIEF}
    ),
    "a server that hangs up": Row(answering(), Disconnected, ConnectFailed, text=""),
    "headers beyond the limit": Row(
        answering(ok(WHOLE, "x-long: " + "x" * 100_000)), Disconnected, ConnectFailed, text=""
    ),
    # Answers that are no stream.
    "200 with nothing": Row(answering(ok(b"")), Disconnected, ConnectionLost, text=""),
    "200 with HTML": Row(answering(ok(b"<html>hi", content_type="text/html")), Failed, NotAnEventStream, text=""),
    "200 with JSON": Row(answering(ok(b'{"a": 1}', content_type="text/json")), Failed, NotAnEventStream, text=""),
    "200 with a JSON error": Row(
        answering(ok(b'{"error": {"message": "m", "code": "c"}}', content_type="application/json")),
        Failed,
        ServerError,
        text="",
        facts={"code": "c"},
    ),
    "500 with an event stream": Row(
        answering(head("500 Oh", "Content-Type: text/event-stream") + NESTED),
        Failed,
        ServerError,
        text="",
        facts={"status": 500, "code": "rate_limit_exceeded"},
    ),
    "a redirect": Row(
        answering(head("302 Found", "Location: /elsewhere")), Failed, ServerError, text="", facts={"status": 302}
    ),
}


async def outcome_of(row: Row, base_url: str) -> tuple[Outcome, list[Any]]:
    deliveries: list[Any] = []
    dispatcher = Dispatcher()
    dispatcher.on(Event, Closed)(deliveries.append)
    options = {"retry": None} | row.options
    async with Client(base_url=base_url, **options) as client, client.stream(model="m", input="hi") as run:
        with suppress(UnfinishedResponse):
            await run.dispatch(dispatcher)
        return await run.outcome(), deliveries


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
async def test_one_outcome_that_keeps_what_was_received(row: Row) -> None:
    async with raw_server(row.answer) as base_url:
        outcome, deliveries = await outcome_of(row, base_url)
    assert type(outcome) is row.outcome
    assert outcome.response.output_text == row.text
    error = getattr(outcome, "error", None)
    assert type(error) is (row.error or type(None))
    told = outcome if error is None else error
    assert {name: getattr(told, name) for name in row.facts} == row.facts
    assert [delivery for delivery in deliveries if isinstance(delivery, Closed)] == [Closed(outcome=outcome)]
    assert deliveries[-1] == Closed(outcome=outcome)
    assert row.seen is None or any(type(delivery) is row.seen for delivery in deliveries)


@pytest.mark.parametrize("position", range(0, len(BEGUN), 7))
async def test_a_reset_at_any_byte_keeps_the_whole_events_before_it(position: int) -> None:
    async with raw_server(resetting(ok(BEGUN[:position]))) as base_url:
        outcome, _ = await outcome_of(Row(silent, Disconnected), base_url)
    assert isinstance(outcome, Disconnected)
    assert "Hello".startswith(outcome.response.output_text)
