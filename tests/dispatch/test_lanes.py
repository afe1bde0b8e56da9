"""Lanes: queues and tasks of their own for handlers, and what happens when they are full."""

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from streamkit import (
    Closed,
    Completed,
    Dispatcher,
    Lane,
    Run,
    StreamHandler,
    StreamRun,
    UsageError,
    on,
)
from streamkit.errors import LaneTimeout
from streamkit.events import DeltaEvent, Event, OutputTextDelta
from streamkit.outcome import EventsDropped, Restarted
from tests.dispatch.support import (
    TEXT,
    Gate,
    StillRun,
    deliveries_for,
    delta,
    lane_tasks,
    send,
    stream_of,
    turns,
    wire_delta,
)
from tests.scripted import ADDED, BEFORE_END, COMPLETED, CREATED, PART, ScriptedSource

pytestmark = pytest.mark.anyio


CALLER: ContextVar[str] = ContextVar("CALLER", default="nobody")

# Order and tasks


async def test_a_lane_has_a_task_of_its_own_and_sees_events_in_order(dispatcher: Dispatcher) -> None:
    seen: list[tuple[object, object]] = []

    @dispatcher.on(TEXT, lane=Lane(name="audit"))
    async def audit(event: OutputTextDelta) -> None:
        task = asyncio.current_task()
        await asyncio.sleep(0)
        seen.append((task and task.get_name(), event.delta))

    await send(dispatcher, *map(delta, "abc"))
    assert seen == [("streamkit lane 'audit'", letter) for letter in "abc"]


async def test_a_slow_lane_does_not_hold_up_the_stream(dispatcher: Dispatcher, gate: Gate) -> None:
    inline: list[object] = []
    dispatcher.on(TEXT, lane=Lane())(gate)
    dispatcher.on(TEXT)(inline.append)
    deliveries = deliveries_for(dispatcher)
    for event in (events := [*map(delta, "abc")]):
        await deliveries.deliver(event)
    await deliveries.settle()
    assert inline == events
    assert gate.seen == events[:1]
    gate.released.set()
    await deliveries.drain()
    assert gate.seen == events


SHARING = {
    "one object": (lane := Lane(), lane),
    "one name": (Lane(name="x"), Lane(name="x")),
}


@pytest.mark.parametrize(("first", "second"), SHARING.values(), ids=SHARING)
async def test_handlers_share_a_lane_by_object_or_by_name(dispatcher: Dispatcher, first: Lane, second: Lane) -> None:
    calls: list[str] = []
    tasks: set[object] = set()
    included = Dispatcher()
    dispatcher.include(included)

    async def slow(event: OutputTextDelta) -> None:
        tasks.add(asyncio.current_task())
        calls.append(f"slow {event.delta}")
        await asyncio.sleep(0)

    async def quick(event: OutputTextDelta) -> None:
        tasks.add(asyncio.current_task())
        calls.append(f"quick {event.delta}")

    dispatcher.on(TEXT, lane=first)(slow)
    included.on(TEXT, lane=second)(quick)
    await send(dispatcher, *map(delta, "ab"))
    assert calls == ["quick a", "slow a", "quick b", "slow b"]
    assert len(tasks) == 1


async def test_lanes_without_a_name_are_apart(dispatcher: Dispatcher) -> None:
    tasks: list[object] = []
    for _ in range(2):
        dispatcher.on(TEXT, lane=Lane())(lambda _: tasks.append(asyncio.current_task()))
    await send(dispatcher, delta("a"))
    assert len(set(tasks)) == 2


def test_one_name_with_different_settings_is_refused(dispatcher: Dispatcher) -> None:
    dispatcher.on(TEXT, lane=Lane(name="x"))(print)
    dispatcher.on(Event, lane=Lane(name="x", max_events=5))(print)
    with pytest.raises(UsageError, match="'x' share a queue"):
        dispatcher.table()


async def test_a_lane_keeps_its_queue_when_handlers_are_added_in_the_middle_of_a_run(dispatcher: Dispatcher) -> None:
    seen: list[str] = []
    more = asyncio.Event()

    async def slow(event: OutputTextDelta) -> None:
        seen.append(event.delta)
        await asyncio.sleep(0)

    dispatcher.on(TEXT, lane=Lane(name="x"))(slow)
    source = ScriptedSource(CREATED, ADDED, PART, wire_delta("a"), more, wire_delta("b"), COMPLETED)
    async with StreamRun(source) as run:
        dispatching = asyncio.create_task(run.dispatch(dispatcher))
        await source.reading.wait()
        run.on(TEXT, lane=Lane(name="x"))(lambda event: seen.append(event.delta.upper()))
        more.set()
        await dispatching
    assert seen == ["a", "b", "B"]


@pytest.mark.parametrize("add", ["on", "include"])
async def test_handlers_that_a_run_refuses_are_not_registered(dispatcher: Dispatcher, add: str) -> None:
    calls: list[str] = []
    conflicting = Dispatcher()
    conflicting.on(TEXT)(lambda _: calls.append("included"))
    conflicting.on(TEXT, lane=Lane(name="x", max_events=5))(lambda _: calls.append("in conflict"))
    dispatcher.on(TEXT, lane=Lane(name="x"))(lambda _: calls.append("dispatched"))
    async with StreamRun(ScriptedSource(stream_of("a"))) as run:

        @dispatcher.on("response.created")
        def refuse(_: Event) -> None:
            run.on(TEXT)(lambda _: calls.append("before"))
            with pytest.raises(UsageError, match="'x' share a queue"):
                if add == "include":
                    run.include(conflicting)
                else:
                    run.on(TEXT, lane=Lane(name="x", max_events=5))(lambda _: calls.append("in conflict"))
            run.on(TEXT)(lambda _: calls.append("after"))

        await run.dispatch(dispatcher)
    assert calls == ["before", "after", "dispatched"]


class Annotated(StreamHandler):
    def __init__(self) -> None:
        self.tasks: list[object] = []

    @on(TEXT, lane=Lane())
    async def record(self, event: OutputTextDelta) -> None:
        self.tasks.append(asyncio.current_task())


async def test_a_method_of_a_stream_handler_may_have_a_lane(dispatcher: Dispatcher) -> None:
    handler = Annotated()
    dispatcher.include(handler)
    await send(dispatcher, delta("a"))
    assert handler.tasks not in ([], [asyncio.current_task()])


async def test_a_lane_sees_context_variables_of_the_caller(dispatcher: Dispatcher) -> None:
    seen: list[str] = []
    dispatcher.on(TEXT, lane=Lane())(lambda _: seen.append(CALLER.get()))
    token = CALLER.set("request 7")
    try:
        await send(dispatcher, delta("a"))
    finally:
        CALLER.reset(token)
    assert seen == ["request 7"]


# When a lane is full


async def test_wait_holds_the_stream_up_until_there_is_room(dispatcher: Dispatcher, gate: Gate) -> None:
    dispatcher.on(TEXT, lane=Lane(max_events=2))(gate)
    inline: list[str] = []
    dispatcher.on(TEXT)(lambda event: inline.append(event.delta))
    async with StreamRun(ScriptedSource(stream_of("abcdef"))) as run:
        dispatching = asyncio.create_task(run.dispatch(dispatcher))
        await gate.entered.wait()
        await turns()
        assert inline == ["a", "b", "c"]
        gate.released.set()
        await dispatching
    assert gate.text == "abcdef"


async def test_merge_joins_deltas_under_pressure_only_and_loses_nothing(dispatcher: Dispatcher, gate: Gate) -> None:
    dispatcher.on(TEXT, lane=Lane(max_events=2, when_full="merge"))(gate)
    deliveries = deliveries_for(dispatcher)
    await deliveries.deliver(delta("a"))
    await gate.entered.wait()
    for letter in "bcdef":
        await deliveries.deliver(delta(letter))
    gate.released.set()
    await deliveries.drain()
    assert [(event.delta, event.merged) for event in gate.seen] == [("a", 1), ("b", 1), ("cdef", 4)]


async def test_merge_never_joins_across_a_restart(dispatcher: Dispatcher, gate: Gate) -> None:
    dispatcher.on(TEXT, lane=Lane(max_events=1, when_full="merge"))(gate)
    deliveries = deliveries_for(dispatcher)
    await deliveries.deliver(delta("old"))
    await gate.entered.wait()
    restarted = Restarted(cause=LaneTimeout("", 1, 1))

    async def feed() -> None:
        for subject in (delta("o"), delta("ld"), restarted, delta("n"), delta("ew")):
            await deliveries.deliver(subject)

    feeding = asyncio.create_task(feed())
    await turns()
    gate.released.set()
    await feeding
    await deliveries.drain()
    texts = [event.delta for event in gate.seen]
    assert texts[:2] == ["old", "old"]
    assert "".join(texts[2:]) == "new"


async def test_drop_drops_the_oldest_deltas_and_tells_when_there_is_room_again(
    dispatcher: Dispatcher, gate: Gate
) -> None:
    told: list[EventsDropped] = []
    dispatcher.on(TEXT, lane=Lane(max_events=2, when_full="drop", name="ui"))(gate)
    dispatcher.on(EventsDropped)(told.append)
    deliveries = deliveries_for(dispatcher)
    await deliveries.deliver(delta("a"))
    await gate.entered.wait()
    for text in ("b", "cc", "ddd", "e", "f"):
        await deliveries.deliver(delta(text))
    await deliveries.settle()
    assert told == []
    gate.released.set()
    await turns()
    await deliveries.settle()
    assert told == [EventsDropped(lane="lane 'ui'", events=3, characters=6)]
    await deliveries.drain()
    assert gate.text == "aef"
    assert len(told) == 1


async def test_what_was_dropped_is_told_at_the_end_and_before_the_outcome(dispatcher: Dispatcher, gate: Gate) -> None:
    told: list[object] = []
    dispatcher.on(TEXT, lane=Lane(max_events=1, when_full="drop"))(gate)
    for kind in (EventsDropped, Completed, Closed):
        dispatcher.on(kind)(told.append)
    async with StreamRun(ScriptedSource(stream_of("abcd"))) as run:
        dispatching = asyncio.create_task(run.dispatch(dispatcher))
        await gate.entered.wait()
        gate.released.set()
        await dispatching
    assert [type(subject) for subject in told] == [EventsDropped, Completed, Closed]
    assert gate.text == "d"


@pytest.mark.parametrize("when_full", ["merge", "drop"])
async def test_what_is_no_delta_is_never_merged_or_dropped(dispatcher: Dispatcher, gate: Gate, when_full: Any) -> None:
    everything: list[object] = []
    dispatcher.on(Event)(everything.append)
    dispatcher.on(Event, lane=Lane(max_events=1, when_full=when_full))(gate)
    async with StreamRun(ScriptedSource(*BEFORE_END, COMPLETED)) as run:
        dispatching = asyncio.create_task(run.dispatch(dispatcher))
        await gate.entered.wait()
        await turns()
        gate.released.set()
        await dispatching
    lifecycle = [event for event in everything if not isinstance(event, DeltaEvent)]
    assert [event for event in gate.seen if not isinstance(event, DeltaEvent)] == lifecycle


async def test_bytes_fill_a_lane_too(dispatcher: Dispatcher, gate: Gate) -> None:
    inline: list[str] = []
    dispatcher.on(TEXT, lane=Lane(max_bytes=10_000))(gate)
    dispatcher.on(TEXT)(lambda event: inline.append(event.delta[:1]))
    source = ScriptedSource(CREATED, *(wire_delta(letter * 6000) for letter in "abcd"), COMPLETED)
    async with StreamRun(source) as run:
        dispatching = asyncio.create_task(run.dispatch(dispatcher))
        await gate.entered.wait()
        await turns()
        assert inline == ["a", "b", "c"]
        gate.released.set()
        await dispatching
    assert inline == [*"abcd"]


# Concurrency


async def test_concurrency_handles_different_keys_at_once_and_one_key_in_order(dispatcher: Dispatcher) -> None:
    began: list[str] = []
    gates = {0: asyncio.Event(), 1: asyncio.Event()}

    @dispatcher.on(TEXT, lane=Lane(concurrency=2, key="output_index"))
    async def slow(event: OutputTextDelta) -> None:
        began.append(event.delta)
        await gates[event.output_index or 0].wait()

    deliveries = deliveries_for(dispatcher)
    for event in (delta("a0"), delta("b0"), delta("a1", 1), delta("b1", 1)):
        await deliveries.deliver(event)
    await turns()
    assert began == ["a0", "a1"]
    gates[1].set()
    await turns()
    assert began == ["a0", "a1", "b1"]
    gates[0].set()
    await deliveries.drain()
    assert began == ["a0", "a1", "b1", "b0"]


KEYS: dict[str, tuple[Any, type[Exception], str]] = {
    "unhashable": (lambda _: [], UsageError, r"key of a lane without a name .* hashable, not \[\]"),
    "raising": (lambda event: {}[event.delta], KeyError, "a"),
}


@pytest.mark.parametrize(("key", "error", "message"), KEYS.values(), ids=KEYS)
async def test_a_key_that_fails_stops_the_run(
    dispatcher: Dispatcher, key: Any, error: type[Exception], message: str
) -> None:
    dispatcher.on(TEXT, lane=Lane(concurrency=2, key=key))(print)
    async with StreamRun(ScriptedSource(stream_of("a"))) as run:
        with pytest.raises(error, match=message):
            await run.dispatch(dispatcher)
    assert lane_tasks() == []


async def test_a_lane_serves_concurrent_runs_with_a_queue_for_each(dispatcher: Dispatcher, gate: Gate) -> None:
    slow_run, quick_run = StillRun(), StillRun()
    seen: list[object] = []

    @dispatcher.on(TEXT, lane=Lane())
    async def listen(event: OutputTextDelta, run: Run) -> None:
        if run is slow_run:
            await gate(event)
        seen.append(run)

    slow = deliveries_for(dispatcher, slow_run)
    await slow.deliver(delta("a"))
    await gate.entered.wait()
    await send(dispatcher, delta("b"), run=quick_run)
    assert seen == [quick_run]
    await slow.lanes.close()


async def test_a_key_is_asked_about_events_alone(dispatcher: Dispatcher) -> None:
    seen: list[object] = []
    lane = Lane(concurrency=2, key=lambda event: event.output_index)
    dispatcher.on(OutputTextDelta, Restarted, lane=lane)(seen.append)
    restarted = Restarted(cause=LaneTimeout("", 1, 1))
    await send(dispatcher, delta("a"), restarted, delta("b", 1))
    assert restarted in seen
    assert len(seen) == 3
