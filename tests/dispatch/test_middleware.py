"""Middleware: functions around the handlers of a dispatcher."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from streamkit import Closed, Completed, Dispatcher, HandlerFailed, Lane, Response, Run, UsageError
from streamkit.dispatch import CallNext
from streamkit.dispatch.handler import Handler
from streamkit.events import Event, OutputTextDelta, RefusalDelta
from streamkit.outcome import Opened
from tests.dispatch.support import TEXT, Oops, deliveries_for, delta, failing, send

pytestmark = pytest.mark.anyio

Layer = Callable[[Event, Run, CallNext], Awaitable[None]]


@pytest.fixture
def calls() -> list[str]:
    return []


def layer(name: str, calls: list[str]) -> Layer:
    async def stand_around(event: Event, run: Run, call_next: CallNext) -> None:
        calls.append(f"{name} (")
        await call_next(event)
        calls.append(f") {name}")

    return stand_around


async def test_the_first_middleware_is_the_outermost_and_an_included_dispatcher_has_its_own(
    dispatcher: Dispatcher, calls: list[str]
) -> None:
    included = Dispatcher()
    dispatcher.on(TEXT)(lambda _: calls.append("first"))
    dispatcher.include(included)
    dispatcher.on(TEXT)(lambda _: calls.append("last"))
    included.on(TEXT)(lambda _: calls.append("included"))
    dispatcher.middleware(layer("a", calls))
    dispatcher.middleware(layer("b", calls))
    included.middleware(layer("c", calls))
    await send(dispatcher, delta("x"))
    assert calls == ["a (", "b (", "first", "c (", "included", ") c", "last", ") b", ") a"]


async def test_it_is_called_only_for_events_that_a_handler_in_its_dispatcher_wants(
    dispatcher: Dispatcher, calls: list[str]
) -> None:
    dispatcher.middleware(layer("a", calls))
    dispatcher.on("response.refusal.delta")(print)
    await send(dispatcher, delta("x"))
    assert calls == []


async def test_notices_and_outcomes_go_past_it(dispatcher: Dispatcher, calls: list[str]) -> None:
    completed = Completed(response=Response())
    dispatcher.middleware(layer("a", calls))
    dispatcher.on(Opened, Completed, Closed)(lambda subject: calls.append(type(subject).__name__))
    await send(dispatcher, Opened(url="", headers={}), completed, Closed(outcome=completed))
    assert calls == ["Opened", "Completed", "Closed"]


async def test_it_may_replace_an_event(dispatcher: Dispatcher) -> None:
    seen: list[str] = []
    dispatcher.on(TEXT)(lambda event: seen.append(event.delta))

    @dispatcher.middleware
    async def shout(event: Event, run: Run, call_next: CallNext) -> None:
        assert isinstance(event, OutputTextDelta)
        await call_next(event.model_copy(update={"delta": event.delta.upper()}))

    await send(dispatcher, delta("a"))
    assert seen == ["A"]


async def test_it_may_swallow_an_event(dispatcher: Dispatcher, calls: list[str]) -> None:
    included = Dispatcher()
    included.on(TEXT)(lambda event: calls.append(f"included {event.delta}"))
    dispatcher.include(included)
    dispatcher.on(TEXT)(lambda event: calls.append(f"outer {event.delta}"))

    @included.middleware
    async def only_b(event: Event, run: Run, call_next: CallNext) -> None:
        if getattr(event, "delta", None) == "b":
            await call_next(event)

    await send(dispatcher, delta("a"), delta("b"))
    assert calls == ["outer a", "included b", "outer b"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_error_of_its_own_stops_the_run(dispatcher: Dispatcher, when: str) -> None:
    seen: list[object] = []
    failures: list[HandlerFailed] = []

    @dispatcher.middleware
    async def broken(event: Event, run: Run, call_next: CallNext) -> None:
        if when == "after":
            await call_next(event)
        raise Oops

    dispatcher.on(TEXT)(seen.append)
    dispatcher.on_error(failures.append)
    with pytest.raises(Oops) as caught:
        await send(dispatcher, delta("a"))
    assert "broken for response.output_text.delta" in caught.value.__notes__[0]
    assert [failure.error for failure in failures] == [caught.value]
    assert len(seen) == (when == "after")


POLICIES: list[tuple[Any, int, int]] = [("log", 3, 0), ("disable", 1, 2), (lambda _: True, 3, 0)]


@pytest.mark.parametrize(("policy", "asked", "passed"), POLICIES)
async def test_its_errors_follow_the_policy_of_its_dispatcher(policy: Any, asked: int, passed: int) -> None:
    dispatcher = Dispatcher(on_error=policy)
    seen: list[object] = []
    met: list[object] = []

    @dispatcher.middleware
    async def broken(event: Event, run: Run, call_next: CallNext) -> None:
        met.append(event)
        raise Oops

    dispatcher.on(TEXT)(seen.append)
    await send(dispatcher, *map(delta, "abc"))
    assert (len(met), len(seen)) == (asked, passed)


async def test_an_error_of_a_handler_passes_through_it_and_nobody_is_asked_twice(
    dispatcher: Dispatcher, calls: list[str]
) -> None:
    failures: list[HandlerFailed] = []
    for name in "ab":
        dispatcher.middleware(layer(name, calls))
    dispatcher.on(TEXT)(failing(error := Oops()))
    dispatcher.on_error(failures.append)
    with pytest.raises(Oops) as caught:
        await send(dispatcher, delta("x"))
    assert caught.value is error
    assert len(error.__notes__) == len(failures) == 1
    assert calls == ["a (", "b ("]


async def test_nobody_is_asked_twice_when_other_lanes_fail_meanwhile(dispatcher: Dispatcher) -> None:
    failures: list[HandlerFailed] = []

    @dispatcher.middleware
    async def slow_to_let_go(event: Event, run: Run, call_next: CallNext) -> None:
        try:
            await call_next(event)
        finally:
            for _ in range(3):
                await asyncio.sleep(0)

    for _ in range(3):
        dispatcher.on(TEXT, lane=Lane())(failing(Oops()))
    dispatcher.on_error(failures.append)
    with pytest.raises(ExceptionGroup):
        await send(dispatcher, delta("x"))
    assert len(failures) == 3


async def test_it_may_catch_what_a_handler_raised(dispatcher: Dispatcher, calls: list[str]) -> None:
    @dispatcher.middleware
    async def forgive(event: Event, run: Run, call_next: CallNext) -> None:
        try:
            await call_next(event)
        except Oops:
            calls.append("caught")

    dispatcher.on(TEXT)(failing(Oops()))
    await send(dispatcher, delta("a"), delta("b"))
    assert calls == ["caught", "caught"]


async def test_it_may_call_the_handlers_with_a_time_limit(dispatcher: Dispatcher) -> None:
    @dispatcher.middleware
    async def limit(event: Event, run: Run, call_next: CallNext) -> None:
        await asyncio.wait_for(call_next(event), 0.001)

    @dispatcher.on(TEXT)
    async def hang(event: OutputTextDelta) -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await send(dispatcher, delta("a"))


async def test_a_lane_calls_the_middleware_around_its_handlers(dispatcher: Dispatcher) -> None:
    tasks: list[object] = []

    @dispatcher.middleware
    async def remember(event: Event, run: Run, call_next: CallNext) -> None:
        tasks.append(asyncio.current_task())
        await call_next(event)

    dispatcher.on(TEXT)(lambda _: tasks.append("inline"))
    dispatcher.on(TEXT, lane=Lane())(lambda _: tasks.append("lane"))
    await send(dispatcher, delta("a"))
    inline, first, lane, second = tasks
    assert (inline, first, second) == (asyncio.current_task(), "inline", "lane")
    assert lane not in (None, inline)


async def test_a_chain_is_built_once_a_run_and_where_there_is_none_there_is_no_chain(
    dispatcher: Dispatcher, calls: list[str]
) -> None:
    passed: list[object] = []
    dispatcher.on(TEXT)(lambda _: None)
    (step,) = dispatcher.table()[OutputTextDelta].inline
    assert isinstance(step, Handler)

    @dispatcher.middleware
    async def remember(event: Event, run: Run, call_next: CallNext) -> None:
        passed.append(call_next)

    deliveries = deliveries_for(dispatcher)
    await deliveries.deliver(delta("a"))
    await deliveries.deliver(delta("b"))
    assert passed[0] is passed[1]
    assert not dispatcher.table()[RefusalDelta].inline


async def test_middleware_that_is_added_later_counts(dispatcher: Dispatcher, calls: list[str]) -> None:
    included = Dispatcher()
    dispatcher.include(included)
    included.on(TEXT)(lambda _: calls.append("handler"))
    await send(dispatcher, delta("a"))
    included.middleware(layer("late", calls))
    await send(dispatcher, delta("b"))
    assert calls == ["handler", "late (", "handler", ") late"]


def test_the_function_comes_back_unchanged(dispatcher: Dispatcher) -> None:
    function = layer("a", [])
    assert dispatcher.middleware(function) is function


async def too_few(event: Event, run: Run) -> None: ...


async def too_many(event: Event, run: Run, call_next: CallNext, more: int) -> None: ...


def not_async(event: Event, run: Run, call_next: CallNext) -> None: ...


REFUSED: dict[str, tuple[Any, str]] = {
    "too few": (too_few, r"too_few\(event.* must take \(event, run, call_next\)"),
    "too many": (too_many, r"must take \(event, run, call_next\)"),
    "not async": (not_async, "must be an async function"),
    "no function": ("layer", "must be an async function"),
}


@pytest.mark.parametrize(("function", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_middleware_is_refused(dispatcher: Dispatcher, function: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        dispatcher.middleware(function)


async def test_an_object_that_is_called_can_be_middleware(dispatcher: Dispatcher) -> None:
    class Counting:
        events = 0

        async def __call__(self, event: Event, run: Run, call_next: CallNext) -> None:
            self.events += 1
            await call_next(event)

    counting = dispatcher.middleware(Counting())
    seen: list[object] = []
    dispatcher.on(TEXT)(seen.append)
    await send(dispatcher, delta("a"), delta("b"))
    assert counting.events == len(seen) == 2
