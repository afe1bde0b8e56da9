"""Resumption: however a background response is cut, handlers see what they would have seen without."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import to_json

from streamkit import (
    Cancelled,
    Completed,
    Disconnected,
    Dispatcher,
    Failed,
    Opened,
    Outcome,
    Reconnecting,
    Response,
    ResponseCancelledError,
    Restarted,
    Retry,
    StreamRun,
    Timeouts,
    UnfinishedResponse,
)
from streamkit.codec import decode
from streamkit.cursor import Cursor
from streamkit.errors import ClockExpired, ConnectFailed, ConnectionLost, ServerError
from streamkit.events import (
    DeltaEvent,
    ErrorEvent,
    Event,
    ImageGenerationCallPartialImage,
    OutputTextDelta,
    TerminalEvent,
)
from streamkit.source import Chunks
from streamkit.sse import Frame, encode
from streamkit.testing import SCENARIOS, play
from tests.scripted import BEFORE_END, CREATED, HELLO, ScriptedSource, Step

pytestmark = pytest.mark.anyio

SCENARIOS_THAT_END = sorted(set(SCENARIOS) - {"error-nested", "error-flat"})
AT_ONCE = Retry(first_delay=0, poll_every=0)


@dataclass(frozen=True)
class Connection:
    """What a connection does: how many new events it brings, and from where it starts."""

    events: int
    from_start: bool = False
    clean: bool = False
    expired: bool = False


class BackgroundServer:
    """A background response in memory: a source that is cut where a script says, and that can be looked at."""

    def __init__(self, events: list[dict[str, Any]], script: list[Connection], looks: int = 0) -> None:
        self.events = events
        self.script = script
        self.looks = looks
        self.asked_for: list[int | None] = []

    async def open(self, cursor: Cursor) -> "_Chunks":
        self.asked_for.append(cursor.position)
        connection = self.script.pop(0) if self.script else Connection(len(self.events))
        if connection.expired and cursor.response_id is not None:
            raise ServerError("This response can no longer be streamed", status=400)
        seen = -1 if cursor.position is None else cursor.position
        end = seen + 1 + connection.events
        start = 0 if connection.from_start else seen + 1
        return _Chunks(self.events[start:end], clean=connection.clean)

    async def retrieve(self, response_id: str) -> Response:
        last = self.events[-1]["response"]
        assert response_id == last["id"]
        self.looks -= 1
        return Response.model_validate({**last, "status": "in_progress"} if self.looks >= 0 else last)

    async def cancel(self, response_id: str) -> None:
        raise AssertionError(response_id)


class _Chunks:
    def __init__(self, events: list[dict[str, Any]], *, clean: bool) -> None:
        self.opened = Opened(url="scripted:", status=200, headers={})
        self._frames = iter([encode(Frame(event["type"], to_json(event))) for event in events])
        self._clean = clean

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        for frame in self._frames:
            return frame
        if self._clean:
            raise StopAsyncIteration
        raise ConnectionLost("cut")

    async def aclose(self) -> None:
        pass


async def run_of(server: BackgroundServer, **options: Any) -> tuple[list[Event], Outcome]:
    events: list[Event] = []
    dispatcher = Dispatcher()
    dispatcher.on(Event)(events.append)
    options = {"retry": AT_ONCE, "background": server} | options
    async with StreamRun(server, **options) as run:
        with suppress(UnfinishedResponse):
            await run.dispatch(dispatcher)
        return events, await run.outcome()


def decoded(events: list[dict[str, Any]]) -> list[Event]:
    return [decode(Frame(event["type"], to_json(event))) for event in events]


_ONLY_LIVE = (ImageGenerationCallPartialImage, OutputTextDelta, ErrorEvent)
"""Events that a finished response does not show: pictures on the way, and an error that its own end repeats."""


def normal_form(events: list[Event]) -> list[Any]:
    """What handlers learn: adjacent deltas of one text joined; numbers and what only a live stream shows left out."""
    return list(_joined(event for event in events if not isinstance(event, _ONLY_LIVE)))


def _joined(events: Iterator[Event]) -> Iterator[Any]:
    place: Any = None
    for event in events:
        fields = event.model_dump(exclude={"sequence_number", "item_id", "logprobs", "delta", "obfuscation"})
        if event.type.endswith(".added"):
            # What an item is when it is announced, apart from its type, differs from server to server.
            fields = {key: value for key, value in fields.items() if key not in {"item", "part"}}
        if isinstance(event, DeltaEvent):
            if fields == place:
                continue
            place = fields
        else:
            place = None
        yield fields


connections = st.builds(
    Connection, events=st.integers(0, 40), from_start=st.booleans(), clean=st.booleans(), expired=st.booleans()
)


@settings(max_examples=300, deadline=None)
@given(scenario=st.sampled_from(SCENARIOS_THAT_END), script=st.lists(connections, max_size=6), looks=st.integers(0, 2))
async def test_any_cuts_give_the_uninterrupted_sequence(scenario: str, script: list[Connection], looks: int) -> None:
    events = play(scenario, {"model": "m", "input": "hi"})
    whole, outcome = await run_of(BackgroundServer(events, []))
    cut, outcome_of_cut = await run_of(
        BackgroundServer(events, list(script), looks), retry=Retry(attempts=20, first_delay=0, poll_every=0)
    )
    assert whole == decoded(events)
    assert normal_form(cut) == normal_form(whole)
    assert "".join(e.delta for e in cut if isinstance(e, DeltaEvent)) == "".join(
        e.delta for e in whole if isinstance(e, DeltaEvent)
    )
    assert type(outcome_of_cut) is type(outcome)
    assert outcome_of_cut.response == outcome.response
    numbers = [event.sequence_number for event in cut]
    assert numbers == sorted(set(numbers))
    if not any(event.synthetic for event in cut):
        assert cut == whole


async def test_a_cut_is_told_and_taken_up_behind_the_last_event() -> None:
    events = play("text", {"model": "m", "input": "hi"})
    server = BackgroundServer(events, [Connection(5), Connection(0), Connection(3, from_start=True)])
    notices: list[Reconnecting] = []
    dispatcher = Dispatcher()
    dispatcher.on(Reconnecting)(notices.append)
    async with StreamRun(server, background=server, retry=AT_ONCE) as run:
        await run.dispatch(dispatcher)
    assert server.asked_for == [None, 4, 4, 7]
    assert [(notice.attempt, notice.after, str(notice.cause)) for notice in notices] == [
        (2, 4, "cut"),
        (3, 4, "cut"),
        (2, 7, "cut"),
    ]


async def test_made_up_events_are_marked_and_numbered_on() -> None:
    events = play("text", {"model": "m", "input": "hi"})
    seen, _ = await run_of(BackgroundServer(events, [Connection(6), Connection(0, expired=True)], looks=2))
    assert [event.synthetic for event in seen] == [False] * 6 + [True] * (len(seen) - 6)
    assert [event.sequence_number for event in seen] == list(range(len(seen)))
    assert isinstance(seen[-1], TerminalEvent)
    assert all("synthetic" not in event.model_dump() for event in seen)


class Moments:
    """What a dispatcher is told of a run besides events."""

    def __init__(self) -> None:
        self.dispatcher = Dispatcher()
        self.names: list[str] = []
        self.texts: list[str] = []
        self.dispatcher.on(Opened, Reconnecting, Restarted)(lambda notice: self.names.append(type(notice).__name__))
        self.dispatcher.on("response.output_text.delta")(lambda event: self.texts.append(event.delta))


class FlakySource:
    """A source that is no background response: each opening follows the next script."""

    def __init__(self, *scripts: list[Step] | BaseException) -> None:
        self.scripts = list(scripts)
        self.restarts: list[int] = []

    async def open(self, cursor: Cursor) -> Chunks:
        self.restarts.append(cursor.restarts)
        script = self.scripts.pop(0)
        if isinstance(script, BaseException):
            raise script
        return await ScriptedSource(*script).open(cursor)


async def test_before_the_first_event_a_request_is_made_again() -> None:
    moments = Moments()
    failures = [
        ConnectFailed("refused", url="u"),
        ServerError("busy", status=503, retry_after=0.0),
        [ConnectionLost("cut")],
    ]
    async with StreamRun(FlakySource(*failures, HELLO), retry=Retry(attempts=4, first_delay=0)) as run:
        assert (await run.dispatch(moments.dispatcher)).output_text == "Hello"
    assert moments.names == ["Reconnecting", "Reconnecting", "Opened", "Reconnecting", "Opened"]
    assert moments.texts == ["Hel", "lo"]


async def test_attempts_end_with_the_last_error() -> None:
    source = FlakySource(*[ConnectFailed(f"refused {i}", url="u") for i in range(5)])
    async with StreamRun(source, retry=AT_ONCE) as run:
        outcome = await run.outcome()
    assert isinstance(outcome, Disconnected)
    assert str(outcome.error) == "refused 2"


async def test_without_retry_nothing_is_made_again() -> None:
    source = FlakySource(ConnectFailed("refused", url="u"), HELLO)
    async with StreamRun(source, retry=None) as run:
        assert isinstance(await run.outcome(), Disconnected)
    assert source.restarts == [0]


async def test_after_the_first_event_a_request_is_not_made_again() -> None:
    source = FlakySource([*BEFORE_END, ConnectionLost("cut")], HELLO)
    async with StreamRun(source, retry=AT_ONCE) as run:
        outcome = await run.outcome()
    assert isinstance(outcome, Disconnected)
    assert outcome.response.output_text == "Hello"
    assert source.restarts == [0]


async def test_unless_a_restart_is_allowed() -> None:
    moments = Moments()
    source = FlakySource([*BEFORE_END, ConnectionLost("cut")], [CREATED], HELLO)
    async with StreamRun(source, retry=AT_ONCE, restart=True) as run:
        response = await run.dispatch(moments.dispatcher)
    assert response.output_text == "Hello"
    assert moments.texts == ["Hel", "lo", "Hel", "lo"]
    assert moments.names == ["Opened", "Restarted", "Opened", "Restarted", "Opened"]
    assert source.restarts == [0, 1, 2]


async def test_an_iteration_hears_of_a_restart_if_it_asks() -> None:
    source = FlakySource([*BEFORE_END, ConnectionLost("cut")], HELLO)
    pieces: list[str] = []
    async with StreamRun(source, retry=AT_ONCE, restart=True) as run:
        async for item in run.events(OutputTextDelta, Restarted):
            if isinstance(item, Restarted):
                pieces.clear()
            else:
                pieces.append(item.delta)
    assert pieces == ["Hel", "lo"]


async def test_a_run_may_be_cancelled_while_it_waits_for_another_attempt() -> None:
    waiting = asyncio.Event()
    dispatcher = Dispatcher()
    dispatcher.on_reconnecting(lambda _: waiting.set())
    source = FlakySource(ConnectFailed("refused", url="u"))
    async with StreamRun(source, retry=Retry(first_delay=1000)) as run:
        driving = asyncio.create_task(run.dispatch(dispatcher))
        await waiting.wait()
        await asyncio.sleep(0)
        run.cancel()
        with pytest.raises(ResponseCancelledError):
            await driving


async def test_only_the_total_clock_runs_while_waiting_for_another_attempt() -> None:
    source = FlakySource(ConnectFailed("refused", url="u"), HELLO)
    retry = Retry(first_delay=0.05)
    async with StreamRun(source, retry=retry, timeouts=Timeouts(first_event=0.04, idle=0.04, progress=0.04)) as run:
        assert isinstance(await run.outcome(), Completed)
    source = FlakySource(ConnectFailed("refused", url="u"), HELLO)
    async with StreamRun(source, retry=Retry(first_delay=1000), timeouts=Timeouts(total=0.03)) as run:
        outcome = await run.outcome()
    assert isinstance(outcome, Disconnected)
    assert isinstance(outcome.error, ClockExpired)
    assert outcome.error.clock == "total"


class Stalling(BackgroundServer):
    """Its first connection brings some events and then nothing more."""

    async def open(self, cursor: Cursor) -> Chunks:
        if self.asked_for:
            return await super().open(cursor)
        self.asked_for.append(cursor.position)
        frames = [encode(Frame(event["type"], to_json(event))) for event in self.events[:7]]
        return await ScriptedSource(*frames, None).open(cursor)


async def test_a_stall_in_the_background_is_a_cut() -> None:
    events = play("text", {"model": "m", "input": "hi"})
    server = Stalling(events, [])
    seen, outcome = await run_of(server, timeouts=Timeouts(idle=0.03))
    assert isinstance(outcome, Completed)
    assert seen == decoded(events)
    assert server.asked_for == [None, 6]


async def test_a_response_that_was_cancelled_elsewhere_is_found_cancelled() -> None:
    events = play("text", {"model": "m", "input": "hi"})
    events[-1]["response"]["status"] = "cancelled"
    _, outcome = await run_of(BackgroundServer(events, [Connection(5), Connection(0, expired=True)], looks=1))
    assert isinstance(outcome, Cancelled)
    assert outcome.response.status == "cancelled"


async def test_resuming_behind_an_event() -> None:
    events = play("text", {"model": "m", "input": "hi"})
    server = BackgroundServer(events, [Connection(3)])
    seen, outcome = await run_of(server, cursor=Cursor("resp_1", 9))
    assert server.asked_for == [9, 12]
    assert seen == decoded(events)[10:]
    assert isinstance(outcome, Completed)
    assert outcome.response == decoded(events)[-1].response  # type: ignore[attr-defined]


async def test_resuming_an_expired_stream_begins_anew_and_says_so() -> None:
    moments = Moments()
    events = play("text", {"model": "m", "input": "hi"})
    response_id = events[-1]["response"]["id"]
    server = BackgroundServer(events, [Connection(0, expired=True)])
    async with StreamRun(server, background=server, retry=AT_ONCE, cursor=Cursor(response_id, 9)) as run:
        response = await run.dispatch(moments.dispatcher)
    assert moments.names == ["Restarted"]
    assert "".join(moments.texts) == response.output_text


async def test_an_error_event_in_the_background_waits_for_the_failed_response() -> None:
    events = play("failed", {"model": "m", "input": "hi"})
    seen, outcome = await run_of(BackgroundServer(events, [Connection(3)]))
    assert isinstance(outcome, Failed)
    assert seen == decoded(events)


async def test_numbers_that_are_skipped_are_counted() -> None:
    events = play("text", {"model": "m", "input": "hi"})
    del events[5:7], events[9]
    server = BackgroundServer(events, [])
    async with StreamRun(server) as run:
        # Deltas that nobody listens to are not looked at, so that gaps among them count as one.
        run.on.any(lambda _: None)
        await run.outcome()
        assert run.stats.gaps == 2


class CancellingServer(BackgroundServer):
    cancelled: str | BaseException | None = None

    async def cancel(self, response_id: str) -> None:
        if isinstance(self.cancelled, BaseException):
            raise self.cancelled
        self.cancelled = response_id


async def test_cancelling_tells_the_server_if_asked_to() -> None:
    events = play("text", {"model": "m", "input": "hi"})
    for tells in (True, False):
        server = CancellingServer(events, [])
        async with StreamRun(server, background=server) as run:
            async for _ in run:
                run.cancel(server=tells)
                break
        assert server.cancelled == (events[0]["response"]["id"] if tells else None)


async def test_a_server_that_cannot_be_told_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    events = play("text", {"model": "m", "input": "hi"})
    server = CancellingServer(events, [])
    server.cancelled = ServerError("no", status=500)
    async with StreamRun(server, background=server) as run:
        async for _ in run:
            run.cancel(server=True)
            break
    assert "was not told to cancel" in caplog.text


class Mute(CancellingServer):
    """Answers to nothing but what opens its stream."""

    async def retrieve(self, response_id: str) -> Response:
        await asyncio.Event().wait()
        raise AssertionError(response_id)

    async def cancel(self, response_id: str) -> None:
        await self.retrieve(response_id)


async def test_a_look_that_is_never_answered_runs_a_clock_out() -> None:
    server = Mute(play("text", {"model": "m", "input": "hi"}), [Connection(5), Connection(0, expired=True)])
    _, outcome = await run_of(server, timeouts=Timeouts(first_event=0.03))
    assert isinstance(outcome, Disconnected)
    assert isinstance(outcome.error, ClockExpired)
    assert outcome.error.clock == "first_event"


async def test_a_server_that_does_not_answer_holds_no_cancellation_up(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamkit.stream.CANCEL_SECONDS", 0.03)
    server = Mute(play("text", {"model": "m", "input": "hi"}), [])
    async with StreamRun(server, background=server) as run:
        async for _ in run:
            run.cancel(server=True)
            break
        assert isinstance(await run.outcome(), Cancelled)
    assert "was not told to cancel" in caplog.text


async def test_opened_of_a_stream_that_is_gone_waits_for_the_response_and_takes_no_event() -> None:
    events = play("text", {"model": "m", "input": "hi"})
    server = BackgroundServer(events, [Connection(0, expired=True)], looks=1)
    cursor = Cursor(events[-1]["response"]["id"], None)
    async with StreamRun(server, background=server, retry=AT_ONCE, cursor=cursor) as run:
        await run.opened()
        seen = [event async for event in run]
        assert isinstance(await run.outcome(), Completed)
    assert normal_form(seen) == normal_form(decoded(events))


class AnsweringJson(BackgroundServer):
    """From the second opening on, it answers with the response, or an error, instead of its stream."""

    answer: bytes

    async def open(self, cursor: Cursor) -> Chunks:
        if not self.asked_for:
            return await super().open(cursor)
        self.asked_for.append(cursor.position)
        return await ScriptedSource(self.answer, headers={"content-type": "application/json"}).open(cursor)


@pytest.mark.parametrize(
    "answer", [b'{"id": "resp_1", "status": "in_progress"}', b'{"error": {"message": "no stream"}}']
)
async def test_json_instead_of_a_stream_is_a_stream_that_is_gone(answer: bytes) -> None:
    events = play("text", {"model": "m", "input": "hi"})
    server = AnsweringJson(events, [Connection(5)])
    server.answer = answer
    seen, outcome = await run_of(server)
    assert isinstance(outcome, Completed)
    assert normal_form(seen) == normal_form(decoded(events))
    assert server.asked_for == [None, 4]


class FailingEverySecondLook(BackgroundServer):
    fails = False

    async def retrieve(self, response_id: str) -> Response:
        self.fails = not self.fails
        if self.fails:
            raise ServerError("busy", status=503)
        return await super().retrieve(response_id)


async def test_looks_that_fail_count_only_in_a_row() -> None:
    events = play("text", {"model": "m", "input": "hi"})
    _, outcome = await run_of(FailingEverySecondLook(events, [Connection(5), Connection(0, expired=True)], looks=8))
    assert isinstance(outcome, Completed)


async def test_an_event_that_fits_no_model_is_not_repeated_either() -> None:
    events = play("text", {"model": "m", "input": "hi"})
    events[5] = {"type": "response.output_text.delta", "delta": 5, "sequence_number": events[5]["sequence_number"]}
    for again in (Connection(3), Connection(3, from_start=True)):
        seen, _ = await run_of(BackgroundServer(events, [Connection(6), again]))
        assert seen == decoded(events)


class ClosingSlowly(BackgroundServer):
    async def open(self, cursor: Cursor) -> Chunks:
        chunks = await super().open(cursor)
        chunks.aclose = self.aclose  # type: ignore[method-assign]
        return chunks

    async def aclose(self) -> None:
        self.run.cancel()
        await asyncio.sleep(0)

    run: StreamRun


async def test_a_run_may_be_cancelled_while_a_connection_is_closed_for_another_attempt() -> None:
    server = ClosingSlowly(play("text", {"model": "m", "input": "hi"}), [Connection(5)])
    async with asyncio.timeout(5), StreamRun(server, background=server, retry=Retry(first_delay=1000)) as run:
        server.run = run
        assert isinstance(await run.outcome(), Cancelled)


async def test_a_server_that_does_not_answer_a_cancellation_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("streamkit.stream.CANCEL_SECONDS", 0.02)
    server = CancellingServer(play("text", {"model": "m", "input": "hi"}), [])
    monkeypatch.setattr(server, "cancel", lambda _: asyncio.Event().wait())
    dispatcher = Dispatcher()
    dispatcher.on("response.created")(lambda _, run: run.cancel(server=True))
    async with asyncio.timeout(5), StreamRun(server, background=server) as run:
        with pytest.raises(ResponseCancelledError):
            await run.dispatch(dispatcher)
    assert "no answer within 0.02 s" in caplog.text


async def test_a_response_that_has_ended_is_not_cancelled_at_the_server() -> None:
    server = CancellingServer(play("text", {"model": "m", "input": "hi"}), [])
    dispatcher = Dispatcher()
    dispatcher.on_completed(lambda _, run: run.cancel(server=True))
    dispatcher.on("response.completed")(lambda _, run: run.cancel(server=True))
    async with StreamRun(server, background=server) as run:
        await run.dispatch(dispatcher)
    assert server.cancelled is None


class RepeatingAnError(BackgroundServer):
    """Whatever is taken up, it says the same unnumbered thing and hangs up."""

    async def open(self, cursor: Cursor) -> Chunks:
        if not self.asked_for:
            return await super().open(cursor)
        self.asked_for.append(cursor.position)
        return await ScriptedSource(b'data: {"error": {"message": "later"}}\n\n').open(cursor)


async def test_what_comes_with_each_connection_is_no_progress() -> None:
    server = RepeatingAnError(play("text", {"model": "m", "input": "hi"}), [Connection(5)])
    async with asyncio.timeout(5):
        _, outcome = await run_of(server)
    assert isinstance(outcome, Completed)
    assert server.asked_for == [None, 4, 4]
