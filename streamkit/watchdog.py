"""Interrupts a task that waits too long, or that is told to stop, at the cost of one timer for a whole run."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from streamkit.clocks import Clocks
from streamkit.errors import ClockExpired, UsageError

T = TypeVar("T")

SECOND_LOOK_SECONDS = 0.01
"""How long a clock that has run out is given to turn out wrong."""


class Interrupted(Exception):
    """The wait was interrupted because somebody asked for it."""


class Watchdog:
    """Watches over the waits of one run.

    ``asyncio.timeout`` would set and cancel a timer for each chunk. Here the timer stays, and when it fires looks
    whether a clock has really run out; a wait costs two readings of the time.

    Attributes:
        ended_at: the time at which the last wait ended.
    """

    def __init__(self, clocks: Clocks) -> None:
        self.ended_at = 0.0
        self._clocks = clocks
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: asyncio.Task[object] | None = None
        self._reason: Exception | None = None

    async def wait_for(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call and wait for it, no longer than the clocks allow.

        Raises:
            ClockExpired: a clock ran out.
            Interrupted: ``interrupt`` was called.
            UsageError: another task already waits.
        """
        task = self._begin()
        cancellations = task.cancelling()
        try:
            result = await call()
        except asyncio.CancelledError:
            # Who else cancelled this task must get their CancelledError.
            if self._reason is not None and task.uncancel() <= cancellations:
                raise self._reason from None
            raise
        finally:
            self._waiting = None
            self.ended_at = self._loop.time()
            self._clocks.received(self.ended_at)
        if self._reason is not None:
            # The call has caught the cancellation and returned all the same.
            task.uncancel()
            raise self._reason
        return result

    def interrupt(self) -> None:
        """End the current wait, if there is one, with ``Interrupted``."""
        self._stop(Interrupted())

    def close(self) -> None:
        """Stop watching; the next wait starts anew, by the deadlines as they are then."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin(self) -> "asyncio.Task[object]":
        task = asyncio.current_task()
        if task is None or self._waiting is not None:
            raise UsageError("a run is driven by one task at a time, and another one is waiting for its next event")
        self._waiting = task
        self._reason = None
        self._clocks.waiting(self._loop.time())
        if self._timer is None:
            self._set_timer()
        return task

    def _set_timer(self) -> None:
        # Deadlines only move away as a run goes on, so a timer that is set never fires too late.
        deadline = self._clocks.next_deadline()
        if deadline is not None:
            self._timer = self._loop.call_at(deadline[0], self._look)

    def _look(self) -> None:
        if self._expired() is not None:
            # Where something has kept the loop busy, its timers come before the bytes that wait: let those in first.
            self._timer = self._loop.call_later(SECOND_LOOK_SECONDS, self._look_again)

    def _look_again(self) -> None:
        expired = self._expired()
        if expired is not None:
            self._stop(ClockExpired(*expired))

    def _expired(self) -> tuple[str, float] | None:
        """Return the clock that has run out and its setting; where none has, set the timer anew."""
        self._timer = None
        deadline = self._clocks.next_deadline()
        if self._waiting is None or deadline is None:
            return None
        when, clock, seconds = deadline
        if self._loop.time() >= when:
            return clock, seconds
        self._set_timer()
        return None

    def _stop(self, reason: Exception) -> None:
        if self._waiting is not None and self._reason is None:
            self._reason = reason
            self._waiting.cancel()
