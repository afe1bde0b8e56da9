"""The run: however it goes, it ends in one outcome, once, with everything closed."""

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from streamkit import (
    Cancelled,
    Closed,
    Completed,
    Disconnected,
    Dispatcher,
    Failed,
    HandlerFailed,
    Incomplete,
    Limits,
    Opened,
    Outcome,
    Response,
    ResponseCancelledError,
    ResponseDisconnectedError,
    ResponseFailedError,
    ResponseIncompleteError,
    Run,
    StreamRun,
    Timeouts,
    UnfinishedResponse,
    UsageError,
    on,
)
from streamkit.codec import decode_strictly
from streamkit.errors import (
    ClockExpired,
    ConnectionLost,
    FrameTooLarge,
    InvalidEventError,
    NotAnEventStream,
    ServerError,
    StreamkitError,
)
from streamkit.events import Event, OutputTextDelta, ResponseCompleted
from tests.scripted import ADDED, BEFORE_END, COMPLETED, CREATED, DELTAS, HELLO, PART, ScriptedSource, Step, frame

pytestmark = pytest.mark.anyio


class Seen:
    """Everything that is delivered in a run, in order."""

    def __init__(self) -> None:
        self.dispatcher = Dispatcher()
        self.deliveries: list[Any] = []
        for kind in (Event, Opened, HandlerFailed, Closed, Completed, Incomplete, Failed, Cancelled, Disconnected):
            self.dispatcher.on(kind)(self.deliveries.append)  # type: ignore[type-abstract]

    def names(self) -> list[str]:
        return [getattr(delivery, "type", type(delivery).__name__) for delivery in self.deliveries]


async def outcome_of(source: ScriptedSource, **options: Any) -> Outcome:
    """Run a source through handlers, check what holds for every run, and return its outcome."""
    seen = Seen()
    async with StreamRun(source, **options) as run:
        try:
            response = await run.dispatch(seen.dispatcher)
        except UnfinishedResponse as error:
            outcome = error.outcome
        else:
            outcome = await run.outcome()
            assert outcome == Completed(response=response)
        assert await run.outcome() is outcome
    assert await run.outcome() is outcome
    assert seen.names().count("Closed") == 1
    assert seen.deliveries[-2:] == [outcome, Closed(outcome=outcome)]
    assert source.closed_count == source.opened_count == 1
    return outcome


def text_of(outcome: Outcome) -> str:
    return outcome.response.output_text


async def test_events_are_delivered_in_order_between_opened_and_closed() -> None:
    seen = Seen()
    async with StreamRun(ScriptedSource(*HELLO)) as run:
        response = await run.dispatch(seen.dispatcher)
    assert response.output_text == "Hello"
    assert seen.names() == [
        "Opened",
        "response.created",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.completed",
        "Completed",
        "Closed",
    ]


def incomplete(**details: object) -> bytes:
    return frame("response.incomplete", response={"status": "incomplete", "incomplete_details": details or None})


FAILED = frame("response.failed", response={"status": "failed", "error": {"code": "server_error", "message": "oh"}})
ERROR = frame("error", error={"type": "t", "code": "rate_limit_exceeded", "message": "slow down", "param": "p"})

INCOMPLETE: dict[str, tuple[bytes, str]] = {
    "too long": (incomplete(reason="max_output_tokens"), "max_output_tokens"),
    "filtered": (incomplete(reason="content_filter"), "content_filter"),
    "no reason": (incomplete(), "unknown"),
}


@pytest.mark.parametrize(("last", "reason"), INCOMPLETE.values(), ids=INCOMPLETE.keys())
async def test_an_incomplete_response(last: bytes, reason: str) -> None:
    outcome = await outcome_of(ScriptedSource(*BEFORE_END, last))
    assert isinstance(outcome, Incomplete)
    assert outcome.reason == reason
    assert text_of(outcome) == "Hello"


FAILURES: dict[str, tuple[list[bytes], str | None, str]] = {
    "failed": ([FAILED], "server_error", "oh"),
    "an error, then failed": ([ERROR, FAILED], "server_error", "oh"),
    "an error, then the end": ([ERROR], "rate_limit_exceeded", "slow down"),
    "an error first": ([ERROR], "rate_limit_exceeded", "slow down"),
    "an error with a number": ([frame("error", code=429, message="later")], "429", "later"),
    "an error without a type": ([b'data: {"error": {"message": "bare"}}\n\n'], None, "bare"),
    "failed without an error": ([frame("response.failed", response={"status": "failed"})], None, "without a message"),
    "failed, invalid": ([frame("response.failed", response={"error": {"message": "m"}, "usage": 5})], None, "m"),
}


@pytest.mark.parametrize(("last", "code", "message"), FAILURES.values(), ids=FAILURES.keys())
async def test_a_failed_response(last: list[bytes], code: str | None, message: str) -> None:
    outcome = await outcome_of(ScriptedSource(*BEFORE_END, *last))
    assert isinstance(outcome, Failed)
    assert outcome.error.code == code
    assert message in outcome.error.message
    assert outcome.error.request_id == "req_1"
    assert text_of(outcome) == "Hello"


async def test_an_error_event_tells_what_a_failed_response_does_not() -> None:
    bare = frame("response.failed", response={"status": "failed", "error": {"message": "oh"}})
    outcome = await outcome_of(ScriptedSource(CREATED, ERROR, bare))
    assert isinstance(outcome, Failed)
    assert (outcome.error.code, outcome.error.param, outcome.error.message) == ("rate_limit_exceeded", "p", "oh")


async def test_a_response_that_completes_after_an_error_is_complete() -> None:
    outcome = await outcome_of(ScriptedSource(*BEFORE_END, ERROR, COMPLETED))
    assert isinstance(outcome, Completed)


CUTS: dict[str, tuple[list[Step], type[StreamkitError], str]] = {
    "the end comes early": ([*BEFORE_END], ConnectionLost, "after 5 events"),
    "the connection breaks": ([*BEFORE_END, ConnectionLost("reset")], ConnectionLost, "reset"),
    "an event is cut off": ([*BEFORE_END, COMPLETED[:-20]], ConnectionLost, "after 5 events"),
    "[DONE] is no end": ([*BEFORE_END, b"data: [DONE]\n\n"], ConnectionLost, "without saying how"),
    "an event is too large": ([*BEFORE_END, b"data: " + b"x" * 2000], FrameTooLarge, "max_event_bytes"),
}


@pytest.mark.parametrize(("steps", "error", "message"), CUTS.values(), ids=CUTS.keys())
async def test_a_stream_that_is_cut_keeps_what_it_brought(
    steps: list[Step], error: type[StreamkitError], message: str
) -> None:
    outcome = await outcome_of(ScriptedSource(*steps), limits=Limits(max_event_bytes=1000))
    assert isinstance(outcome, Disconnected)
    assert type(outcome.error) is error
    assert message in str(outcome.error)
    assert text_of(outcome) == "Hello"


async def test_the_last_event_may_lack_its_blank_line_if_it_is_whole() -> None:
    outcome = await outcome_of(ScriptedSource(*BEFORE_END, COMPLETED.rstrip(b"\n")))
    assert isinstance(outcome, Completed)


BODIES: dict[str, tuple[bytes, str, type[StreamkitError], str]] = {
    "nothing": (b"", "text/event-stream", ConnectionLost, "without sending a byte"),
    "nothing as HTML": (b"  \n", "text/html", ConnectionLost, "without sending a byte"),
    "comments only": (b": hello\n\n", "text/event-stream", ConnectionLost, "without sending an event"),
    "a web page": (b"<html>\n\n<p>Sign in</p>", "text/html", NotAnEventStream, "<html> <p>Sign in</p>"),
    "a JSON error": (b'{"error": {"message": "no", "code": "c"}}', "application/json", ServerError, "no"),
    "a JSON error as event stream": (b'{"error": {"message": "no"}}', "text/event-stream", ServerError, "no"),
    "other JSON": (b'{"id": "resp_1"}', "application/json", NotAnEventStream, "base_url"),
    "JSON as event stream": (b'{"id": "resp_1"}', "text/event-stream", NotAnEventStream, "base_url"),
}


@pytest.mark.parametrize(("body", "content_type", "error", "message"), BODIES.values(), ids=BODIES.keys())
async def test_an_answer_that_is_no_event_stream(
    body: bytes, content_type: str, error: type[StreamkitError], message: str
) -> None:
    outcome = await outcome_of(ScriptedSource(body, headers={"content-type": content_type}))
    assert isinstance(outcome, Failed | Disconnected)
    assert type(outcome.error) is error
    assert message in str(outcome.error)


async def test_a_source_that_refuses_or_does_not_open() -> None:
    for error, kind in ((ServerError("no", status=401), Failed), (ConnectionLost("gone"), Disconnected)):
        source = ScriptedSource(on_open=error)
        async with StreamRun(source) as run:
            with pytest.raises(UnfinishedResponse, match=str(error.args[0])) as caught:
                await run.dispatch(Dispatcher())
        assert type(caught.value.outcome) is kind
        assert caught.value.__cause__ is error


ENDINGS: list[tuple[bytes, type[UnfinishedResponse]]] = [
    (incomplete(reason="r"), ResponseIncompleteError),
    (FAILED, ResponseFailedError),
    (b"", ResponseDisconnectedError),
]


@pytest.mark.parametrize(("last", "error"), ENDINGS)
async def test_every_way_of_driving_raises_alike(last: bytes, error: type[UnfinishedResponse]) -> None:
    async def iterate(run: StreamRun) -> None:
        async for _ in run:
            pass

    async def iterate_some(run: StreamRun) -> None:
        async for _ in run.events("response.completed"):
            raise AssertionError

    drivers: list[Callable[[StreamRun], Any]] = [iterate, iterate_some, lambda run: run.dispatch(Dispatcher())]
    for drive in drivers:
        async with StreamRun(ScriptedSource(*BEFORE_END, last)) as run:
            with pytest.raises(error):
                await drive(run)
            with pytest.raises(error):
                await drive(run)


async def test_iteration_ends_with_the_response() -> None:
    async with StreamRun(ScriptedSource(*HELLO)) as run:
        assert [event.delta async for event in run.events("response.output_text.delta")] == ["Hel", "lo"]
        assert [event async for event in run] == []
        assert run.text == "Hello"


async def test_what_the_run_shows_keeps_pace_with_the_events() -> None:
    texts = []
    async with StreamRun(ScriptedSource(b"".join(HELLO))) as run:
        assert (run.response_id, run.request_id, run.text) == (None, None, "")
        async for _ in run.events(OutputTextDelta):
            texts += [(run.text, run.snapshot().output_text, run.response_id, run.request_id)]
    assert texts == [("Hel", "Hel", "resp_1", "req_1"), ("Hello", "Hello", "resp_1", "req_1")]


async def test_opened_waits_for_the_answer_only() -> None:
    source = ScriptedSource(*HELLO)
    async with StreamRun(source) as run:
        opened = await run.opened()
        assert (opened.status, run.request_id, run.response_id) == (200, "req_1", None)
        assert await run.opened() is opened
        await run.dispatch(Dispatcher())
    assert source.opened_count == 1


async def test_opened_raises_where_the_server_refuses() -> None:
    async with StreamRun(ScriptedSource(on_open=ServerError("no", status=503))) as run:
        with pytest.raises(ResponseFailedError, match="no"):
            await run.opened()


async def test_entering_sends_nothing() -> None:
    source = ScriptedSource(*HELLO)
    async with StreamRun(source) as run:
        pass
    assert source.opened_count == 0
    outcome = await run.outcome()
    assert isinstance(outcome, Cancelled)


async def test_a_run_must_be_entered() -> None:
    run = StreamRun(ScriptedSource(*HELLO))
    with pytest.raises(UsageError, match="async with"):
        await run.outcome()


async def test_several_tasks_may_wait_for_a_run() -> None:
    source = ScriptedSource(None)
    async with StreamRun(source) as run:
        waiting = [asyncio.create_task(run.outcome()) for _ in range(3)]
        await source.reading.wait()
        run.cancel()
        assert len({id(await task) for task in waiting}) == 1


async def test_frames_after_the_end_are_counted_and_ignored() -> None:
    seen = Seen()
    late = [COMPLETED, b"".join(DELTAS), b"data: [DONE]\n\n"]
    async with StreamRun(ScriptedSource(*BEFORE_END, COMPLETED + FAILED, *late)) as run:
        await run.dispatch(seen.dispatcher)
        assert run.late_frames == 4
    assert seen.names().count("response.completed") == 1
    assert "response.failed" not in seen.names()


async def test_a_server_that_does_not_close_is_not_waited_for() -> None:
    with anyio.fail_after(5):
        assert isinstance(await outcome_of(ScriptedSource(*HELLO, None)), Completed)


async def test_a_failing_handler_stops_the_run_and_its_exception_is_unchanged() -> None:
    seen = Seen()
    boom = ValueError("boom")

    @on("response.output_text.delta")
    def fail(_: OutputTextDelta) -> None:
        raise boom

    source = ScriptedSource(*HELLO)
    async with StreamRun(source) as run:
        with pytest.raises(ValueError, match="boom") as caught:
            await run.dispatch(seen.dispatcher, fail)
        assert caught.value is boom
        assert "fail for response.output_text.delta" in boom.__notes__[0]
        assert source.closed_count == 1
        outcome = await run.outcome()
    assert isinstance(outcome, Cancelled)
    assert outcome.cause is boom
    assert text_of(outcome) == "Hel"
    assert seen.names()[-3:] == ["HandlerFailed", "Cancelled", "Closed"]


async def test_a_handler_that_fails_at_the_end_does_not_undo_the_end() -> None:
    @on(ResponseCompleted)
    def fail(_: ResponseCompleted) -> None:
        raise ValueError("boom")

    async with StreamRun(ScriptedSource(*HELLO)) as run:
        with pytest.raises(ValueError, match="boom"):
            await run.dispatch(fail)
        assert isinstance(await run.outcome(), Completed)


async def test_a_handler_of_the_outcome_that_fails_does_not_keep_closed_away() -> None:
    seen = Seen()

    @on(Completed)
    def fail(_: Completed) -> None:
        raise ValueError("boom")

    source = ScriptedSource(*HELLO)
    async with StreamRun(source) as run:
        with pytest.raises(ValueError, match="boom"):
            await run.dispatch(fail, seen.dispatcher)
    assert seen.names()[-1] == "Closed"
    assert source.closed_count == 1


async def test_an_exception_on_its_way_is_not_replaced_by_one_of_closing() -> None:
    @on("response.created", Closed)
    def fail(delivery: object) -> None:
        raise ValueError(type(delivery).__name__)

    async with StreamRun(ScriptedSource(*HELLO)) as run:
        with pytest.raises(ValueError, match="ResponseCreated") as caught:
            await run.dispatch(fail)
    assert "ValueError('Closed')" in caught.value.__notes__[-1]


async def test_a_swallowed_failure_lets_the_run_go_on() -> None:
    dispatcher = Dispatcher()

    @dispatcher.on("response.output_text.delta")
    def fail(_: OutputTextDelta) -> None:
        raise ValueError("boom")

    @dispatcher.on_error
    async def swallow(failure: HandlerFailed) -> bool:
        return isinstance(failure.error, ValueError)

    async with StreamRun(ScriptedSource(*HELLO)) as run:
        assert (await run.dispatch(dispatcher)).output_text == "Hello"


async def test_a_handler_may_cancel() -> None:
    seen = Seen()

    @on("response.output_text.delta")
    def stop(_: OutputTextDelta, run: Run) -> None:
        run.cancel()
        run.cancel()

    async with StreamRun(ScriptedSource(b"".join(HELLO))) as run:
        with pytest.raises(ResponseCancelledError) as caught:
            await run.dispatch(seen.dispatcher, stop)
    assert caught.value.response.output_text == "Hel"
    assert seen.names()[-3:] == ["response.output_text.delta", "Cancelled", "Closed"]


@pytest.mark.parametrize("source", [ScriptedSource(*BEFORE_END, None), ScriptedSource(on_open=None)])
async def test_another_task_may_cancel_while_the_run_waits(source: ScriptedSource) -> None:
    async with StreamRun(source) as run:
        waiting = asyncio.create_task(run.outcome())
        await source.reading.wait()
        run.cancel()
        outcome = await waiting
    assert isinstance(outcome, Cancelled)
    assert outcome.cause is None
    assert not waiting.cancelling()


async def test_a_run_cancelled_before_it_is_driven_is_not_opened() -> None:
    source = ScriptedSource(*HELLO)
    async with StreamRun(source) as run:
        run.cancel()
        with pytest.raises(ResponseCancelledError):
            await run.opened()
    assert source.opened_count == 0


async def test_cancelling_after_the_end_changes_nothing() -> None:
    async with StreamRun(ScriptedSource(*HELLO)) as run:
        outcome = await run.outcome()
        run.cancel()
        assert await run.outcome() is outcome


async def test_a_cancelled_task_ends_the_run_and_stays_cancelled() -> None:
    seen = Seen()
    source = ScriptedSource(*BEFORE_END, None)

    async def drive() -> None:
        async with StreamRun(source) as run:
            await run.dispatch(seen.dispatcher)

    task = asyncio.create_task(drive())
    await source.reading.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.closed_count == 1
    assert seen.names()[-2:] == ["Cancelled", "Closed"]
    assert isinstance(seen.deliveries[-2].cause, asyncio.CancelledError)


async def test_a_task_that_is_cancelled_when_the_response_has_ended_still_tells_the_end() -> None:
    seen = Seen()
    source = ScriptedSource(*HELLO, None)

    async def drive() -> None:
        async with StreamRun(source) as run:
            await run.dispatch(seen.dispatcher)

    task = asyncio.create_task(drive())
    await source.reading.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.closed_count == 1
    assert seen.names()[-2:] == ["Completed", "Closed"]


async def test_a_handler_of_the_outcome_that_is_cancelled_does_not_keep_closed_away() -> None:
    seen = Seen()
    waiting = asyncio.Event()

    @on(Completed)
    async def wait(_: Completed) -> None:
        waiting.set()
        await asyncio.Event().wait()

    async def drive() -> None:
        async with StreamRun(ScriptedSource(*HELLO)) as run:
            await run.dispatch(wait, seen.dispatcher)

    task = asyncio.create_task(drive())
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen.names()[-1] == "Closed"


async def test_handlers_of_the_end_may_wait_although_the_task_is_cancelled() -> None:
    ended = []

    @on(Closed)
    async def slow(closed: Closed) -> None:
        await anyio.sleep(0.01)
        ended.append(closed)

    source = ScriptedSource(None)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:

            async def drive() -> None:
                async with StreamRun(source) as run:
                    await run.dispatch(slow)

            tasks.start_soon(drive)
            await source.reading.wait()
            scope.cancel()
    assert len(ended) == 1


async def test_breaking_out_of_a_loop_ends_the_run() -> None:
    source = ScriptedSource(*HELLO)
    async with StreamRun(source) as run:
        async for _ in run:
            break
    assert source.closed_count == 1
    assert isinstance(await run.outcome(), Cancelled)


async def test_an_exception_in_the_block_is_the_cause() -> None:
    with pytest.raises(KeyError):
        async with StreamRun(ScriptedSource(*HELLO)) as run:
            async for _ in run:
                raise KeyError
    outcome = await run.outcome()
    assert isinstance(outcome, Cancelled)
    assert isinstance(outcome.cause, KeyError)


CLOCKS: dict[str, tuple[list[Step], Timeouts, str]] = {
    "first event": ([b": hello\n\n", None], Timeouts(first_event=0.02), "first_event"),
    "idle": ([*BEFORE_END, None], Timeouts(idle=0.02), "idle"),
    "progress": ([*BEFORE_END, frame("keepalive"), None], Timeouts(progress=0.02), "progress"),
    "total": ([*BEFORE_END, None], Timeouts(total=0.02), "total"),
}


@pytest.mark.parametrize(("steps", "timeouts", "clock"), CLOCKS.values(), ids=CLOCKS.keys())
async def test_a_clock_that_runs_out_ends_the_run(steps: list[Step], timeouts: Timeouts, clock: str) -> None:
    outcome = await outcome_of(ScriptedSource(*steps), timeouts=timeouts)
    assert isinstance(outcome, Disconnected)
    assert isinstance(outcome.error, ClockExpired)
    assert (outcome.error.clock, outcome.error.seconds) == (clock, 0.02)
    assert f"Timeouts.{clock}" in str(outcome.error)


async def test_a_clock_runs_while_the_source_opens() -> None:
    async with StreamRun(ScriptedSource(on_open=None), timeouts=Timeouts(first_event=0.02)) as run:
        outcome = await run.outcome()
    assert isinstance(outcome, Disconnected)
    assert isinstance(outcome.error, ClockExpired)


async def test_the_time_of_handlers_does_not_count() -> None:
    @on("response.output_text.delta")
    async def slow(_: OutputTextDelta) -> None:
        await anyio.sleep(0.06)

    timeouts = Timeouts(idle=0.05, progress=0.05)
    async with StreamRun(ScriptedSource(*HELLO), timeouts=timeouts) as run:
        await run.dispatch(slow)


async def test_a_server_that_goes_silent_after_an_error_has_failed() -> None:
    source = ScriptedSource(CREATED, ERROR, None)
    outcome = await outcome_of(source, timeouts=Timeouts(idle=0.02))
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "rate_limit_exceeded"


async def test_strict_decoding_ends_the_run_at_an_invalid_event() -> None:
    broken = frame("response.output_text.delta", delta=5)
    assert isinstance(await outcome_of(ScriptedSource(*BEFORE_END, broken, COMPLETED)), Completed)
    outcome = await outcome_of(ScriptedSource(*BEFORE_END, broken, COMPLETED), decode=decode_strictly)
    assert isinstance(outcome, Disconnected)
    assert isinstance(outcome.error, InvalidEventError)


async def test_a_dispatcher_serves_runs_at_the_same_time() -> None:
    dispatcher = Dispatcher()

    @dispatcher.on("response.output_text.delta")
    async def count(_: OutputTextDelta, run: Run) -> None:
        run.state.count = getattr(run.state, "count", 0) + 1
        await anyio.lowlevel.checkpoint()

    @dispatcher.on_completed
    def check(response: Response, run: Run) -> None:
        assert run.state.count == 2

    async def drive() -> None:
        async with StreamRun(ScriptedSource(*HELLO)) as run:
            await run.dispatch(dispatcher)

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(drive)


def test_the_parts_of_the_script_are_in_order() -> None:
    assert [CREATED, ADDED, PART, *DELTAS, COMPLETED] == HELLO
