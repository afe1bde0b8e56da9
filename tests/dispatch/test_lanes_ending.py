"""Lanes belong to their run: how they end with it, and it with them."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from streamkit import (
    Cancelled,
    Closed,
    Completed,
    Dispatcher,
    HandlerFailed,
    Lane,
    ResponseCancelledError,
    Run,
    StreamRun,
)
from streamkit.errors import HandlerCancelled, LaneTimeout
from streamkit.events import Event, OutputTextDelta, ResponseCompleted
from streamkit.outcome import Opened, Outcome
from tests.dispatch.support import (
    TEXT,
    Gate,
    Oops,
    deliveries_for,
    delta,
    failing,
    lane_tasks,
    send,
    stream_of,
    turns,
)
from tests.scripted import BEFORE_END, COMPLETED, ScriptedSource

pytestmark = pytest.mark.anyio


# The end


async def test_the_outcome_waits_for_the_lanes_and_closed_comes_last(dispatcher: Dispatcher, gate: Gate) -> None:
    order: list[object] = []
    dispatcher.on(TEXT, lane=(lane := Lane()))(gate)
    dispatcher.on(Completed, Closed, lane=lane)(lambda subject: order.append((type(subject), [*gate.seen])))
    async with StreamRun(ScriptedSource(stream_of("ab"))) as run:
        dispatching = asyncio.create_task(run.dispatch(dispatcher))
        await gate.entered.wait()
        await turns()
        assert not dispatching.done()
        gate.released.set()
        await dispatching
        assert lane_tasks() == []
    assert [kind for kind, _ in order] == [Completed, Closed]
    assert all(len(seen) == 2 for _, seen in order)


async def test_opened_reaches_a_lane(dispatcher: Dispatcher) -> None:
    seen: list[object] = []
    dispatcher.on(Opened, lane=Lane())(seen.append)
    async with StreamRun(ScriptedSource(stream_of("a"))) as run:
        await run.dispatch(dispatcher)
    assert [type(subject) for subject in seen] == [Opened]


async def test_a_lane_that_takes_too_long_is_cancelled_and_said_so(dispatcher: Dispatcher, gate: Gate) -> None:
    dispatcher.on(TEXT, lane=Lane(drain_timeout=0.001, name="db"))(gate)
    closed: list[bool] = []
    dispatcher.on_close(lambda _: closed.append(gate.was_cancelled))
    async with StreamRun(ScriptedSource(stream_of("abc"))) as run:
        with pytest.raises(LaneTimeout, match=r"lane 'db' .* drain_timeout=0.001 .* 2 more events") as caught:
            await run.dispatch(dispatcher)
        assert isinstance(await run.outcome(), Completed)
    assert (caught.value.lane, caught.value.events) == ("lane 'db'", 2)
    assert closed == [True]
    assert lane_tasks() == []


async def test_several_lanes_that_take_too_long_are_raised_as_a_group(dispatcher: Dispatcher) -> None:
    for _ in range(2):
        dispatcher.on(TEXT, lane=Lane(drain_timeout=0.001))(Gate())
    async with StreamRun(ScriptedSource(stream_of("a"))) as run:
        with pytest.raises(ExceptionGroup) as caught:
            await run.dispatch(dispatcher)
    assert [type(error) for error in caught.value.exceptions] == [LaneTimeout] * 2


async def test_on_error_may_forgive_a_lane_that_takes_too_long(dispatcher: Dispatcher, gate: Gate) -> None:
    failures: list[HandlerFailed] = []
    dispatcher.on(TEXT, lane=Lane(drain_timeout=0.001, name="db"))(gate)
    dispatcher.on_error(lambda failure: failures.append(failure) or True)
    async with StreamRun(ScriptedSource(stream_of("a"))) as run:
        await run.dispatch(dispatcher)
    (failure,) = failures
    assert failure.handler == "lane 'db'"
    assert failure.event is gate.seen[0]
    assert isinstance(failure.error, LaneTimeout)


async def test_a_lane_without_a_drain_timeout_may_take_its_time(dispatcher: Dispatcher, gate: Gate) -> None:
    dispatcher.on(TEXT, lane=Lane(drain_timeout=None))(gate)
    async with StreamRun(ScriptedSource(stream_of("a"))) as run:
        dispatching = asyncio.create_task(run.dispatch(dispatcher))
        await gate.entered.wait()
        gate.released.set()
        assert (await dispatching).status == "completed"


async def test_a_handler_in_a_lane_may_wait_for_its_own_run(dispatcher: Dispatcher) -> None:
    outcomes: list[Outcome] = []

    @dispatcher.on("response.created", lane=Lane())
    async def wait(event: Event, run: Run) -> None:
        assert isinstance(run, StreamRun)
        outcomes.append(await run.outcome())

    async with StreamRun(ScriptedSource(*BEFORE_END, COMPLETED)) as run:
        await run.dispatch(dispatcher)
        assert outcomes == [await run.outcome()]


# Cancellation

CANCELS: dict[str, Callable[[StreamRun, "asyncio.Task[Any]"], object]] = {
    "run.cancel": lambda run, _: run.cancel(),
    "task.cancel": lambda _, task: task.cancel(),
}


@pytest.mark.parametrize("cancel", CANCELS.values(), ids=CANCELS)
@pytest.mark.parametrize("max_events", [1, 100], ids=["while waiting for room", "while waiting for bytes"])
async def test_cancelling_a_run_cancels_its_lanes(
    dispatcher: Dispatcher, gate: Gate, cancel: Callable[[Any, Any], object], max_events: int
) -> None:
    closed: list[Outcome] = []
    dispatcher.on(TEXT, lane=Lane(max_events=max_events))(gate)
    dispatcher.on(TEXT, lane=Lane())(lambda _: None)
    dispatcher.on_close(closed.append)
    source = ScriptedSource(*BEFORE_END, None)
    async with StreamRun(source) as run:
        dispatching = asyncio.create_task(run.dispatch(dispatcher))
        await gate.entered.wait()
        await turns()
        cancel(run, dispatching)
        with pytest.raises((ResponseCancelledError, asyncio.CancelledError)):
            await dispatching
        assert gate.was_cancelled
        assert lane_tasks() == []
    assert [type(outcome) for outcome in closed] == [Cancelled]
    assert len(gate.seen) == 1


async def test_a_handler_that_swallows_its_cancellation_ends_its_lane_all_the_same(dispatcher: Dispatcher) -> None:
    seen: list[str] = []
    entered = asyncio.Event()

    @dispatcher.on(TEXT, lane=Lane())
    async def stubborn(event: OutputTextDelta) -> None:
        seen.append(event.delta)
        entered.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    async with StreamRun(ScriptedSource(*BEFORE_END, None)) as run:
        dispatching = asyncio.create_task(run.dispatch(dispatcher))
        await entered.wait()
        await turns()
        run.cancel()
        with pytest.raises(ResponseCancelledError):
            await dispatching
        assert lane_tasks() == []
    assert seen == ["Hel"]


async def test_leaving_the_block_cancels_the_lanes(gate: Gate) -> None:
    async with StreamRun(ScriptedSource(stream_of("abc"))) as run:
        run.on(TEXT, lane=Lane())(gate)
        async for _ in run.events(TEXT):
            await gate.entered.wait()
            break
    assert gate.was_cancelled
    assert lane_tasks() == []


async def test_a_failing_inline_handler_cancels_the_lanes(dispatcher: Dispatcher, gate: Gate) -> None:
    dispatcher.on(TEXT, lane=Lane())(gate)

    @dispatcher.on(TEXT)
    async def fail(event: OutputTextDelta) -> None:
        await gate.entered.wait()
        raise Oops

    async with StreamRun(ScriptedSource(stream_of("abc"))) as run:
        with pytest.raises(Oops):
            await run.dispatch(dispatcher)
        assert lane_tasks() == []
    assert gate.was_cancelled


async def test_a_handler_in_a_lane_may_cancel_the_run_and_ask_for_its_outcome(dispatcher: Dispatcher) -> None:
    asked: list[object] = []

    @dispatcher.on(TEXT, lane=Lane())
    async def give_up(event: OutputTextDelta, run: Run) -> None:
        assert isinstance(run, StreamRun)
        run.cancel()
        asked.append(run)
        await run.outcome()

    closed: list[Outcome] = []
    dispatcher.on_close(closed.append)
    async with StreamRun(ScriptedSource(*BEFORE_END, None)) as run:
        with pytest.raises(ResponseCancelledError):
            await run.dispatch(dispatcher)
    assert len(asked) == len(closed) == 1
    await turns()
    assert lane_tasks() == []


async def test_nothing_is_handed_over_once_the_lanes_are_closed(dispatcher: Dispatcher) -> None:
    seen: list[object] = []
    dispatcher.on(TEXT, lane=Lane())(seen.append)
    deliveries = deliveries_for(dispatcher)
    await deliveries.lanes.close()
    await deliveries.deliver(delta("a"))
    await turns()
    assert seen == []
    assert lane_tasks() == []


# Failures


@pytest.mark.parametrize(
    "steps",
    [(*BEFORE_END, None), (*BEFORE_END, COMPLETED), (stream_of("abcdef"),)],
    ids=["while waiting for bytes", "chunk by chunk", "at the end"],
)
@pytest.mark.parametrize("max_events", [1, 100])
async def test_an_error_in_a_lane_stops_the_run_and_reaches_the_caller(
    dispatcher: Dispatcher, steps: Any, max_events: int
) -> None:
    error = Oops()
    closed: list[Outcome] = []
    dispatcher.on(TEXT, lane=Lane(max_events=max_events))(failing(error))
    dispatcher.on_close(closed.append)
    async with StreamRun(ScriptedSource(*steps)) as run:
        with pytest.raises(Oops) as caught:
            await run.dispatch(dispatcher)
        assert lane_tasks() == []
        assert await run.outcome() is closed[0]
    assert caught.value is error
    assert "failing.<locals>.fail for response.output_text.delta" in error.__notes__[0]
    assert len(error.__notes__) == len(closed) == 1


async def test_an_error_in_a_lane_reaches_who_waits_for_room_in_another_lane(
    dispatcher: Dispatcher, gate: Gate
) -> None:
    @dispatcher.on(TEXT, lane=Lane())
    async def fail(event: OutputTextDelta) -> None:
        await gate.entered.wait()
        await turns()
        raise Oops

    dispatcher.on(TEXT, lane=Lane(max_events=1))(gate)
    async with StreamRun(ScriptedSource(stream_of("abc"))) as run:
        with pytest.raises(Oops):
            await run.dispatch(dispatcher)
    assert gate.was_cancelled


async def test_several_failing_lanes_are_raised_as_a_group(dispatcher: Dispatcher) -> None:
    errors = [Oops(), ValueError()]
    go = asyncio.Event()

    def fail_with(error: Exception) -> Callable[[object], Any]:
        async def fail(_: object) -> None:
            await go.wait()
            raise error

        return fail

    for error in errors:
        dispatcher.on(TEXT, lane=Lane())(fail_with(error))
    async with StreamRun(ScriptedSource(*BEFORE_END, None)) as run:
        dispatching = asyncio.create_task(run.dispatch(dispatcher))
        await turns()
        go.set()
        with pytest.raises(ExceptionGroup, match="several lanes") as caught:
            await dispatching
    assert [*caught.value.exceptions] == errors


async def test_an_error_in_a_lane_reaches_who_iterates(dispatcher: Dispatcher) -> None:
    async with StreamRun(ScriptedSource(*BEFORE_END, None)) as run:
        run.on(TEXT, lane=Lane())(failing(error := Oops()))
        with pytest.raises(Oops) as caught:
            async for _ in run:
                pass
    assert caught.value is error


async def test_an_error_in_a_lane_that_nobody_has_heard_is_raised_when_the_block_is_left() -> None:
    with pytest.raises(Oops):
        async with StreamRun(ScriptedSource(stream_of("abc"))) as run:
            run.on(TEXT, lane=Lane())(failing(Oops()))
            async for _ in run.events(TEXT):
                await turns()
                break


async def test_the_stream_waits_for_no_lane_that_has_failed(dispatcher: Dispatcher) -> None:
    dispatcher.on(TEXT, lane=Lane(max_events=1))(failing(Oops()))
    async with StreamRun(ScriptedSource(stream_of("abc"))) as run:
        with pytest.raises(Oops):
            await run.dispatch(dispatcher)


async def test_nothing_is_handled_after_closed_when_another_lane_has_failed(dispatcher: Dispatcher, gate: Gate) -> None:
    order: list[object] = []
    dispatcher.on(TEXT, lane=Lane())(gate)

    @dispatcher.on(TEXT, lane=Lane())
    async def fail(event: OutputTextDelta) -> None:
        await turns()
        raise Oops

    dispatcher.on_close(lambda _: order.append(lane_tasks()))
    async with StreamRun(ScriptedSource(stream_of("ab"))) as run:
        with pytest.raises(Oops):
            await run.dispatch(dispatcher)
    assert order == [[]]
    assert gate.was_cancelled


async def test_an_error_policy_holds_in_a_lane(dispatcher: Dispatcher) -> None:
    calls: list[str] = []

    def fail(event: OutputTextDelta) -> None:
        calls.append(event.delta)
        raise Oops

    dispatcher.on(TEXT, lane=Lane(), on_error=lambda failure: isinstance(failure.error, Oops))(fail)
    await send(dispatcher, *map(delta, "ab"))
    assert calls == ["a", "b"]


async def test_what_a_handler_in_a_lane_waited_for_may_be_cancelled_without_the_run(dispatcher: Dispatcher) -> None:
    dispatcher.on(TEXT, lane=Lane())(failing(asyncio.CancelledError()))
    failures: list[HandlerFailed] = []
    dispatcher.on_error(lambda failure: failures.append(failure) or True)
    await send(dispatcher, *map(delta, "ab"))
    assert len(failures) == 2


class Interruption(BaseException):
    """No exception in the narrow sense, as what test frameworks raise to fail a test."""


async def test_whatever_a_handler_in_a_lane_raises_stops_the_run(dispatcher: Dispatcher) -> None:
    dispatcher.on(TEXT, lane=Lane())(failing(Interruption()))
    async with StreamRun(ScriptedSource(stream_of("abc"))) as run:
        with pytest.raises(Interruption):
            await run.dispatch(dispatcher)


async def test_a_lane_that_is_cancelled_without_its_run_has_failed(dispatcher: Dispatcher) -> None:
    @dispatcher.on(TEXT, lane=Lane(name="suicidal"))
    async def give_up(_: Event) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    async with StreamRun(ScriptedSource(stream_of("abc"))) as run:
        with pytest.raises(HandlerCancelled, match="lane 'suicidal'"):
            await run.dispatch(dispatcher)


async def test_a_lane_that_asks_for_the_outcome_leaves_the_closing_to_the_runs_owner(dispatcher: Dispatcher) -> None:
    asked: list[Outcome] = []
    closed: list[Outcome] = []
    dispatcher.on_close(closed.append)

    @dispatcher.on("response.created", lane=Lane(drain_timeout=None))
    async def ask(_: Event, run: Run) -> None:
        assert isinstance(run, StreamRun)
        asked.append(await run.outcome())

    async with StreamRun(ScriptedSource(stream_of("abc"))) as run:
        run.include(dispatcher)
        async for event in run:
            if isinstance(event, ResponseCompleted):
                await turns()
                assert len(asked) == 1
                assert closed == []
    assert len(closed) == 1


async def test_a_block_is_not_left_before_another_task_has_closed_the_run(dispatcher: Dispatcher, gate: Gate) -> None:
    dispatcher.on_close(gate)

    async def enter() -> None:
        async with StreamRun(ScriptedSource(stream_of("abc"))) as run:
            outcomes.append(asyncio.create_task(run.dispatch(dispatcher)))
            await gate.entered.wait()

    outcomes: list[asyncio.Task[Any]] = []
    block = asyncio.create_task(enter())
    await gate.entered.wait()
    await turns()
    assert not block.done()
    gate.released.set()
    await block
    await outcomes[0]


async def test_a_lane_and_a_handler_of_the_end_may_both_ask_for_the_outcome(dispatcher: Dispatcher) -> None:
    asked: list[tuple[str, Outcome]] = []

    @dispatcher.on("response.created", lane=Lane(drain_timeout=None))
    @dispatcher.on("response.completed")
    async def ask(event: Event, run: Run) -> None:
        assert isinstance(run, StreamRun)
        asked.append((event.type, await run.outcome()))

    @dispatcher.on(OutputTextDelta)
    async def let_the_lane_ask(_: OutputTextDelta) -> None:
        await turns()

    async with asyncio.timeout(10), StreamRun(ScriptedSource(stream_of("abc"))) as run:
        await run.dispatch(dispatcher)
        outcome = await run.outcome()
    assert sorted(asked, key=lambda each: each[0]) == [("response.completed", outcome), ("response.created", outcome)]
