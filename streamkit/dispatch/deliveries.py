"""The handlers of one run being called: in order, middleware around them, and somebody to face what they raise."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from inspect import isawaitable
from time import perf_counter
from types import CoroutineType
from typing import Any, NamedTuple, NoReturn, cast

from streamkit.context import Run
from streamkit.dispatch.handler import Handler
from streamkit.dispatch.joining import joined_with
from streamkit.dispatch.lane import Lane
from streamkit.dispatch.lanes import Lanes, Worker, raise_together
from streamkit.dispatch.stepping import let_go, resume
from streamkit.dispatch.table import BEGINNINGS, CallNext, Chain, LaneRoute, Middleware, Step, Table
from streamkit.errors import HandlerCancelled, LaneTimeout
from streamkit.events import Event, ItemEvent
from streamkit.items import OutputItem
from streamkit.outcome import Delivery, HandlerBlocked, HandlerFailed, Notice
from streamkit.stats import RunStats

logger = logging.getLogger("streamkit.dispatch")

REMEMBERED_FAILURES = 64
"""How many exceptions are known again on their way through middleware, so that nobody is asked twice about one."""

_COROUTINE: Any = CoroutineType
_DONE = object()


class Rest(NamedTuple):
    """What is left to do for a subject: a handler that must be waited for, and those behind it."""

    step: Step
    others: Iterator[Step]
    subject: Delivery
    began: float
    """When the one that must be waited for was called."""
    wait: Callable[[], Awaitable[object]]


class Deliveries:
    """Delivers what a run brings to the handlers of a table.

    Args:
        table: the handlers; it may be replaced by another one at any time.
        run: the run that handlers are given.
        stats: the run's figures, in which the time of handlers is counted.
        max_blocking_seconds: how long a handler may keep the loop busy before it is reported.
        stop: called with the error when a handler in a lane has failed, so that the run stops.

    Attributes:
        table: the handlers.
        lanes: those that have been handed something.
        has_lanes: whether there were any such.
        notices: what ``settle`` is to tell.
        rest: what handlers have left to do that were called by ``receive``, for ``go_on``.
        cancellations: how often the task that drives the run had been cancelled, and lived on, when it began to.
    """

    __slots__ = (
        "_blocking",
        "_chains",
        "_disabled",
        "_max_blocking_seconds",
        "_notable_seconds",
        "_run",
        "_stats",
        "_stop",
        "_told",
        "cancellations",
        "has_lanes",
        "lanes",
        "notices",
        "rest",
        "table",
    )

    def __init__(
        self,
        table: Table,
        run: Run[object],
        *,
        stats: RunStats,
        max_blocking_seconds: float,
        stop: Callable[[BaseException], None],
    ) -> None:
        self.table = table
        self.lanes = Lanes()
        self.has_lanes = False
        self.cancellations = 0
        self._run: Run[object] | None = run
        self._stop: Callable[[BaseException], None] | None = stop
        self._stats = stats
        self._max_blocking_seconds = max_blocking_seconds
        # What takes no longer is neither the longest nor too long.
        self._notable_seconds = 0.0
        # Tuples, for in most runs these stay empty, and an empty tuple is no object of its own.
        self.notices: tuple[Notice, ...] = ()
        self._blocking: tuple[object, ...] = ()
        self._disabled: tuple[object, ...] = ()
        self._told: tuple[Exception, ...] = ()
        self.rest: Rest | None = None
        self._chains: dict[Chain, CallNext] = {}

    async def deliver(self, subject: Delivery) -> None:
        """Hand an event, notice or outcome over to lanes, then call the other handlers, each awaited before the next.

        Raises:
            Exception: what a handler raised and nobody swallowed, with a note saying where.
        """
        route = self.table[type(subject)]
        for lane in route.lanes:
            self._hand_over(lane, subject)
        await self.call(route.inline, subject)

    def receive(self, subject: Delivery, /) -> bool:
        """Hand over as ``deliver`` does, and call handlers until one must be waited for: then there is a ``rest``.

        Returns:
            Whether the next event can follow at once.
        """
        route = self.table[type(subject)]
        if route.lanes:  # A loop over nothing takes longer.
            for lane in route.lanes:
                self._hand_over(lane, subject)
        if route.inline:
            rest = self.begin(route.inline, subject)
            if rest is not None:
                self.rest = rest
                return False
        return not (self.notices or self.has_lanes)

    async def call(self, steps: Iterable[Step], subject: Delivery) -> None:
        """Call handlers with a subject; raises as ``deliver``."""
        rest = self.begin(steps, subject)
        while rest is not None:
            rest = await self.go_on(rest)

    # One long function, for it is run for every event, and each function that it called would be, too.
    def begin(self, steps: Iterable[Step], subject: Delivery) -> "Rest | None":
        """Call handlers with a subject until one must be waited for; return what is left then, for ``go_on``."""
        stats, disabled, now = self._stats, self._disabled, perf_counter()
        others = iter(steps)
        for step in others:
            if type(step) is Chain:  # To say that it is none, isinstance() takes long.
                return Rest(step, others, subject, now, partial(self._through(step), cast("Event", subject)))
            if disabled and step.identity in disabled:
                continue
            began, call = now, step.call
            try:
                result: Any = call(subject, self._run) if step.takes_run else call(subject)
                if type(result) is _COROUTINE:
                    # The first step is made here, and not by ``await``: mostly it is the only one. ``next`` needs no
                    # StopIteration, unlike ``send``.
                    yielded: object = next(result.__await__(), _DONE)
                    if yielded is not _DONE:
                        let_go(yielded)
                        note_step = partial(self._note_blocking, step, subject)
                        note_step(perf_counter() - began)
                        return Rest(step, others, subject, began, partial(resume, result, yielded, note_step))
                elif result is not None and isawaitable(result):
                    self._note_blocking(step, subject, perf_counter() - began)
                    return Rest(step, others, subject, began, partial(_wait_for, result))
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - it is raised again where nobody wants it
                self._note_blocking(step, subject, perf_counter() - began)
                return Rest(step, others, subject, began, partial(_raise, error))
            now = perf_counter()
            seconds = now - began
            stats.handler_seconds += seconds
            if seconds > self._notable_seconds:
                self._note_time(step, seconds)
                self._note_blocking(step, subject, seconds)
        return None

    async def go_on(self, rest: "Rest") -> "Rest | None":
        """Wait for the handler that must be waited for, then call those behind it as ``begin`` does.

        Raises:
            Exception: what a handler raised and nobody swallowed, with a note saying where.
        """
        step, others, subject, began, wait = rest
        if isinstance(step, Chain):
            await wait()
        else:
            try:
                await wait()
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - it is raised again where nobody wants it
                await self._face(error, step, subject)
            seconds = perf_counter() - began
            self._stats.handler_seconds += seconds
            self._note_time(step, seconds)
        return self.begin(others, subject)

    def note(self, notice: Notice) -> None:
        """Have a notice told when the stream has nothing at hand, or ends."""
        self.notices += (notice,)

    async def settle(self) -> None:
        """Tell what lanes have dropped, and let them work; called when the stream has nothing at hand."""
        self.notices += self.lanes.dropped()
        await self._tell_notices()
        await self.lanes.give_way()

    async def drain(self) -> None:
        """Wait until the lanes have handled all they were handed, and end them.

        Raises:
            Exception: what a handler in a lane raised and nobody swallowed; ``LaneTimeout`` where a lane takes longer
                than its ``drain_timeout``.
            ExceptionGroup: several lanes failed.
        """
        if not self.lanes.at_work:
            self.lanes.release()
            await self._tell_notices()
            return
        try:
            late = [(_lateness(worker), worker.current) for worker in await self.lanes.drain()]
        finally:
            # What is told from here on comes after all that the lanes were handed.
            await self.lanes.cancel()
        self.lanes.raise_failures()
        self.notices += self.lanes.dropped(at_end=True)
        await self._tell_notices()
        answers = [(error, await self._is_forgiven(error, error.lane, None, current)) for error, current in late]
        raise_together([error for error, is_forgiven in answers if not is_forgiven])

    def let_go(self) -> None:
        """Let go of the run, for which no handler is called any more.

        So a run that nobody holds any more is gone at once, and needs no garbage collector to find it.
        """
        # A handler that is left in a lane is the one that has ended the run: it may need both.
        if not self.lanes.at_work:
            self._run = self._stop = None

    async def _tell_notices(self) -> None:
        while self.notices:
            notice, *others = self.notices
            self.notices = tuple(others)
            await self.call(self.table[type(notice)].inline, notice)

    def _hand_over(self, route: LaneRoute, subject: Delivery) -> None:
        """Hand something over to a lane, unless this is closed; raises as ``Lanes.hand_over``."""
        lane, steps, joins_item = route
        if isinstance(subject, BEGINNINGS):
            self.lanes.divide(lane)
        run, stop = self._run, self._stop
        if not steps or run is None or stop is None:
            return
        # Now, for when the lane gets to it the run may be at another response.
        item = run.item_of(subject) if joins_item and isinstance(subject, ItemEvent) else None
        self.has_lanes = True
        self.lanes.hand_over(lane, subject, item, handle=self._call_in_lane, stop=stop)

    async def _call_in_lane(self, lane: Lane, subject: Delivery, item: OutputItem | None) -> None:
        for own, steps, joins_item in self.table[type(subject)].lanes:
            if own is not lane and own.identity != lane.identity:
                continue
            run = self._run
            with joined_with(item, run) if joins_item and run is not None else nullcontext():
                await self.call(steps, subject)

    def _through(self, chain: Chain) -> CallNext:
        """Return the function that goes through a chain, which is built once a run."""
        call = self._chains.get(chain)
        if call is None:
            call = partial(self.call, chain.steps)
            for layer in reversed(chain.middleware):
                call = partial(self._call_middleware, layer, call)
            self._chains[chain] = call
        return call

    async def _call_middleware(self, layer: Middleware, call_next: CallNext, event: Event) -> None:
        if layer.identity in self._disabled:
            await call_next(event)
            return
        try:
            await cast("Awaitable[object]", layer.call(event, self._run, call_next))
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - it is raised again where nobody wants it
            await self._face(error, layer, event)

    async def _face(self, raised: BaseException, failed: Handler | Middleware, subject: object) -> None:
        """Raise what a handler raised, unless somebody swallows it; nobody is asked twice about the same error."""
        error = self._failure(raised, failed.name)
        if any(error is told for told in self._told):
            raise error
        try:
            if await self._is_forgiven(error, failed.name, failed, subject):
                return
        except (Exception, asyncio.CancelledError) as other:  # noqa: BLE001 - it takes the place of the first
            first, error = error, self._failure(other, f"of errors, asked about {failed.name},")
            if error is not first:
                error.add_note(f"raised when asked about {first!r} of the handler {failed.name}")
        self._told = (*self._told[1 - REMEMBERED_FAILURES :], error)
        raise error

    async def _is_forgiven(
        self, error: Exception, name: str, failed: Handler | Middleware | None, subject: object
    ) -> bool:
        error.add_note(f"raised by the handler {name} for {_describe(subject)}")
        failure, run = HandlerFailed(handler=name, event=subject, error=error), self._run
        assert run is not None
        answers = [await hook(failure, run) for hook in self._hooks()]
        if any(answer is True for answer in answers):
            return True
        policy = None if failed is None else failed.on_error
        if isinstance(policy, Handler):
            return await policy(failure, run) is True
        if policy in {"log", "disable"}:
            logger.error("the handler %s failed for %s", name, _describe(subject), exc_info=error)
        if failed is not None and policy == "disable":
            self._disabled += (failed.identity,)
        return policy in {"log", "disable"}

    def _failure(self, raised: BaseException, handler: str) -> Exception:
        """Return what a handler raised as an exception; where the task is cancelled that calls handlers, raise it."""
        if isinstance(raised, Exception):
            return raised
        if self._is_cancelled():
            raise raised
        cancelled = HandlerCancelled(handler)
        cancelled.__cause__ = raised
        return cancelled

    def _is_cancelled(self) -> bool:
        """Tell whether the task that calls handlers is cancelled, and not only something that a handler waited for."""
        task = asyncio.current_task()
        before = 0 if self.lanes.worker_of(task) else self.cancellations
        return task is not None and task.cancelling() > before

    def _hooks(self) -> list[Handler]:
        return [step for step in self.table[HandlerFailed].inline if isinstance(step, Handler)]

    def _note_time(self, handler: Handler, seconds: float) -> None:
        stats = self._stats
        if seconds > stats.longest_handler_seconds:
            stats.longest_handler_seconds, stats.longest_handler = seconds, handler.name
            self._notable_seconds = min(seconds, self._max_blocking_seconds)

    def _note_blocking(self, handler: Handler, subject: Delivery, seconds: float) -> None:
        if seconds <= self._max_blocking_seconds or handler.identity in self._blocking:
            return
        self._blocking += (handler.identity,)
        logger.warning("the handler %s kept the event loop busy for %.3f s", handler.name, seconds)
        self.notices += (HandlerBlocked(handler=handler.name, event=subject, seconds=seconds),)


async def _wait_for(result: Awaitable[object]) -> None:
    await result


async def _raise(error: BaseException) -> NoReturn:
    raise error


def _lateness(worker: Worker) -> LaneTimeout:
    return LaneTimeout(worker.lane.label, worker.lane.drain_timeout or 0.0, len(worker.backlog))


def _describe(subject: object) -> str:
    number = getattr(subject, "sequence_number", None)
    name = getattr(subject, "type", type(subject).__name__)
    return str(name) if number is None else f"{name} (sequence_number {number})"
