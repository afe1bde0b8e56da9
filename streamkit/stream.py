"""The events of one response, in order and each once, across any number of connections, folded as they come."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any, ClassVar

from streamkit import ending
from streamkit.accumulator import Accumulator
from streamkit.clocks import Timeouts
from streamkit.codec import decode
from streamkit.cursor import Cursor, Retry
from streamkit.errors import StreamkitError, UsageError
from streamkit.events import EVENTS, TERMINAL_TYPES, ErrorEvent, Event, InvalidEvent, Keepalive
from streamkit.failures import from_detail
from streamkit.limits import Limits
from streamkit.outcome import Cancelled, Notice, Opened, Outcome, Reconnecting, Restarted
from streamkit.reader import Reader, count_late
from streamkit.recovery import Plan, Poll, Recovery, Reopen, Restart
from streamkit.response import ErrorDetail, Response
from streamkit.source import Background, Source
from streamkit.sse import Frame
from streamkit.stats import RunStats
from streamkit.synthesis import missing_events
from streamkit.watchdog import Interrupted

logger = logging.getLogger("streamkit.stream")

_UNFINISHED = frozenset({"queued", "in_progress"})


class EventStream:
    """Pulls the events of one response from a source; knows nothing of handlers.

    Attributes:
        accumulator: the response as far as it has come.
        opened: what the other side said when the source was last opened.
        ending: how the response ended; ``None`` as long as it goes on.
        late_frames: how many frames came after the end.
        stats: the figures so far.
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
    ) -> None:
        self.accumulator = Accumulator()
        self.opened: Opened | None = None
        self.ending: Outcome | None = None
        self.late_frames = 0
        self.stats = RunStats()
        self._source = source
        self._background = background
        self._cursor = cursor or Cursor()
        # What came before the cursor, if it does not start at the beginning, was never seen here.
        self._is_suffix = self._cursor.position is not None
        self._recovery = Recovery(retry, background=background is not None, restart=restart)
        self._poll_every = retry.poll_every if retry else 0.0
        self._timeouts = timeouts or Timeouts()
        self._limits = limits or Limits()
        self._decode = decode
        self._reader: Reader | None = None
        self._step: Callable[[], Awaitable[None]] = self._open
        self._delay = 0.0
        self._notices: list[Notice] = []
        self._frames: Iterator[Frame] = iter(())
        self._upcoming: Iterator[Event] = iter(())
        self._reported: ErrorDetail | None = None
        self._events_before_restart = 0

    def take(self) -> Event | Notice | None:
        """Return the next of what is at hand, folded into the response; ``None`` where a call of ``fill`` is needed."""
        if self._notices:
            return self._notices.pop(0)
        try:
            for event in self._upcoming:
                if self._cursor.advance(event):
                    break
            else:
                return None
        except StreamkitError as error:
            self._recover_or_end(error)
            return None
        self.stats.events += 1
        self.accumulator.add(event)
        note = self._NOTED.get(type(event))
        if note is not None:
            note(self, event)
        return event

    async def fill(self) -> None:
        """Take the next step towards more events: open, read, wait before another attempt, or look at the response.

        Raises:
            UsageError: another task is driving the stream.
        """
        if self._reader is None:
            self._reader = Reader(self._timeouts, self._limits, self.stats)
        try:
            await self._step()
        except Interrupted:
            pass  # By end(), which has set the ending.
        except UsageError:
            raise
        except StreamkitError as error:
            self._recover_or_end(error)

    def end(self, outcome: Outcome) -> None:
        """End the stream from this side, now, if it has not ended."""
        if self.ending is None:
            self.ending = outcome
            if self._reader is not None:
                self._reader.interrupt()

    async def close(self) -> None:
        """Close the source; what it still sends after the end is counted."""
        reader = self._reader
        if reader is None:
            return
        self._note_times()
        self.stats.text_characters = len(self.accumulator.text)
        self.stats.gaps = self._cursor.gaps
        reader.note_end()
        try:
            self.late_frames += count_late(self._frames)
            if self.accumulator.ended:
                self.late_frames += await reader.drain()
        finally:
            await reader.close()
        self._reader = None  # It may hold a large event that was cut off.

    def ensure_free(self) -> None:
        """Raise ``UsageError`` where a task is waiting for the stream."""
        if self._reader is not None:
            self._reader.ensure_free()

    async def cancel_in_background(self) -> None:
        """Ask the server to stop a background response.

        Raises:
            ServerError, TransportError: it did not.
        """
        response_id = self._cursor.response_id
        if self._background is not None and response_id is not None:
            await self._background.cancel(response_id)

    @property
    def _request_id(self) -> str | None:
        return self.opened.request_id if self.opened else None

    @property
    def _wire(self) -> Reader:
        assert self._reader is not None
        return self._reader

    async def _open(self) -> None:
        self.opened = await self._wire.open(lambda: self._source.open(self._cursor))
        self._cursor.reconnected()
        self._notices.append(self.opened)
        self._step = self._read
        logger.debug("attempt %d: status %s, request %s", self.stats.attempts, self.opened.status, self._request_id)

    async def _read(self) -> None:
        reader = self._wire
        reader.note_progress()
        if self.stats.first_text_after is None:
            self._note_times()
        frames = await reader.read()
        if frames is None:
            frames = self._unterminated(reader)
        self._frames = iter(frames)
        self._upcoming = map(self._decode, self._frames)

    def _unterminated(self, reader: Reader) -> list[Frame]:
        """Return what the end of the bytes cut off, if it is whole but for its blank line.

        Raises:
            StreamkitError: the bytes have ended, and the response has not.
        """
        frame = reader.unterminated()
        if frame is not None and not isinstance(decode(frame), InvalidEvent):
            return [frame]
        assert self.opened is not None
        # A connection without any frame is judged by its body, also where earlier ones brought events.
        events = self.stats.events - self._events_before_restart if reader.has_frames else 0
        raise ending.error_at_end_of_bytes(events=events, body_head=reader.body_head, opened=self.opened)

    async def _open_later(self) -> None:
        await self._wire.rest(lambda: asyncio.sleep(self._delay))
        self._step = self._open

    async def _poll(self) -> None:
        await self._wire.rest(lambda: asyncio.sleep(self._delay))
        self._delay = self._poll_every
        self.stats.polls += 1
        background, response_id = self._background, self._cursor.response_id
        assert background is not None
        assert response_id is not None
        response = await self._wire.ask(lambda: background.retrieve(response_id))
        self._recovery.looked()
        # Of a stream that never opened, a look at its response is the answer that ``opened`` tells of.
        self.opened = self.opened or Opened(url="", headers={})
        if response.status in _UNFINISHED:
            return
        self._upcoming = iter(missing_events(response, self.accumulator, self._cursor.position))
        self._step = partial(self._end_cancelled, response)

    async def _end_cancelled(self, response: Response) -> None:
        # A cancelled response has no terminal event; where there was one, the stream has ended before this step.
        self.end(Cancelled(response=response))

    def _recover_or_end(self, error: StreamkitError) -> None:
        plan = self._plan(error)
        if plan is None:
            if self._reported is not None:
                # The server had said what was wrong before the stream broke off.
                error = from_detail(self._reported, request_id=self._request_id)
            self.end(ending.after_error(error, self.accumulator.snapshot()))
            return
        name, response_id = type(plan).__name__, self._cursor.response_id
        logger.info("%s in %.2f s after %s, response %s", name, plan.delay, error.kind, response_id)
        self._delay = plan.delay
        match plan:
            case Reopen():
                after = self._cursor.position
                self._notices.append(Reconnecting(attempt=plan.attempt, delay=plan.delay, cause=error, after=after))
                self._step = self._open_later
            case Poll():
                if self._is_suffix:
                    self._forget(error)
                self._step = self._poll
            case Restart():
                self._forget(error)
                self._cursor = Cursor(restarts=self._cursor.restarts + 1, gaps=self._cursor.gaps)
                self._step = self._open_later

    def _plan(self, error: StreamkitError) -> Plan | None:
        if self._reported is not None and self._background is None:
            return None
        begun = self.stats.events > self._events_before_restart
        jitter = random.random()  # noqa: S311 - it spreads load, and keeps no secret
        position = self._cursor.position
        # Where events are numbered, only a new number is progress: what has none may come with each connection again.
        progress = self.stats.events if position is None else position + 1
        return self._recovery.plan(error, self._cursor, progress=progress, begun=begun, jitter=jitter)

    def _note_times(self) -> None:
        # Once a chunk, not once an event: the events of a chunk arrived together.
        stats = self.stats
        if stats.first_text_after is None:
            if stats.first_event_after is None and stats.events:
                stats.first_event_after = stats.last_byte_after
            if self.accumulator.has_text:
                stats.first_text_after = stats.last_byte_after

    def _forget(self, cause: StreamkitError) -> None:
        self.accumulator = Accumulator()
        self._events_before_restart = self.stats.events
        self._is_suffix = False
        self.stats.restarts += 1
        self._notices.append(Restarted(cause=cause))

    def _note_end(self, event: Event) -> None:
        self.ending = ending.at_terminal_event(
            event.type,
            self.accumulator.snapshot(),
            reported=self._reported,
            request_id=self._request_id,
        )

    def _note_error(self, event: ErrorEvent) -> None:
        self._reported = self._reported or event.detail
        self._wire.expect_end()

    def _note_keepalive(self, _: Event) -> None:
        self.stats.keepalives += 1

    def _note_invalid(self, event: InvalidEvent) -> None:
        if event.type in TERMINAL_TYPES:
            self._note_end(event)

    _NOTED: ClassVar[dict[type[Event], Callable[[Any, Any], None]]] = {
        Keepalive: _note_keepalive,
        ErrorEvent: _note_error,
        InvalidEvent: _note_invalid,
        **dict.fromkeys([EVENTS[name] for name in TERMINAL_TYPES], _note_end),
    }
