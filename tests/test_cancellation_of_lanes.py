"""A run with lanes, threads, middleware, a stage and iterators, cancelled at each of its suspensions."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from streamkit import Lane, Run, UnfinishedResponse
from streamkit.dispatch import CallNext
from streamkit.events import DeltaEvent, Event, OutputTextDelta
from streamkit.stages.smooth import smooth
from tests.dispatch.support import lane_tasks
from tests.test_cancellation import BY, ENOUGH, Driven, in_the_background, pause

pytestmark = pytest.mark.anyio


class FullyDriven(Driven):
    """One run through everything that may suspend."""

    def __init__(self) -> None:
        super().__init__(in_the_background(), stages=[smooth(by="word")])
        self.in_lane: list[int] = []
        self.iterated: list[str] = []
        self.dispatcher.middleware(self.around)
        self.dispatcher.on(Event, lane=Lane(max_events=2))(self.keep)
        self.dispatcher.on("response.created", lane=Lane(), thread=True)(lambda _: None)
        self.dispatcher.on(DeltaEvent, lane=Lane(concurrency=2, key="output_index", when_full="merge"))(
            lambda _: pause()
        )

    async def around(self, event: Event, _: Run[object], call_next: CallNext) -> None:
        await pause()
        await call_next(event)

    async def keep(self, event: Event) -> None:
        if event.sequence_number is not None:
            self.in_lane.append(event.sequence_number)
        await pause()

    async def iterate(self) -> None:
        with suppress(UnfinishedResponse):
            async for event in self.run.events(OutputTextDelta, max_events=1):
                self.iterated.append(event.delta)
                await pause()

    async def drive(self) -> None:
        reading = asyncio.create_task(self.iterate())
        await super().drive()
        await reading

    async def check_all(self) -> None:
        """Check that nothing is left, and that whoever listened heard each event at most once, in order."""
        outcome = await self.check()
        assert lane_tasks() == []
        assert self.in_lane == sorted(set(self.in_lane))
        assert outcome.response.output_text.startswith("".join(self.iterated))


@pytest.mark.parametrize("cancel", BY)
async def test_with_lanes_threads_and_iterators(cancel: Callable[[Driven, int], Any]) -> None:
    for at in range(1, ENOUGH):
        driven = FullyDriven()
        ran_to_its_end = await cancel(driven, at)
        await driven.check_all()
        if ran_to_its_end:
            assert driven.in_lane == driven.numbers
            break
    else:
        raise AssertionError("never ran to its end")
