"""Lanes that lag behind the stream: what they are given does not depend on where the run is by then."""

import asyncio
import json
from typing import Any

import pytest

from streamkit import Client, Dispatcher, Lane, Restarted, Run
from streamkit.cursor import Retry
from streamkit.events import (
    DeltaEvent,
    Event,
    FunctionCallArgumentsDelta,
    FunctionCallArgumentsDone,
    ItemEvent,
    OutputTextDelta,
)
from streamkit.outcome import Delivery
from streamkit.run import StreamRun
from streamkit.testing import LocalServer, Script
from streamkit.testing.tools import tool_outputs
from tests.dispatch.support import TEXT, Gate, deliveries_for, delta, stream_of, turns, wire_delta
from tests.scripted import ADDED, COMPLETED, CREATED, PART, ScriptedSource, frame

pytestmark = pytest.mark.anyio

FILTERS: dict[str, tuple[tuple[Any, ...], dict[str, str], str]] = {
    "tool of MCP": (("response.mcp_call.in_progress", "response.mcp_call.completed"), {"tool": "roll"}, "mcp"),
    "type of MCP": ((ItemEvent,), {"item_type": "mcp_call"}, "mcp"),
    "function": ((FunctionCallArgumentsDone,), {"tool": "get_weather"}, "function-call"),
    "deltas": ((FunctionCallArgumentsDelta,), {"tool": "get_weather"}, "function-call"),
}


@pytest.mark.parametrize(("selectors", "filters", "scenario"), FILTERS.values(), ids=FILTERS)
async def test_a_filter_lets_the_same_events_into_a_lane_as_inline(
    selectors: tuple[Any, ...], filters: dict[str, str], scenario: str
) -> None:
    dispatcher = Dispatcher()
    inline: list[Delivery] = []
    lane: list[Delivery] = []
    dispatcher.on(*selectors, **filters)(inline.append)
    dispatcher.on(*selectors, **filters, lane=Lane())(lane.append)
    async with LocalServer(scenario=scenario) as server, Client(base_url=server.url) as client:
        await client.run(dispatcher, model="m", input="Hi")
    assert lane == inline
    assert inline


async def test_a_handler_in_a_lane_finds_the_items_of_a_response_that_has_ended() -> None:
    dispatcher = Dispatcher()
    names: list[str | None] = []

    @dispatcher.on("response.function_call_arguments.done", lane=Lane())
    def name(event: FunctionCallArgumentsDone, run: Run) -> None:
        names.append(getattr(run.item_of(event), "name", None))

    async with LocalServer(scenario="function-call") as server, Client(base_url=server.url) as client:
        await client.run(dispatcher, model="m", input="Hi")
    assert names == ["get_weather"]


def two_calls(script: Script) -> None:
    """Two rounds of tools: each calls another function, at the same place of its response."""
    outputs = tool_outputs(script.request)
    if not outputs:
        script.function_call("get_weather", {"location": "Paris, on the river Seine"}).complete()
    elif outputs[-1] == "sunny":
        script.function_call("get_time", {"zone": "Rome"}).complete()
    else:
        script.text("Late and sunny.").complete()


def get_weather(location: str) -> str:
    """The weather."""
    return "sunny"


def get_time(zone: str) -> str:
    """The time."""
    return "late"


async def in_rounds(dispatcher: Dispatcher, gate: Gate) -> None:
    """Let a lane handle nothing before the second round has brought something for it."""

    @dispatcher.on(FunctionCallArgumentsDelta)
    def release(_: FunctionCallArgumentsDelta, run: Run) -> None:
        if run.round == 2:
            gate.released.set()

    async with LocalServer(scenario=two_calls, tokens_per_second=500) as server, Client(base_url=server.url) as client:
        await client.run(dispatcher, model="m", input="Hi", tools=[get_weather, get_time])


@pytest.mark.parametrize("options", [{}, {"tool": "get_weather"}])
async def test_a_filter_is_of_the_response_that_an_event_came_in(gate: Gate, options: dict[str, str]) -> None:
    dispatcher = Dispatcher()
    dispatcher.on(FunctionCallArgumentsDelta, lane=Lane(), **options)(gate)
    await in_rounds(dispatcher, gate)
    weather = '{"location":"Paris, on the river Seine"}'
    assert gate.text == (weather if options else weather + '{"zone":"Rome"}')


async def test_deltas_of_different_responses_are_not_merged(gate: Gate) -> None:
    dispatcher = Dispatcher()
    arguments: dict[str | None, str] = {}
    dispatcher.on(FunctionCallArgumentsDelta, lane=(lane := Lane(when_full="merge", max_events=1)))(gate)

    @dispatcher.on(FunctionCallArgumentsDelta, lane=lane)
    def join(event: FunctionCallArgumentsDelta) -> None:
        arguments[event.item_id] = arguments.get(event.item_id, "") + event.delta

    await in_rounds(dispatcher, gate)
    assert any(event.merged > 1 for event in gate.seen)
    assert [json.loads(text) for text in arguments.values()] == [
        {"location": "Paris, on the river Seine"},
        {"zone": "Rome"},
    ]


async def test_an_iterator_does_not_merge_deltas_of_different_responses() -> None:
    def wire(text: str) -> bytes:
        return frame("response.function_call_arguments.delta", output_index=0, delta=text)

    source = ScriptedSource(CREATED, wire("a"), wire("b"), CREATED, wire("c"), wire("d"), COMPLETED)
    async with StreamRun(source) as run:
        slow = run.events(FunctionCallArgumentsDelta, when_full="merge", max_events=1)
        dispatching = asyncio.create_task(run.dispatch(Dispatcher()))
        await turns()
        texts = [event.delta async for event in slow]
        await dispatching
    assert texts[0] == "ab"
    assert "".join(texts) == "abcd"


class Restarting:
    """A source whose first stream is cut behind its deltas, and whose second one is whole."""

    def __init__(self, first: str, second: str) -> None:
        self._scripts = [
            [CREATED, ADDED, PART, *map(wire_delta, first)],
            [CREATED, ADDED, PART, *map(wire_delta, second), COMPLETED],
        ]

    async def open(self, cursor: Any) -> Any:
        return await ScriptedSource(*self._scripts.pop(0)).open(cursor)


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("when_full", ["wait", "merge"])
async def test_a_restart_comes_between_what_it_divides(gate: Gate, concurrency: int, when_full: Any) -> None:
    dispatcher = Dispatcher()
    shown: list[str] = []
    lane = Lane(when_full=when_full, max_events=64, concurrency=concurrency, key="delta")

    @dispatcher.on(OutputTextDelta, lane=lane)
    async def show(event: OutputTextDelta) -> None:
        await gate.released.wait()
        shown.append(event.delta)

    @dispatcher.on(Restarted, lane=lane)
    async def clear(_: Restarted) -> None:
        await asyncio.sleep(0)
        shown.append("|")

    @dispatcher.on("response.completed")
    def release(_: Event) -> None:
        gate.released.set()

    async with StreamRun(Restarting("abcd", "wxyz"), retry=Retry(first_delay=0.001), restart=True) as run:
        await run.dispatch(dispatcher)
    before, _, after = "".join(shown).partition("|")
    assert (sorted(before), sorted(after)) == ([*"abcd"], [*"wxyz"])
    assert "|" not in after


async def test_a_restart_waits_for_no_handler_that_waits_for_the_run() -> None:
    dispatcher = Dispatcher()
    seen: list[str] = []
    lane = Lane(max_events=4, concurrency=2, key="delta")

    @dispatcher.on(OutputTextDelta, lane=lane)
    async def handle(event: OutputTextDelta, run: Run) -> None:
        seen.append(event.delta)
        if event.delta == "a":
            await run.outcome()  # type: ignore[attr-defined]

    @dispatcher.on(Restarted, lane=lane)
    def clear(_: Restarted) -> None:
        seen.append("|")

    async with StreamRun(Restarting("ab", "cdefghijkl"), retry=Retry(first_delay=0.001), restart=True) as run:
        await run.dispatch(dispatcher)
    assert sorted(seen[:2]) == ["a", "b"]
    assert seen[2] == "|"
    assert sorted(seen[3:]) == [*"cdefghijkl"]


async def test_keys_are_given_workers_in_turn(dispatcher: Dispatcher) -> None:
    began: list[int | None] = []
    released = asyncio.Event()

    @dispatcher.on(TEXT, lane=Lane(concurrency=2, key="output_index"))
    async def slow(event: OutputTextDelta) -> None:
        began.append(event.output_index)
        await released.wait()

    deliveries = deliveries_for(dispatcher)
    for index in (0, 2, 4):
        await deliveries.deliver(delta("a", index))
    await turns()
    assert began == [0, 2], "two at a time, although all of these numbers are even"
    released.set()
    await deliveries.drain()
    assert began == [0, 2, 4]


async def test_keys_keep_their_order_also_where_there_are_more_than_are_remembered(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamkit.dispatch.lanes.REMEMBERED_KEYS", 2)
    seen: dict[int | None, str] = {}

    @dispatcher.on(TEXT, lane=Lane(concurrency=3, key="output_index"))
    async def join(event: OutputTextDelta) -> None:
        before = seen.get(event.output_index, "")
        await asyncio.sleep(0)
        seen[event.output_index] = before + event.delta

    deliveries = deliveries_for(dispatcher)
    for letter in "abc":
        for index in range(6):
            await deliveries.deliver(delta(letter, index))
    await deliveries.drain()
    assert seen == dict.fromkeys(range(6), "abc")


async def test_deltas_are_merged_where_their_number_would_fill_the_bytes(dispatcher: Dispatcher, gate: Gate) -> None:
    read: list[DeltaEvent] = []
    dispatcher.on(TEXT)(read.append)
    dispatcher.on(TEXT, lane=Lane(when_full="merge", max_bytes=64 * 1024))(gate)
    letters = "abcdefghij" * 60
    async with StreamRun(ScriptedSource(stream_of(letters))) as run:
        dispatching = asyncio.create_task(run.dispatch(dispatcher))
        await gate.entered.wait()
        await turns()
        assert len(read) == len(letters), "their text has room"
        gate.released.set()
        await dispatching
    assert gate.text == letters
    assert sum(event.merged for event in gate.seen) == len(letters) > 2 * len(gate.seen)
