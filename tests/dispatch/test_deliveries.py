"""Handlers being called: error policies, blocking handlers, threads, and the figures that are kept."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from contextvars import ContextVar
from typing import Any

import anyio
import pytest

from streamkit import Closed, Dispatcher, HandlerFailed, Lane, Limits, Run, StreamHandler, StreamRun, UsageError, on
from streamkit.dispatch import Deliveries
from streamkit.errors import HandlerCancelled
from streamkit.events import Event, OutputTextDelta
from streamkit.outcome import Completed, HandlerBlocked
from streamkit.stats import RunStats
from tests.dispatch.support import TEXT, Gate, Oops, StillRun, deliveries_for, delta, failing, send, stream_of, turns
from tests.scripted import HELLO, ScriptedSource

pytestmark = pytest.mark.anyio

CALLER: ContextVar[str] = ContextVar("CALLER", default="nobody")
LONG = 0.5
"""Seconds that are more than a handler may block in these tests."""


class Failing:
    """A handler that counts its calls, and raises at each."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, event: object) -> None:
        self.calls += 1
        raise Oops


# Error policies

SWALLOWING: dict[str, tuple[Any, int]] = {
    "log": ("log", 3),
    "disable": ("disable", 1),
    "callable": (lambda failure: isinstance(failure.error, Oops), 3),
    "callable with run": (lambda failure, run: isinstance(run, Run), 3),
}


@pytest.mark.parametrize(("policy", "calls"), SWALLOWING.values(), ids=SWALLOWING)
@pytest.mark.parametrize("place", ["handler", "dispatcher", "included", "inherited"])
async def test_a_policy_holds_for_a_handler_or_a_dispatcher_and_what_it_includes(
    policy: Any, calls: int, place: str
) -> None:
    handler = Failing()
    included = Dispatcher(on_error=policy if place == "included" else None)
    root = Dispatcher(on_error={"dispatcher": policy, "inherited": policy}.get(place))
    root.include(included)
    owner = included if place in ("included", "inherited") else root
    if place == "handler":
        owner.on(TEXT, on_error=policy)(handler)
    else:
        owner.on(TEXT)(handler)
    after: list[str] = []
    root.on(TEXT)(lambda event: after.append(event.delta))
    await send(root, *map(delta, "abc"))
    assert handler.calls == calls
    assert after == ["a", "b", "c"]


NEAREST: list[tuple[Any, Any, Any, bool]] = [
    (None, None, None, True),
    ("log", None, None, False),
    ("log", "raise", None, True),
    ("log", None, "raise", True),
    ("raise", "log", None, False),
    ("raise", "log", "raise", True),
]


@pytest.mark.parametrize(("outer", "inner", "own", "raises"), NEAREST)
async def test_the_nearest_policy_counts(outer: Any, inner: Any, own: Any, raises: bool) -> None:
    included, root = Dispatcher(on_error=inner), Dispatcher(on_error=outer)
    root.include(included)
    options: dict[str, Any] = {"on_error": own} if own else {}
    included.on(TEXT, **options)(failing(Oops()))
    with pytest.raises(Oops) if raises else nullcontext():
        await send(root, delta("a"))


async def test_a_disabled_handler_is_called_again_in_the_next_run(dispatcher: Dispatcher) -> None:
    handler = Failing()
    dispatcher.on(Event, on_error="disable")(handler)
    for calls in (1, 2):
        async with StreamRun(ScriptedSource(*HELLO)) as run:
            await run.dispatch(dispatcher)
        assert handler.calls == calls


async def test_a_disabled_handler_stays_so_when_others_are_added(dispatcher: Dispatcher) -> None:
    handler = Failing()
    dispatcher.on(Event, on_error="disable")(handler)
    dispatcher.on("response.created")(lambda _, run: run.on(TEXT)(lambda _: None))
    async with StreamRun(ScriptedSource(*HELLO)) as run:
        await run.dispatch(dispatcher)
    assert handler.calls == 1


@pytest.mark.parametrize("policy", ["log", "disable"])
async def test_what_a_policy_swallows_is_logged(
    dispatcher: Dispatcher, caplog: pytest.LogCaptureFixture, policy: Any
) -> None:
    dispatcher.on(TEXT, on_error=policy)(failing(error := Oops()))
    with caplog.at_level(logging.ERROR, "streamkit.dispatch"):
        await send(dispatcher, delta("a"))
    (record,) = caplog.records
    assert "failing.<locals>.fail failed for response.output_text.delta" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[1] is error


async def test_on_error_handlers_are_asked_before_the_policy(dispatcher: Dispatcher) -> None:
    asked: list[str] = []
    dispatcher.on_error(lambda _: asked.append("hook"))
    dispatcher.on(TEXT, on_error=lambda _: asked.append("policy") or True)(failing(Oops()))
    await send(dispatcher, delta("a"))
    assert asked == ["hook", "policy"]


@pytest.mark.parametrize("answer", [None, False, 1])
async def test_a_policy_function_that_does_not_return_true_lets_the_exception_through(
    dispatcher: Dispatcher, answer: Any
) -> None:
    dispatcher.on(TEXT, on_error=lambda _: answer)(failing(Oops()))
    with pytest.raises(Oops):
        await send(dispatcher, delta("a"))


@pytest.mark.parametrize("lane", [None, Lane()], ids=["inline", "lane"])
async def test_a_cancellation_of_what_a_handler_waited_for_is_a_failure_like_any_other(
    dispatcher: Dispatcher, lane: Lane | None
) -> None:
    failures: list[HandlerFailed] = []

    async def wait_in_vain(event: OutputTextDelta) -> None:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.cancel)
        await future

    if lane:
        dispatcher.on(TEXT, lane=lane)(wait_in_vain)
    else:
        dispatcher.on(TEXT)(wait_in_vain)
    dispatcher.on_error(failures.append)
    with pytest.raises(HandlerCancelled, match="wait_in_vain was cancelled by something it waited for") as caught:
        await send(dispatcher, delta("a"))
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert [failure.error for failure in failures] == [caught.value]


async def test_so_it_is_in_a_task_that_was_cancelled_before_and_lived_on(dispatcher: Dispatcher) -> None:
    failures: list[HandlerFailed] = []

    @dispatcher.on(TEXT, on_error="log")
    async def wait_in_vain(event: OutputTextDelta) -> None:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.cancel)
        await future

    dispatcher.on_error(failures.append)

    async def clean_up() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            async with StreamRun(ScriptedSource(*HELLO)) as run:
                return (await run.dispatch(dispatcher)).output_text
        raise AssertionError

    cleaning = asyncio.create_task(clean_up())
    await asyncio.sleep(0)
    cleaning.cancel()
    assert await cleaning == "Hello"
    assert {type(failure.error) for failure in failures} == {HandlerCancelled}


async def test_a_cancellation_that_the_task_has_yet_to_hear_of_is_none_of_the_handlers_failures(
    dispatcher: Dispatcher,
) -> None:
    failures: list[HandlerFailed] = []

    @dispatcher.on(TEXT, on_error="log")
    async def wait(event: OutputTextDelta) -> None:
        await asyncio.sleep(0)

    dispatcher.on_error(failures.append)

    async def cancelled_before() -> None:
        task = asyncio.current_task()
        assert task is not None
        async with StreamRun(ScriptedSource(b"".join(HELLO))) as run:
            task.cancel()
            await run.dispatch(dispatcher)

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(cancelled_before())
    assert failures == []


async def test_a_cancellation_of_the_run_is_none_of_the_handlers_failures(dispatcher: Dispatcher) -> None:
    failures: list[HandlerFailed] = []
    entered = asyncio.Event()

    @dispatcher.on(TEXT)
    async def wait(event: OutputTextDelta) -> None:
        entered.set()
        await asyncio.Event().wait()

    dispatcher.on_error(failures.append)
    sending = asyncio.create_task(send(dispatcher, delta("a")))
    await entered.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert failures == []


async def test_the_error_of_an_error_handler_says_what_it_was_asked_about(dispatcher: Dispatcher) -> None:
    async def fragile(event: OutputTextDelta) -> None:
        raise Oops("first")

    dispatcher.on(TEXT)(fragile)
    dispatcher.on_error(failing(second := ValueError("second")))
    with pytest.raises(ValueError, match="second") as caught:
        await send(dispatcher, delta("a"))
    assert caught.value is second
    (note,) = second.__notes__
    assert "Oops('first') of the handler" in note
    assert "fragile" in note


@pytest.mark.parametrize("lane", [None, Lane()], ids=["inline", "lane"])
async def test_an_error_handler_that_is_cancelled_by_what_it_waits_for_has_failed(
    dispatcher: Dispatcher, lane: Lane | None
) -> None:
    if lane:
        dispatcher.on(TEXT, lane=lane)(failing(Oops()))
    else:
        dispatcher.on(TEXT)(failing(Oops()))
    dispatcher.on_error(failing(asyncio.CancelledError()))
    with pytest.raises(HandlerCancelled, match=r"asked about .*failing"):
        await send(dispatcher, delta("a"))


# Handlers that block the loop


class Clock:
    """Time as handlers are measured by, which passes only when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def advance(self) -> None:
        """Let as much time pass as a handler must not block for."""
        self.now += LONG


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in ("deliveries", "stepping"):
        monkeypatch.setattr(f"streamkit.dispatch.{module}.perf_counter", clock)
    return clock


def patient(dispatcher: Dispatcher) -> Deliveries:
    return deliveries_for(dispatcher, max_blocking_seconds=LONG / 2)


class Blocking:
    """Handlers that keep the loop busy, each at another point."""

    def __init__(self, clock: Clock) -> None:
        self.block = clock.advance

    def at_once(self, event: object) -> None:
        self.block()

    async def before_its_first_await(self, event: object) -> None:
        self.block()
        await asyncio.sleep(0)

    async def after_its_first_await(self, event: object) -> None:
        await asyncio.sleep(0)
        self.block()

    async def without_an_await(self, event: object) -> None:
        self.block()

    def and_raises(self, event: object) -> None:
        self.block()
        raise Oops

    async def and_raises_before_its_first_await(self, event: object) -> None:
        self.block()
        raise Oops

    def and_returns_a_future(self, event: object) -> Any:
        self.block()
        return asyncio.ensure_future(asyncio.sleep(0))

    async def and_then_raises(self, event: object) -> None:
        await asyncio.sleep(0)
        self.block()
        raise Oops

    async def between(self, event: object) -> None:
        await asyncio.sleep(0)
        self.block()
        await asyncio.sleep(0)


@pytest.mark.parametrize("lane", [None, Lane()], ids=["inline", "lane"])
@pytest.mark.parametrize("name", [name for name in vars(Blocking) if not name.startswith("_")])
async def test_a_handler_that_blocks_the_loop_is_reported_once(
    dispatcher: Dispatcher, caplog: pytest.LogCaptureFixture, clock: Clock, name: str, lane: Lane | None
) -> None:
    told: list[HandlerBlocked] = []
    options: dict[str, Any] = {"lane": lane} if lane else {}
    dispatcher.on(TEXT, on_error="log", **options)(getattr(Blocking(clock), name))
    dispatcher.on(HandlerBlocked)(told.append)
    deliveries = patient(dispatcher)
    with caplog.at_level(logging.WARNING, "streamkit.dispatch"):
        for event in (events := [delta("a"), delta("b")]):
            await deliveries.deliver(event)
        await deliveries.drain()
    handler = f"{__name__}.Blocking.{name}"
    assert told == [HandlerBlocked(handler=handler, event=events[0], seconds=LONG)]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [f"the handler {handler} kept the event loop busy for {LONG:.3f} s"]


async def test_each_handler_that_blocks_is_reported_also_of_the_same_name(dispatcher: Dispatcher, clock: Clock) -> None:
    told: list[object] = []
    for _ in range(2):
        dispatcher.on(TEXT)(Blocking(clock).at_once)
    dispatcher.on(HandlerBlocked)(told.append)
    deliveries = patient(dispatcher)
    await deliveries.deliver(delta("a"))
    await deliveries.drain()
    assert len(told) == 2


class Waiting:
    """Handlers that take long, and let the loop go on meanwhile."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    async def time_passes(self) -> None:
        passing = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(self.clock.advance)
        asyncio.get_running_loop().call_soon(passing.set_result, None)
        await passing

    async def for_others(self, event: object) -> None:
        await self.time_passes()
        await self.time_passes()

    def by_returning_a_future(self, event: object) -> Any:
        return asyncio.ensure_future(self.time_passes())


@pytest.mark.parametrize("name", ["for_others", "by_returning_a_future"])
async def test_a_handler_that_merely_waits_is_not_reported(dispatcher: Dispatcher, clock: Clock, name: str) -> None:
    told: list[object] = []
    dispatcher.on(TEXT)(getattr(Waiting(clock), name))
    dispatcher.on(HandlerBlocked)(told.append)
    deliveries = patient(dispatcher)
    await deliveries.deliver(delta("a"))
    await deliveries.drain()
    assert clock.now >= LONG
    assert told == []


async def test_a_handler_in_a_thread_is_not_reported(dispatcher: Dispatcher, clock: Clock) -> None:
    told: list[object] = []
    dispatcher.on(TEXT, thread=True)(Blocking(clock).at_once)
    dispatcher.on(HandlerBlocked)(told.append)
    deliveries = patient(dispatcher)
    await deliveries.deliver(delta("a"))
    await deliveries.drain()
    assert clock.now == LONG
    assert told == []


async def test_a_run_tells_of_blocking_handlers_before_its_outcome(dispatcher: Dispatcher, clock: Clock) -> None:
    order: list[type] = []
    dispatcher.on(TEXT)(Blocking(clock).at_once)
    for kind in (HandlerBlocked, Completed):
        dispatcher.on(kind)(lambda subject: order.append(type(subject)))
    async with StreamRun(ScriptedSource(*HELLO), limits=Limits(max_blocking_seconds=LONG / 2)) as run:
        await run.dispatch(dispatcher)
    assert order == [HandlerBlocked, Completed]


async def test_a_handler_of_such_notices_is_called_inline_also_where_it_asks_for_a_lane(
    dispatcher: Dispatcher, clock: Clock
) -> None:
    told: list[object] = []
    dispatcher.on(TEXT)(Blocking(clock).at_once)
    dispatcher.on(HandlerBlocked, lane=Lane())(told.append)
    deliveries = patient(dispatcher)
    await deliveries.deliver(delta("a"))
    await deliveries.settle()
    assert len(told) == 1


# Threads


async def test_a_handler_in_a_thread_is_called_in_order_and_elsewhere(dispatcher: Dispatcher) -> None:
    seen: list[tuple[str, bool, str]] = []

    @dispatcher.on(TEXT, thread=True)
    def record(event: OutputTextDelta, run: Run) -> None:
        assert isinstance(run, StillRun)
        elsewhere = threading.current_thread() is not threading.main_thread()
        seen.append((event.delta, elsewhere, CALLER.get()))

    token = CALLER.set("request 7")
    try:
        await send(dispatcher, *map(delta, "abc"))
    finally:
        CALLER.reset(token)
    assert seen == [(letter, True, "request 7") for letter in "abc"]


async def test_the_loop_goes_on_while_a_thread_works(dispatcher: Dispatcher) -> None:
    released = threading.Event()
    dispatcher.on(TEXT, thread=True)(lambda _: released.wait(5))
    sending = asyncio.create_task(send(dispatcher, delta("a")))
    await turns()
    assert not sending.done()
    released.set()
    await sending


async def test_an_error_in_a_thread_reaches_the_caller(dispatcher: Dispatcher) -> None:
    dispatcher.on(TEXT, thread=True)(failing(error := Oops()))
    with pytest.raises(Oops) as caught:
        await send(dispatcher, delta("a"))
    assert caught.value is error


async def cancel_task(task: "asyncio.Task[Any]", _: anyio.CancelScope) -> None:
    task.cancel()


async def cancel_scope(_: "asyncio.Task[Any]", scope: anyio.CancelScope) -> None:
    scope.cancel()


@pytest.mark.parametrize("cancel", [cancel_task, cancel_scope])
@pytest.mark.parametrize("lane", [None, Lane()], ids=["inline", "lane"])
async def test_a_cancelled_run_waits_for_the_call_that_is_under_way_in_a_thread(
    dispatcher: Dispatcher, cancel: Callable[..., Any], lane: Lane | None
) -> None:
    entered, released, finished = threading.Event(), threading.Event(), threading.Event()

    def work(event: OutputTextDelta) -> None:
        entered.set()
        released.wait(5)
        finished.set()

    options: dict[str, Any] = {"lane": lane} if lane else {}
    dispatcher.on(TEXT, thread=True, **options)(work)
    scope = anyio.CancelScope()

    async def stream() -> None:
        with scope:
            async with StreamRun(ScriptedSource(stream_of("ab"), None)) as run:
                await run.dispatch(dispatcher)

    streaming = asyncio.create_task(stream())
    await asyncio.to_thread(entered.wait, 5)
    await cancel(streaming, scope)
    await turns()
    assert not streaming.done()
    released.set()
    await asyncio.wait([streaming])
    assert finished.is_set()


def test_an_async_function_is_refused_for_a_thread(dispatcher: Dispatcher) -> None:
    async def handler(event: OutputTextDelta) -> None: ...

    with pytest.raises(UsageError, match=r"handler .* is async: thread=True"):
        dispatcher.on(TEXT, thread=True)(handler)


async def test_once_in_a_thread_is_once(dispatcher: Dispatcher) -> None:
    seen: list[str] = []
    dispatcher.once(TEXT, thread=True)(lambda event: seen.append(event.delta))
    await send(dispatcher, *map(delta, "abc"))
    assert seen == ["a"]


class Threaded(StreamHandler):
    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    @on(TEXT, thread=True, lane=Lane())
    def record(self, event: OutputTextDelta) -> None:
        self.threads.append(threading.current_thread())


async def test_a_method_may_be_called_in_a_thread_by_a_lane(dispatcher: Dispatcher) -> None:
    handler = Threaded()
    dispatcher.include(handler)
    await send(dispatcher, delta("a"))
    assert handler.threads not in ([], [threading.main_thread()])


# Figures


async def test_the_time_of_handlers_is_counted_and_the_longest_is_named(dispatcher: Dispatcher, clock: Clock) -> None:
    dispatcher.on(TEXT)(Blocking(clock).at_once)
    dispatcher.on(TEXT)(Waiting(clock).for_others)
    dispatcher.on(TEXT, lane=Lane())(Blocking(clock).without_an_await)
    dispatcher.on(TEXT)(lambda _: None)
    stats = RunStats()
    deliveries = Deliveries(dispatcher.table(), StillRun(), stats=stats, max_blocking_seconds=60, stop=lambda _: None)
    await deliveries.deliver(delta("a"))
    await deliveries.drain()
    assert stats.longest_handler == f"{__name__}.Waiting.for_others"
    assert stats.longest_handler_seconds >= 2 * LONG
    assert stats.handler_seconds >= 4 * LONG


async def test_a_handler_of_the_end_that_blocks_is_told_before_closed(dispatcher: Dispatcher) -> None:
    told: list[type] = []
    dispatcher.on_completed(lambda _: time.sleep(0.002))
    dispatcher.on(HandlerBlocked, Closed)(lambda notice: told.append(type(notice)))
    async with StreamRun(ScriptedSource(*HELLO), limits=Limits(max_blocking_seconds=0.001)) as run:
        await run.dispatch(dispatcher)
    assert told == [HandlerBlocked, Closed]


async def test_what_turns_out_to_be_async_in_a_thread_is_a_usage_error(dispatcher: Dispatcher) -> None:
    with pytest.raises(UsageError, match="is async"):
        dispatcher.on(TEXT, thread=True)(Gate())
    dispatcher.on(TEXT, thread=True)(lambda _: asyncio.sleep(0))
    with pytest.raises(UsageError, match="is async"):
        await send(dispatcher, delta("a"))
