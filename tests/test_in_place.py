"""Work in the place of a task that waits: as that task, in its context, and without waking it up."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from contextvars import ContextVar, copy_context
from functools import partial
from itertools import chain
from types import coroutine
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit import (
    Cancelled,
    Closed,
    Completed,
    Disconnected,
    Dispatcher,
    HandlerBlocked,
    HandlerFailed,
    Limits,
    Opened,
    ResponseCancelledError,
    Retry,
    Run,
    StreamRun,
    UnfinishedResponse,
    on,
)
from streamkit.codec import decode
from streamkit.errors import ConnectionLost
from streamkit.events import DeltaEvent, Event, OutputTextDelta, ResponseCompleted
from streamkit.in_place import Place, within
from streamkit.iteration import EventIterator
from streamkit.sse import Decoder
from tests.pushed import PushedSource
from tests.scripted import BEFORE_END, COMPLETED, CREATED, DELTAS, HELLO, frame
from tests.test_deferral import numbered
from tests.test_stream import Found

pytestmark = pytest.mark.anyio

VALUE: ContextVar[str] = ContextVar("VALUE", default="unset")


async def dispatch_until_cancelled(source: PushedSource, handler: Callable[..., object]) -> None:
    """Dispatch what comes before the end to a handler that cancels the run."""
    async with StreamRun(source) as run:
        driving = asyncio.create_task(run.dispatch(handler))
        for chunk in BEFORE_END:
            await source.push(chunk)
        with pytest.raises(ResponseCancelledError):
            await driving


async def in_a_callback(work: Callable[[], Any]) -> Any:
    """Do work where no task runs, as the loop's callbacks do."""
    done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(lambda: done.set_result(work()))
    return await done


def waiting_task() -> "asyncio.Task[Any]":
    return asyncio.create_task(asyncio.Event().wait())


class Work:
    """Remembers in what task and what context it was done, and what was kept instead."""

    def __init__(self) -> None:
        self.done: list[object] = []
        self.kept: list[int] = []

    def pass_on(self, given: int) -> bool:
        self.done.append((1 / given, asyncio.current_task(), VALUE.get()))
        return True

    def keep(self, given: int) -> None:
        self.kept.append(given)


async def test_work_is_done_as_the_task_and_in_the_context() -> None:
    context, task, work = copy_context(), waiting_task(), Work()
    context.run(VALUE.set, "the task's")
    assert await in_a_callback(lambda: Place(task, context, work).take(1))
    assert (work.done, work.kept) == ([(1.0, task, "the task's")], [])
    task.cancel()


async def test_where_a_task_runs_the_place_is_not_taken_and_nothing_is_lost() -> None:
    task, work = waiting_task(), Work()
    assert not Place(task, copy_context(), work).take(1)
    assert (work.done, work.kept) == ([], [1])
    task.cancel()


async def test_work_that_fails_leaves_the_place() -> None:
    task = waiting_task()
    place = Place(task, copy_context(), Work())

    def take() -> object:
        with pytest.raises(ZeroDivisionError):
            place.take(0)
        return asyncio.current_task()

    assert await in_a_callback(take) is None
    task.cancel()


async def test_within_a_context_what_is_set_stays_there_and_between_steps_others_can_be_in_it() -> None:
    context = copy_context()
    going_on = asyncio.Event()

    async def work() -> str:
        VALUE.set("from inside")
        await going_on.wait()
        return VALUE.get()

    task = asyncio.create_task(within(context, work()))
    await asyncio.sleep(0)
    context.run(VALUE.set, "from outside")
    going_on.set()
    assert await task == "from outside"
    assert VALUE.get() == "unset"


async def test_within_a_context_errors_cancellations_and_the_close_go_through() -> None:
    seen: list[str] = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        except BaseException as error:
            seen.append(f"{type(error).__name__} {VALUE.get()}")
            raise

    async def fails() -> None:
        raise ZeroDivisionError

    context = copy_context()
    context.run(VALUE.set, "inside")
    with anyio.move_on_after(0) as scope:
        await within(context, waits())
    assert scope.cancelled_caught
    with pytest.raises(ZeroDivisionError):
        await within(context, fails())
    closed = within(context, waits())
    closed.send(None)
    closed.close()
    assert seen == ["CancelledError inside", "GeneratorExit inside"]


class Counted:
    """Counts how often a coroutine goes on."""

    def __init__(self) -> None:
        self.steps = 0

    @coroutine
    def run(self, counted: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        resume: Callable[[], Any] = lambda: counted.send(None)  # noqa: E731
        while True:
            self.steps += 1
            try:
                yielded = resume()
            except StopIteration as stop:
                return stop.value
            yield yielded


async def count_steps(chunks: list[bytes]) -> int:
    source, counted, seen = PushedSource(), Counted(), list[Event]()
    # A handler that is slow, if only because the machine is, would be told of: by the task.
    run = StreamRun(source, limits=Limits(max_blocking_seconds=60))

    async def take(event: Event) -> None:
        seen.append(event)

    run.on(Event)(take)
    run.on(OutputTextDelta)(seen.append)
    async with run:
        driving = asyncio.create_task(counted.run(run.dispatch(Dispatcher())))
        for chunk in chunks:
            await source.push(chunk)
        await source.end()
        await driving
    assert len(seen) > len(chunks)
    return counted.steps


async def test_a_task_that_waits_is_not_woken_by_events() -> None:
    few, many = [[*BEFORE_END * times, COMPLETED] for times in (1, 40)]
    assert await count_steps(few) == await count_steps(many)


async def test_handlers_run_as_the_task_that_dispatches() -> None:
    source, tasks = PushedSource(), set[object]()

    async def take(_: object) -> None:
        tasks.add(asyncio.current_task())
        # Both ask for the current task, and tell it to stop.
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
        with anyio.move_on_after(0) as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught

    async with StreamRun(source) as run:
        run.on(Event, Closed)(take)
        driving = asyncio.create_task(run.outcome())
        for chunk in HELLO:
            await source.push(chunk)
        await source.end()
        await driving
    assert tasks == {driving}
    assert driving.cancelling() == 0


@pytest.mark.parametrize("suspends", [False, True])
async def test_handlers_see_the_callers_context_and_what_others_set_and_the_caller_does_not(suspends: bool) -> None:
    source, seen = PushedSource(), list[str]()

    async def take(_: object) -> None:
        seen.append(VALUE.get())
        VALUE.set(f"set {len(seen)}")
        if suspends:
            await asyncio.sleep(0)

    async def dispatch() -> None:
        VALUE.set("the caller's")
        async with StreamRun(source) as run:
            run.on(Event, Closed)(take)
            await run.dispatch()
        assert VALUE.get() == "the caller's"

    driving = asyncio.create_task(dispatch())
    for chunk in (CREATED, COMPLETED):
        await source.push(chunk)
    await source.end()
    await driving
    assert seen == ["the caller's", "set 1", "set 2"]


async def test_a_run_in_a_handler_of_another_run() -> None:
    outer, inner, texts = PushedSource(), PushedSource(), list[str]()

    async def run_another(_: object) -> None:
        async with StreamRun(inner) as run:
            run.on(OutputTextDelta)(lambda event: texts.append(f"inner {event.delta}"))
            await run.dispatch()

    async with StreamRun(outer) as run:
        run.on("response.content_part.added")(run_another)
        run.on(OutputTextDelta)(lambda event: texts.append(f"outer {event.delta}"))
        driving = asyncio.create_task(run.outcome())
        pushing = asyncio.create_task(outer.push(b"".join(HELLO)))
        for chunk in HELLO:
            await inner.push(chunk)
        await inner.end()
        await pushing
        await outer.end()
        await driving
    assert texts == ["inner Hel", "inner lo", "outer Hel", "outer lo"]


async def test_a_handler_of_the_last_event_may_ask_for_the_outcome_and_what_still_comes_is_late() -> None:
    source, told = PushedSource(), list[str]()

    @on(Event)
    async def take(event: Event, run: Run) -> None:
        assert isinstance(run, StreamRun)
        told.append(event.type)
        if isinstance(event, ResponseCompleted):
            told.append(type(await run.outcome()).__name__)

    async with StreamRun(source) as run:
        driving = asyncio.create_task(run.dispatch(take))
        await source.push(b"".join(HELLO))
        await source.push(CREATED)
        await source.end()
        await driving
        assert run.late_frames == 1
    assert told[-2:] == ["response.completed", "Completed"]


@pytest.mark.parametrize("error", [None, ConnectionLost("cut")])
async def test_a_run_that_is_cancelled_just_when_its_bytes_end_keeps_what_came(error: Exception | None) -> None:
    source = PushedSource()
    async with asyncio.timeout(10), StreamRun(source, retry=Retry(), restart=True) as run:
        driving = asyncio.create_task(run.outcome())
        await source.push(b"".join(BEFORE_END))
        await source.end(error)
        asyncio.get_running_loop().call_soon(run.cancel)
        assert isinstance(await driving, Cancelled)
        assert run.text == "Hello"
        assert run.stats.restarts == 0


async def asks_for_the_outcome(_: object, run: Run) -> None:
    assert isinstance(run, StreamRun)
    await run.outcome()


async def leaves_the_block(_: object, run: Run) -> None:
    assert isinstance(run, StreamRun)
    await run.__aexit__(None, None, None)


async def has_another_task_leave_the_block(_: object, run: Run) -> None:
    assert isinstance(run, StreamRun)
    await asyncio.create_task(run.__aexit__(None, None, None))


End = Callable[[object, Run], Awaitable[None]]
ENDS: list[End] = [asks_for_the_outcome, leaves_the_block, has_another_task_leave_the_block]


@pytest.mark.parametrize("end", ENDS)
async def test_behind_a_handler_that_has_the_run_closed_others_are_given_the_run(end: End) -> None:
    source, given_to = PushedSource(), list[Run]()

    @on(ResponseCompleted)
    async def take(_: object, run: Run) -> None:
        given_to.append(run)

    async with StreamRun(source) as run:
        driving = asyncio.create_task(run.dispatch(on(ResponseCompleted)(end), take))
        await source.push(b"".join(HELLO))
        await driving
    assert given_to == [run]


@pytest.mark.parametrize("end", ENDS)
async def test_what_a_handler_raises_that_has_had_the_run_closed_is_faced_as_ever(end: End) -> None:
    source, told = PushedSource(), list[object]()

    @on(ResponseCompleted)
    async def fail(event: object, run: Run) -> None:
        await end(event, run)
        raise Broke

    @on(HandlerFailed)
    def forgive(failed: HandlerFailed, run: Run) -> bool:
        told.extend([type(failed.error), run])
        return True

    async with StreamRun(source) as run:
        driving = asyncio.create_task(run.dispatch(fail, forgive))
        await source.push(b"".join(HELLO))
        await driving
    assert told == [Broke, run]


async def test_a_handler_that_cancels_the_run_does_not_cancel_its_task() -> None:
    source, cancelling = PushedSource(), list[int]()

    @on(DeltaEvent)
    async def stop(_: object, run: Run) -> None:
        task = asyncio.current_task()
        assert task is not None
        run.cancel()
        cancelling.append(task.cancelling())
        await asyncio.sleep(0)
        cancelling.append(task.cancelling())

    await dispatch_until_cancelled(source, stop)
    assert cancelling == [0, 0]
    assert source.open_count == 0


@pytest.mark.parametrize("delta", ["Hel", "lo"])
async def test_a_run_that_a_handler_cancels_ends_though_nothing_follows(delta: str) -> None:
    source = PushedSource()

    @on(OutputTextDelta)
    def stop(event: OutputTextDelta, run: Run) -> None:
        if event.delta == delta:
            run.cancel()

    async with asyncio.timeout(10), StreamRun(source) as run:
        driving = asyncio.create_task(run.dispatch(stop))
        for chunk in BEFORE_END[: 4 + ("Hel", "lo").index(delta)]:
            await source.push(chunk)
        with pytest.raises(ResponseCancelledError):
            await driving


async def test_an_event_that_comes_again_alone_after_a_reconnection_is_told_once() -> None:
    source, told, answers = PushedSource(), list[str](), asyncio.Queue[Opened]()
    events = numbered(3)

    @on(OutputTextDelta)
    def note(event: OutputTextDelta) -> None:
        told.append(event.delta)

    @on(Opened)
    def answered(opened: Opened) -> None:
        answers.put_nowait(opened)

    async with asyncio.timeout(10), StreamRun(source, background=Found(), retry=Retry(first_delay=0)) as run:
        driving = asyncio.create_task(run.dispatch(note, answered))
        for event in events[:5]:
            await source.push(event)
        await answers.get()
        await source.end(ConnectionLost("cut"))
        await answers.get()
        for event in events[3:]:
            await source.push(event)
        await source.end()
        await driving
    assert told == ["0 ", "1 ", "2 "]
    assert run.stats.events == len(events)


async def test_after_a_handler_has_cancelled_the_run_none_is_told_of_what_came_in_the_same_read() -> None:
    source, told = PushedSource(), list[str]()

    @on(DeltaEvent)
    async def stop(event: DeltaEvent, run: Run) -> None:
        told.append(event.delta)
        run.cancel()

    async with StreamRun(source) as run:
        dispatching = asyncio.create_task(run.dispatch(stop))
        await source.push(CREATED)
        await source.push(b"".join(DELTAS))
        with pytest.raises(ResponseCancelledError):
            await dispatching
    assert len(told) == 1


async def test_a_run_that_is_cancelled_while_a_handler_waits_lets_it_finish() -> None:
    source, finished = PushedSource(), list[bool]()

    @on(DeltaEvent)
    async def wait(_: object, run: Run) -> None:
        # Before the task that dispatches has been woken up for it.
        asyncio.get_running_loop().call_soon(run.cancel)
        await asyncio.sleep(0.01)
        finished.append(True)

    await dispatch_until_cancelled(source, wait)
    assert finished == [True]


async def test_a_task_that_is_cancelled_in_the_step_in_which_a_handler_begins_to_wait_cancels_the_handler() -> None:
    source, raised = PushedSource(), list[object]()

    @on(DeltaEvent)
    async def wait(_: object) -> None:
        driving.cancel("enough")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            raised.extend(error.args)
            raise

    async with StreamRun(source) as run:
        driving = asyncio.create_task(run.dispatch(wait))
        for chunk in BEFORE_END:
            await source.push(chunk)
        with pytest.raises(asyncio.CancelledError):
            await driving
    assert raised == ["enough"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_stops_the_program_gets_through(error: type[BaseException]) -> None:
    @on(DeltaEvent)
    def stop(_: object) -> None:
        raise error

    async def dispatch() -> None:
        source = PushedSource()
        async with StreamRun(source) as run:
            driving = asyncio.create_task(run.dispatch(stop))
            for chunk in BEFORE_END:
                await source.push(chunk)
            await driving

    with pytest.raises(error):
        asyncio.run(dispatch())


class Broke(Exception):
    pass


async def fails_later() -> None:
    await asyncio.sleep(0)
    raise Broke


async def times_out() -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(0):
            await asyncio.Event().wait()


async def leaves_a_scope() -> None:
    with anyio.move_on_after(0):
        await anyio.sleep_forever()


async def cancels_the_run(run: StreamRun) -> None:
    run.cancel()
    await asyncio.sleep(0)


class Told:
    """What a handler was told, and what it does each time."""

    def __init__(self, does: dict[int, str]) -> None:
        self.names: list[str] = []
        self._does = does

    def __call__(self, delivery: object, run: Run) -> Awaitable[None] | None:
        assert isinstance(run, StreamRun)
        self.names.append(str(getattr(delivery, "delta", getattr(delivery, "type", type(delivery).__name__))))
        match self._does.get(len(self.names)):
            case "suspend":
                return asyncio.sleep(0)
            case "fail":
                raise Broke
            case "fail later":
                return fails_later()
            case "time out":
                return times_out()
            case "leave a scope":
                return leaves_a_scope()
            case "cancel":
                return cancels_the_run(run)
            case "add":
                run.once(Event)(lambda event: self.names.append(f"once {event.type}"))
            case "iterate":
                self.reading = asyncio.create_task(iterate_to_its_end(run))
            case _:
                pass
        return None


async def iterate_to_its_end(run: StreamRun) -> None:
    with suppress(UnfinishedResponse, Broke):
        async for _ in run:
            pass


async def told_of(source: PushedSource, chunks: list[list[bytes]], end: Exception | None, told: Told) -> object:
    """Push chunks, and return all that can be known of the run that read them."""

    async def push() -> None:
        for together in chunks:
            await source.push(*together)
        await source.end(end)

    async with asyncio.timeout(10), StreamRun(source, retry=None) as run:
        run.on(Event, Cancelled, Completed, Disconnected, Closed)(told)
        driving = asyncio.create_task(run.dispatch())
        await push()
        raised = (await asyncio.gather(driving, return_exceptions=True))[0]
        outcome, stats = await run.outcome(), run.stats
    names, added = told.names, list[str]()
    if hasattr(told, "reading"):
        await told.reading
        # Who iterates may tell of the end of a run that a handler cancelled while others are told of the event yet.
        added = [name for name in names if name.startswith("once")]
        names = [name for name in names if name not in added]
    assert source.open_count == 0
    assert driving.cancelling() == 0
    return names, added, type(raised), outcome.response, stats.events, stats.bytes, stats.keepalives


DOES = ["suspend", "fail", "fail later", "time out", "leave a scope", "cancel", "add", "iterate"]
BODIES = [HELLO, BEFORE_END, [CREATED, frame("keepalive"), b"data: what\n\n", *HELLO[1:], CREATED, b"data: [DONE]\n\n"]]


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_whether_a_source_tells_or_is_asked_everybody_is_told_the_same(data: st.DataObject) -> None:
    body = b"".join(data.draw(st.sampled_from(BODIES)))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(body) - 1), max_size=12)))
    chunks = [[body[start:end]] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    if data.draw(st.booleans()):
        chunks = [[*chain.from_iterable(chunks[at : at + 3])] for at in range(0, len(chunks), 3)]
    end = data.draw(st.sampled_from([None, ConnectionLost("cut")]))
    does = data.draw(st.dictionaries(st.integers(1, len(BEFORE_END)), st.sampled_from(DOES), max_size=4))

    async def found(tells: bool) -> object:
        return await told_of(PushedSource(tells=tells), chunks, end, Told(does))

    assert asyncio.run(found(True)) == asyncio.run(found(False))


async def test_handlers_of_several_runs_may_wait_for_the_same_future() -> None:
    sources, ready = [PushedSource() for _ in range(3)], asyncio.get_running_loop().create_future()
    waited: list[object] = []

    @on(DeltaEvent)
    async def wait(_: object) -> None:
        waited.append(await ready)

    async def dispatch(source: PushedSource) -> None:
        async with StreamRun(source) as run:
            await run.dispatch(wait)

    async with asyncio.TaskGroup() as tasks:
        for source in sources:
            tasks.create_task(dispatch(source))
        for chunk in BEFORE_END[:3]:
            await asyncio.gather(*(source.push(chunk) for source in sources))
        # In one round of the loop, before any of the tasks has been woken up.
        for source in sources:
            asyncio.get_running_loop().call_soon(partial(source.arrive, *DELTAS, COMPLETED))
        asyncio.get_running_loop().call_later(0.01, ready.set_result, "ready")
    assert waited == ["ready"] * 6


async def test_what_handlers_are_told_of_beside_events_is_told_before_more_comes() -> None:
    source, told = PushedSource(), asyncio.Event()
    async with asyncio.timeout(10), StreamRun(source, limits=Limits(max_blocking_seconds=1e-9)) as run:
        run.on(Event)(lambda _: None)
        run.on(HandlerBlocked)(lambda _: told.set())
        driving = asyncio.create_task(run.outcome())
        await source.push(CREATED)
        await told.wait()
        run.cancel()
        await driving


async def test_bytes_that_a_handler_has_arrive_come_after_those_that_it_was_called_for() -> None:
    source, pieces, told = PushedSource(), [*HELLO], list[str]()

    def pump(event: Event) -> None:
        if pieces:
            source.arrive(pieces.pop(0))
        told.append(event.type)

    async with StreamRun(source) as run:
        run.on(Event)(pump)
        driving = asyncio.create_task(run.outcome())
        await source.push(pieces.pop(0) + pieces.pop(0))
        await driving
    assert told == [decode(frame).type for frame in Decoder().feed(b"".join(HELLO))]


async def test_who_begins_to_iterate_in_a_handler_gets_what_follows_in_the_same_read() -> None:
    source, begun = PushedSource(), list[EventIterator[OutputTextDelta]]()

    @on(OutputTextDelta)
    async def begin(_: OutputTextDelta, run: Run) -> None:
        assert isinstance(run, StreamRun)
        if not begun:
            begun.append(run.events(OutputTextDelta))

    async with StreamRun(source) as run:
        driving = asyncio.create_task(run.dispatch(begin))
        await source.push(CREATED)
        await source.push(b"".join(BEFORE_END[1:]))
        await source.push(COMPLETED)
        await source.end()
        await driving
        assert [event.delta async for event in begun[0]] == ["lo"]


async def test_a_wait_that_a_handler_begins_in_place_ends_when_its_time_is_over() -> None:
    # The server never closes, and the handler has the run closed by asking how it ended.
    source, outcomes = PushedSource(), list[object]()

    @on(ResponseCompleted)
    async def ask(_: ResponseCompleted, run: Run) -> None:
        assert isinstance(run, StreamRun)
        outcomes.append(await run.outcome())

    async with asyncio.timeout(10), StreamRun(source) as run:
        driving = asyncio.create_task(run.dispatch(ask))
        for chunk in (*BEFORE_END, COMPLETED):
            await source.push(chunk)
        await driving
    assert [type(outcome) for outcome in outcomes] == [Completed]
