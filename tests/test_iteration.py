"""A run as an iterator: which events it gives, and how it ends."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from streamkit import Completed, ResponseDisconnectedError, StreamRun, UsageError
from streamkit.events import DeltaEvent, Event, ItemEvent, OutputTextDelta, RefusalDelta, ResponseCreated
from streamkit.iteration import EventIterator, EventsOf
from tests.scripted import BEFORE_END, HELLO, ScriptedSource

pytestmark = pytest.mark.anyio

CREATED = ResponseCreated.model_construct()
DELTA = OutputTextDelta(delta="a")
REFUSAL = RefusalDelta(delta="b")


class Feed:
    """Gives events one by one, then raises or says that there are no more; counts what is pulled."""

    def __init__(self, *events: Event, error: Exception | None = None) -> None:
        self.left = list(events)
        self.error = error

    async def pull(self) -> Event | None:
        if self.left:
            return self.left.pop(0)
        if self.error is not None:
            raise self.error
        return None


async def all_of(events: AsyncIterator[Event]) -> list[Event]:
    return [event async for event in events]


@pytest.mark.parametrize(
    ("selectors", "events"),
    [
        (["response.output_text.delta"], [DELTA, DELTA]),
        (["response.refusal.delta", ResponseCreated], [CREATED, REFUSAL]),
        ([DeltaEvent], [DELTA, REFUSAL, DELTA]),
        ([ItemEvent, OutputTextDelta], [DELTA, REFUSAL, DELTA]),
        ([Event], [CREATED, DELTA, REFUSAL, DELTA]),
        (["keepalive"], []),
    ],
)
async def test_the_events_that_are_selected_come_in_order(selectors: list[Any], events: list[Event]) -> None:
    feed = Feed(CREATED, DELTA, REFUSAL, DELTA)
    assert await all_of(EventsOf(feed.pull)(*selectors)) == events


@pytest.mark.parametrize(
    ("selectors", "message"),
    [
        ([], "name at least one event"),
        (["response.output_text.dleta"], r"did you mean 'response.output_text.delta'"),
        ([Completed], "Completed does not come among the events"),
    ],
)
def test_what_names_no_event_is_a_usage_error_at_once(selectors: list[Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        EventsOf(Feed().pull)(*selectors)


async def test_nothing_is_pulled_before_it_is_asked_for_and_leaving_early_loses_nothing() -> None:
    feed = Feed(CREATED, DELTA, REFUSAL, DELTA)
    iterator = EventsOf(feed.pull)(OutputTextDelta)
    assert len(feed.left) == 4
    async for _ in iterator:
        break
    assert feed.left == [REFUSAL, DELTA]
    assert await all_of(iterator) == [DELTA]


async def test_an_iterator_is_its_own_iterator_and_stays_at_its_end() -> None:
    iterator = EventIterator(Feed(DELTA).pull, (Event,))
    assert aiter(iterator) is iterator
    assert await all_of(iterator) == [DELTA]
    for _ in range(2):
        with pytest.raises(StopAsyncIteration):
            await anext(iterator)


async def test_an_error_of_the_run_ends_the_iteration_unchanged() -> None:
    error = ValueError("the run's own")
    iterator = EventIterator(Feed(DELTA, error=error).pull, (OutputTextDelta,))
    assert await anext(iterator) == DELTA
    for _ in range(2):
        with pytest.raises(ValueError, match="the run's own") as caught:
            await anext(iterator)
        assert caught.value is error


async def test_a_completed_run_ends_its_iteration_and_a_cut_one_raises() -> None:
    cut_off = ""
    async with StreamRun(ScriptedSource(*HELLO)) as run:
        texts = [event.delta async for event in run.events("response.output_text.delta")]
    async with StreamRun(ScriptedSource(*BEFORE_END)) as run:
        with pytest.raises(ResponseDisconnectedError):
            async for event in run.events(OutputTextDelta):
                cut_off += event.delta
    assert texts == ["Hel", "lo"]
    assert cut_off == "Hello"


async def test_iterations_of_one_run_share_its_events() -> None:
    async with StreamRun(ScriptedSource(*HELLO)) as run:
        first = await anext(run.events(OutputTextDelta))
        rest = [event.type async for event in run]
    assert first.delta == "Hel"
    assert rest == ["response.output_text.delta", "response.completed"]
