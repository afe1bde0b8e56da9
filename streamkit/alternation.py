"""Waiting for the next step of a stream and for a call from elsewhere, whichever comes first."""

import asyncio
from collections.abc import Callable, Coroutine


class Alternation:
    """Waits for steps and for calls, for one task at a time. A step that is under way when a call comes goes on."""

    def __init__(self) -> None:
        self._step: asyncio.Task[object] | None = None
        self._called = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def is_stepping(self) -> bool:
        """Whether a step is under way, and must be waited for before another is taken."""
        return self._step is not None

    def call(self) -> None:
        """End the wait, or the next one where nobody is waiting."""
        self._called = True
        self._resume()

    async def called(self) -> None:
        """Wait for a call, or for the end of the step that is under way.

        Raises:
            Exception: what the step raised.
        """
        if not self._called and not (self._step is not None and self._step.done()):
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._called = False
        # Only once: whoever waits again waits for a call, and does not find the same step done for ever.
        if self._step is not None and self._step.done():
            done, self._step = self._step, None
            done.result()

    async def step_or_call(self, step: Callable[[], Coroutine[object, object, object]]) -> None:
        """Take a step, or wait on for the one that is under way, until it is done or a call comes.

        Raises:
            Exception: what the step raised.
        """
        if self._step is None:
            # Not cancelled when a call comes first: what is half read would be lost.
            self._step = asyncio.create_task(step(), name="streamkit.alternation")
            self._step.add_done_callback(lambda _: self._resume())
        await self.called()

    async def stop(self) -> None:
        """Give up the step that is under way."""
        if self._step is None:
            return
        self._step.cancel()
        await asyncio.wait([self._step])
        if not self._step.cancelled():
            # Whatever it met changes nothing any more; asyncio wants it to be looked at.
            self._step.exception()
        self._step = None

    def _resume(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
