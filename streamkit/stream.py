"""The events of one response, in order and each once, across any number of connections, folded as they come."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any, ClassVar, Protocol

import anyio

from streamkit import ending
from streamkit.accumulator import Accumulator
from streamkit.clocks import Timeouts
from streamkit.codec import Translator, decode_block
from streamkit.codec import decode as decode_leniently
from streamkit.cursor import Cursor, Retry
from streamkit.deferral import Deferral
from streamkit.errors import ClockExpired, StreamkitError, TransportError, UsageError
from streamkit.events import EVENTS, TERMINAL_TYPES, ErrorEvent, Event, InvalidEvent, Keepalive, TerminalEvent
from streamkit.failures import from_detail
from streamkit.limits import Limits
from streamkit.outcome import Cancelled, Notice, Opened, Outcome, Reconnecting, Restarted
from streamkit.reader import Reader, Taker
from streamkit.recovery import Plan, Poll, Recovery, Reopen, Restart
from streamkit.response import ErrorDetail, Response
from streamkit.source import Background, Source
from streamkit.sse import Frame, blocks_in
from streamkit.stats import RunStats
from streamkit.synthesis import missing_events
from streamkit.verdict import server_notice
from streamkit.watchdog import Interrupted

logger = logging.getLogger("streamkit.stream")

CANCEL_SECONDS = 3.0
"""How long the server may take to say that it cancels a background response."""
_UNFINISHED = frozenset({"queued", "in_progress"})


class AnyStream(Protocol):
    """What a run drives: an ``EventStream``, or something around one or several of them.

    Attributes:
        ending: how the response ended; ``None`` as long as it goes on.
    """

    ending: Outcome | None

    @property
    def unwanted(self) -> frozenset[str]:
        """The wire names of deltas that nobody listens to, and that need not be decoded therefore."""
        ...

    @unwanted.setter
    def unwanted(self, names: frozenset[str], /) -> None:
        """Say anew what nobody listens to."""

    @property
    def accumulator(self) -> Accumulator:
        """The response as far as it has come."""
        ...

    @property
    def opened(self) -> Opened | None:
        """What the other side said when the source was last opened."""
        ...

    @property
    def late_frames(self) -> int:
        """How many frames came after the end."""
        ...

    @property
    def stats(self) -> RunStats:
        """The figures so far."""
        ...

    def take(self) -> Event | Notice | None:
        """Return the next of what is at hand, folded into the response; ``None`` where a call of ``fill`` is needed."""

    async def fill(self) -> None:
        """Take the next step towards more events."""

    def end(self, outcome: Outcome) -> None:
        """End the stream from this side, now, if it has not ended."""

    async def close(self) -> None:
        """Close what is open."""

    async def cancel_on_server(self) -> None:
        """Tell the server to stop a background response; that it cannot be told is logged."""


class Receiver(Protocol):
    """Whom events and notices are for that come while a task waits for them."""

    def receive(self, delivery: Event | Notice, /) -> bool:
        """Take one; true where the next one can follow, and the task that waits can wait on."""
        ...


class EventStream:
    """Pulls the events of one response from a source; knows nothing of handlers.

    Attributes:
        unwanted: the wire names of deltas that nobody listens to, and that need not be decoded therefore.
        place: if it is set, takes what comes while a task waits in ``fill``: to ``pass_on`` it in its place.
        receiver: gets what is passed on; ``None`` where nothing is, as from the end on.
        opened: what the other side said when the source was last opened.
        ending: how the response ended; ``None`` as long as it goes on.
        late_frames: how many frames came after the end.
        stats: the figures so far.
    """

    __slots__ = (
        "_accumulator",
        "_background",
        "_blocks",
        "_cursor",
        "_decode",
        "_deferral",
        "_delay",
        "_events_before_restart",
        "_is_plain",
        "_is_suffix",
        "_limits",
        "_make_translator",
        "_notices",
        "_reader",
        "_recovery",
        "_reported",
        "_restart",
        "_retry",
        "_source",
        "_step",
        "_timeouts",
        "_translator",
        "_upcoming",
        "ending",
        "late_frames",
        "opened",
        "place",
        "receiver",
        "stats",
        "unwanted",
    )

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
        decode: Callable[[Frame], Event] = decode_leniently,
        translator: Callable[[], Translator] | None = None,
    ) -> None:
        self.unwanted: frozenset[str] = frozenset()
        self.place: Taker | None = None
        self.receiver: Receiver | None = None
        self.opened: Opened | None = None
        self.ending: Outcome | None = None
        self.late_frames = 0
        self.stats = RunStats()
        self._accumulator = Accumulator()
        # Made where it is needed: deltas that nobody listens to, as they came, and the events that followed them.
        self._deferral: Deferral | None = None
        self._is_plain = decode is decode_leniently and translator is None
        self._make_translator = translator
        self._translator: Translator | None = None
        self._source = source
        self._background = background
        self._cursor = cursor or Cursor()
        # What came before the cursor, if it does not start at the beginning, was never seen here.
        self._is_suffix = self._cursor.position is not None
        self._retry = retry
        self._restart = restart
        self._recovery: Recovery | None = None
        self._timeouts = timeouts or Timeouts()
        self._limits = limits or Limits()
        self._decode = decode
        self._reader: Reader | None = None
        self._step: Callable[[EventStream], Awaitable[None]] = EventStream._open
        self._delay = 0.0
        # Notices, and the end of the response where one of them comes before it.
        self._notices: tuple[Notice | Event, ...] = ()
        # Blocks of the last read, the next one last, if any are left, and events that come before them.
        self._blocks: list[bytes] | None = None
        self._upcoming: Iterator[Event] | None = None
        self._reported: ErrorDetail | None = None
        self._events_before_restart = 0

    @property
    def accumulator(self) -> Accumulator:
        """The response as far as it has come."""
        if self._deferral is not None:
            self._catch_up()
        return self._accumulator

    # Long, for it is run for every event, and each function that it called would be, too.
    def take(self) -> Event | Notice | None:  # noqa: C901
        """Return the next of what is at hand, folded into the response; ``None`` where a call of ``fill`` is needed."""
        if self._notices:
            return self._take_notice()
        try:
            while True:
                if self._upcoming is not None:
                    event = next(self._upcoming, None)
                    if event is None:
                        self._upcoming = None
                        continue
                elif not self._blocks:
                    return None
                else:
                    block = self._blocks.pop()
                    event = decode_block(block, self.unwanted) if self._is_plain else None
                    if event is None:
                        event = self._decode_frame(block)
                        if event is None:
                            continue
                if self._deferral is not None:
                    self._add_behind_deferred(self._deferral, event)
                    break
                if self._cursor.advance(event):
                    if self._accumulator.add(event):
                        self.stats.events += 1
                        return event
                    break
        except StreamkitError as error:
            self._recover_or_end(error)
            return None
        self.stats.events += 1
        return self._noted(event)

    async def fill(self) -> None:
        """Take the next step towards more events: open, read, wait before another attempt, or look at the response.

        Raises:
            UsageError: another task is driving the stream.
        """
        if self.ending is not None:
            return
        if self._reader is None:
            self._reader = Reader(self._timeouts, self._limits, self.stats)
        self._reader.taker = self.place
        try:
            await self._step(self)
        except Interrupted:
            pass  # By end(), which has set the ending.
        except UsageError:
            raise
        except StreamkitError as error:
            if self.ending is None:  # Else it broke off just before end() was called.
                self._recover_or_end(error)

    def keep(self, whole: bytes) -> None:
        """Have at hand what came while a task waits in ``fill``."""
        self._blocks = blocks_in(whole)
        self._blocks.reverse()

    def pass_on(self, whole: bytes) -> bool:
        """Deliver what came while a task waits in ``fill``; true where that task can wait on."""
        receiver = self.receiver
        if receiver is None:
            self.keep(whole)
            return False
        # Mostly it is a single event, and nothing else can be decoded as one.
        event = decode_block(whole, self.unwanted) if self._is_plain and self._deferral is None else None
        if event is None:
            self.keep(whole)
            delivery = self.take()
        elif self._cursor.advance(event):
            self.stats.events += 1
            if self._accumulator.add(event):
                # Behind a text that goes on nothing is at hand.
                return receiver.receive(event) and self.receiver is receiver
            delivery = self._noted(event)
        else:
            return True
        return self._deliver_all(receiver, delivery)

    def _deliver_all(self, receiver: Receiver, delivery: Event | Notice | None) -> bool:
        """Deliver one thing, and then what is at hand behind it; true where the task that waits can wait on."""
        while delivery is not None:
            # There is another receiver where a handler has brought in others who want what follows; at the end, none.
            if not receiver.receive(delivery) or self.receiver is not receiver:
                return False
            if not (self._blocks or self._upcoming or self._notices):
                break
            delivery = self.take()
        else:
            if self._step is not EventStream._read or self.receiver is None:
                return False
        # Given back now, this is what the next read gets, while it is still in the processor's cache.
        self._blocks = None
        if self.stats.first_text_after is None:
            self._note_times()
        return True

    def end(self, outcome: Outcome) -> None:
        """End the stream from this side, now, if it has not ended."""
        if self.ending is None:
            self.ending, self.receiver = outcome, None
            if self._reader is not None:
                self._reader.interrupt()

    async def close(self) -> None:
        """Close the source; what it still sends after the end is counted."""
        reader = self._reader
        if reader is None:
            return
        self.place = self.receiver = None  # A handler of the end may be the one to close.
        self._note_times()
        self.stats.text_characters = len(self.accumulator.text)
        self.stats.gaps = self._cursor.gaps
        reader.note_end()
        try:
            self.late_frames += reader.count_late(reversed(self._blocks or ()))
            if self._accumulator.ended:
                self.late_frames += await reader.drain()
        finally:
            await reader.close()
        self._reader = None  # It may hold a large event that was cut off.

    async def within_total(self, call: Callable[[], Awaitable[None]]) -> None:
        """Make a call that waits for something else than the stream, no longer than the total clock allows.

        Raises:
            ClockExpired: the total clock ran out.
        """
        total = self._timeouts.total
        if total is None or self._reader is None:
            await call()
            return
        with anyio.move_on_after(total - self._reader.elapsed) as scope:
            await call()
        if scope.cancelled_caught:
            raise ClockExpired("total", total)

    def ensure_free(self) -> None:
        """Raise ``UsageError`` where a task is waiting for the stream."""
        if self._reader is not None:
            self._reader.ensure_free()

    async def cancel_on_server(self) -> None:
        """Tell the server to stop a background response; that it cannot be told is logged."""
        background, response_id = self._background, self._cursor.response_id
        if background is None or response_id is None:
            return
        try:
            with anyio.fail_after(CANCEL_SECONDS):
                await background.cancel(response_id)
        except (StreamkitError, TimeoutError) as error:
            kind = error.kind if isinstance(error, StreamkitError) else f"no answer within {CANCEL_SECONDS:g} s"
            logger.warning("the server was not told to cancel response %s: %s", response_id, kind)

    @property
    def _request_id(self) -> str | None:
        return self.opened.request_id if self.opened else None

    @property
    def _wire(self) -> Reader:
        assert self._reader is not None
        return self._reader

    async def _open(self) -> None:
        self.opened = await self._wire.open(self._source, self._cursor)
        self._cursor.reconnected()
        self._translator = self._make_translator() if self._make_translator is not None else None
        self._notices += (self.opened,)
        self._step = EventStream._read
        logger.debug("attempt %d: status %s, request %s", self.stats.attempts, self.opened.status, self._request_id)

    async def _read(self) -> None:
        reader = self._wire
        reader.note_progress()
        if self.stats.first_text_after is None:
            self._note_times()
        whole = await reader.read()
        if whole is None:
            self._upcoming = iter(self._last_events(reader))
        elif whole:
            self.keep(whole)

    def _decode_frame(self, block: bytes) -> Event | None:
        frame = self._wire.decoder.parse(block)
        if frame is None or (frame.event in self.unwanted and self._defer(block)):
            return None
        if self._translator is not None:
            self._upcoming = iter(self._translator.feed(frame))
            return None
        return self._decode(frame)

    def _defer(self, first: bytes) -> bool:
        """Put off the decoding of a block, and of those behind it, as far as they are deltas that nobody wants."""
        blocks = self._blocks
        if blocks is None or not self._is_plain or self._cursor.is_replaying:
            return False
        deferral = self._deferral or Deferral(self._limits.max_undecoded_bytes)
        blocks.append(first)
        count = deferral.put_off(blocks, self.unwanted)
        if not count:
            blocks.pop()
            return False
        self._deferral = deferral
        self._accumulator.has_text = self._accumulator.has_text or deferral.has_text
        self.stats.events += count
        if deferral.is_full:
            self._catch_up()
        return True

    def _add_behind_deferred(self, deferral: Deferral, event: Event) -> None:
        self._cursor.advance_past_unread(event, deferral.unread)
        deferral.unread = 0
        if isinstance(event, TerminalEvent) and event.response.output:
            self._deferral = None
            self._accumulator.skip_to_end(event)
        else:
            deferral.add(event)
            if deferral.is_full:
                self._catch_up()

    def _catch_up(self) -> None:
        deferral, self._deferral = self._deferral, None
        if deferral is None:
            return
        for entry in deferral.entries:
            if isinstance(entry, bytes):
                frame = self._wire.decoder.parse(entry)
                assert frame is not None
                entry = self._decode(frame)  # noqa: PLW2901 - the same event, looked at
                self._cursor.note_read_late(entry)
            self._accumulator.add(entry)

    def _last_events(self, reader: Reader) -> list[Event]:
        """Return the events that the end of the bytes gives: of a frame that is whole but for its blank line, perhaps.

        Raises:
            StreamkitError: the bytes have ended, and the response has not.
        """
        events = self._events_of_last(reader.unterminated())
        if events:
            return events
        assert self.opened is not None
        # A connection without any frame is judged by its body, also where earlier ones brought events.
        count = self.stats.events - self._events_before_restart if reader.has_frames else 0
        raise ending.error_at_end_of_bytes(events=count, body_head=reader.body_head, opened=self.opened)

    def _events_of_last(self, frame: Frame | None) -> list[Event]:
        is_whole = frame is not None and not isinstance(decode_leniently(frame), InvalidEvent)
        last = [frame] if frame is not None and is_whole else []
        if self._translator is None:
            return [self._decode(frame) for frame in last]
        return [*chain.from_iterable(map(self._translator.feed, last)), *self._translator.finish()]

    async def _open_later(self) -> None:
        await self._wire.rest(lambda: asyncio.sleep(self._delay))
        self._step = EventStream._open

    async def _poll(self) -> None:
        await self._wire.rest(lambda: asyncio.sleep(self._delay))
        self._delay = self._retry.poll_every if self._retry is not None else 0.0
        self.stats.polls += 1
        background, response_id = self._background, self._cursor.response_id
        assert background is not None
        assert response_id is not None
        response = await self._wire.ask(lambda: background.retrieve(response_id))
        self._recover().looked()
        # Of a stream that never opened, a look at its response is the answer that ``opened`` tells of.
        self.opened = self.opened or Opened(url="", headers={})
        if response.status in _UNFINISHED:
            return
        self._upcoming = iter(missing_events(response, self.accumulator, self._cursor.position))
        self._step = partial(EventStream._end_cancelled, response=response)

    async def _end_cancelled(self, response: Response) -> None:
        # A cancelled response has no terminal event; where there was one, the stream has ended before this step.
        self.end(Cancelled(response=response))

    def _recover_or_end(self, error: StreamkitError) -> None:
        if isinstance(error, TransportError) and self._translator is not None:
            # It may have been told already how the response ends, and only have waited for its last figures.
            last = list(self._translator.finish())
            if last:
                self._upcoming = iter(last)
                return
        # The cursor must know where the stream broke off.
        self._catch_up()
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
                self._notices += (Reconnecting(attempt=plan.attempt, delay=plan.delay, cause=error, after=after),)
                self._step = EventStream._open_later
            case Poll():
                if self._is_suffix:
                    self._forget(error)
                self._step = EventStream._poll
            case Restart():
                self._forget(error)
                self._cursor = Cursor(restarts=self._cursor.restarts + 1, gaps=self._cursor.gaps)
                self._step = EventStream._open_later

    def _plan(self, error: StreamkitError) -> Plan | None:
        if self._reported is not None and self._background is None:
            return None
        begun = self.stats.events > self._events_before_restart
        jitter = random.random()  # noqa: S311 - it spreads load, and keeps no secret
        position = self._cursor.position
        # Where events are numbered, only a new number is progress: what has none may come with each connection again.
        progress = self.stats.events if position is None else position + 1
        return self._recover().plan(error, self._cursor, progress=progress, begun=begun, jitter=jitter)

    def _recover(self) -> Recovery:
        if self._recovery is None:
            self._recovery = Recovery(self._retry, background=self._background is not None, restart=self._restart)
        return self._recovery

    def _note_times(self) -> None:
        # Once a chunk, not once an event: the events of a chunk arrived together.
        stats = self.stats
        if stats.first_text_after is None:
            if stats.first_event_after is None and stats.events:
                stats.first_event_after = stats.last_byte_after
            if self._accumulator.has_text:
                stats.first_text_after = stats.last_byte_after

    def _forget(self, cause: StreamkitError) -> None:
        self._accumulator = Accumulator()
        self._events_before_restart = self.stats.events
        self._is_suffix = False
        self.stats.restarts += 1
        self._notices += (Restarted(cause=cause),)

    def _take_notice(self) -> Notice | Event:
        delivery, *others = self._notices
        self._notices = tuple(others)
        if isinstance(delivery, Event):
            self._end_at(delivery)
        return delivery

    def _noted(self, event: Event) -> Event | Notice:
        """Note what an event says of the stream itself, and return what is delivered first: mostly the event."""
        note = self._NOTED.get(type(event))
        if note is not None:
            note(self, event)
            if self._notices:
                return self._take_notice()
        return event

    def _note_end(self, event: Event) -> None:
        notice = server_notice(self.accumulator.snapshot())
        if notice is None:
            self._end_at(event)
        else:
            # Nothing is taken after the end.
            self._notices += (notice, event)

    def _end_at(self, event: Event) -> None:
        self.receiver = None
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
