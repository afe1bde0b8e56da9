"""The stream that every contestant reads: the same bytes for all."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic_core import to_json

from streamkit.sse import Frame, encode
from streamkit.testing import lookup, numbered_ids, play

CREATED_AT = 1_767_225_600


@dataclass(frozen=True, slots=True)
class Shape:
    """How long a stream is, and how fast it comes; 0 events a second means as fast as it is read."""

    tokens: int
    events_per_second: float = 0.0

    def request(self) -> dict[str, Any]:
        """Return the body of the request that asks for such a stream, without ``stream``."""
        metadata = {"tokens": str(self.tokens), "events_per_second": str(self.events_per_second)}
        return {"model": "benchmark", "input": "Write.", "metadata": metadata}


@cache
def frames(tokens: int) -> tuple[bytes, ...]:
    """Return the frames of a text of that many deltas, with all that stands around it."""
    request = Shape(tokens).request()
    events = play(lookup("long-text"), request, make_id=numbered_ids(), created_at=CREATED_AT)
    return tuple(encode(Frame(str(event["type"]), to_json(event))) for event in events)


@cache
def deltas(count: int) -> tuple[bytes, ...]:
    """Return the frames of the first ``count`` deltas: the event that nearly all of a stream consists of."""
    return tuple(frame for frame in frames(count) if frame.startswith(b"event: response.output_text.delta\n"))
