"""How the local server puts events on the wire: encoding them, and spreading the deltas over time."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import lru_cache

from pydantic_core import to_json

from streamkit import sse
from streamkit.testing.answers import Cut, Pause, Step
from streamkit.testing.request import JsonObject

BATCH_BYTES = 16 * 1024
"""Frames that are due together are written together, up to about this size."""


def encode_event(event: JsonObject) -> bytes:
    """An event as it goes over the wire: its type on the ``event`` line, all of it as one line of JSON."""
    return _head(str(event["type"])) + to_json(event) + b"\n\n"


@lru_cache(maxsize=256)
def _head(name: str) -> bytes:
    # JSON without line breaks leaves the encoder nothing to do but the head, and that is the same for each type.
    return sse.encode(sse.Frame(name)).removesuffix(b"\n\n")


class Pace:
    """When each delta is due: the n-th comes n intervals after the start, however late the ones before it were.

    Only delta events are spread; what stands between them is due at once.
    """

    def __init__(self, tokens_per_second: float | None, *, clock: Callable[[], float]) -> None:
        self._interval = 1 / tokens_per_second if tokens_per_second else 0.0
        self._clock = clock
        self._start = clock()
        self._deltas = 0

    def wait(self, event: JsonObject) -> float:
        """How long the event has to wait, in seconds; call it once for each event, in order."""
        if str(event["type"]).endswith(".delta"):
            self._deltas += 1
        return max(0.0, self._start + self._deltas * self._interval - self._clock())


def paced(
    events: Iterable[JsonObject], pace: Pace, *, encode: Callable[[JsonObject], bytes] = encode_event
) -> Iterator[Step]:
    """Encode the events, with a pause before each that is not yet due."""
    for event in events:
        wait = pace.wait(event)
        if wait:
            yield Pause(wait)
        yield encode(event)


async def perform(
    steps: Iterable[Step], *, write: Callable[[bytes], Awaitable[None]], sleep: Callable[[float], Awaitable[None]]
) -> Cut | None:
    """Take the steps of sending a body, and return the cut that ended it, if one did.

    Bytes that nothing stands between share a write.
    """
    batch = bytearray()
    for step in steps:
        if isinstance(step, bytes):
            batch += step
            if len(batch) < BATCH_BYTES:
                continue
        await _flush(batch, write)
        if isinstance(step, Cut):
            return step
        if isinstance(step, Pause):
            await sleep(step.seconds)
        elif not isinstance(step, bytes):
            await step()
    await _flush(batch, write)
    return None


async def _flush(batch: bytearray, write: Callable[[bytes], Awaitable[None]]) -> None:
    if batch:
        await write(bytes(batch))
        batch.clear()
