"""The run: frames in, handlers called, one outcome out.

Whoever pulls drives: reading, decoding, accumulating and calling handlers happen in the caller's task, one chunk at a
time, so that a slow handler slows the reading, and the network's own flow control does the rest.
"""

import asyncio
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, ClassVar, Self

import anyio

from streamkit import ending
from streamkit.accumulator import Accumulator, Anomaly
from streamkit.clocks import Timeouts
from streamkit.codec import decode
from streamkit.context import Run
from streamkit.dispatch import Dispatcher, Routes, StreamHandler, combine, deliver
from streamkit.dispatch.handler import AnyFunction
from streamkit.errors import StreamkitError, UsageError
from streamkit.events import EVENTS, TERMINAL_TYPES, ErrorEvent, Event, InvalidEvent, Keepalive
from streamkit.failures import from_detail
from streamkit.iteration import EventIterator, EventsOf
from streamkit.outcome import Cancelled, Closed, Disconnected, Opened, Outcome, finished
from streamkit.reader import Reader, count_late
from streamkit.response import ErrorDetail, Response
from streamkit.source import Source
from streamkit.sse import MAX_EVENT_BYTES, Frame
from streamkit.watchdog import Interrupted

CLOSE_SECONDS = 5.0
"""How long a run that is cancelled may take to end, the handlers of its end included."""

Handlers = Dispatcher | StreamHandler | AnyFunction
"""What a run can dispatch to; a function must be marked with ``on``."""


class StreamRun(Run):
    """One response being streamed from a source, driven by whoever pulls.

    Enter it with ``async with``: that sends nothing yet. Then drive it in one of three ways: ``dispatch`` events to
    handlers, iterate over them, or ask for the ``outcome``. Leaving the block closes the connection, whatever happened.
    """

    def __init__(
        self,
        source: Source,
        *,
        timeouts: Timeouts | None = None,
        max_event_bytes: int = MAX_EVENT_BYTES,
        decode: Callable[[Frame], Event] = decode,
    ) -> None:
        super().__init__()
        self._source = source
        self._timeouts = timeouts or Timeouts()
        self._max_event_bytes = max_event_bytes
        self._decode = decode
        self._accumulator = Accumulator()
        self._reader: Reader | None = None
        self._frames: Iterator[Frame] = iter(())
        self._routes: Routes | None = None
        self._entered = False
        self._reported: ErrorDetail | None = None
        self._ending: Outcome | None = None
        self._closed = False
        self._events = 0
        self._keepalives = 0
        self._late_frames = 0

    @property
    def response_id(self) -> str | None:
        """The response's id, once the server has named it."""
        return self._accumulator.response_id

    @property
    def request_id(self) -> str | None:
        """The server's id for the HTTP request, once it has answered; quote it when asking for help."""
        return self._opened.request_id if self._opened else None

    @property
    def _opened(self) -> Opened | None:
        return self._reader.opened if self._reader else None

    @property
    def text(self) -> str:
        """The text of the answer so far."""
        return self._accumulator.text

    @property
    def anomalies(self) -> tuple[Anomaly, ...]:
        """What in the stream did not fit the protocol, as far as it is kept."""
        return self._accumulator.anomalies

    @property
    def late_frames(self) -> int:
        """How many frames came after the response had ended; they are ignored."""
        return self._late_frames

    def snapshot(self) -> Response:
        """Return the response as far as it has come."""
        return self._accumulator.snapshot()

    def cancel(self) -> None:
        """Stop the run: no further event is delivered, the connection is closed, the outcome is ``Cancelled``.

        Returns at once; may be called from handlers and from other tasks of the same loop, any number of times.
        """
        if self._ending is None:
            self._ending = Cancelled(response=self.snapshot())
            if self._reader is not None:
                self._reader.interrupt()

    async def opened(self) -> Opened:
        """Wait until the server has answered and return what it said, before any event is read.

        Raises:
            UnfinishedResponse: it refused, or did not answer.
        """
        while self._opened is None:
            if self._ending is not None:
                finished(await self._finish())
            await self._fill()
        return self._opened

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
        routes = self._routes = combine(handlers).routes()
        try:
            while self._ending is None:
                event = self._take()
                if event is None:
                    await self._fill()
                elif routes[type(event)]:
                    await deliver(routes, event, self)
        except BaseException as error:
            await self._abandon(error)
            raise
        return finished(await self._finish())

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
        while self._ending is None:
            if self._take() is None:
                await self._fill()
        return await self._finish()

    async def __aenter__(self) -> Self:
        self._entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._abandon(error)

    async def _pull(self) -> Event | None:
        while self._ending is None:
            event = self._take()
            if event is not None:
                return event
            await self._fill()
        finished(await self._finish())
        return None

    def _take(self) -> Event | None:
        """Return the next event of the bytes at hand, folded into the response; ``None`` where they hold no more."""
        frame = next(self._frames, None)
        if frame is None:
            return None
        try:
            event = self._decode(frame)
        except StreamkitError as error:
            self._end_with(error)
            return None
        self._events += 1
        self._accumulator.add(event)
        note = self._NOTED.get(type(event))
        if note is not None:
            note(self, event)
        return event

    async def _fill(self) -> None:
        """Open the source, or read from it, or find that it has ended."""
        if not self._entered:
            raise UsageError("enter the run first: async with client.stream(...) as run")
        try:
            if self._reader is None:
                await self._open()
            else:
                await self._read(self._reader)
        except Interrupted:
            pass  # By cancel(), which has set the ending.
        except UsageError:
            raise
        except StreamkitError as error:
            self._end_with(error)

    async def _open(self) -> None:
        self._reader = Reader(self._source, self._timeouts, self._max_event_bytes, asyncio.get_running_loop().time)
        opened = await self._reader.open()
        if self._routes is not None:
            await deliver(self._routes, opened, self)

    async def _read(self, reader: Reader) -> None:
        reader.count(self._events, self._keepalives)
        frames = await reader.read()
        if frames is None:
            frames = self._unterminated(reader)
        self._frames = iter(frames)

    def _unterminated(self, reader: Reader) -> list[Frame]:
        """Return what the end of the bytes cut off, if it is whole but for its blank line; else end the run."""
        frame = reader.unterminated()
        if frame is not None and not isinstance(decode(frame), InvalidEvent):
            return [frame]
        assert reader.opened is not None
        self._ending = ending.at_end_of_bytes(
            self.snapshot(),
            reported=self._reported,
            events=self._events,
            body_head=reader.body_head,
            opened=reader.opened,
        )
        return []

    def _end_with(self, error: StreamkitError) -> None:
        if self._reported is not None:
            # The server had said what was wrong before the stream broke off.
            error = from_detail(self._reported, request_id=self.request_id)
        self._ending = ending.after_error(error, self.snapshot())

    def _note_end(self, event: Event) -> None:
        self._ending = ending.at_terminal_event(
            event.type, self.snapshot(), reported=self._reported, request_id=self.request_id
        )

    def _note_error(self, event: ErrorEvent) -> None:
        self._reported = self._reported or event.detail
        if self._reader is not None:
            self._reader.expect_end()

    def _note_keepalive(self, _: Event) -> None:
        self._keepalives += 1

    def _note_invalid(self, event: InvalidEvent) -> None:
        if event.type in TERMINAL_TYPES:
            self._note_end(event)

    async def _finish(self) -> Outcome:
        """Close what is open and tell the handlers, once; return the outcome."""
        assert self._ending is not None
        if not self._closed:
            self._closed = True
            await self._close()
            await self._tell(self._ending)
        return self._ending

    async def _close(self) -> None:
        reader = self._reader
        if reader is None:
            return
        try:
            self._late_frames += count_late(self._frames)
            if not isinstance(self._ending, Cancelled | Disconnected):
                self._late_frames += await reader.drain()
        finally:
            await reader.close()

    async def _tell(self, outcome: Outcome) -> None:
        if self._routes is None:
            return
        try:
            await deliver(self._routes, outcome, self)
        finally:
            await deliver(self._routes, Closed(outcome=outcome), self)

    async def _abandon(self, error: BaseException | None) -> None:
        """End the run where it is, if it has not ended; an ``error`` on its way to the caller is not replaced."""
        if self._ending is None:
            self._ending = Cancelled(response=self.snapshot(), cause=error)
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + CLOSE_SECONDS):
            try:
                await self._finish()
            except Exception as second:
                if error is None:
                    raise
                error.add_note(f"while the run was being closed, {second!r} was raised too")

    _NOTED: ClassVar[dict[type[Event], Callable[[Any, Any], None]]] = {
        Keepalive: _note_keepalive,
        ErrorEvent: _note_error,
        InvalidEvent: _note_invalid,
        **dict.fromkeys([EVENTS[name] for name in TERMINAL_TYPES], _note_end),
    }
