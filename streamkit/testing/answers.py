"""What a server is about to say to one request, as a value that faults can change."""

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

EVENT_STREAM: Mapping[str, str] = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
"""The headers of an event stream."""
HowCut: TypeAlias = Literal["end", "close", "reset"]
"""How a connection is cut: ``end`` finishes the body in good order, only too early; ``close`` closes the connection in
the middle of it, without the last chunk; ``reset`` makes the peer see a connection reset, which can take the bytes with
it that the peer has not read."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Send what is there, then wait."""

    seconds: float = math.inf


@dataclass(frozen=True, slots=True)
class Cut:
    """Send what is there, then cut the connection; nothing is sent after it."""

    how: HowCut


Wait: TypeAlias = Callable[[], Awaitable[object]]
"""Something to wait for, such as ``event.wait``."""
Step: TypeAlias = bytes | Pause | Cut | Wait
"""One step of sending a body: bytes to send, or what happens between them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, headers, and a body: bytes where all of it is known, else the steps of sending it."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes | Iterable[Step] = b""
    before: Sequence[Pause | Cut] = ()
    """What happens before anything is sent."""

    @property
    def steps(self) -> Iterable[Step]:
        """The body as steps."""
        return (self.body,) if isinstance(self.body, bytes) else self.body

    @property
    def is_event_stream(self) -> bool:
        """Whether the body consists of events."""
        types = (value for name, value in self.headers.items() if name.lower() == "content-type")
        return next(types, "").startswith("text/event-stream")
