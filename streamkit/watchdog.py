"""Interrupts a task that waits too long, or that is told to stop, at the cost of one timer for a whole run."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import TypeVar, TypeVarTuple

from streamkit.clocks import Clocks
from streamkit.errors import ClockExpired, UsageError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

SECOND_LOOK_SECONDS = 0.01
"""How long a clock that has run out is given to turn out wrong."""


class Interrupted(Exception):
    """The wait was interrupted because somebody asked for it."""


class Watchdog:
    """Watches over the waits of one run.

    ``asyncio.timeout`` would set and cancel a timer for each chunk. Here the timer stays, and when it fires looks
    whether a clock has really run out; a wait costs two readings of the time.

    Attributes:
        waiting: the task that waits; ``None`` where none does, and none can be interrupted.
    """

    __slots__ = ("_clocks", "_loop", "_reason", "_timer", "_waits", "waiting")

    def __init__(self, clocks: Clocks) -> None:
        self._clocks = clocks
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.waiting: asyncio.Task[object] | None = None
        self._reason: Exception | None = None
        self._waits = 0

    async def wait_for(self, call: Callable[[*Ts], Awaitable[T]], *arguments: *Ts) -> T:
        """Make a call and wait for it, no longer than the clocks allow.

        Raises:
            ClockExpired: a clock ran out.
            Interrupted: ``interrupt`` was called.
            UsageError: another task already waits.
        """
        task = self._begin()
        self._waits = this = self._waits + 1
        cancellations = task.cancelling()
        failure: BaseException | None = None
        try:
            try:
                result = await call(*arguments)
            except (Exception, asyncio.CancelledError) as error:
                if self._reason is None:
                    raise
                failure = error
            else:
                if self._reason is None:
                    return result
            raise await self._end_of_wait(self._reason, task, cancellations, failure)
        finally:
            # A handler that was called in the place of this task may have let it wait for something else by now.
            if self._waits == this:
                self.waiting = None
            self._clocks.received(self._loop.time())

    def keep_watch(self, now: float) -> None:
        """Watch on where nothing need be waited for.

        Raises:
            ClockExpired: a clock ran out while nobody waited.
        """
        if self._timer is None:
            self._set_timer(now)

    def interrupt(self) -> None:
        """End the current wait, if there is one, with ``Interrupted``."""
        self._stop(Interrupted())

    def close(self) -> None:
        """Stop watching; the next wait starts anew, by the deadlines as they are then."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def ensure_free(self) -> None:
        """Raise ``UsageError`` where a task is waiting."""
        if self.waiting is not None:
            raise UsageError("a run is driven by one task at a time, and another one is waiting for its next event")

    def _begin(self) -> "asyncio.Task[object]":
        self.ensure_free()
        task = asyncio.current_task()
        assert task is not None
        now = self._loop.time()
        self._clocks.waiting(now)
        self.keep_watch(now)
        self.waiting = task
        self._reason = None
        return task

    async def _end_of_wait(
        self, reason: Exception, task: "asyncio.Task[object]", cancellations: int, failure: BaseException | None
    ) -> BaseException:
        """Take this watchdog's cancellation of a task back, and return what the wait ends with."""
        if not isinstance(failure, asyncio.CancelledError):
            # The call has caught the cancellation, or was its origin: then it comes with the next await.
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError as cancelled:
                failure = cancelled
        # Who else cancelled this task must get their CancelledError.
        others = task.uncancel() > cancellations
        return failure if others and isinstance(failure, asyncio.CancelledError) else reason

    def _set_timer(self, now: float) -> None:
        # Deadlines only move away as a run goes on, so a timer that is set never fires too late.
        deadline = self._clocks.next_deadline()
        if deadline is None:
            return
        when, clock, seconds = deadline
        if when <= now:
            # It ran out while nobody waited; where bytes are always at hand, nobody would wait for the timer either.
            raise ClockExpired(clock, seconds)
        # Empty, for a copy of this context would keep what is in it; and not shared, for only one thread can be in it.
        self._timer = self._loop.call_at(when, self._look, context=Context())

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
        if self.waiting is None or deadline is None:
            return None
        when, clock, seconds = deadline
        now = self._loop.time()
        if now >= when:
            return clock, seconds
        self._set_timer(now)
        return None

    def _stop(self, reason: Exception) -> None:
        if self.waiting is not None and self._reason is None:
            self._reason = reason
            self.waiting.cancel()
