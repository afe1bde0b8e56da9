"""The events of one response, before any handler: steps, and what each leaves at hand."""

import asyncio

import pytest

from streamkit import Cancelled, Completed, Disconnected, Failed, Limits, Opened, Restarted, Retry, Timeouts
from streamkit.codec import decode_strictly
from streamkit.cursor import Cursor
from streamkit.errors import (
    ConnectFailed,
    ConnectionLost,
    InvalidEventError,
    ResponseTooLarge,
    ServerError,
    UsageError,
)
from streamkit.events import Event, ResponseCompleted
from streamkit.outcome import Reconnecting
from streamkit.response import Response
from streamkit.stream import EventStream
from tests.scripted import BEFORE_END, COMPLETED, CREATED, HELLO, ScriptedSource, frame

pytestmark = pytest.mark.anyio

AT_ONCE = Retry(first_delay=0, poll_every=0)
ERROR = frame("error", code="rate_limit_exceeded", message="slow down")


async def read(stream: EventStream) -> list[str]:
    """Take everything there is and name it; then close."""
    names = []
    while stream.ending is None:
        taken = stream.take()
        if taken is None:
            await stream.fill()
        else:
            names.append(taken.type if isinstance(taken, Event) else type(taken).__name__)
    await stream.close()
    return names


async def test_each_step_leaves_something_at_hand_or_the_end() -> None:
    stream = EventStream(ScriptedSource(CREATED, COMPLETED))
    assert stream.take() is None
    await stream.fill()
    assert isinstance(stream.take(), Opened)
    assert stream.take() is None
    for name in ("response.created", "response.completed"):
        await stream.fill()
        event = stream.take()
        assert isinstance(event, Event)
        assert event.type == name
    assert isinstance(stream.ending, Completed)
    await stream.close()


async def test_what_was_said_before_a_cut_is_the_error() -> None:
    stream = EventStream(ScriptedSource(CREATED, ERROR, ConnectionLost("cut")), retry=AT_ONCE, restart=True)
    await read(stream)
    assert isinstance(stream.ending, Failed)
    assert stream.ending.error.code == "rate_limit_exceeded"


async def test_a_stream_that_is_ended_stays_as_it_ended() -> None:
    stream = EventStream(ScriptedSource(*HELLO))
    first = Cancelled(response=Response())
    stream.end(first)
    stream.end(Cancelled(response=Response(id="another")))
    assert stream.ending is first
    await stream.close()
    await stream.close()


async def test_frames_behind_the_end_are_late() -> None:
    stream = EventStream(ScriptedSource(CREATED + COMPLETED + CREATED + b"data: [DONE]\n\n", CREATED))
    assert (await read(stream))[-1] == "response.completed"
    assert stream.late_frames == 2


async def test_all_connections_together_have_a_limit() -> None:
    source = ScriptedSource(b": padding\n\n", ConnectionLost("cut"))
    retry = Retry(attempts=100, first_delay=0)
    stream = EventStream(source, retry=retry, limits=Limits(max_response_bytes=50))
    assert (await read(stream)).count("Reconnecting") == 4
    assert isinstance(stream.ending, Disconnected)
    assert isinstance(stream.ending.error, ResponseTooLarge)


async def test_a_restart_forgets_what_came() -> None:
    class Twice:
        scripts = ([*BEFORE_END, ConnectionLost("cut")], HELLO)
        opened = 0

        async def open(self, cursor: object) -> object:
            self.opened += 1
            return await ScriptedSource(*self.scripts[self.opened - 1]).open(cursor)  # type: ignore[arg-type, misc]

    stream = EventStream(Twice(), retry=AT_ONCE, restart=True)  # type: ignore[arg-type]
    names = await read(stream)
    assert names.index(Restarted.__name__) == 1 + len(BEFORE_END)
    assert stream.accumulator.anomalies == ()
    assert stream.stats.restarts == 1
    assert stream.stats.events == len(BEFORE_END) + len(HELLO)


class Found:
    """A response that is no longer streamed: only looks at it are answered."""

    def __init__(self, *looks: Response | Exception) -> None:
        self.looks = list(looks)
        self.cancelled: list[str] = []

    async def retrieve(self, _: str) -> Response:
        look = self.looks.pop(0)
        if isinstance(look, Exception):
            raise look
        return look

    async def cancel(self, response_id: str) -> None:
        self.cancelled.append(response_id)


UNDER_WAY, DONE = Response(id="resp_1", status="in_progress"), Response(id="resp_1", status="completed")
ELSEWHERE = Response(id="resp_1", status="cancelled")
BUSY, UNKNOWN = ServerError("busy", status=503), ServerError("no such response", status=404)


@pytest.mark.parametrize(
    ("looks", "kind", "polls"),
    [
        ([DONE], Completed, 1),
        ([UNDER_WAY, UNDER_WAY, DONE], Completed, 3),
        ([BUSY, UNDER_WAY, BUSY, BUSY, DONE], Completed, 5),
        ([BUSY, BUSY, BUSY], Failed, 3),
        ([ConnectFailed("no", url="u"), DONE], Completed, 2),
        ([UNKNOWN], Failed, 1),
        ([ELSEWHERE], Cancelled, 1),
    ],
)
async def test_a_response_that_cannot_be_streamed_is_looked_at(
    looks: list[Response | Exception], kind: type, polls: int
) -> None:
    # Its events have no numbers, so that its stream cannot be taken up.
    stream = EventStream(ScriptedSource(CREATED, ConnectionLost("cut")), background=Found(*looks), retry=AT_ONCE)
    names = await read(stream)
    assert type(stream.ending) is kind
    assert stream.stats.polls == polls
    assert (ResponseCompleted.model_fields["type"].default in names) == (kind is Completed)
    assert Reconnecting.__name__ not in names


async def test_the_server_is_told_to_cancel_only_what_it_has_named() -> None:
    background = Found()
    stream = EventStream(ScriptedSource(CREATED, None), background=background)
    await stream.cancel_on_server()
    assert background.cancelled == []
    while stream.accumulator.response_id is None:
        if stream.take() is None:
            await stream.fill()
    await stream.cancel_on_server()
    assert background.cancelled == ["resp_1"]
    await stream.close()
    await EventStream(ScriptedSource()).cancel_on_server()


async def test_an_error_in_the_background_does_not_hurry_the_next_connection() -> None:
    numbered = frame("response.created", sequence_number=0, response={"id": "resp_1", "status": "in_progress"})
    stream = EventStream(
        ScriptedSource(numbered, ERROR, ConnectionLost("cut")),
        background=Found(DONE),
        retry=AT_ONCE,
        timeouts=Timeouts(idle=60),
    )
    async with asyncio.timeout(5):
        await read(stream)
    assert isinstance(stream.ending, Completed)


async def test_keepalives_are_counted_and_the_end_may_be_invalid_or_unterminated() -> None:
    broken = frame("response.completed", response={"id": "resp_1", "usage": 5})
    for last in (broken, COMPLETED.rstrip(b"\n")):
        stream = EventStream(ScriptedSource(CREATED, frame("keepalive"), *BEFORE_END[1:], last))
        await read(stream)
        assert isinstance(stream.ending, Completed)
        assert stream.stats.keepalives == 1
        assert stream.stats.first_text_after is not None


async def test_a_stream_that_ended_while_it_was_taken_from_is_not_read_on() -> None:
    source = ScriptedSource(CREATED + frame("response.completed", response=5), None)
    stream = EventStream(source, decode=decode_strictly)
    while stream.ending is None:
        if stream.take() is None:
            await stream.fill()
    assert not source.reading.is_set()
    await stream.close()


async def test_what_decoding_refuses_ends_the_stream() -> None:
    stream = EventStream(ScriptedSource(CREATED, frame("response.completed", response=5)), decode=decode_strictly)
    assert await read(stream) == ["Opened", "response.created"]
    assert isinstance(stream.ending, Disconnected)
    assert isinstance(stream.ending.error, InvalidEventError)


async def test_ending_interrupts_the_task_that_waits() -> None:
    source = ScriptedSource(None)
    stream = EventStream(source)
    waiting = asyncio.create_task(read(stream))
    await source.reading.wait()
    with pytest.raises(UsageError):
        stream.ensure_free()
    with pytest.raises(UsageError):
        await stream.fill()
    stream.end(Cancelled(response=Response()))
    assert await waiting == ["Opened"]
    stream.ensure_free()


async def test_a_suffix_whose_stream_is_gone_begins_anew() -> None:
    source = ScriptedSource(on_open=ServerError("too old", status=404))
    stream = EventStream(source, cursor=Cursor("resp_1", 9), background=Found(DONE), retry=AT_ONCE)
    assert (await read(stream))[0] == Restarted.__name__
    assert isinstance(stream.ending, Completed)
