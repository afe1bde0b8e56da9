"""The run: frames in, handlers called, one outcome out.

Whoever pulls drives: reading, decoding, accumulating and calling handlers happen in the caller's task, one chunk at a
time, so that a slow handler slows the reading, and the network's own flow control does the rest.
"""

import asyncio
import logging
from collections.abc import Callable
from time import perf_counter
from types import TracebackType
from typing import Self

import anyio

from streamkit.accumulator import Anomaly
from streamkit.clocks import Timeouts
from streamkit.codec import decode
from streamkit.context import Run
from streamkit.cursor import Cursor, Retry
from streamkit.dispatch import Dispatcher, Routes, StreamHandler, combine, deliver
from streamkit.dispatch.handler import AnyFunction, Handler
from streamkit.errors import StreamkitError, UsageError
from streamkit.events import Event
from streamkit.iteration import EventIterator, EventsOf
from streamkit.limits import Limits
from streamkit.outcome import Cancelled, Closed, Notice, Opened, Outcome, finished
from streamkit.response import Response
from streamkit.source import Background, Source
from streamkit.sse import Frame
from streamkit.stats import RunStats
from streamkit.stream import EventStream

logger = logging.getLogger("streamkit.run")

CLOSE_SECONDS = 5.0
"""How long each step of the end may take in a run that is cancelled: to close, and to call the handlers of the end."""
CANCEL_SECONDS = 3.0
"""How long the server may take to say that it cancels a background response."""

Handlers = Dispatcher | StreamHandler | AnyFunction
"""What a run can dispatch to; a function must be marked with ``on``."""


class StreamRun(Run):
    """One response being streamed from a source, driven by whoever pulls.

    Enter it with ``async with``: that sends nothing yet. Then drive it in one of three ways: ``dispatch`` events to
    handlers, iterate over them, or ask for the ``outcome``. Leaving the block closes the connection, whatever happened.

    ``client.stream(...)`` makes one. For a source of your own, make it here.

    Args:
        source: where the bytes come from.
        cursor: where the stream is taken up, if not at its beginning.
        background: how to look at, and cancel, a response that goes on at the server by itself.
        timeouts: the clocks.
        retry: how failed attempts are made again; ``None`` for not at all.
        restart: a response that broke off may be requested anew.
        limits: how much to accept.
        decode: ``codec.decode``, or ``codec.decode_strictly`` to end the run at an event that does not fit its model.
        model, base_url: what is asked for, and of whom, for handlers to know.
    """

    def __init__(
        self,
        source: Source,
        *,
        cursor: Cursor | None = None,
        background: Background | None = None,
        timeouts: Timeouts | None = None,
        retry: Retry | None = None,
        restart: bool = False,
        limits: Limits | None = None,
        decode: Callable[[Frame], Event] = decode,
        model: str | None = None,
        base_url: str | None = None,
    ) -> None:
        super().__init__(model=model, base_url=base_url)
        self._stream = EventStream(
            source,
            cursor=cursor,
            background=background,
            timeouts=timeouts,
            retry=retry,
            restart=restart,
            limits=limits,
            decode=decode,
        )
        self._routes: Routes | None = None
        self._entered = False
        self._is_dispatching = False
        self._is_finishing = False
        self._last_steps = [self._close, self._tell, self._tell_closed]
        self._cancels_on_server = False

    @property
    def response_id(self) -> str | None:
        """The response's id, once the server has named it."""
        return self._stream.accumulator.response_id

    @property
    def request_id(self) -> str | None:
        """The server's id for the HTTP request, once it has answered; quote it when asking for help."""
        opened = self._stream.opened
        return opened.request_id if opened else None

    @property
    def text(self) -> str:
        """The text of the answer so far."""
        return self._stream.accumulator.text

    @property
    def anomalies(self) -> tuple[Anomaly, ...]:
        """What in the stream did not fit the protocol, as far as it is kept."""
        return self._stream.accumulator.anomalies

    @property
    def late_frames(self) -> int:
        """How many frames came after the response had ended; they are ignored."""
        return self._stream.late_frames

    @property
    def stats(self) -> RunStats:
        """The run's own figures: times, counts, retries; some are final only when it has ended."""
        return self._stream.stats

    def snapshot(self) -> Response:
        """Return the response as far as it has come."""
        return self._stream.accumulator.snapshot()

    def cancel(self, *, server: bool = False) -> None:
        """Stop the run: no further event is delivered, the connection is closed, the outcome is ``Cancelled``.

        Returns at once; may be called from handlers and from other tasks of the same loop, any number of times. Closing
        the connection makes the server stop, except for a background response: with ``server=True`` the server is told
        to stop that one too, before the run closes; if it cannot be told, that is logged.
        """
        if self._stream.ending is None:
            self._stream.end(Cancelled(response=self.snapshot()))
        if server and isinstance(self._stream.ending, Cancelled):
            self._cancels_on_server = True

    async def opened(self) -> Opened:
        """Wait until the server has answered and return what it said, before any event is read.

        Raises:
            UnfinishedResponse: it refused, or did not answer.
        """
        while self._stream.opened is None:
            if self._stream.ending is not None:
                finished(await self._finish())
            self._ensure_free()
            await self._stream.fill()
        return self._stream.opened

    async def dispatch(self, *handlers: Handlers) -> Response:
        """Read the stream to its end, calling handlers for its events in order, and return the final response.

        Args:
            handlers: dispatchers, ``StreamHandler`` objects, and functions marked with ``on``, in the order in which
                they are to be called for the same event.

        Raises:
            UnfinishedResponse: the response did not complete; the subclass says how it ended.
            UsageError: the run is not entered, or is driven already.
            Exception: whatever a handler raised, unchanged; the run is over then.
        """
        self._ensure_free()
        self._stream.ensure_free()
        self._routes = combine(handlers).routes()
        self._is_dispatching = True
        try:
            await self._deliver_to(self._routes)
            outcome = await self._finish()
        except BaseException as error:
            await self._abandon(error)
            raise
        finally:
            self._is_dispatching = False
        return finished(outcome)

    def __aiter__(self) -> EventIterator[Event]:
        return EventIterator(self._pull, (Event,))

    @property
    def events(self) -> EventsOf:
        """Iterate over some events: ``async for event in run.events("response.output_text.delta")``.

        The iteration ends when the response completed, and raises ``UnfinishedResponse`` where it did not.
        """
        return EventsOf(self._pull)

    async def outcome(self) -> Outcome:
        """Read the stream to its end and return how it ended; raises nothing for what server or network did."""
        while self._stream.ending is None:
            self._ensure_free()
            if self._stream.take() is None:
                await self._stream.fill()
        return await self._finish()

    async def __aenter__(self) -> Self:
        self._entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._abandon(error)

    def _ensure_free(self) -> None:
        if not self._entered and self._stream.ending is None:
            raise UsageError("enter the run first: async with client.stream(...) as run")
        if self._is_dispatching:
            raise UsageError("the run is dispatching to handlers, which get its events: wait until that has ended")

    async def _deliver_to(self, routes: Routes) -> None:
        stream = self._stream
        while stream.ending is None:
            delivery = stream.take()
            if delivery is None:
                await stream.fill()
            elif handlers := routes[type(delivery)]:
                began = perf_counter()
                await deliver(routes, delivery, self)
                self._note_time(perf_counter() - began, handlers)

    def _note_time(self, seconds: float, handlers: tuple[Handler, ...]) -> None:
        stats = self._stream.stats
        stats.handler_seconds += seconds
        if seconds > stats.longest_handler_seconds:
            stats.longest_handler_seconds = seconds
            stats.longest_handler = ", ".join(handler.name for handler in handlers)

    async def _pull(self) -> Event | Notice | None:
        stream = self._stream
        while stream.ending is None:
            self._ensure_free()
            delivery = stream.take()
            if delivery is not None:
                return delivery
            await stream.fill()
        finished(await self._finish())
        return None

    async def _finish(self) -> Outcome:
        """Close what is open and tell the handlers, once; return the outcome.

        What a cancellation keeps from being done is left to ``_abandon``; handlers are not told again.
        """
        outcome = self._stream.ending
        assert outcome is not None
        if not self._is_finishing:
            # Else a handler of the end, or another task, asks how the run ended.
            self._is_finishing = True
            try:
                await self._take_last_steps(outcome)
            finally:
                self._is_finishing = False
        return outcome

    async def _take_last_steps(self, outcome: Outcome) -> None:
        while self._last_steps:
            step = self._last_steps.pop(0)
            try:
                await step(outcome)
            except Exception:
                await self._take_last_steps(outcome)
                raise

    async def _close(self, outcome: Outcome) -> None:
        try:
            await self._close_now(outcome)
        except asyncio.CancelledError:
            # It is not done; once more, but not for ever.
            self._last_steps.insert(0, self._close_now)
            raise

    async def _close_now(self, outcome: Outcome) -> None:
        try:
            if self._cancels_on_server:
                await self._cancel_on_server()
        finally:
            await self._stream.close()
        self._log_end(outcome)

    async def _tell(self, delivery: Outcome | Closed) -> None:
        if self._routes is not None:
            await deliver(self._routes, delivery, self)

    async def _tell_closed(self, outcome: Outcome) -> None:
        await self._tell(Closed(outcome=outcome))

    async def _cancel_on_server(self) -> None:
        try:
            with anyio.fail_after(CANCEL_SECONDS):
                await self._stream.cancel_in_background()
        except (StreamkitError, TimeoutError) as error:
            kind = error.kind if isinstance(error, StreamkitError) else f"no answer within {CANCEL_SECONDS:g} s"
            logger.warning("the server was not told to cancel response %s: %s", self.response_id, kind)

    def _log_end(self, outcome: Outcome) -> None:
        stats = self.stats
        logger.debug("%s: response %s, %s", type(outcome).__name__, self.response_id, stats)
        if stats.buffered_suspected:
            silence = stats.first_byte_after
            logger.warning(
                "response %s came all at once after %.1f s: a proxy may collect it", self.response_id, silence
            )

    async def _abandon(self, error: BaseException | None) -> None:
        """End the run where it is, if it has not ended; an ``error`` on its way to the caller is not replaced."""
        self._stream.end(Cancelled(response=self.snapshot(), cause=error))
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + CLOSE_SECONDS) as scope:
            try:
                await self._finish()
            except Exception as second:
                if error is None:
                    raise
                error.add_note(f"while the run was being closed, {second!r} was raised too")
        if scope.cancelled_caught and self._last_steps:
            # A step took too long; those behind it, Closed the last of them, have their own time.
            await self._abandon(error)
