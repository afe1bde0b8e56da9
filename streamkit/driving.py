"""Who drives a run: one task at a time reads the stream, for its own sake and for everybody else who listens."""

import asyncio
import logging
from collections.abc import Awaitable
from contextlib import nullcontext
from contextvars import Context
from functools import partial
from typing import TypeVar

from streamkit.dispatch import Deliveries
from streamkit.dispatch.lanes import Worker
from streamkit.errors import UsageError
from streamkit.in_place import Place
from streamkit.iteration import Tap
from streamkit.outcome import Cancelled, Delivery, EventsDropped
from streamkit.stream import AnyStream, EventStream
from streamkit.undecoded import deltas_but_for

T = TypeVar("T")

logger = logging.getLogger("streamkit.driving")

WARN_AFTER_SECONDS = 5.0
"""How long an iterator that is full may hold a run up before that is logged."""


class Driver:
    """Takes events from a stream and gives them to handlers and iterators.

    Whoever wants something, and finds that nobody drives, drives until it has what it wants; the others wait for what
    is brought to them, or for their turn. So no task is needed, and a run that nobody listens to stands still.

    Args:
        stream: the events.
        deliveries: the handlers.
    """

    __slots__ = (
        "_deliveries",
        "_driver",
        "_full",
        "_heirs",
        "_stream",
        "_taps",
        "_waiting",
        "_watching",
    )

    def __init__(self, stream: AnyStream, deliveries: Deliveries) -> None:
        self._stream = stream
        self._deliveries = deliveries
        # Most runs need none of all these: so None, or tuples, for an empty one is no object of its own. Taps are to be
        # looked through in a copy, for a forgotten one may be detached whenever garbage is collected: as may be done
        # while a tuple is made, but not while a list is filled.
        self._taps: dict[Tap, None] | None = None
        # Those for which nothing more must be taken from the stream until they have room:
        self._full: tuple[Tap, ...] = ()
        # Those who wait for their turn, and those of lanes, which wait for what is brought to them alone:
        self._waiting: tuple[asyncio.Future[None], ...] = ()
        self._watching: tuple[asyncio.Future[None], ...] = ()
        self._driver: asyncio.Task[object] | None = None
        # How many wait for their turn who want no event of their own, such as a task that dispatches.
        self._heirs = 0
        self.listeners_changed()

    @property
    def is_driving(self) -> bool:
        """Whether a task drives, which may be waiting for a handler, be it one of the end."""
        return self._driver is not None

    def attach(self, tap: Tap) -> None:
        """Keep for a tap what it wants from now on."""
        if self._taps is None:
            self._taps = {}
        self._taps[tap] = None
        if isinstance(self._stream, EventStream) and self._stream.receiver is not None:
            self._stream.receiver = self
        self.listeners_changed()

    def detach(self, tap: Tap) -> None:
        """Keep nothing for a tap any more."""
        self._remove(tap)
        tap.close()

    def listeners_changed(self) -> None:
        """Find out anew which deltas nobody listens to."""
        unwanted = self._deliveries.table.unwanted
        classes = tuple(model for tap in list(self._taps or ()) for model in tap.classes)
        if classes:
            unwanted = deltas_but_for(classes) & unwanted
        self._stream.unwanted = unwanted

    def note_dropped(self, *, at_end: bool = False) -> None:
        """Have told what iterators have dropped that keep up again; at the end, whatever was dropped."""
        for tap in list(self._taps or ()):
            if tap.backlog.has_room or at_end:
                dropped = tap.backlog.take_dropped()
                if dropped.events:
                    notice = EventsDropped(lane=tap.label, events=dropped.events, characters=dropped.characters)
                    self._deliveries.note(notice)

    def receive(self, delivery: Delivery, own: Tap | None = None) -> bool:
        """Give everybody a delivery; true where the next one can follow, and nothing must be waited for.

        Args:
            delivery: an event, a notice or an outcome.
            own: the tap that drives, if one does: it is not to be waited for.
        """
        # First, and without waiting: if this task is cancelled, the next one that drives goes on behind this event.
        if self._taps:
            self._share(delivery, own)
        return self._deliveries.receive(delivery) and not self._taps

    def stop(self, cause: BaseException | None) -> None:
        """End the run from this side, and let everybody go on who waits for room or for an event."""
        stream = self._stream
        stream.end(Cancelled(response=stream.accumulator.snapshot(), cause=cause))
        self._deliveries.lanes.release()
        for tap in self._full:
            tap.give_room()
        self._wake_all()

    def wake_lanes(self) -> None:
        """Let handlers in lanes that wait for the run see that it has ended, though its driver is busy with the end."""
        for waiter in self._watching:
            _look_again(waiter, None)

    def ensure_free(self) -> None:
        """Raise ``UsageError`` where a task drives that cannot be waited for: the caller's own."""
        if self._driver is not None and self._driver is asyncio.current_task():
            raise UsageError(
                "the run waits for this handler, and so the handler cannot wait for the run: do it in another task"
            )

    async def opened(self) -> None:
        """Drive until the server has answered, or the run has ended; raises as ``to_end``."""
        while self._stream.opened is None and self._stream.ending is None:
            if self._may_drive():
                await self._drive(self._fill())
            else:
                await self._wait(None)
        self._wake_next()

    async def to_end(self, context: Context) -> None:
        """Drive until the run has ended.

        Args:
            context: the one that the caller runs in; nobody else may be in it while the caller waits.

        Raises:
            Exception: what a handler raised and nobody swallowed.
            UsageError: an inline handler asks, for which the run waits.
        """
        while self._stream.ending is None:
            if self._may_drive():
                self._take_place(context)
                try:
                    await self._drive(self._drive_for(None))
                finally:
                    self._leave_place()
            else:
                await self._wait(None)

    async def next_for(self, tap: Tap) -> Delivery | None:
        """Return the next of what a tap wants; ``None`` where the run has ended, or nobody is to ask any more.

        Raises:
            Exception: what a handler raised and nobody swallowed, or what the tap's own condition raised.
            UsageError: an inline handler asks, for which the run waits; or the run had to go on without the iterator.
        """
        tap.reader = asyncio.current_task()
        stream = self._stream
        while not (tap.is_closed or self._is_cancelled()):
            delivery = tap.take()
            if delivery is not None or stream.ending is not None:
                self._wake_next()
                return delivery
            if self._may_drive() and not self._heirs:
                await self._drive(self._drive_for(tap))
            else:
                await self._wait(tap)
        self._wake_next()
        return None

    def _may_drive(self) -> bool:
        """Tell whether this task may drive: nobody does, and it is of no lane, for which the run may have to wait."""
        return self._driver is None and self._worker() is None

    def _worker(self) -> Worker | None:
        deliveries = self._deliveries
        return deliveries.lanes.worker_of(asyncio.current_task()) if deliveries.has_lanes else None

    async def _drive(self, steps: Awaitable[None]) -> None:
        self._driver = driver = asyncio.current_task()
        self._deliveries.cancellations = 0 if driver is None else _survived(driver)
        try:
            await steps
        except Exception as error:
            self.stop(error)
            raise
        finally:
            self._driver = None
            self._wake_next()

    def _take_place(self, context: Context) -> None:
        """While bytes are all that this task waits for, have them worked on without waking it up."""
        stream, task = self._stream, asyncio.current_task()
        if task is not None and isinstance(stream, EventStream):
            stream.receiver = self if self._taps else self._deliveries
            stream.place = Place(task, context, stream)

    def _leave_place(self) -> None:
        if isinstance(self._stream, EventStream):
            self._stream.place = self._stream.receiver = None

    async def _drive_for(self, tap: Tap | None) -> None:
        """Drive until the run has ended; for a tap, until it has something, or somebody would drive to the end."""
        stream, deliveries, lanes = self._stream, self._deliveries, self._deliveries.lanes
        while stream.ending is None and (tap is None or not (tap.has_something or self._heirs)):
            if self._full or lanes.full:
                await self._wait_for_room()
                continue
            delivery = stream.take()
            if delivery is None:
                await self._fill()
            else:
                self.receive(delivery, tap)
            rest, deliveries.rest = deliveries.rest, None
            while rest is not None:
                rest = await deliveries.go_on(rest)

    def _is_cancelled(self) -> bool:
        return isinstance(self._stream.ending, Cancelled)

    async def _fill(self) -> None:
        if self._taps:
            self.note_dropped()
        if self._deliveries.notices or self._deliveries.has_lanes:
            await self._deliveries.settle()
        if self._taps and any(len(tap.backlog) for tap in list(self._taps)):
            # Where bytes are always at hand, reading would never let their readers work.
            await asyncio.sleep(0)
        opened = self._stream.opened
        try:
            await self._stream.fill()
        except asyncio.CancelledError as cancelled:
            if self._deliveries.rest is None:
                raise
            # It is for the handler that was called meanwhile, and waits for something.
            _cancel_again(cancelled)
        if self._stream.opened is not opened:
            self._wake_all()

    def _share(self, delivery: Delivery, own: Tap | None) -> None:
        for tap in list(self._taps or ()):
            if tap is own:
                tap.offer_at_once(delivery)
            else:
                tap.offer(delivery)
                if tap.backlog.must_wait and tap not in self._full:
                    self._full += (tap,)

    async def _wait_for_room(self) -> None:
        """Wait until every lane and every tap that was full has room again, or the run has ended."""
        await self._deliveries.lanes.make_room()
        while self._full and self._stream.ending is None:
            tap = self._full[-1]
            if tap.is_closed or tap.backlog.has_room:
                self._full = self._full[:-1]
            elif tap.reader is not None and tap.reader.done():
                self._give_up(tap)
            elif tap.reader is not None and tap.reader is self._driver:
                raise UsageError(
                    f"an iterator has {len(tap.backlog)} events waiting that only this task could read: aclose() the "
                    "iterators that are read no more, or give them another when_full"
                )
            else:
                await self._wait_for_room_in(tap)

    async def _wait_for_room_in(self, tap: Tap) -> None:
        loop = asyncio.get_running_loop()
        warning = loop.call_later(WARN_AFTER_SECONDS, _warn, tap)
        reader, room = tap.reader, tap.room_wanted()
        wake = partial(_look_again, room)
        if reader is not None:
            reader.add_done_callback(wake)
        try:
            await room
        finally:
            warning.cancel()
            if reader is not None:
                reader.remove_done_callback(wake)

    def _remove(self, tap: Tap) -> None:
        if self._taps is not None and tap in self._taps:
            del self._taps[tap]
            self.listeners_changed()

    def _give_up(self, tap: Tap) -> None:
        self._full = _without(tap, self._full)
        self._remove(tap)
        tap.fail(
            UsageError(
                f"the run went on without this iterator: it had {len(tap.backlog)} events waiting when the task that "
                "had read it was done; read an iterator in one task, or give it another when_full"
            )
        )

    async def _wait(self, tap: Tap | None) -> None:
        """Wait for one's turn to drive, or for what others bring to a tap."""
        self.ensure_free()
        waiter = asyncio.get_running_loop().create_future()
        worker = self._worker()
        # Whoever drives to the end comes first, and takes over from a tap: one that is given up, as by a timeout, would
        # take the handler with it that it is calling.
        is_heir = tap is None and worker is None
        self._heirs += is_heir
        if worker is not None:
            self._watching += (waiter,)
        else:
            self._waiting = (*self._waiting, waiter) if tap is not None else (waiter, *self._waiting)
        if tap is not None:
            tap.waiters.add(waiter)
        try:
            with nullcontext() if worker is None else worker.waiting_for_run():
                await waiter
        except asyncio.CancelledError:
            self._wake_next()
            raise
        finally:
            self._heirs -= is_heir
            self._waiting = _without(waiter, self._waiting)
            self._watching = _without(waiter, self._watching)
            if tap is not None:
                tap.waiters.discard(waiter)

    def _wake_next(self) -> None:
        """Give the turn to the next one who waits for it; where the run has ended, let everybody see that."""
        while self._driver is None and self._waiting:
            waiter, *others = self._waiting
            self._waiting = tuple(others)
            if not waiter.done():
                waiter.set_result(None)
                if self._stream.ending is None:
                    return
        if self._stream.ending is not None:
            self._wake_all()

    def _wake_all(self) -> None:
        for waiter in (*self._waiting, *self._watching):
            _look_again(waiter, None)


def _without(one: T, them: tuple[T, ...]) -> tuple[T, ...]:
    return tuple(other for other in them if other is not one)


def _survived(task: "asyncio.Task[object]") -> int:
    """Return how many of its cancellations a task has lived on after: one that it has yet to hear of is none."""
    # asyncio has no public word for that; anyio asks in the same way.
    return task.cancelling() - bool(getattr(task, "_must_cancel", False))


def _cancel_again(cancelled: asyncio.CancelledError) -> None:
    """Have the current task cancelled at its next wait, in place of now."""
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()
    task.cancel(*cancelled.args)


def _look_again(waiter: "asyncio.Future[None]", _: object) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _warn(tap: Tap) -> None:
    logger.warning("a run waits for %s, which is full: nobody has read it for a while", tap.label)
