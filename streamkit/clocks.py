"""The five clocks of a run, as plain arithmetic: times come in, deadlines go out."""

from dataclasses import dataclass, fields

from streamkit.errors import UsageError

GRACE_AFTER_ERROR = 5.0
"""Seconds a stream may stay silent after an ``error`` event: OpenAI sends ``response.failed`` right behind it."""
LINGER_SECONDS = 0.1
"""How long to wait, after the response has ended, for the server to close: then the connection can be used again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeouts:
    """How long each wait may take, in seconds; ``None`` switches a clock off.

    Only waiting counts: the time your handlers take stops all clocks but the total one. The defaults follow what
    long-running clients settled on in the field; models that think for minutes without a word need the large ones.

    Raises:
        UsageError: a time is not above zero.
    """

    connect: float | None = 10.0
    """To reach the server, TLS included."""
    first_event: float | None = 300.0
    """From sending the request to the first event."""
    idle: float | None = 300.0
    """Between two reads of at least one byte; comments and keepalives count as bytes."""
    progress: float | None = 600.0
    """Between two events that are not keepalives: a stuck model behind a living server."""
    total: float | None = None
    """For the whole run, handlers included."""

    def __post_init__(self) -> None:
        for field in fields(self):
            seconds = getattr(self, field.name)
            if seconds is not None and not seconds > 0:
                raise UsageError(f"Timeouts.{field.name} must be above zero, or None for no limit, not {seconds!r}")


class Clocks:
    """The clocks of one run. The caller reports what happens, with the time at which it did.

    What a wait began with is moved on by the time that the caller did something else, as if it had only waited.

    Attributes:
        awaits_first_event: whether no event has come yet.
        last_byte: when bytes last came, moved on by the time that the caller worked on them.
        last_progress: when an event that is not a keepalive did.
        received_at: the time that ``received`` was last told.
    """

    __slots__ = (
        "_idle",
        "_lingers_until",
        "_opening",
        "_paused_at",
        "_resting",
        "_started",
        "_timeouts",
        "awaits_first_event",
        "last_byte",
        "last_progress",
        "received_at",
    )

    def __init__(self, timeouts: Timeouts, now: float) -> None:
        self.received_at = now
        self._timeouts = timeouts
        self._started = now
        self._opening = now
        self.last_byte = now
        self.last_progress = now
        self._paused_at: float | None = None
        self.awaits_first_event = True
        self._resting = False
        self._lingers_until: float | None = None
        self._idle = timeouts.idle

    def opening(self, now: float) -> None:
        """The source is being opened, perhaps again: all clocks but the total one start anew."""
        self._opening = self.last_byte = self.last_progress = now
        self._paused_at = None
        self.awaits_first_event = True
        self._resting = False
        self._idle = self._timeouts.idle

    def resting(self) -> None:
        """Nothing is awaited from the stream until it is opened again; only the total clock runs."""
        self._resting = True

    def received(self, now: float) -> None:
        """Bytes came; until ``waiting`` is called, the caller works on them and the waiting clocks stand still."""
        self.waiting(now)
        self.received_at = self._paused_at = self.last_byte = now

    def progressed(self) -> None:
        """An event that is not a keepalive was among the bytes last received."""
        self.last_progress = self.last_byte
        self.awaits_first_event = False

    def kept_alive(self) -> None:
        """A keepalive was among the bytes last received: an event, but no progress."""
        self.awaits_first_event = False

    def expect_end(self) -> None:
        """The server reported an error: what still follows must follow soon."""
        self._idle = GRACE_AFTER_ERROR if self._idle is None else min(self._idle, GRACE_AFTER_ERROR)

    def linger(self, now: float) -> None:
        """The response has ended; what still follows, be it the end of the bytes, has ``LINGER_SECONDS`` from now."""
        self._lingers_until = now + LINGER_SECONDS

    def waiting(self, now: float) -> None:
        """The caller waits for bytes again."""
        if self._paused_at is not None:
            pause = now - self._paused_at
            self._opening += pause
            self.last_byte += pause
            self.last_progress += pause
            self._paused_at = None

    def next_deadline(self) -> tuple[float, str, float] | None:
        """Return the earliest deadline as (time, clock, its setting), or ``None`` where every clock is off."""
        total = self._timeouts.total
        if self._lingers_until is not None:  # Which clock ends this is told to nobody.
            end = self._lingers_until if total is None else min(self._lingers_until, self._started + total)
            return end, "total", LINGER_SECONDS
        if self._resting:
            return None if total is None else (self._started + total, "total", total)
        limits = (
            (self._started, "total", total),
            (
                self._opening,
                "first_event",
                self._timeouts.first_event if self.awaits_first_event else None,
            ),
            (self.last_byte, "idle", self._idle),
            (self.last_progress, "progress", self._timeouts.progress),
        )
        return min(((start + limit, name, limit) for start, name, limit in limits if limit is not None), default=None)
