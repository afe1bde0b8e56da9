"""What a handler may ask for besides its events, and what of it makes no sense."""

from collections.abc import Callable
from typing import Any

import pytest

from streamkit import Dispatcher, Lane, Run, StreamHandler, StreamRun, UsageError, on
from streamkit.events import Event, FunctionCallArgumentsDelta, FunctionCallArgumentsDone, ItemEvent, OutputItemDone
from streamkit.outcome import HandlerFailed
from tests.dispatch.support import TEXT, delta, send
from tests.scripted import CREATED, ScriptedSource, frame

pytestmark = pytest.mark.anyio

ARGUMENTS = "response.function_call_arguments"


def call_events(
    index: int, item: dict[str, str], kind: str, *, has_index: bool, name: str | None = None
) -> list[bytes]:
    """The events of one call, whose deltas say where they belong by index or, without, by the item's id."""
    place: dict[str, object] = {"output_index": index} if has_index else {}
    own = {**place, "item_id": item["id"]}
    return [
        frame("response.output_item.added", item=item, **place),
        frame(f"response.{kind}.delta", delta='{"a"', **own),
        frame(f"response.{kind}.delta", delta=": 1}", **own),
        frame(f"response.{kind}.done", arguments='{"a": 1}', input="", **own),
        frame("response.output_item.done", item=item, **place),
    ]


def item(kind: str, identity: str, **fields: str) -> dict[str, str]:
    return {"type": kind, "id": identity, **fields}


def calls_stream(*, has_index: bool) -> ScriptedSource:
    """A response with one call of each kind; ``has_index=False`` as llama.cpp sends them."""
    chunks = [
        CREATED,
        *call_events(0, item("function_call", "f1", name="search"), "function_call_arguments", has_index=has_index),
        *call_events(1, item("function_call", "f2", name="weather"), "function_call_arguments", has_index=has_index),
        *call_events(2, item("custom_tool_call", "c1", name="grep"), "custom_tool_call_input", has_index=has_index),
        *call_events(3, item("mcp_call", "m1", name="search"), "mcp_call_arguments", has_index=has_index),
        frame("response.completed", response={"id": "resp_1", "status": "completed", "output": []}),
    ]
    return ScriptedSource(b"".join(chunks))


Register = Callable[[Dispatcher, Callable[[Any], None]], object]


async def seen_by(register: Register, *, has_index: bool = True) -> list[Any]:
    dispatcher, seen = Dispatcher(), list[Any]()
    register(dispatcher, seen.append)
    async with StreamRun(calls_stream(has_index=has_index)) as run:
        await run.dispatch(dispatcher)
    return seen


# Filters

FILTERS: dict[str, tuple[Register, list[str]]] = {
    "tool, deltas": (lambda d, f: d.on(FunctionCallArgumentsDelta, tool="search")(f), ["f1", "f1"]),
    "tool, done": (lambda d, f: d.on(f"{ARGUMENTS}.done", tool="weather")(f), ["f2"]),
    "tool, custom": (lambda d, f: d.on(ItemEvent, tool="grep")(f), ["c1"] * 5),
    "tool, function and MCP": (lambda d, f: d.on(ItemEvent, tool="search")(f), ["f1"] * 5 + ["m1"] * 5),
    "tool, none": (lambda d, f: d.on(ItemEvent, tool="nothing")(f), []),
    "item type": (lambda d, f: d.on(ItemEvent, item_type="mcp_call")(f), ["m1"] * 5),
    "item type and tool": (lambda d, f: d.on(ItemEvent, item_type="mcp_call", tool="search")(f), ["m1"] * 5),
    "item type and another tool": (lambda d, f: d.on(ItemEvent, item_type="mcp_call", tool="grep")(f), []),
    "every event": (lambda d, f: d.on(Event, item_type="custom_tool_call")(f), ["c1"] * 5),
    "where": (lambda d, f: d.on(OutputItemDone, where=lambda e: e.item.id != "f2")(f), ["f1", "c1", "m1"]),
    "where and tool": (
        lambda d, f: d.on(FunctionCallArgumentsDelta, tool="search", where=lambda e: e.delta.endswith("}"))(f),
        ["f1"],
    ),
    "once": (lambda d, f: d.once(ItemEvent, tool="search")(f), ["f1"]),
    "once and where": (lambda d, f: d.once(OutputItemDone, where=lambda e: e.item.id == "c1")(f), ["c1"]),
    "lane": (lambda d, f: d.on(FunctionCallArgumentsDelta, tool="weather", lane=Lane())(f), ["f2", "f2"]),
}


@pytest.mark.parametrize(("register", "ids"), FILTERS.values(), ids=FILTERS)
@pytest.mark.parametrize("has_index", [True, False], ids=["with indexes", "without"])
async def test_a_handler_gets_the_events_it_asks_for(register: Register, ids: list[str], has_index: bool) -> None:
    seen = await seen_by(register, has_index=has_index)
    assert [getattr(event, "item_id", None) or event.item.id for event in seen] == ids


async def test_a_name_that_an_event_carries_needs_no_item(dispatcher: Dispatcher) -> None:
    seen: list[object] = []
    dispatcher.on(f"{ARGUMENTS}.done", tool="search")(seen.append)
    named = [FunctionCallArgumentsDone(arguments="{}", name=name) for name in ("search", "other")]
    await send(dispatcher, *named)
    assert seen == named[:1]


async def test_where_is_asked_only_about_events_of_the_item(dispatcher: Dispatcher) -> None:
    asked: list[Any] = []
    await seen_by(lambda d, f: d.on(ItemEvent, item_type="mcp_call", where=asked.append)(f))
    assert len(asked) == 5


async def test_where_that_raises_is_a_failure_of_its_handler(dispatcher: Dispatcher) -> None:
    failures: list[HandlerFailed] = []
    dispatcher.on(TEXT, where=lambda event: {}[event.delta])(print)
    dispatcher.on_error(lambda failure: failures.append(failure) or True)
    await send(dispatcher, delta("a"))
    assert [type(failure.error) for failure in failures] == [KeyError]


class Calls(StreamHandler):
    def __init__(self) -> None:
        self.seen: list[object] = []

    @on(FunctionCallArgumentsDelta, tool="weather")
    async def weather(self, event: FunctionCallArgumentsDelta, run: Run) -> None:
        self.seen.append(event.item_id)

    @on(ItemEvent, item_type="mcp_call", where=lambda event: isinstance(event, OutputItemDone), lane=Lane())
    def mcp(self, event: ItemEvent) -> None:
        self.seen.append(type(event))


async def test_methods_of_a_stream_handler_have_filters_too() -> None:
    handler = Calls()
    await seen_by(lambda d, _: d.include(handler))
    assert handler.seen == ["f2", "f2", OutputItemDone]


async def test_any_is_every_event(dispatcher: Dispatcher) -> None:
    seen = await seen_by(lambda d, f: d.on.any(f))
    assert len(seen) == 22
    assert seen == await seen_by(lambda d, f: d.on(Event)(f))


# What is refused


async def asynchronous(event: Event) -> bool:
    return True


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": ({"wheer": print}, r"no option 'wheer' \(did you mean 'where'\?\); it has lane, thread, tool"),
    "nothing like it": ({"zzz": 1}, "no option 'zzz'; it has"),
    "lane class": ({"lane": Lane}, r"lane must be a Lane\(...\)"),
    "lane name": ({"lane": "audit"}, r"lane must be a Lane\(...\), not 'audit'"),
    "where value": ({"where": True}, "where must be a function of the event"),
    "async where": ({"where": asynchronous}, "where must be a function of the event alone, and not async"),
    "where of nothing": ({"where": lambda: True}, "where must be a function of the event alone"),
    "where of the run": ({"where": lambda event, run: True}, "where must be a function of the event alone"),
    "several tools": ({"tool": ["search"]}, r"tool must be one name, not \['search'\]"),
    "policy": ({"on_error": "ignore"}, "on_error must be 'raise', 'log', 'disable' or a function"),
    "unhashable policy": ({"on_error": []}, "on_error must be"),
    "policy function": ({"on_error": lambda: True}, r"must take \(event\) or \(event, run\)"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_options_that_make_no_sense_are_refused(dispatcher: Dispatcher, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        dispatcher.on(TEXT, **options)(lambda event: None)


@pytest.mark.parametrize("policy", ["ignore", 5, []])
def test_a_dispatcher_refuses_a_policy_that_makes_no_sense(policy: Any) -> None:
    with pytest.raises(UsageError, match="on_error must be"):
        Dispatcher(on_error=policy)


def test_a_handler_that_decides_about_failures_cannot_have_a_lane(dispatcher: Dispatcher) -> None:
    with pytest.raises(UsageError, match="cannot have a lane"):
        dispatcher.on(HandlerFailed, lane=Lane())(print)
