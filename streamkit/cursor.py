"""Where a stream stands, which events a reconnection repeats, and how long to wait before the next attempt."""

from dataclasses import dataclass

from streamkit.errors import (
    ClockExpired,
    ConnectFailed,
    ConnectionLost,
    ServerError,
    StreamkitError,
    UsageError,
)
from streamkit.events import Event, ResponseEvent


class Cursor:
    """The position in one response's stream.

    Attributes:
        response_id: the response's id, once an event carried it.
        position: the sequence number of the last event, where the server numbers its events.
        gaps: how many times a number was skipped.
        restarts: how many responses were requested, and given up, before this one.
    """

    __slots__ = ("_next", "_replayed_up_to", "gaps", "position", "response_id", "restarts")

    def __init__(
        self, response_id: str | None = None, position: int | None = None, *, restarts: int = 0, gaps: int = 0
    ) -> None:
        self.response_id = response_id
        self.position = position
        self.restarts = restarts
        self.gaps = gaps
        self._replayed_up_to: int | None = None
        # The number that is expected, where nothing else must be looked at if the next event has it.
        self._next: int | None = None

    def reconnected(self) -> None:
        """The stream begins anew, here or earlier: what it repeats is to be dropped."""
        self._replayed_up_to = self.position
        self._next = None

    @property
    def is_replaying(self) -> bool:
        """Whether what comes may repeat what was there before a reconnection."""
        return self._replayed_up_to is not None

    def advance_past_unread(self, event: Event, unread: int) -> None:
        """Move past an event before which so many others came that were not looked at, and not repeated either."""
        number = event.sequence_number
        if number is not None and self.position is not None and self.position < number <= self.position + 1 + unread:
            self.position = number - 1
        self.advance(event)

    def note_read_late(self, event: Event) -> None:
        """Move past an event that was looked at only after others had followed it, perhaps."""
        number = event.sequence_number
        if number is not None and (self.position is None or number > self.position):
            self.position = number

    def advance(self, event: Event) -> bool:
        """Move past an event; ``False`` means that it was there before a reconnection, and is to be dropped.

        Numbers are compared only after a reconnection: some servers give all events the same one.
        """
        # Not as an attribute: of a model, that takes as long as all the rest.
        number: int | None = event.__dict__["sequence_number"]
        if number == self._next and number is not None:
            self.position = number
            self._next = number + 1
            return True
        if number is not None:
            if self._replayed_up_to is not None:
                if number <= self._replayed_up_to:
                    return False
                self._replayed_up_to = None
            if self.position is not None and number > self.position + 1:
                self.gaps += 1
            self.position = number
        if self.response_id is None and isinstance(event, ResponseEvent):
            self.response_id = event.response.id
        if number is not None and self.response_id is not None:
            self._next = number + 1
        return True


RETRIED_STATUSES = frozenset({408, 409, 429})
_HOPELESS_CODES = frozenset({"insufficient_quota", "credit_balance_exhausted"})
"""Sent with status 429, but no waiting helps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Retry:
    """When a failed attempt is made again, and after how long.

    It applies to requests that failed before their first event, and to resuming a background response. A response that
    has begun is never requested anew by it.

    Raises:
        UsageError: a number is out of its range.
    """

    attempts: int = 3
    """Attempts in a row without an event, the first included."""
    statuses: frozenset[int] = RETRIED_STATUSES
    """HTTP statuses that are worth another attempt, besides all from 500 on. ``x-should-retry`` overrules them."""
    first_delay: float = 0.5
    """Seconds before the second attempt; doubled for each one after it."""
    longest_delay: float = 8.0
    longest_retry_after: float = 120.0
    """A server that asks to wait longer than this is not obeyed: the usual delay applies."""
    poll_every: float = 2.0
    """Seconds between looks at a background response whose stream is no longer available."""

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise UsageError(f"Retry.attempts must be at least 1, not {self.attempts}; for no retries pass retry=None")
        for name in ("first_delay", "longest_delay", "longest_retry_after", "poll_every"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"Retry.{name} must not be negative: {getattr(self, name)!r}")

    def delay(self, failures: int, error: StreamkitError, jitter: float) -> float | None:
        """Return the seconds to wait after so many failures in a row, ``None`` to give up.

        Args:
            failures: at least 1.
            error: the last of them.
            jitter: a random number from 0 to 1; up to a quarter of the delay is taken off by it.
        """
        if failures >= self.attempts or not self._worth_another(error):
            return None
        asked = error.retry_after if isinstance(error, ServerError) else None
        if asked is not None and asked <= self.longest_retry_after:
            return asked
        # The exponent is bounded, for powers of a float overflow.
        delay = min(self.first_delay * 2.0 ** min(failures - 1, 64), self.longest_delay)
        return delay * (1 - jitter / 4)

    def _worth_another(self, error: StreamkitError) -> bool:
        if isinstance(error, ServerError):
            if error.should_retry is not None:
                return error.should_retry
            if error.code in _HOPELESS_CODES:
                return False
            return error.status is not None and (error.status in self.statuses or error.status >= 500)
        if isinstance(error, ClockExpired):
            return error.clock != "total"
        return isinstance(error, ConnectFailed | ConnectionLost)
