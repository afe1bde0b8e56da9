"""How much a run accepts before it stops reading."""

from dataclasses import dataclass, fields

from streamkit.errors import UsageError
from streamkit.sse import MAX_EVENT_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a client and its runs accept. A run that passes a limit ends with an error that names it.

    Raises:
        UsageError: a limit is below one.
    """

    max_event_bytes: int = MAX_EVENT_BYTES
    """The largest event; the default leaves room for images, which come as base64 in one event."""
    max_response_bytes: int = 1024 * 1024 * 1024
    """All bytes of one run, on all its connections."""
    max_header_bytes: int = 64 * 1024
    """One header of an answer. A session that you give the client has its own limit."""
    max_connections: int = 1000
    """Streams open at a time; further ones wait, on the clock ``first_event``. A session of yours has its own limit."""

    max_undecoded_bytes: int = 8 * 1024 * 1024
    """Deltas that nobody listens to are kept as they came, and decoded only if somebody reads the unfinished response,
    or if there are more bytes of them than this."""
    max_blocking_seconds: float = 0.05
    """A handler that keeps the event loop busy for longer is reported, with ``HandlerBlocked`` and in the log."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (value > 0 if isinstance(field.default, float) else value >= 1):
                least = "above zero" if isinstance(field.default, float) else "at least 1"
                raise UsageError(f"Limits.{field.name} must be {least}, not {value}")
