"""The run: frames in, handlers called, one outcome out.

Whoever pulls drives: reading, decoding, accumulating and calling handlers happen in the caller's task, or in its place
while it waits, one chunk at a time, so that a slow handler slows the reading, and the network's own flow control does
the rest.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, copy_context
from functools import partial
from operator import attrgetter
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, cast

import anyio
from typing_extensions import TypeVar

from streamkit.accumulator import Anomaly
from streamkit.clocks import Timeouts
from streamkit.codec import Translator, decode
from streamkit.context import ApiName, Run, State_co
from streamkit.cursor import Cursor, Retry
from streamkit.dispatch import Deliveries, Dispatcher, StreamHandler, combine
from streamkit.dispatch.handler import AnyFunction
from streamkit.dispatch.on import Registrar
from streamkit.dispatch.selection import Selection
from streamkit.dispatch.table import Table
from streamkit.driving import Driver
from streamkit.errors import UsageError
from streamkit.events import Event, ItemEvent, OutputItemAdded, OutputItemDone
from streamkit.in_place import within
from streamkit.items import OutputItem
from streamkit.iteration import EventIterator, EventsOf, Supply, Tap
from streamkit.limits import Limits
from streamkit.outcome import Cancelled, Closed, Delivery, Opened, Outcome, finished
from streamkit.response import Response
from streamkit.source import Background, Source
from streamkit.sse import Frame
from streamkit.stage import Stage, checked_stages
from streamkit.staging import StagedStream
from streamkit.stats import RunStats
from streamkit.stream import AnyStream, EventStream
from streamkit.views import ItemStream, PartialStream, TextStream, ToolCallStream
from streamkit.waiting import WaitFor

if TYPE_CHECKING:
    from typing_extensions import TypeForm

logger = logging.getLogger("streamkit.run")

Response_co = TypeVar("Response_co", bound=Response, covariant=True, default=Response)
"""What a run returns; ``conclude`` makes it."""

CLOSE_SECONDS = 5.0
"""How long each step of the end may take in a run that is cancelled: to close, and to call the handlers of the end."""

Handlers = Dispatcher[State_co] | StreamHandler | AnyFunction
"""What a run can dispatch to; a function must be marked with ``on``."""

_NO_HANDLERS = Dispatcher[Any]().table()


class Loop(Protocol):
    """What goes on with further responses in the same run."""

    def open(
        self, run: Run[object], first: AnyStream, further: Callable[[Source, Background | None], AnyStream]
    ) -> AnyStream:
        """Return the stream of all responses.

        Args:
            run: the run that they belong to.
            first: the first response.
            further: opens a further response, under the clocks and behind the stages of the first.
        """
        ...


class StreamRun(Run[State_co], Generic[State_co, Response_co]):
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
        model, base_url, api: what is asked for, and of whom, for handlers to know.
        state: what ``run.state`` is for handlers; by default an empty ``SimpleNamespace``.
        stages: what stands between the stream and its handlers, one behind the other.
        translator: makes events of the frames of a connection, where the server speaks another protocol.
        loop: goes on with further responses after the first, such as those that follow the calls of tools.
        conclude: what the outcome is made into before anybody is told of it.
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
        api: ApiName = "responses",
        state: State_co | None = None,
        stages: Sequence[Stage] = (),
        translator: Callable[[], Translator] | None = None,
        loop: Loop | None = None,
        conclude: Callable[[Outcome], Outcome] | None = None,
    ) -> None:
        super().__init__(state=state, model=model, base_url=base_url, api=api)
        new_stream = partial(
            EventStream,
            timeouts=timeouts,
            retry=retry,
            restart=restart,
            limits=limits,
            decode=decode,
            translator=translator,
        )
        self._stages = checked_stages(stages)
        first = self._staged(new_stream(source, cursor=cursor, background=background))
        self._stream = first if loop is None else loop.open(self, first, self._further(new_stream))
        self._conclude = conclude
        self._own: Dispatcher[Any] | None = None
        self._deliveries = Deliveries(
            _NO_HANDLERS,
            self,
            stats=self._stream.stats,
            max_blocking_seconds=(limits or Limits()).max_blocking_seconds,
            stop=self._stop,
        )
        self._driver = Driver(self._stream, self._deliveries)
        self._dispatched: Table | None = None
        self._entered = False
        self._finisher: asyncio.Task[object] | None = None
        self._finisher_is_done: asyncio.Event | None = None
        self._last_steps: tuple[Callable[..., Awaitable[None]], ...] = self._LAST_STEPS
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

    def item_of(self, event: ItemEvent) -> OutputItem | None:
        """Return the item that an event belongs to, as the server last sent it whole; ``None`` if it never did."""
        if isinstance(event, OutputItemAdded | OutputItemDone):
            return event.item
        return self._stream.accumulator.item_of(event)

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
            self._driver.stop(None)
        if server and isinstance(self._stream.ending, Cancelled):
            self._cancels_on_server = True

    @property
    def on(self) -> Registrar[State_co]:
        """Register a handler for this run alone: ``run.on("response.completed")(function)``; also while it goes on.

        It is called after the handlers that the run is dispatched to, and also where the run is iterated over.
        """
        return self._registrar(attrgetter("on"))

    @property
    def once(self) -> Registrar[State_co]:
        """Register a handler for this run alone, and for the first such event only."""
        return self._registrar(attrgetter("once"))

    def include(self, *handlers: Handlers[State_co]) -> None:
        """Add dispatchers, ``StreamHandler`` objects and marked functions for this run alone, at any time."""
        self._ensure_tells()
        self._change(lambda own: own.include(*handlers))

    def off(self, function: AnyFunction) -> None:
        """Remove a function that was registered for this run alone.

        Raises:
            UsageError: it is not registered so.
        """
        self._change(lambda own: own.off(function))

    async def opened(self) -> Opened:
        """Wait until the server has answered and return what it said, before any event is read.

        Raises:
            UnfinishedResponse: it refused, or did not answer.
        """
        self._ensure_entered()
        await self._driver.opened()
        if self._stream.opened is None:
            finished(await self._ended())
        assert self._stream.opened is not None
        return self._stream.opened

    async def dispatch(self, *handlers: Handlers[State_co]) -> Response_co:
        """Read the stream to its end, calling handlers for its events in order, and return the final response.

        Args:
            handlers: dispatchers, ``StreamHandler`` objects, and functions marked with ``on``, in the order in which
                they are to be called for the same event.

        Raises:
            UnfinishedResponse: the response did not complete; the subclass says how it ended.
            InvalidOutput: the answer does not fit the ``text_format``.
            UsageError: the run is not entered, or dispatches already; or it had ended before, so that no handler was
                called.
            Exception: whatever a handler raised, unchanged; the run is over then.
            ExceptionGroup: handlers in several lanes failed at the same time.
        """
        self._ensure_entered()
        are_late = bool(handlers) and not self._last_steps
        if self._dispatched is not None and self._stream.ending is None:
            raise UsageError("the run is dispatching already: give all handlers to one dispatch, or use run.on(...)")
        self._use_handlers(handlers)
        # A copy of the caller's context, in which handlers can be called while the caller waits.
        context = copy_context()
        try:
            outcome = await within(context, self._to_end(context))
        except BaseException as error:
            await within(context, self._abandon(error))
            raise
        response = finished(outcome)
        if are_late:
            self._ensure_tells()
        # What concludes the run has made it of this class.
        return cast("Response_co", response)

    def __aiter__(self) -> EventIterator[Event]:
        return EventIterator(self._supply, (Event,), {})

    @property
    def events(self) -> EventsOf:
        """Iterate over some events: ``async for event in run.events("response.output_text.delta")``.

        The iteration ends when the response completed, and raises ``UnfinishedResponse`` where it did not.
        """
        return EventsOf(self._supply)

    @property
    def wait(self) -> WaitFor:
        """Wait for one event and return it: ``await run.wait("response.completed", timeout=60)``."""
        return WaitFor(self._supply)

    def text_stream(self) -> TextStream:
        """Iterate over the text of the answer as it comes: ``async for text in run.text_stream()``."""
        return TextStream(self._supply)

    def items(self) -> ItemStream:
        """Iterate over the output items of the answer, each as soon as it is finished."""
        return ItemStream(self._supply)

    def tool_calls(self) -> ToolCallStream:
        """Iterate over the calls that the model wants answered, each as soon as its arguments are whole."""
        return ToolCallStream(self._supply)

    def partials(self, type_: "TypeForm[object]") -> PartialStream:
        """Iterate over an answer in JSON as it grows: ``async for recipe in run.partials(Recipe)``.

        Each value holds what has come so far, its fields ``None`` until they fit. The last one is all that came. In a
        long answer not every change makes a value: one costs as much as the answer is long.

        Args:
            type_: what was asked for as ``text_format``.

        Raises:
            UsageError: an answer cannot be of this type.
        """
        return PartialStream(self._supply, type_)

    async def outcome(self) -> Outcome:
        """Read the stream to its end and return how it ended; raises nothing for what server or network did."""
        self._ensure_entered()
        context = copy_context()
        return await within(context, self._to_end(context))

    async def __aenter__(self) -> Self:
        self._entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._finisher not in (None, asyncio.current_task()):
            # Another task is closing the run; nothing may be left when the block is.
            self._finisher_is_done = done = self._finisher_is_done or asyncio.Event()
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                await done.wait()
        await self._abandon(error)

    @property
    def _supply(self) -> Supply:
        # Made anew each time: kept, it would keep the run.
        return Supply(self._driver.attach, self._driver.detach, self._next_for)

    def _stop(self, error: BaseException) -> None:
        self._driver.stop(error)

    def _further(self, new_stream: Callable[..., EventStream]) -> Callable[[Source, Background | None], AnyStream]:
        return lambda source, background: self._staged(new_stream(source, background=background))

    def _staged(self, stream: EventStream) -> AnyStream:
        return StagedStream(stream, self._stages, self) if self._stages else stream

    def _ensure_entered(self) -> None:
        if not self._entered and self._stream.ending is None:
            raise UsageError("enter the run first: async with client.stream(...) as run")

    def _ensure_tells(self) -> None:
        if not self._last_steps:
            raise UsageError("the run has ended, and no handler is called any more: give handlers before that")

    async def _to_end(self, context: Context) -> Outcome:
        await self._driver.to_end(context)
        return await self._ended()

    async def _next_for(self, tap: Tap) -> Delivery | None:
        self._ensure_entered()
        delivery = await self._driver.next_for(tap)
        if delivery is None and not tap.is_closed:
            finished(await self._ended())
        return delivery

    def _registrar(self, registrar_of: Callable[[Dispatcher[Any]], Registrar[Any]]) -> Registrar[State_co]:
        def register(function: AnyFunction, selection: Selection) -> None:
            self._ensure_tells()
            self._change(lambda own: registrar_of(own).register(function, selection))

        return Registrar(register)

    def _change(self, change: Callable[[Dispatcher[Any]], None]) -> None:
        """Change the handlers of this run alone; where that is refused, they stay as they were."""
        before = self._own
        self._own = Dispatcher[Any]() if before is None else before.copy()
        try:
            change(self._own)
            self._use_handlers()
        except UsageError:
            self._own = before
            raise

    def _use_handlers(self, handlers: Sequence[Handlers[Any]] | None = None) -> None:
        if handlers is not None:
            # Once: what is registered there later is not for this run.
            self._dispatched = combine(tuple(handlers)).table()
        table = _NO_HANDLERS if self._dispatched is None else self._dispatched
        self._deliveries.table = table if self._own is None else table.followed_by(self._own.branch())
        self._driver.listeners_changed()

    async def _ended(self) -> Outcome:
        self._deliveries.lanes.raise_failures()
        return await self._finish()

    async def _finish(self) -> Outcome:
        """Close what is open and tell the handlers, once; return the outcome.

        What a cancellation keeps from being done is left to ``_abandon``; handlers are not told again.
        """
        outcome = self._stream.ending
        assert outcome is not None
        if self._conclude is not None:
            outcome = self._stream.ending = self._conclude(outcome)
            self._conclude = None
        # Else a handler of the end, or another task, asks how the run ended; or one in a lane, which is waited for.
        if self._finisher is None and not self._deliveries.lanes.worker_of(asyncio.current_task()):
            self._finisher = asyncio.current_task()
            try:
                await self._take_last_steps(outcome)
            finally:
                self._finisher = None
                if self._finisher_is_done is not None:
                    self._finisher_is_done.set()
                    self._finisher_is_done = None
        return outcome

    async def _take_last_steps(self, outcome: Outcome) -> None:
        while self._last_steps:
            step, *others = self._last_steps
            self._last_steps = tuple(others)
            try:
                await step(self, outcome)
            except Exception:
                await self._take_last_steps(outcome)
                raise

    async def _close(self, outcome: Outcome) -> None:
        try:
            await self._close_now(outcome)
        except asyncio.CancelledError:
            # It is not done; once more, but not for ever.
            self._last_steps = (StreamRun._close_now, *self._last_steps)
            raise

    async def _close_now(self, outcome: Outcome) -> None:
        try:
            if self._cancels_on_server:
                await self._stream.cancel_on_server()
        finally:
            await self._stream.close()
        self._log_end(outcome)

    async def _drain(self, _: Outcome) -> None:
        self._driver.note_dropped(at_end=True)
        self._driver.wake_lanes()
        await self._deliveries.drain()

    async def _close_lanes(self, _: Outcome) -> None:
        try:
            await self._deliveries.lanes.close()
        finally:
            # Else the driver waits for a handler, which may have ended the run, and there may be others behind it.
            if not self._driver.is_driving:
                self._deliveries.let_go()

    async def _tell(self, delivery: Outcome | Closed) -> None:
        await self._deliveries.deliver(delivery)

    async def _settle(self, _: Outcome) -> None:
        await self._deliveries.settle()

    async def _tell_closed(self, outcome: Outcome) -> None:
        await self._tell(Closed(outcome=outcome))

    _LAST_STEPS: ClassVar[tuple[Callable[..., Awaitable[None]], ...]] = (
        _close,
        _drain,
        _tell,
        _settle,
        _tell_closed,
        _close_lanes,
    )

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
        if self._stream.ending is None:
            self._driver.stop(error)
        if not self._last_steps:
            return
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
