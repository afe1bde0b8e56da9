"""A run that nothing drives, the shortest way from a dispatcher to its handlers, and what tests of lanes share."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final

from streamkit import Dispatcher, Run
from streamkit.dispatch import Deliveries
from streamkit.events import DeltaEvent, ItemEvent, OutputTextDelta
from streamkit.items import OutputItem
from streamkit.outcome import Delivery
from streamkit.response import Response
from streamkit.stats import RunStats
from tests.scripted import ADDED, COMPLETED, CREATED, PART, frame


class Oops(Exception):
    """What a handler in a test raises."""


TEXT: Final = "response.output_text.delta"


class Gate:
    """A handler that stops at its first call until it is released, and keeps what it is given."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.released = asyncio.Event()
        self.seen: list[Any] = []
        self.was_cancelled = False

    async def __call__(self, subject: object) -> None:
        self.seen.append(subject)
        self.entered.set()
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise

    @property
    def text(self) -> str:
        return "".join(event.delta for event in self.seen if isinstance(event, DeltaEvent))


def delta(text: str, index: int = 0) -> OutputTextDelta:
    return OutputTextDelta(delta=text, output_index=index, content_index=0)


def wire_delta(text: str, index: int = 0) -> bytes:
    return frame(TEXT, output_index=index, content_index=0, delta=text)


def stream_of(text: str) -> bytes:
    """A whole answer in one chunk, each letter a delta."""
    return b"".join([CREATED, ADDED, PART, *map(wire_delta, text), COMPLETED])


async def turns(count: int = 20) -> None:
    """Let every task do what it can without anything new."""
    for _ in range(count):
        await asyncio.sleep(0)


def lane_tasks() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("streamkit")]


def failing(error: BaseException) -> Callable[[object], None]:
    def fail(_: object) -> None:
        raise error

    return fail


class StillRun(Run):
    """A run to hand to handlers."""

    def __init__(self) -> None:
        super().__init__(state=SimpleNamespace())

    response_id = None
    request_id = None
    text = ""
    stats = RunStats()

    def snapshot(self) -> Response:
        return Response()

    def item_of(self, event: ItemEvent) -> OutputItem | None:
        return getattr(event, "item", None)

    def cancel(self, *, server: bool = False) -> None:
        raise AssertionError("no handler here cancels")


def deliveries_for(dispatcher: Dispatcher, run: Run | None = None, *, max_blocking_seconds: float = 60) -> Deliveries:
    """Return what delivers to a dispatcher's handlers, in the place of a run."""
    run = run or StillRun()

    def stop(_: Exception) -> None:
        """Nothing reads here that would have to be stopped."""

    stats = RunStats()
    return Deliveries(dispatcher.table(), run, stats=stats, max_blocking_seconds=max_blocking_seconds, stop=stop)


async def send(dispatcher: Dispatcher, *subjects: Delivery, run: Run | None = None) -> None:
    """Deliver subjects one after the other, as one run does, and wait for the lanes."""
    deliveries = deliveries_for(dispatcher, run)
    for subject in subjects:
        await deliveries.deliver(subject)
        await deliveries.settle()
    await deliveries.drain()
