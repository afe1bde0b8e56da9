"""Who drives a run, and when: one task at a time, for everybody who listens."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit import (
    Cancelled,
    Closed,
    Completed,
    Disconnected,
    Dispatcher,
    Lane,
    Outcome,
    ResponseCancelledError,
    ResponseDisconnectedError,
    Run,
    StreamRun,
    Timeouts,
    UsageError,
    on,
)
from streamkit.codec import decode_strictly
from streamkit.errors import HandlerCancelled
from streamkit.events import DeltaEvent, Event, OutputTextDelta, ResponseCompleted
from streamkit.iteration import EventIterator
from streamkit.stream import EventStream
from tests.scripted import ADDED, BEFORE_END, COMPLETED, CREATED, DELTAS, HELLO, PART, ScriptedSource, frame

pytestmark = pytest.mark.anyio


async def iterate(run: StreamRun) -> None:
    async for _ in run:
        pass


WAYS: list[Callable[[StreamRun], Awaitable[Any]]] = [
    StreamRun.outcome,
    iterate,
    lambda run: run.wait("response.completed"),
    lambda run: run.dispatch(Dispatcher()),
]


def texts(run: StreamRun) -> Coroutine[Any, Any, list[str]]:
    """Listen from now on, and give what was heard when the run has ended."""
    events = run.events(OutputTextDelta)

    async def listen() -> list[str]:
        return [event.delta async for event in events]

    return listen()


@pytest.mark.parametrize("second", WAYS)
@pytest.mark.parametrize("first", WAYS[:3])
async def test_who_comes_second_shares(first: Callable[[StreamRun], Any], second: Callable[[StreamRun], Any]) -> None:
    going_on = asyncio.Event()
    source = ScriptedSource(CREATED, going_on, *HELLO[1:])
    async with StreamRun(source) as run, asyncio.TaskGroup() as tasks:
        tasks.create_task(first(run))
        await source.reading.wait()
        tasks.create_task(second(run))
        await asyncio.sleep(0)
        going_on.set()
        assert isinstance(await run.outcome(), Completed)
    assert source.opened_count == source.closed_count == 1


async def test_a_second_dispatch_is_refused_and_the_first_goes_on() -> None:
    going_on = asyncio.Event()
    source = ScriptedSource(CREATED, going_on, *HELLO[1:])
    async with StreamRun(source) as run:
        driving = asyncio.create_task(run.dispatch(Dispatcher()))
        await source.reading.wait()
        with pytest.raises(UsageError, match="dispatching already"):
            await run.dispatch(Dispatcher())
        going_on.set()
        assert (await driving).output_text == "Hello"


@pytest.mark.parametrize("way", [*WAYS, StreamRun.opened])
async def test_an_inline_handler_cannot_wait_for_its_own_run(way: Callable[[StreamRun], Awaitable[Any]]) -> None:
    seen: list[Event] = []
    refused: list[UsageError] = []
    asked_at_the_end = way is not WAYS[2]

    @on(Event)
    async def take(event: Event, run: Run) -> None:
        assert isinstance(run, StreamRun)
        seen.append(event)
        if asked_at_the_end or not isinstance(event, ResponseCompleted):
            try:
                await way(run)
            except UsageError as error:
                refused.append(error)

    async with StreamRun(ScriptedSource(b"".join(HELLO))) as run:
        await run.dispatch(take)
    assert len(seen) == len(HELLO)
    # What is there already need not be waited for: the answer, and at the last event the end.
    assert len(refused) == (0 if way is StreamRun.opened else len(HELLO) - 1)


async def test_a_second_task_does_not_stop_the_clocks_of_the_first() -> None:
    source = ScriptedSource(on_open=None)
    async with StreamRun(source, timeouts=Timeouts(first_event=0.03)) as run:
        driving = asyncio.create_task(run.outcome())
        await source.reading.wait()
        assert isinstance(await run.outcome(), Disconnected)
        assert isinstance(await driving, Disconnected)
        assert run.stats.attempts == 1


async def test_every_task_that_waits_for_the_answer_gets_it_while_another_drives_on() -> None:
    answered = asyncio.Event()
    source = ScriptedSource(CREATED, None, on_open=answered)
    async with StreamRun(source) as run, asyncio.TaskGroup() as tasks:
        driving = tasks.create_task(run.outcome())
        opened = [tasks.create_task(run.opened()) for _ in range(3)]
        await source.reading.wait()
        answered.set()
        assert len({id(await task) for task in opened}) == 1
        assert not driving.done()
        run.cancel()


async def test_who_waited_for_the_answer_hands_the_turn_on() -> None:
    answered = asyncio.Event()
    source = ScriptedSource(*HELLO, on_open=answered)
    async with StreamRun(source) as run, asyncio.TaskGroup() as tasks:
        opened = [tasks.create_task(run.opened()) for _ in range(2)]
        await source.reading.wait()
        reading = [tasks.create_task(texts(run)) for _ in range(2)]
        await asyncio.sleep(0)
        answered.set()
        assert [await task for task in reading] == [["Hel", "lo"]] * 2
        assert all([await task for task in opened])


@pytest.mark.parametrize("position", range(3))
async def test_a_task_that_is_cancelled_leaves_the_driving_to_another(position: int) -> None:
    going_on = asyncio.Event()
    source = ScriptedSource(*HELLO[:4], going_on, *HELLO[4:])
    async with StreamRun(source) as run:
        tasks = [asyncio.create_task(texts(run)) for _ in range(3)]
        await source.reading.wait()
        tasks[position].cancel()
        await asyncio.sleep(0)
        going_on.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
    cancelled = found.pop(position)
    assert isinstance(cancelled, asyncio.CancelledError)
    assert found == [["Hel", "lo"]] * 2
    assert source.opened_count == 1


async def test_a_wait_that_is_given_up_while_it_drives_loses_nothing_for_anybody() -> None:
    # A read that is given up uses one wait up.
    source = ScriptedSource(*HELLO[:4], None, None, None, *HELLO[4:])
    async with StreamRun(source) as run:
        events = run.events(OutputTextDelta, DeltaEvent)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await run.wait("response.completed", timeout=0.005)
        assert [event.delta async for event in events] == ["Hel", "lo"]


async def test_a_wait_leaves_the_driving_to_a_task_that_dispatches_and_is_given_up_without_its_handlers() -> None:
    going_on, entered, released = asyncio.Event(), asyncio.Event(), asyncio.Event()
    heard: list[str] = []
    dispatcher = Dispatcher()

    @dispatcher.on(OutputTextDelta)
    async def slow(event: OutputTextDelta) -> None:
        entered.set()
        await released.wait()
        heard.append(event.delta)

    source = ScriptedSource(CREATED, going_on, *HELLO[1:])
    async with StreamRun(source) as run:
        waiting = asyncio.create_task(run.wait("response.failed"))
        await source.reading.wait()
        dispatching = asyncio.create_task(run.dispatch(dispatcher))
        await asyncio.sleep(0)
        going_on.set()
        await entered.wait()
        waiting.cancel()
        await asyncio.wait([waiting])
        released.set()
        await dispatching
    assert heard == ["Hel", "lo"]


async def test_a_consumer_that_is_slow_leaves_the_driving_to_another() -> None:
    async with StreamRun(ScriptedSource(*HELLO)) as run:
        slow = run.events(OutputTextDelta)
        assert (await anext(slow)).delta == "Hel"
        others = [asyncio.create_task(texts(run)), asyncio.create_task(run.outcome())]
        assert await others[0] == ["lo"]
        assert isinstance(await others[1], Completed)
        assert [event.delta async for event in slow] == ["lo"]


async def test_handlers_and_lanes_are_called_whoever_drives() -> None:
    called: list[tuple[str, str]] = []
    async with StreamRun(ScriptedSource(*HELLO)) as run, asyncio.TaskGroup() as tasks:
        run.on(OutputTextDelta)(lambda event: called.append(("inline", event.delta)))
        run.on(OutputTextDelta, lane=Lane())(lambda event: called.append(("lane", event.delta)))
        reading = [tasks.create_task(texts(run)) for _ in range(2)]
        assert [await task for task in reading] == [["Hel", "lo"]] * 2
        await run.outcome()
    for where in ("inline", "lane"):
        assert [text for place, text in called if place == where] == ["Hel", "lo"]


async def test_one_that_dispatches_and_others_that_iterate() -> None:
    seen: list[str] = []
    dispatcher = Dispatcher()
    dispatcher.on(OutputTextDelta)(lambda event: seen.append(event.delta))
    async with StreamRun(ScriptedSource(*HELLO)) as run, asyncio.TaskGroup() as tasks:
        reading = [tasks.create_task(texts(run)) for _ in range(2)]
        response = await run.dispatch(dispatcher)
        assert [await task for task in reading] == [[*seen]] * 2
    assert response.output_text == "Hello"
    assert seen == ["Hel", "lo"]


async def test_a_handler_that_fails_ends_all_iterations() -> None:
    boom = ValueError("boom")

    def fail(_: object) -> None:
        raise boom

    async with StreamRun(ScriptedSource(*HELLO)) as run:
        run.on(OutputTextDelta)(fail)
        found = await asyncio.gather(*(texts(run) for _ in range(3)), return_exceptions=True)
    assert found.count(boom) == 1
    others = [error for error in found if isinstance(error, ResponseCancelledError)]
    assert len(others) == 2
    assert {error.__cause__ for error in others} == {boom}


async def test_the_end_that_is_no_completion_is_raised_in_every_task() -> None:
    async with StreamRun(ScriptedSource(*BEFORE_END)) as run:
        found = await asyncio.gather(*(texts(run) for _ in range(3)), return_exceptions=True)
        assert [type(error) for error in found] == [ResponseDisconnectedError] * 3


@pytest.mark.parametrize("driver", [StreamRun.outcome, texts])
async def test_a_cancelled_run_delivers_nothing_more_not_even_what_waited(driver: Callable[..., Any]) -> None:
    source = ScriptedSource(*BEFORE_END[:3], *DELTAS * 20, COMPLETED)
    async with StreamRun(source) as run:
        full = run.events(OutputTextDelta, max_events=2)
        called: list[object] = []
        second = asyncio.Event()
        run.on(OutputTextDelta)(called.append)
        run.on(OutputTextDelta, where=lambda event: event.delta == "lo")(lambda _: second.set())
        driving = asyncio.create_task(driver(run))
        await second.wait()
        await asyncio.sleep(0)
        run.cancel()
        with suppress(ResponseCancelledError):
            assert isinstance(await driving, Cancelled)
        with pytest.raises(ResponseCancelledError):
            await anext(full)
    assert len(called) == 2


async def test_a_run_that_waits_for_a_lane_and_is_cancelled_calls_no_more_handlers() -> None:
    called: list[str] = []
    working = asyncio.Event()

    async def work(_: object) -> None:
        working.set()
        await asyncio.Event().wait()

    async with StreamRun(ScriptedSource(*BEFORE_END, *DELTAS * 5, COMPLETED)) as run:
        run.on(OutputTextDelta, lane=Lane(max_events=1))(work)
        run.on(OutputTextDelta)(lambda event: called.append(event.delta))
        driving = asyncio.create_task(run.outcome())
        await working.wait()
        await asyncio.sleep(0)
        before = len(called)
        run.cancel()
        assert isinstance(await driving, Cancelled)
    assert len(called) == before


async def test_strict_decoding_that_ends_a_run_leaves_nobody_waiting() -> None:
    broken = frame("response.output_text.delta", delta=5)
    async with StreamRun(ScriptedSource(CREATED, broken, None), decode=decode_strictly) as run:
        found = await asyncio.gather(run.outcome(), texts(run), return_exceptions=True)
    assert [type(result) for result in found] == [Disconnected, ResponseDisconnectedError]


async def test_a_handler_may_add_and_remove_handlers_in_the_middle_of_a_read() -> None:
    added: list[str] = []

    def add(_: object, run: Run) -> None:
        assert isinstance(run, StreamRun)
        run.on(OutputTextDelta)(add_text)
        run.once(OutputTextDelta)(lambda event: added.append(event.delta.upper()))

    def add_text(event: OutputTextDelta) -> None:
        added.append(event.delta)
        if len(added) == 3:
            run.off(add_text)

    script = [CREATED, ADDED, DELTAS[0], PART, *DELTAS, *DELTAS, COMPLETED]
    async with StreamRun(ScriptedSource(b"".join(script))) as run:
        run.on("response.content_part.added")(add)
        await run.outcome()
    # What came before is not delivered later; what follows is, although it came with the same bytes.
    assert added == ["Hel", "HEL", "lo"]
    assert run.text == "Hello"


Deltas = st.lists(st.text("ab", min_size=1, max_size=3), max_size=30)


@st.composite
def readers(draw: st.DrawFn) -> list[tuple[int, bool, list[int]]]:
    """How much may wait, whether a delta is merged when no more may, and when the reader lets others go on."""
    return draw(
        st.lists(st.tuples(st.integers(1, 8), st.booleans(), st.lists(st.integers(0, 2), max_size=8)), max_size=5)
    )


@settings(max_examples=60, deadline=None)
@given(Deltas, readers(), st.integers(1, 40), st.booleans())
def test_each_iterator_sees_exactly_its_events(
    deltas: list[str], plans: list[tuple[int, bool, list[int]]], chunk: int, with_dispatch: bool
) -> None:
    frames = [frame("response.output_text.delta", output_index=0, content_index=0, delta=delta) for delta in deltas]
    whole = [CREATED, ADDED, PART, *frames, frame("response.completed", response={"status": "completed"})]

    async def read(events: EventIterator[OutputTextDelta], pauses: list[int]) -> list[str]:
        found: list[str] = []
        async for event in events:
            found.append(event.delta)
            for _ in range(pauses[len(found) % len(pauses)] if pauses else 0):
                await asyncio.sleep(0)
        return found

    async def drive() -> None:
        source = ScriptedSource(*(b"".join(whole[start : start + chunk]) for start in range(0, len(whole), chunk)))
        async with StreamRun(source) as run, asyncio.TaskGroup() as tasks:
            reading = [
                tasks.create_task(
                    read(run.events(OutputTextDelta, max_events=room, when_full="merge" if merges else "wait"), pauses)
                )
                for room, merges, pauses in plans
            ]
            if with_dispatch:
                await run.dispatch(Dispatcher())
            for task, (_, merges, _) in zip(reading, plans, strict=True):
                assert "".join(await task) == "".join(deltas)
                assert merges or await task == deltas

    async def in_time() -> None:
        async with asyncio.timeout(10):
            await drive()

    asyncio.run(in_time())


async def test_a_handler_of_the_end_may_ask_for_the_outcome() -> None:
    told: list[str] = []

    @on(Completed)
    async def ask(outcome: Outcome, run: Run) -> None:
        assert isinstance(run, StreamRun)
        assert await run.outcome() is outcome
        told.append("asked")

    @on(Completed, Closed)
    def tell(delivery: object) -> None:
        told.append(type(delivery).__name__)

    async with StreamRun(ScriptedSource(*HELLO)) as run:
        await run.dispatch(ask, tell)
    assert told == ["asked", "Completed", "Closed"]


async def test_a_task_that_leaves_the_block_ends_what_another_drives() -> None:
    source = ScriptedSource(CREATED, None)
    async with StreamRun(source) as run:
        driving = asyncio.create_task(run.outcome())
        await source.reading.wait()
    assert isinstance(await driving, Cancelled)
    assert source.closed_count == 1


async def test_a_run_that_is_not_entered_may_be_entered_after_all() -> None:
    run = StreamRun(ScriptedSource(*HELLO))
    with pytest.raises(UsageError, match="async with"):
        await run.dispatch(Dispatcher())
    async with run:
        assert (await run.dispatch(Dispatcher())).output_text == "Hello"
    async with run:
        assert (await run.dispatch()).output_text == "Hello"


async def test_handlers_that_come_when_the_run_has_ended_are_refused_and_not_forgotten() -> None:
    async with StreamRun(ScriptedSource(*HELLO)) as run:
        async for _ in run:
            pass
        with pytest.raises(UsageError, match="the run has ended"):
            await run.dispatch(Dispatcher())
        for give in (run.on(Event), run.once(Event)):
            with pytest.raises(UsageError, match="the run has ended"):
                give(print)
        with pytest.raises(UsageError, match="the run has ended"):
            run.include(Dispatcher())
        assert (await run.dispatch()).output_text == "Hello"


async def test_handlers_that_are_slow_use_up_the_total_although_bytes_are_at_hand() -> None:
    @on("response.output_text.delta")
    async def slow(_: object) -> None:
        await asyncio.sleep(0.02)

    source = ScriptedSource(CREATED, ADDED, PART, *DELTAS * 50, COMPLETED)
    async with StreamRun(source, timeouts=Timeouts(total=0.05)) as run:
        with pytest.raises(ResponseDisconnectedError, match=r"Timeouts\.total"):
            await run.dispatch(slow)


RAISED = {
    KeyboardInterrupt: KeyboardInterrupt,
    SystemExit: SystemExit,
    asyncio.CancelledError: HandlerCancelled,
    GeneratorExit: GeneratorExit,
}


@pytest.mark.parametrize(("kind", "caught"), RAISED.items())
async def test_whatever_a_handler_raises_reaches_the_caller_of_a_run_that_is_closed(
    kind: type[BaseException], caught: type[BaseException]
) -> None:
    told: list[object] = []

    @on("response.created")
    def fail(_: object) -> None:
        raise kind

    @on(Closed)
    async def tell(closed: Closed) -> None:
        await asyncio.sleep(0)
        told.append(closed.outcome)

    source = ScriptedSource(*HELLO)
    async with StreamRun(source) as run:
        with pytest.raises(caught):
            await run.dispatch(fail, tell)
        assert source.closed_count == 1
    assert told == [await run.outcome()]


async def test_a_run_that_has_ended_does_not_keep_what_was_cut_off() -> None:
    source = ScriptedSource(CREATED, b"data: " + b"x" * 100_000)
    async with StreamRun(source) as run:
        with suppress(ResponseDisconnectedError):
            await run.dispatch(Dispatcher())
    assert isinstance(run._stream, EventStream)
    assert run._stream._reader is None
