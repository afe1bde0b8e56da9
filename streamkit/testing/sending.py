"""How the local server puts events on the wire: encoding them, and spreading the deltas over time."""

from collections.abc import Awaitable, Callable, Iterable
from functools import lru_cache

from pydantic_core import to_json

from streamkit.sse import Frame, encode
from streamkit.testing.request import JsonObject

BATCH_BYTES = 16 * 1024
"""Frames that are due together are written together, up to about this size."""


def encode_event(event: JsonObject) -> bytes:
    """An event as it goes over the wire: its type on the ``event`` line, all of it as one line of JSON."""
    return _head(str(event["type"])) + to_json(event) + b"\n\n"


@lru_cache(maxsize=256)
def _head(name: str) -> bytes:
    # JSON without line breaks leaves the encoder nothing to do but the head, and that is the same for each type.
    return encode(Frame(name)).removesuffix(b"\n\n")


class Pace:
    """When each delta is due: the n-th comes n intervals after the start, however late the ones before it were.

    Only delta events are spread; what stands between them is due at once.
    """

    def __init__(self, tokens_per_second: float | None, *, start: float) -> None:
        self._interval = 1 / tokens_per_second if tokens_per_second else 0.0
        self._start = start
        self._deltas = 0

    def due(self, event: JsonObject) -> float:
        """The time of the clock before which the event is not to be sent; call it once for each event, in order."""
        if str(event["type"]).endswith(".delta"):
            self._deltas += 1
        return self._start + self._deltas * self._interval


async def send_events(
    events: Iterable[JsonObject],
    *,
    write: Callable[[bytes], Awaitable[None]],
    pace: Pace,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
) -> None:
    """Write every event when it is due; those that are due together share a write."""
    batch = bytearray()
    for event in events:
        wait = pace.due(event) - clock()
        if batch and (wait > 0 or len(batch) >= BATCH_BYTES):
            await write(bytes(batch))
            batch.clear()
        if wait > 0:
            await sleep(wait)
        batch += encode_event(event)
    if batch:
        await write(bytes(batch))
