"""What a run measures of itself: counts and times, without any content."""

from dataclasses import dataclass, replace

BUFFERED_AFTER_SECONDS = 0.5
BUFFERED_SPREAD = 0.05
BUFFERED_EVENTS = 10


@dataclass(slots=True, kw_only=True)
class RunStats:
    """The figures of one run, so far. Times are seconds since the run began to open its source.

    They are taken when bytes arrive, so that slow handlers do not change them.
    """

    began_at: float | None = None
    """When the run began, as Unix time; ``None`` before."""
    first_byte_after: float | None = None
    first_event_after: float | None = None
    first_text_after: float | None = None
    """Of the answer itself, not of the reasoning before it."""
    last_byte_after: float | None = None
    ended_after: float | None = None
    """Handlers included, but for those of the end; ``None`` as long as the run goes on."""
    chunks: int = 0
    """Reads that brought bytes."""
    bytes: int = 0
    events: int = 0
    """Events delivered, keepalives included; what a reconnection repeats is not."""
    keepalives: int = 0
    gaps: int = 0
    """Times that a sequence number was skipped: events were lost on the way, or a server counts by its own rules."""
    text_characters: int = 0
    attempts: int = 0
    """Openings of the source; more than one means that an attempt failed or a stream was cut."""
    restarts: int = 0
    """Times that the response was begun anew."""
    polls: int = 0
    """Looks at a background response whose stream was gone."""
    handler_seconds: float = 0.0
    """Time spent in handlers, waiting included."""
    longest_handler: str | None = None
    """The handlers of the event whose handling took longest."""
    longest_handler_seconds: float = 0.0

    @property
    def events_per_second(self) -> float | None:
        """The pace from the first to the last byte; ``None`` where that is no time at all."""
        seconds = self._receiving_seconds
        return self.events / seconds if seconds else None

    @property
    def text_characters_per_second(self) -> float | None:
        """The pace of the answer's text, from its beginning to the last byte."""
        if self.first_text_after is None or self.last_byte_after is None:
            return None
        seconds = self.last_byte_after - self.first_text_after
        return self.text_characters / seconds if seconds > 0 else None

    @property
    def buffered_suspected(self) -> bool:
        """Whether everything came at once after a long silence, as through a proxy that collects before it passes on.

        Look for response buffering (``X-Accel-Buffering: no``), compression, and gateways that retry.
        """
        first = self.first_byte_after
        if first is None or first < BUFFERED_AFTER_SECONDS or self.events < BUFFERED_EVENTS:
            return False
        return self._receiving_seconds <= first * BUFFERED_SPREAD

    def followed_by(self, later: "RunStats") -> "RunStats":
        """Return the figures of a run that went on with another response: times from its beginning, and all counts."""
        offset = (later.began_at or 0.0) - (self.began_at or 0.0)
        whole = replace(self)
        for name in _COUNTS:
            setattr(whole, name, getattr(self, name) + getattr(later, name))
        for name in (*_FIRST_TIMES, *_LAST_TIMES):
            after: float | None = getattr(later, name)
            if after is not None and (name in _LAST_TIMES or getattr(self, name) is None):
                setattr(whole, name, offset + after)
        if later.longest_handler_seconds > self.longest_handler_seconds:
            whole.longest_handler = later.longest_handler
            whole.longest_handler_seconds = later.longest_handler_seconds
        return whole

    @property
    def _receiving_seconds(self) -> float:
        if self.first_byte_after is None or self.last_byte_after is None:
            return 0.0
        return self.last_byte_after - self.first_byte_after


_COUNTS = (
    *("chunks", "bytes", "events", "keepalives", "gaps", "text_characters"),
    *("attempts", "restarts", "polls", "handler_seconds"),
)
_FIRST_TIMES = ("first_byte_after", "first_event_after", "first_text_after")
_LAST_TIMES = ("last_byte_after", "ended_after")
