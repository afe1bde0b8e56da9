"""Handlers of arguments that grow: by function and path, whatever events the server sends of them."""

import json
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit import Dispatcher, Lane, Restarted, Run, StreamHandler, UsageError, on
from streamkit.dispatch.arguments import ArgumentsChange
from streamkit.errors import ConnectionLost
from streamkit.events import (
    Event,
    FunctionCallArgumentsDelta,
    FunctionCallArgumentsDone,
    OutputItemAdded,
    OutputItemDone,
    ResponseCreated,
)
from streamkit.items import FunctionCall
from streamkit.response import Response
from tests.dispatch.support import StillRun, send

pytestmark = pytest.mark.anyio

TEXT = '{"city": "Paris", "days": [1, 22], "deep": {"city": "Oslo"}}'
CREATED = ResponseCreated(response=Response())


def added(name: str = "get_weather", *, index: int | None = 0, item_id: str = "fc_1") -> OutputItemAdded:
    item = FunctionCall(id=item_id, call_id=f"call_{item_id}", name=name)
    return OutputItemAdded(output_index=index, item=item)


def deltas(text: str, size: int, *, index: int | None = 0, item_id: str = "fc_1") -> list[Event]:
    return [
        FunctionCallArgumentsDelta(output_index=index, item_id=item_id, delta=text[at : at + size])
        for at in range(0, len(text), size)
    ]


def done(text: str = TEXT, *, index: int | None = 0, item_id: str = "fc_1") -> FunctionCallArgumentsDone:
    return FunctionCallArgumentsDone(output_index=index, item_id=item_id, arguments=text)


def item_done(text: str = TEXT) -> OutputItemDone:
    item = FunctionCall(id="fc_1", call_id="call_fc_1", name="get_weather", arguments=text)
    return OutputItemDone(output_index=0, item=item)


async def values(path: str | None, *events: Event | Restarted) -> list[tuple[str, object]]:
    """Return the finished values that a handler of a path is told of."""
    dispatcher, found = Dispatcher(), list[tuple[str, object]]()

    @dispatcher.on_arguments("get_weather", path=path, where=lambda change: change.kind == "finished")
    async def keep(change: ArgumentsChange) -> None:
        found.append((str(change.path), change.value))

    await send(dispatcher, *events)
    return found


@pytest.mark.parametrize(
    "events",
    [
        [CREATED, added(), *deltas(TEXT, 3), done(), item_done()],
        [CREATED, added(), *deltas(TEXT, 1), item_done()],
        [CREATED, added(), *deltas(TEXT, 3)[:3], done(), item_done()],
        [CREATED, added(), done(), item_done()],
        [CREATED, added(), item_done()],
        [CREATED, item_done()],
    ],
    ids=["all", "no done event", "too few deltas", "no delta", "only items", "the whole item alone"],
)
async def test_arguments_are_followed_whatever_the_server_sends_of_them(events: list[Event]) -> None:
    assert await values("city", *events) == [("$.city", "Paris")]
    assert await values("days[*]", *events) == [("$.days[0]", 1), ("$.days[1]", 22)]
    assert await values("$", *events) == [("$", json.loads(TEXT))]


async def test_strings_are_told_of_while_they_grow() -> None:
    dispatcher, told = Dispatcher(), list[tuple[str, str, str | None]]()

    @dispatcher.on_arguments("get_weather", path="city")
    def keep(change: ArgumentsChange, run: Run) -> None:
        assert run.round == 1
        told.append((change.kind, change.text, change.call_id))

    await send(dispatcher, CREATED, added(), *deltas('{"city": "Paris"}', 5))
    assert told[0] == ("started", "", "call_fc_1")
    assert told[-1] == ("finished", "", "call_fc_1")
    assert "".join(text for _, text, _ in told) == "Paris"


async def test_calls_of_other_functions_are_left_out() -> None:
    other = deltas('{"city": "Rome"}', 4, index=1, item_id="fc_2")
    mixed = [event for pair in zip(deltas(TEXT, 4), other, strict=False) for event in pair]
    events = [CREATED, added(), added("other", index=1, item_id="fc_2"), *mixed, done()]
    assert await values("city", *events) == [("$.city", "Paris")]


async def test_without_an_index_the_id_tells_calls_apart() -> None:
    events = [
        *(CREATED, added(index=None), added(index=None, item_id="fc_2")),
        *deltas('{"city": "Paris"}', 4, index=None),
        *deltas('{"city": "Tokyo"}', 4, index=None, item_id="fc_2"),
    ]
    assert await values("city", *events) == [("$.city", "Paris"), ("$.city", "Tokyo")]


async def test_what_was_begun_is_forgotten_where_the_response_begins_anew() -> None:
    half = deltas(TEXT, 4)[:3]
    anew = Restarted(cause=ConnectionLost("gone"))
    assert await values("city", CREATED, added(), *half, anew, *half) == []
    assert await values("city", CREATED, added(), *half, anew, added(), *deltas(TEXT, 4)) == [("$.city", "Paris")]
    assert await values("city", CREATED, added(), *half, CREATED, added(), *deltas(TEXT, 4)) == [("$.city", "Paris")]


async def test_runs_are_followed_each_by_itself() -> None:
    dispatcher, found = Dispatcher(), list[object]()
    dispatcher.on_arguments("get_weather", path="city", where=lambda change: change.kind == "finished")(
        lambda change: found.append(change.value)
    )
    one, other = StillRun(), StillRun()
    for event in (CREATED, added(), *deltas(TEXT, 4)):
        await send(dispatcher, event, run=one)
        await send(dispatcher, event, run=other)
    assert found == ["Paris", "Paris"]


async def test_broken_arguments_are_told_of_as_far_as_they_go() -> None:
    events = [CREATED, added(), *deltas('{"city": "Paris", oops', 3), done("{"), item_done("{")]
    assert await values(None, *events) == [("$.city", "Paris")]


@settings(max_examples=30)
@given(
    value=st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=8), max_size=4), size=st.integers(1, 7)
)
async def test_any_arguments_cut_anywhere_end_in_their_value(value: dict[str, object], size: int) -> None:
    text = json.dumps(value)
    assert await values("$", CREATED, added(), *deltas(text, size), done(text)) == [("$", value)]


async def test_a_lane_follows_too() -> None:
    dispatcher, found = Dispatcher(), list[object]()

    @dispatcher.on_arguments("get_weather", path="city", lane=Lane(when_full="merge"))
    async def keep(change: ArgumentsChange) -> None:
        found.append(change.value if change.kind == "finished" else change.text)

    await send(dispatcher, CREATED, added(), *deltas(TEXT, 4))
    assert found[-1] == "Paris"


async def test_a_method_of_a_handler_follows_too() -> None:
    class Map(StreamHandler):
        found: ClassVar[list[object]] = []

        @on.arguments("get_weather", path="city")
        async def move(self, change: ArgumentsChange) -> None:
            self.found.append(change.value)

    dispatcher = Dispatcher()
    dispatcher.include(Map())
    await send(dispatcher, CREATED, item_done())
    assert Map.found[-1] == "Paris"


async def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(UsageError, match="no path"):
        Dispatcher().on_arguments("f", path="a..b")
    with pytest.raises(UsageError, match="name the tool"):
        Dispatcher().on_arguments(print)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no option 'item_type'"):
        Dispatcher().on_arguments("f", item_type="x")  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="all deltas, and this lane may drop some"):
        Dispatcher().on_arguments("f", lane=Lane(when_full="drop"))


def test_explain_names_the_function_and_the_path() -> None:
    dispatcher = Dispatcher()
    dispatcher.on_arguments("get_weather", path="city")(print)
    text = str(dispatcher.explain())
    assert "tool='get_weather'" in text
    assert "path='$.city'" in text
    assert "never called" not in text
