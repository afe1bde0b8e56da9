"""Background responses: made whether or not anybody reads, and streamed to whoever asks, from wherever they like."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

from pydantic import JsonValue
from pydantic_core import to_json

from streamkit.accumulator import Accumulator
from streamkit.codec import decode
from streamkit.sse import Frame
from streamkit.testing.answers import Step
from streamkit.testing.endings import failure, final_response
from streamkit.testing.request import JsonObject, objects
from streamkit.testing.sending import Pace, encode_event
from streamkit.testing.store import Stored


class Generation(Stored):
    """A background response: the events it will consist of, and how many of them exist so far.

    Args:
        events: the whole script, the first of its events being there from the beginning.
        input: the items that it answers.
        streamable_seconds: how long after now it can be streamed; None if it was not created as a stream.
        clock: tells the time in seconds.
    """

    def __init__(
        self,
        events: list[JsonObject],
        input: list[JsonObject],  # noqa: A002 - the wire's own word
        *,
        streamable_seconds: float | None,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(input)
        self.streamable_seconds = streamable_seconds
        self._clock = clock
        self._created = clock()
        self._events = events
        self._made = 1
        self._folded = 0
        self._accumulator = Accumulator()
        self._cancelled = False
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def age(self) -> float:
        """How many seconds ago it was created."""
        return self._clock() - self._created

    @property
    def ended(self) -> bool:
        """Whether there will be no further event."""
        return self._cancelled or self._made == len(self._events)

    @property
    def response(self) -> JsonObject:
        """The response as far as it has come."""
        last = self._events[self._made - 1]
        final = final_response(last)
        if final is not None:
            return final
        so_far = self._so_far()
        if self._cancelled:
            return _cut_short(so_far, status="cancelled")
        if self.ended:
            return _cut_short(so_far, status="failed", error=failure(last))
        return so_far

    def start(self, pace: Pace, *, sleep: Callable[[float], Awaitable[None]]) -> asyncio.Task[None]:
        """Begin to make the events, each when it is due, and return the task that does so."""
        self._task = asyncio.create_task(self._make(pace, sleep))
        return self._task

    def cancel(self) -> None:
        """Make no further event; streams that are open end with those there are. Nothing happens after the end."""
        if self.ended:
            return
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()
        self._announce()

    def stream(self, *, after: int = -1) -> Iterator[Step]:
        """The events behind that sequence number: those there are, then the others as they are made."""
        position = after + 1
        while True:
            if position < self._made:
                yield encode_event(self._events[position])
                position += 1
            elif self.ended:
                return
            else:
                yield self._changed.wait

    async def _make(self, pace: Pace, sleep: Callable[[float], Awaitable[None]]) -> None:
        for event in self._events[1:]:
            wait = pace.wait(event)
            if wait:
                self._announce()
                await sleep(wait)
            self._made += 1
        self._announce()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _so_far(self) -> JsonObject:
        for event in self._events[self._folded : self._made]:
            self._accumulator.add(decode(Frame(str(event["type"]), to_json(event))))
        self._folded = self._made
        return self._accumulator.snapshot().model_dump(mode="json", exclude_unset=True)


def _cut_short(response: JsonObject, **changes: JsonValue) -> JsonObject:
    """The response with those changes, and without any item that is in progress."""
    items = objects(response["output"])
    output: list[JsonValue] = [
        {**item, "status": "incomplete"} if item.get("status") == "in_progress" else item for item in items
    ]
    return {**response, "output": output, **changes}
