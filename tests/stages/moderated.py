"""What tests of moderation without a run need: a driver that does what a run does, a stream, and a check."""

import asyncio
from collections.abc import Iterable
from typing import cast

from streamkit import events as ev
from streamkit.accumulator import Accumulator
from streamkit.context import Run
from streamkit.events import Event
from streamkit.items import Message, OutputText
from streamkit.outcome import Notice
from streamkit.stages.checks import Check
from streamkit.stages.moderation import Moderate
from streamkit.testing.builders import completed, created, item_added, item_done, text_delta, text_done
from streamkit.verdict import Moderated, Verdict

NO_RUN = cast("Run", None)
"""Moderation asks a run for nothing."""


class Driver:
    """Feeds a passage, asks for what it releases when it calls, and keeps what passes."""

    def __init__(self, stage: Moderate) -> None:
        self._called = asyncio.Event()
        self.passage = stage.open(NO_RUN, self._called.set)
        self.passed: list[Event | Notice] = []

    async def feed(self, *events: Event) -> None:
        """Feed events; what their checks let pass meanwhile passes."""
        for event in events:
            while self.passage.is_full:
                await self.wait()
            self._keep(self.passage.feed(event))
            await asyncio.sleep(0)
            self.look()

    async def wait(self) -> None:
        """Wait until the passage calls."""
        await self._called.wait()
        self.look()

    def look(self) -> None:
        """Ask for what is released, if the passage has called."""
        if self._called.is_set():
            self._called.clear()
            self._keep(self.passage.release())

    async def finish(self) -> None:
        """Let everything out that is held, after the last event."""
        self._keep(self.passage.finish())
        while self.passage.is_holding:
            await self.wait()
        await self.passage.aclose()

    def _keep(self, passed: Iterable[Event | Notice]) -> None:
        self.passed += passed

    @property
    def events(self) -> list[Event]:
        """The events that have passed."""
        return [delivery for delivery in self.passed if isinstance(delivery, Event)]

    @property
    def notices(self) -> list[Moderated]:
        """The notices that have passed."""
        return [delivery for delivery in self.passed if isinstance(delivery, Moderated)]

    def accumulated(self) -> Accumulator:
        """What the events that have passed add up to."""
        accumulator = Accumulator()
        for event in self.events:
            accumulator.add(event)
        return accumulator


async def moderated(stage: Moderate, events: Iterable[Event]) -> Driver:
    """Feed a whole stream, and return what passed of it."""
    driver = Driver(stage)
    await driver.feed(*events)
    await driver.finish()
    return driver


def message_stream(*deltas: str, text: str | None = None) -> list[Event]:
    """The events of one message that is streamed in these deltas, and repeated by all that repeat it."""
    whole = "".join(deltas) if text is None else text
    part = OutputText(text=whole)
    message = Message(id="msg_1", role="assistant", status="completed", content=[part])
    begun = message.model_copy(update={"status": "in_progress", "content": []})
    events: list[Event] = [
        created(),
        item_added(begun),
        ev.ContentPartAdded(output_index=0, content_index=0, part=OutputText()),
        *map(text_delta, deltas),
        text_done(whole),
        ev.ContentPartDone(output_index=0, content_index=0, part=part),
        item_done(message),
        completed(message),
    ]
    return [event.model_copy(update={"sequence_number": number}) for number, event in enumerate(events)]


def forbidding(*words: str) -> Check:
    """A check that flags texts with one of these words."""

    async def check(text: str) -> Verdict:
        return Verdict(flagged=any(word in text for word in words), categories=("word",))

    return check


def leaked(driver: Driver, *words: str) -> list[str]:
    """What has passed, wherever it stands, with one of these words in it."""
    return [shown for shown in map(_shown, driver.passed) if any(word in shown for word in words)]


def _shown(delivery: Event | Notice) -> str:
    return delivery.model_dump_json() if isinstance(delivery, Event) else repr(delivery)
