"""A run as iterators: which events each gives, what it keeps, and how it ends."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

import pytest

from streamkit import Completed, Opened, ResponseDisconnectedError, StreamRun, UsageError
from streamkit.events import DeltaEvent, Event, ItemEvent, OutputTextDelta, ResponseCompleted, ResponseEvent
from streamkit.outcome import EventsDropped
from tests.dispatch.support import failing
from tests.scripted import ADDED, BEFORE_END, COMPLETED, CREATED, DELTAS, HELLO, PART, ScriptedSource

pytestmark = pytest.mark.anyio

E = TypeVar("E")

NAMES = [
    "response.created",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.delta",
    "response.completed",
]
MANY = [CREATED, ADDED, PART, *DELTAS * 50, COMPLETED]


async def all_of(events: AsyncIterator[E]) -> list[E]:
    return [event async for event in events]


async def until(holds: Callable[[], bool]) -> None:
    """Let other tasks work until something holds that no event tells of."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0)


def names_of(events: Sequence[Event]) -> list[str]:
    return [event.type for event in events]


@pytest.mark.parametrize(
    ("selectors", "expected"),
    [
        (["response.output_text.delta"], NAMES[3:5]),
        (["response.completed", OutputTextDelta], NAMES[3:]),
        ([DeltaEvent], NAMES[3:5]),
        ([ItemEvent], NAMES[1:5]),
        ([ResponseEvent, OutputTextDelta], [NAMES[0], *NAMES[3:]]),
        ([Event], NAMES),
        (["keepalive"], []),
    ],
)
async def test_the_events_that_are_selected_come_in_order(selectors: list[Any], expected: list[str]) -> None:
    for source in (ScriptedSource(*HELLO), ScriptedSource(b"".join(HELLO))):
        async with StreamRun(source) as run:
            assert names_of(await all_of(run.events(*selectors))) == expected


async def test_a_notice_may_come_between_the_events() -> None:
    async with StreamRun(ScriptedSource(*HELLO)) as run:
        kinds = [type(event) async for event in run.events(ResponseCompleted, Opened)]
    assert kinds == [Opened, ResponseCompleted]


async def test_only_events_that_a_condition_accepts() -> None:
    async with StreamRun(ScriptedSource(*HELLO)) as run:
        events = run.events("response.output_text.delta", where=lambda event: event.delta == "lo")
        assert [event.delta async for event in events] == ["lo"]


WRONG: dict[str, tuple[list[Any], dict[str, Any], str]] = {
    "nothing": ([], {}, "name at least one event"),
    "a misspelt name": (["response.output_text.dleta"], {}, r"did you mean 'response.output_text.delta'"),
    "an outcome": ([Completed], {}, "Completed does not come among the events"),
    "a misspelt option": ([Event], {"max_event": 1}, r"run.events\(...\) has no option 'max_event'.*'max_events'"),
    "no room": ([Event], {"max_events": 0}, "max_events must be at least 1"),
    "no condition": ([Event], {"where": True}, "where must be a function of the event"),
    "no such way": ([Event], {"when_full": "burst"}, "when_full must be one of 'wait', 'merge', 'drop'"),
}


@pytest.mark.parametrize(("selectors", "options", "message"), WRONG.values(), ids=WRONG.keys())
async def test_what_makes_no_sense_is_a_usage_error_at_once(
    selectors: list[Any], options: dict[str, Any], message: str
) -> None:
    async with StreamRun(ScriptedSource(*HELLO)) as run:
        with pytest.raises(UsageError, match=message):
            run.events(*selectors, **options)


async def test_nothing_is_read_before_it_is_asked_for_and_leaving_early_loses_nothing() -> None:
    source = ScriptedSource(*HELLO)
    async with StreamRun(source) as run:
        events = run.events(OutputTextDelta)
        assert source.opened_count == 0
        async for event in events:
            assert event.delta == "Hel"
            break
        assert [event.delta for event in await all_of(events)] == ["lo"]


async def test_an_iterator_is_its_own_iterator_and_stays_at_its_end() -> None:
    async with StreamRun(ScriptedSource(*HELLO)) as run:
        events = run.events(OutputTextDelta)
        assert aiter(events) is events
        assert len(await all_of(events)) == 2
        for _ in range(2):
            with pytest.raises(StopAsyncIteration):
                await anext(events)


async def test_a_cut_stream_raises_behind_its_events_each_time_it_is_asked() -> None:
    async with StreamRun(ScriptedSource(*BEFORE_END)) as run:
        events = run.events(OutputTextDelta)
        assert [(await anext(events)).delta for _ in range(2)] == ["Hel", "lo"]
        for _ in range(2):
            with pytest.raises(ResponseDisconnectedError):
                await anext(events)


async def test_an_iterator_has_what_comes_from_the_moment_it_is_made() -> None:
    async with StreamRun(ScriptedSource(b"".join(HELLO))) as run:
        before = run.events(OutputTextDelta)
        assert (await anext(run.events(OutputTextDelta))).delta == "Hel"
        after = run.events(OutputTextDelta)
        await run.outcome()
        assert [event.delta for event in await all_of(before)] == ["Hel", "lo"]
        assert [event.delta for event in await all_of(after)] == ["lo"]


@pytest.mark.parametrize("ended", [False, True])
async def test_an_iterator_that_is_closed_gives_nothing_more_and_holds_nobody_up(ended: bool) -> None:
    async with StreamRun(ScriptedSource(*MANY)) as run:
        events = run.events(OutputTextDelta, max_events=200 if ended else 1)
        assert (await anext(events)).delta == "Hel"
        if ended:
            await run.outcome()
        await events.aclose()
        await events.aclose()
        assert await all_of(events) == []
        assert isinstance(await run.outcome(), Completed)


async def test_an_iterator_that_is_forgotten_holds_nobody_up() -> None:
    async with StreamRun(ScriptedSource(*MANY)) as run:
        async for _ in run.events(OutputTextDelta, max_events=1):
            break
        run.events(Event, max_events=1)
        gc.collect()
        assert isinstance(await run.outcome(), Completed)


async def test_an_iterator_may_be_found_forgotten_while_those_of_the_run_are_looked_through() -> None:
    thresholds = gc.get_threshold()
    async with StreamRun(ScriptedSource()) as run:
        _kept = [run.events(OutputTextDelta) for _ in range(30)]
        try:
            for moment in range(1, 40):
                gc.disable()
                gc.collect()
                forgotten: list[object] = [run.events(OutputTextDelta)]
                forgotten.append(forgotten)
                del forgotten
                gc.set_threshold(gc.get_count()[0] + moment)
                gc.enable()
                run._driver.note_dropped()
        finally:
            gc.set_threshold(*thresholds)
            gc.enable()


async def test_an_iterator_that_is_closed_while_the_run_waits_for_it_lets_the_run_go_on() -> None:
    async with StreamRun(ScriptedSource(*MANY)) as run:
        events = run.events(OutputTextDelta, max_events=1)
        driving = asyncio.create_task(run.outcome())
        await until(lambda: events._tap.backlog.must_wait)
        for _ in range(3):
            await asyncio.sleep(0)
        assert not driving.done()
        await events.aclose()
        assert isinstance(await driving, Completed)


async def test_closing_an_iterator_ends_the_wait_of_its_reader() -> None:
    source = ScriptedSource(CREATED, None)
    async with StreamRun(source) as run:
        driving = asyncio.create_task(run.outcome())
        events = run.events(OutputTextDelta)
        reading = asyncio.create_task(all_of(events))
        await source.reading.wait()
        await events.aclose()
        assert await reading == []
        run.cancel()
        await driving


@pytest.mark.parametrize(("when_full", "expected"), [("merge", "Hello" * 50), ("drop", "lo")])
async def test_what_does_not_wait_lets_the_run_go_on(when_full: Any, expected: str) -> None:
    async with StreamRun(ScriptedSource(*MANY)) as run:
        events = run.events(OutputTextDelta, max_events=1, when_full=when_full)
        await run.outcome()
        assert "".join([event.delta async for event in events]) == expected


async def test_what_an_iterator_drops_is_told() -> None:
    told: list[EventsDropped] = []
    async with StreamRun(ScriptedSource(*MANY)) as run:
        events = run.events(OutputTextDelta, when_full="drop", max_events=10)
        run.on(EventsDropped)(told.append)
        await run.outcome()
        assert len(await all_of(events)) == 10
    lane = "an iterator over OutputTextDelta"
    assert [(notice.lane, notice.events) for notice in told] == [(lane, len(MANY) - 4 - 10)]


async def test_a_full_iterator_makes_the_run_wait_until_it_is_read() -> None:
    async with StreamRun(ScriptedSource(*MANY)) as run:
        events = run.events(OutputTextDelta, max_events=4)
        driving = asyncio.create_task(run.outcome())
        most = 0
        async for _ in events:
            most = max(most, len(events._tap.backlog))
            await asyncio.sleep(0)
        assert isinstance(await driving, Completed)
    assert most <= 4


async def test_an_iterator_that_only_the_driving_task_could_read_is_a_usage_error() -> None:
    async with StreamRun(ScriptedSource(*MANY)) as run:
        events = run.events(OutputTextDelta, max_events=2)
        await anext(events)
        with pytest.raises(UsageError, match=r"aclose\(\) the iterators that are read no more"):
            await run.outcome()


async def test_an_iterator_whose_reader_is_done_holds_nobody_up_and_says_so_if_it_is_read() -> None:
    async with StreamRun(ScriptedSource(*MANY)) as run:
        events = run.events(OutputTextDelta, max_events=2)
        await asyncio.create_task(anext(events))
        assert isinstance(await run.outcome(), Completed)
        with pytest.raises(UsageError, match="the run went on without this iterator"):
            await all_of(events)


async def test_a_reader_that_fails_while_the_run_waits_for_it_lets_the_run_go_on() -> None:
    leave = asyncio.Event()

    async def fail(events: AsyncIterator[OutputTextDelta]) -> None:
        await anext(events)
        await leave.wait()
        raise ValueError("boom")

    async with StreamRun(ScriptedSource(*MANY)) as run:
        events = run.events(OutputTextDelta, max_events=1)
        reading = asyncio.create_task(fail(events))
        await asyncio.sleep(0)
        driving = asyncio.create_task(run.outcome())
        await until(lambda: events._tap.backlog.must_wait)
        leave.set()
        assert isinstance(await driving, Completed)
        with pytest.raises(ValueError, match="boom"):
            await reading


async def test_a_run_that_waits_long_for_an_iterator_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("streamkit.driving.WARN_AFTER_SECONDS", 0)
    async with StreamRun(ScriptedSource(*MANY)) as run:
        events = run.events(OutputTextDelta, max_events=1)
        driving = asyncio.create_task(run.outcome())
        with caplog.at_level(logging.WARNING, "streamkit.driving"):
            await until(lambda: bool(caplog.records))
        assert "a run waits for an iterator over OutputTextDelta" in caplog.text
        await events.aclose()
        await driving


async def test_a_condition_that_fails_ends_its_own_iterator_alone() -> None:
    boom = ValueError("boom")

    def fail(event: OutputTextDelta) -> bool:
        if event.delta == "lo":
            raise boom
        return True

    for read_by_another in (False, True):
        async with StreamRun(ScriptedSource(*HELLO)) as run:
            events = run.events(OutputTextDelta, where=fail)
            if read_by_another:
                assert isinstance(await run.outcome(), Completed)
            assert (await anext(events)).delta == "Hel"
            with pytest.raises(ValueError, match="boom") as caught:
                await anext(events)
            assert caught.value is boom
            assert isinstance(await run.outcome(), Completed)


async def test_tasks_that_read_one_iterator_share_its_events() -> None:
    async with StreamRun(ScriptedSource(*MANY)) as run:
        events = run.events(OutputTextDelta, max_events=3)
        reading = [asyncio.create_task(all_of(events)) for _ in range(3)]
        await run.outcome()
        assert sum([len(await task) for task in reading]) == 100


async def test_an_iteration_never_takes_the_error_of_a_handler_for_its_end() -> None:
    async with StreamRun(ScriptedSource(*HELLO)) as run:
        run.on(OutputTextDelta)(failing(StopAsyncIteration()))
        with pytest.raises(RuntimeError, match="raised StopAsyncIteration"):
            async for _ in run:
                pass
