"""What to do when a stream fails: which attempt follows, how it is made, and after how long."""

from dataclasses import dataclass

from streamkit.cursor import Cursor, Retry
from streamkit.errors import ClockExpired, NotAnEventStream, ServerError, StreamkitError, TransportError

_STREAM_IS_GONE = frozenset({None, 400, 404, 405})
"""How servers refuse to stream a background response that is too old: with a status, or an error instead of a stream.

Whether the response exists, a look at it will tell.
"""


@dataclass(frozen=True, slots=True)
class Reopen:
    """Open the source again: the request anew where nothing has come of it yet, else where the stream broke off."""

    delay: float
    attempt: int


@dataclass(frozen=True, slots=True)
class Poll:
    """Look at the response itself until it has ended, since its stream is not to be had."""

    delay: float


@dataclass(frozen=True, slots=True)
class Restart:
    """Request the response anew although it had begun."""

    delay: float


Plan = Reopen | Poll | Restart


class Recovery:
    """Decides, failure by failure, how one run goes on.

    Args:
        retry: the policy; without one every failure is the end.
        background: the response goes on at the server by itself, so that its stream can be taken up again.
        restart: a response that broke off may be requested anew.
    """

    def __init__(self, retry: Retry | None, *, background: bool, restart: bool) -> None:
        self._retry = retry
        self._background = background
        self._restart = restart
        self._polling = False
        self._progress = 0
        self._failures = 0
        self._restarts = 0

    def plan(self, error: StreamkitError, cursor: Cursor, *, progress: int, begun: bool, jitter: float) -> Plan | None:
        """Return what follows a failure; ``None`` means that it is the end.

        Args:
            error: the failure.
            cursor: where the stream stands.
            progress: a number that changes when events come; as long as it does not, failures are in a row.
            begun: whether any of them belong to the response as it was last requested.
            jitter: a random number from 0 to 1.
        """
        if self._retry is None:
            return None
        self._failures = 1 if progress != self._progress else self._failures + 1
        self._progress = progress
        delay = self._retry.delay(self._failures, error, jitter)
        if self._background and cursor.response_id is not None:
            return self._plan_in_background(error, cursor, delay)
        if delay is None:
            return None
        if not begun:
            return Reopen(delay, self._failures + 1)
        self._restarts += 1
        return Restart(delay) if self._restart and self._restarts < self._retry.attempts else None

    def looked(self) -> None:
        """A look at the response has succeeded: failures are counted anew."""
        self._failures = 0

    def _plan_in_background(self, error: StreamkitError, cursor: Cursor, delay: float | None) -> Plan | None:
        if self._polling:
            return None if delay is None else Poll(delay)
        if delay is not None and cursor.position is not None:
            return Reopen(delay, self._failures + 1)
        gone = isinstance(error, NotAnEventStream) or (
            isinstance(error, ServerError) and error.status in _STREAM_IS_GONE
        )
        if gone or (isinstance(error, TransportError) and not _is_out_of_time(error)):
            self._polling = True
            self._failures = 0
            return Poll(0.0)
        return None


def _is_out_of_time(error: StreamkitError) -> bool:
    return isinstance(error, ClockExpired) and error.clock == "total"
