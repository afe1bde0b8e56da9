"""Who may drive a run, and when: one at a time, and who comes second does no harm."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from streamkit import (
    Cancelled,
    Closed,
    Completed,
    Disconnected,
    Dispatcher,
    Outcome,
    ResponseDisconnectedError,
    Run,
    StreamRun,
    Timeouts,
    UsageError,
    on,
)
from streamkit.events import Event
from tests.scripted import ADDED, COMPLETED, CREATED, DELTAS, HELLO, PART, ScriptedSource

pytestmark = pytest.mark.anyio


async def iterate(run: StreamRun) -> None:
    async for _ in run:
        pass


SECOND: list[Callable[[StreamRun], Awaitable[Any]]] = [
    StreamRun.outcome,
    iterate,
    lambda run: run.dispatch(Dispatcher()),
]


@pytest.mark.parametrize("second", SECOND)
@pytest.mark.parametrize("first", SECOND)
async def test_who_comes_second_is_refused_and_the_first_goes_on(
    first: Callable[[StreamRun], Any], second: Callable[[StreamRun], Any]
) -> None:
    going_on = asyncio.Event()
    source = ScriptedSource(CREATED, going_on, *HELLO[1:])
    async with StreamRun(source) as run:
        driving = asyncio.create_task(first(run))
        await source.reading.wait()
        with pytest.raises(UsageError):
            await second(run)
        assert not driving.done()
        going_on.set()
        await driving
        assert isinstance(await run.outcome(), Completed)


async def test_events_of_a_dispatch_are_not_taken_from_its_handlers() -> None:
    seen: list[Event] = []
    refused: list[UsageError] = []

    @on(Event)
    async def take(event: Event, run: Run) -> None:
        assert isinstance(run, StreamRun)
        seen.append(event)
        for drive in SECOND:
            try:
                await drive(run)
            except UsageError as error:
                refused.append(error)

    async with StreamRun(ScriptedSource(b"".join(HELLO))) as run:
        await run.dispatch(take)
    assert len(seen) == len(HELLO)
    # At the last event the run has ended: that may be asked.
    assert len(refused) == 3 * len(HELLO) - 2


async def test_a_second_task_does_not_stop_the_clocks_of_the_first() -> None:
    source = ScriptedSource(on_open=None)
    async with StreamRun(source, timeouts=Timeouts(first_event=0.03)) as run:
        driving = asyncio.create_task(run.outcome())
        await source.reading.wait()
        with pytest.raises(UsageError):
            await run.outcome()
        assert isinstance(await driving, Disconnected)
        assert run.stats.attempts == 1


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
        assert (await run.dispatch(Dispatcher())).output_text == "Hello"


async def test_handlers_that_are_slow_use_up_the_total_although_bytes_are_at_hand() -> None:
    @on("response.output_text.delta")
    async def slow(_: object) -> None:
        await asyncio.sleep(0.02)

    source = ScriptedSource(CREATED, ADDED, PART, *DELTAS * 50, COMPLETED)
    async with StreamRun(source, timeouts=Timeouts(total=0.05)) as run:
        with pytest.raises(ResponseDisconnectedError, match=r"Timeouts\.total"):
            await run.dispatch(slow)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit])
async def test_whatever_a_handler_raises_reaches_the_caller_of_a_run_that_is_closed(kind: type[BaseException]) -> None:
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
        with pytest.raises(kind):
            await run.dispatch(fail, tell)
        assert source.closed_count == 1
    assert told == [await run.outcome()]


async def test_a_run_that_has_ended_does_not_keep_what_was_cut_off() -> None:
    source = ScriptedSource(CREATED, b"data: " + b"x" * 100_000)
    async with StreamRun(source) as run:
        with suppress(ResponseDisconnectedError):
            await run.dispatch(Dispatcher())
    assert run._stream._reader is None
