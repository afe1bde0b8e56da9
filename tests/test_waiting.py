"""Waiting for one event of a run."""

import asyncio
from typing import Any, get_args

import pytest

from streamkit import (
    Completed,
    Dispatcher,
    Lane,
    ResponseCancelledError,
    ResponseDisconnectedError,
    Run,
    StreamRun,
    UsageError,
)
from streamkit.backlog import WhenFull
from streamkit.errors import NoSuchEvent
from streamkit.events import Event, OutputTextDelta, ResponseCompleted, ResponseCreated
from tests.scripted import BEFORE_END, COMPLETED, CREATED, DELTAS, HELLO, ScriptedSource

pytestmark = pytest.mark.anyio


async def test_the_next_such_event_is_returned_and_the_run_goes_no_further() -> None:
    async with StreamRun(ScriptedSource(*HELLO)) as run:
        assert isinstance(await run.wait("response.created"), ResponseCreated)
        assert [(await run.wait(OutputTextDelta)).delta for _ in range(2)] == ["Hel", "lo"]
        assert run.text == "Hello"
        assert (await run.wait("response.completed")).response.output_text == "Hello"


async def test_a_condition_chooses_among_them() -> None:
    async with StreamRun(ScriptedSource(*HELLO)) as run:
        assert (await run.wait(OutputTextDelta, where=lambda event: "o" in event.delta)).delta == "lo"


async def test_what_does_not_come_in_time_is_a_timeout_and_the_run_goes_on() -> None:
    source = ScriptedSource(CREATED, None, *HELLO[1:])
    async with StreamRun(source) as run:
        with pytest.raises(TimeoutError):
            await run.wait("response.completed", timeout=0.005)
        assert isinstance(await run.wait("response.completed", timeout=None), ResponseCompleted)


@pytest.mark.parametrize(
    ("script", "error"), [(HELLO, NoSuchEvent), (BEFORE_END, ResponseDisconnectedError)], ids=["whole", "cut"]
)
async def test_what_never_comes_is_an_error(script: list[bytes], error: type[Exception]) -> None:
    async with StreamRun(ScriptedSource(*script)) as run:
        for _ in range(2):
            with pytest.raises(error):
                await run.wait("response.failed")


async def test_cancelling_the_run_ends_the_wait() -> None:
    source = ScriptedSource(CREATED, None)
    async with StreamRun(source) as run:
        waiting = asyncio.create_task(run.wait("response.completed"))
        await source.reading.wait()
        run.cancel()
        with pytest.raises(ResponseCancelledError):
            await waiting


@pytest.mark.parametrize(
    ("selector", "options", "message"),
    [
        ("response.complete", {}, "did you mean 'response.completed'"),
        (Completed, {}, "does not come among the events"),
        (ResponseCompleted, {"timout": 3}, r"run.wait\(...\) has no option 'timout'.*'timeout'"),
        (ResponseCompleted, {"max_events": 3}, r"run.wait\(...\) has no option 'max_events'"),
    ],
)
async def test_what_makes_no_sense_is_a_usage_error(selector: Any, options: dict[str, Any], message: str) -> None:
    async with StreamRun(ScriptedSource(*HELLO)) as run:
        with pytest.raises(UsageError, match=message):
            await run.wait(selector, **options)


async def test_another_task_may_wait_while_one_dispatches() -> None:
    async with StreamRun(ScriptedSource(*HELLO)) as run, asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(run.wait(OutputTextDelta)), tasks.create_task(run.wait(ResponseCompleted))]
        await asyncio.sleep(0)
        await run.dispatch(Dispatcher())
        assert [type(await task) for task in waiting] == [OutputTextDelta, ResponseCompleted]


async def test_a_handler_in_a_lane_may_wait_for_its_run() -> None:
    found: list[str] = []

    async def ask(_: ResponseCreated, run: Run) -> None:
        assert isinstance(run, StreamRun)
        completed = await run.wait("response.completed")
        found.append(completed.response.output_text)

    async with StreamRun(ScriptedSource(*HELLO)) as run:
        run.on(ResponseCreated, lane=Lane())(ask)
        await run.dispatch(Dispatcher())
    assert found == ["Hello"]


@pytest.mark.parametrize("when_full", get_args(WhenFull))
async def test_a_handler_in_a_full_lane_may_wait_for_its_run(when_full: WhenFull) -> None:
    waited: list[Event] = []

    async def wait(_: Event, run: Run) -> None:
        assert isinstance(run, StreamRun)
        if not waited:
            waited.append(await run.wait("response.completed"))

    deltas = [delta for delta in DELTAS for _ in range(10)]
    async with StreamRun(ScriptedSource(*BEFORE_END[:3], *deltas, COMPLETED)) as run:
        dispatcher = Dispatcher()
        dispatcher.on(Event, lane=Lane(max_events=2, when_full=when_full))(wait)
        await run.dispatch(dispatcher)
    assert [event.type for event in waited] == ["response.completed"]


async def test_a_handler_in_a_lane_does_not_drive_its_run() -> None:
    async def wait(_: Event, run: Run) -> None:
        assert isinstance(run, StreamRun)
        await run.outcome()

    async with StreamRun(ScriptedSource(*HELLO)) as run:
        run.on(Event, lane=Lane(max_events=1))(wait)
        types = []
        async for event in run:
            types.append(event.type)
            await asyncio.sleep(0)
    assert types[-1] == "response.completed"
