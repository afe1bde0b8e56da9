"""Lanes at work in one run: a bounded queue and a task for each, first in, first out."""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Hashable, Iterator, Sequence
from contextlib import contextmanager

from streamkit.backlog import open_backlog
from streamkit.dispatch.lane import Lane
from streamkit.errors import HandlerCancelled, UsageError
from streamkit.items import OutputItem
from streamkit.outcome import Delivery, EventsDropped, Restarted

Handle = Callable[[Lane, Delivery, OutputItem | None], Awaitable[None]]
"""Calls the handlers that a lane has for a subject, which belongs to an item, perhaps."""

REMEMBERED_KEYS = 4096
"""How many keys of a lane are given workers in turn; of those beyond, the hash decides."""


class Shared:
    """What the workers of one lane have in common.

    Attributes:
        meeting: where all of them come together.
        room: set where one of them has room again, or need not be waited for.
        waiting: how many of them handle something that waits for the run.
    """

    __slots__ = ("meeting", "room", "waiting")

    def __init__(self, workers: int) -> None:
        self.meeting = asyncio.Barrier(workers)
        self.room = asyncio.Event()
        self.waiting = 0


class Worker:
    """One queue and its task; a lane has one of them, or as many as its ``concurrency`` says.

    Args:
        lane: the lane.
        handle: calls its handlers.
        failed: called with what they raise.
        shared: what it has in common with the others of the lane.

    Attributes:
        backlog: what is waiting.
        current: what is being handled, if anything is.
        error: what a handler raised and nobody swallowed; the worker has ended then.
    """

    def __init__(self, lane: Lane, handle: Handle, failed: Callable[[BaseException], None], shared: Shared) -> None:
        share = lane.concurrency
        self.lane = lane
        self.backlog = open_backlog(
            lane.when_full, max_events=-(-lane.max_events // share), max_bytes=-(-lane.max_bytes // share)
        )
        self.current: Delivery | None = None
        self.error: BaseException | None = None
        self._is_released = False
        self._handle = handle
        self._failed = failed
        self._shared = shared
        self._more = asyncio.Event()
        self._idle = asyncio.Event()
        self.task = asyncio.create_task(self._work(), name=f"streamkit {lane.label}")

    def add(self, subject: Delivery, item: OutputItem | None) -> None:
        """Put something into the queue; where it ``is_full`` then, wait for ``room`` before the next."""
        self.backlog.add(subject, item)
        self._more.set()
        if not self._is_released:
            self._idle.clear()

    @property
    def is_full(self) -> bool:
        """Whether ``room`` is to be waited for; not while a handler waits for the run, which must go on for it."""
        return self.backlog.must_wait and not (self._is_released or self._shared.waiting)

    async def room(self) -> None:
        """Wait until there is room in the queue, or nobody is to wait for it."""
        while self.is_full:
            self._shared.room.clear()
            await self._shared.room.wait()

    @contextmanager
    def waiting_for_run(self) -> Generator[None]:
        """Let the run go on, although the lane is full, while a handler waits for it."""
        self._shared.waiting += 1
        self._shared.room.set()
        try:
            yield
        finally:
            self._shared.waiting -= 1

    async def idle(self) -> None:
        """Wait until everything in the queue is handled, or the worker is released."""
        await self._idle.wait()

    def take_error(self) -> BaseException | None:
        """Return what a handler raised, the first time that this is asked."""
        error, self.error = self.error, None
        return error

    def release(self) -> None:
        """Let nobody wait for this any longer, and begin with nothing more."""
        self._is_released = True
        self._more.set()
        self._shared.room.set()
        self._idle.set()

    async def _work(self) -> None:
        try:
            # Not for ever: a handler may have swallowed the cancellation.
            while not self._is_released:
                self._more.clear()
                await self._empty()
                self._idle.set()
                await self._more.wait()
        except (KeyboardInterrupt, SystemExit):
            raise  # They end the loop, and every run in it.
        except asyncio.CancelledError as cancelled:
            if self._is_released:
                raise
            failure = HandlerCancelled(f"in {self.lane.label}")
            failure.__cause__ = cancelled
            self._fail(failure)
        except BaseException as error:  # noqa: BLE001 - it is raised where the run ends
            self._fail(error)
        finally:
            self.release()

    def _fail(self, error: BaseException) -> None:
        self.error = error
        self._failed(error)

    async def _empty(self) -> None:
        while len(self.backlog) and not self._is_released:
            self.current, item = self.backlog.take_with_item()
            if self.backlog.has_room:
                self._shared.room.set()
            if isinstance(self.current, Restarted):
                await self._handle_together(self.current)
            else:
                await self._handle(self.lane, self.current, item)
            self.current = None

    async def _handle_together(self, subject: Restarted) -> None:
        """Handle what every worker of the lane was handed: once, between all that came before it and all behind it."""
        if await self._shared.meeting.wait() == 0:
            await self._handle(self.lane, subject, None)
        await self._shared.meeting.wait()


class Crew:
    """The workers of one lane, and who of them works on what."""

    __slots__ = ("_lane", "_turns", "workers")

    def __init__(self, lane: Lane, handle: Handle, failed: Callable[[BaseException], None]) -> None:
        shared = Shared(lane.concurrency)
        self._lane = lane
        self.workers = [Worker(lane, handle, failed, shared) for _ in range(lane.concurrency)]
        self._turns: dict[Hashable, int] = {}

    def workers_for(self, subject: Delivery) -> Sequence[Worker]:
        """Return who is to be handed a subject: one worker, always the same for a key; all, for a restart.

        Raises:
            UsageError: the lane's key cannot be hashed.
            Exception: what the lane's key raised.
        """
        count = len(self.workers)
        if count == 1 or isinstance(subject, Restarted):
            return self.workers
        key = _key_of(self._lane, subject)
        if key not in self._turns and len(self._turns) < REMEMBERED_KEYS:
            self._turns[key] = len(self._turns)
        return (self.workers[self._turns.get(key, hash(key)) % count],)


class Lanes:
    """The lanes of one run. Their tasks belong to the run, which closes this when it ends."""

    __slots__ = ("_crews", "_is_released", "_stop", "full")

    def __init__(self) -> None:
        self._is_released = False
        self._stop: Callable[[BaseException], None] | None = None
        # Of each lane that was handed anything, by its identity.
        self._crews: dict[object, Crew] = {}
        self.full: tuple[Worker, ...] = ()
        """Those for which ``make_room`` has to wait before more is handed over."""

    def hand_over(
        self,
        lane: Lane,
        subject: Delivery,
        item: OutputItem | None,
        *,
        handle: Handle,
        stop: Callable[[BaseException], None],
    ) -> None:
        """Put a subject into a lane's queue; where one is ``full`` then, ``make_room`` before the next.

        Args:
            lane: the lane.
            subject: what its handlers are called with.
            item: what it belongs to, for those of them that ask.
            handle: calls them.
            stop: called with the error when one of them has failed, so that the run stops.

        Raises:
            UsageError: the lane's key cannot be hashed.
            Exception: what the lane's key raised.
        """
        if self._is_released:
            return
        crew = self._crews.get(lane.identity)
        if crew is None:
            crew = self._crews[lane.identity] = Crew(lane, handle, self._note_failure)
            self._stop = stop
        for worker in crew.workers_for(subject):
            worker.add(subject, item)
            if worker.is_full and worker not in self.full:
                self.full += (worker,)

    def divide(self, lane: Lane) -> None:
        """Merge no delta that comes from now on with one that waits in the lane: it is of another response."""
        crew = self._crews.get(lane.identity)
        for worker in crew.workers if crew is not None else ():
            worker.backlog.divide()

    @property
    def at_work(self) -> bool:
        """Whether any lane was handed anything, and has not ended."""
        return bool(self._crews)

    async def make_room(self) -> None:
        """Wait until no queue is full any more, or the run stops."""
        while self.full:
            await self.full[-1].room()
            self.full = self.full[:-1]

    def worker_of(self, task: "asyncio.Task[object] | None") -> Worker | None:
        """Return the worker that a task is of; ``None`` for every task that is of none."""
        return next((worker for worker in self._all() if worker.task is task), None)

    async def give_way(self) -> None:
        """Let the lanes work that have something to do: where bytes are always at hand, reading would never wait."""
        if any(len(worker.backlog) for worker in self._all()):
            await asyncio.sleep(0)

    def dropped(self, *, at_end: bool = False) -> tuple[EventsDropped, ...]:
        """Return what lanes have dropped that keep up again; at the end, whatever was dropped."""
        notices: list[EventsDropped] = []
        for worker in self._all():
            if worker.backlog.has_room or at_end:
                dropped = worker.backlog.take_dropped()
                if dropped.events:
                    label = worker.lane.label
                    notices.append(EventsDropped(lane=label, events=dropped.events, characters=dropped.characters))
        return tuple(notices)

    async def drain(self) -> list[Worker]:
        """Wait until everything is handled, and return the workers that took longer than their lane allows.

        It ends early where a handler failed; ``raise_failures`` says so then.
        """
        began = asyncio.get_running_loop().time()
        late: list[Worker] = []
        for worker in list(self._all()):
            timeout = worker.lane.drain_timeout
            try:
                async with asyncio.timeout_at(None if timeout is None else began + timeout):
                    await worker.idle()
            except TimeoutError:
                late.append(worker)
        return late

    def raise_failures(self) -> None:
        """Raise what handlers in lanes raised and nobody swallowed, if that was not done yet.

        Raises:
            Exception: the error of the one lane that failed, unchanged.
            ExceptionGroup: several failed before the run had stopped.
        """
        raise_together([error for worker in self._all() if (error := worker.take_error()) is not None])

    def release(self) -> None:
        """Let nobody wait for a lane any longer, and hand nothing over any more: the run stops."""
        self._is_released = True
        for worker in self._all():
            worker.release()

    async def close(self) -> None:
        """Cancel what the lanes still do, wait until they have ended, and raise as ``raise_failures`` does."""
        await self.cancel()
        try:
            self.raise_failures()
        finally:
            if all(worker.task.done() for worker in self._all()):
                self._crews.clear()
                self._stop = None

    async def cancel(self) -> None:
        """Cancel what the lanes still do, and wait until they have ended."""
        self.release()
        tasks = [worker.task for worker in self._all()]
        for task in tasks:
            task.cancel()
        # A handler in a lane may be the one that ends the run: its own end is waited for by the run's owner.
        others = [task for task in tasks if task is not asyncio.current_task()]
        if others:
            await asyncio.gather(*others, return_exceptions=True)

    def _all(self) -> Iterator[Worker]:
        for crew in self._crews.values():
            yield from crew.workers

    def _note_failure(self, error: BaseException) -> None:
        if self._stop is not None:
            self._stop(error)
        self.release()


def raise_together(errors: Sequence[BaseException]) -> None:
    """Raise the only error as it is, or several as one group; nothing where there is none."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise BaseExceptionGroup("several lanes failed", errors)


def _key_of(lane: Lane, subject: Delivery) -> Hashable:
    try:
        key = lane.key_of(subject)
    except Exception as error:
        error.add_note(f"raised by the key of {lane.label}")
        raise
    try:
        hash(key)
    except TypeError as error:
        raise UsageError(f"the key of {lane.label} must give something hashable, not {key!r}") from error
    return key
