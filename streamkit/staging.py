"""The events of one response as they leave its stages, which may have held, changed, split, added or dropped some."""

from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from streamkit import ending
from streamkit.accumulator import Accumulator
from streamkit.alternation import Alternation
from streamkit.context import Run
from streamkit.errors import ClockExpired, UsageError
from streamkit.events import TERMINAL_TYPES, ErrorEvent, Event
from streamkit.outcome import Cancelled, Notice, Opened, Outcome, Restarted
from streamkit.response import ErrorDetail
from streamkit.stage import Passage, Stage
from streamkit.stats import RunStats
from streamkit.stream import EventStream


class StagedStream:
    """Stands in front of an ``EventStream`` and is pulled in its place; shows only what the last stage lets through.

    Attributes:
        accumulator: the response as far as it has passed the stages and was taken.
        ending: how the response ended for those who take from here; ``None`` as long as it goes on.
        unwanted: the wire names of deltas that nobody listens to. The stages get them all the same.
    """

    def __init__(self, upstream: EventStream, stages: Sequence[Stage], run: Run[object]) -> None:
        self.accumulator = Accumulator()
        self.ending: Outcome | None = None
        self.unwanted: frozenset[str] = frozenset()
        self._upstream = upstream
        self._stages = stages
        self._run = run
        self._pipe = _Pipe()
        self._unopened = list(stages)
        self._retired: list[Passage] = []
        self._reported: ErrorDetail | None = None
        self._is_cut_short = False
        self._is_filling = False
        # The step of upstream that is under way while something else is waited for too: it outlives a call of fill.
        self._alternation = Alternation()
        self._woken = False

    @property
    def opened(self) -> Opened | None:
        """What the other side said when the source was last opened."""
        return self._upstream.opened

    @property
    def late_frames(self) -> int:
        """How many frames came after the end."""
        return self._upstream.late_frames

    @property
    def stats(self) -> RunStats:
        """The figures so far, of what came from the source and not of what the stages made of it."""
        return self._upstream.stats

    def take(self) -> Event | Notice | None:
        """Return the next of what has passed, folded into the response; ``None`` where a call of ``fill`` is needed.

        Raises:
            Exception: what a stage raised.
        """
        while self.ending is None:
            if self._pipe.ready:
                return self._fold(self._pipe.ready.popleft())
            if not self._advance():
                break
        return None

    async def fill(self) -> None:
        """Wait for what may lead to more events: the next step of upstream, or the word of a stage.

        Raises:
            UsageError: another task is driving the stream.
            Exception: what a stage raised while it was opened or closed.
        """
        self.ensure_free()
        self._is_filling = True
        try:
            if self._retired or self._unopened:
                await self._prepare()
            await self._wait()
        finally:
            self._is_filling = False
        if self._upstream.opened is None and self.ending is None:
            # No event ever came, so that there is nothing to wait for.
            self.ending = self._upstream.ending

    def end(self, outcome: Outcome) -> None:
        """End the stream from this side, now, if it has not ended; what the stages hold is lost."""
        if self.ending is None:
            self.ending = outcome
            self._upstream.end(outcome)
            self._call()

    async def close(self) -> None:
        """Close the source and all stages, each even if another fails; call it again where it was cancelled.

        Raises:
            Exception: what a stage raised.
        """
        async with AsyncExitStack() as stack:
            for passage in (*self._retired, *self._pipe.passages):
                stack.push_async_callback(passage.aclose)
            stack.push_async_callback(self._upstream.close)
            await self._alternation.stop()
            if self._is_cut_short:
                await self.cancel_on_server()
                self._is_cut_short = False
        self._retired = []
        self._pipe = _Pipe()

    def ensure_free(self) -> None:
        """Raise ``UsageError`` where a task is waiting for the stream."""
        if self._is_filling:
            raise UsageError("a run is driven by one task at a time, and another one is waiting for its next event")

    async def cancel_on_server(self) -> None:
        """Tell the server to stop a background response; that it cannot be told is logged."""
        await self._upstream.cancel_on_server()

    def _fold(self, delivery: Event | Notice) -> Event | Notice:
        if isinstance(delivery, Event):
            self.accumulator.add(delivery)
            if isinstance(delivery, ErrorEvent):
                self._reported = self._reported or delivery.detail
            elif delivery.type in TERMINAL_TYPES:
                self._note_end(delivery)
        return delivery

    def _note_end(self, event: Event) -> None:
        self.ending = ending.at_terminal_event(
            event.type,
            self.accumulator.snapshot(),
            reported=self._reported,
            request_id=self.opened.request_id if self.opened else None,
        )

    def _advance(self) -> bool:
        """Move what can be moved towards the end of the pipe; ``False`` where there is nothing but to wait."""
        if self._woken:
            self._woken = False
            self._pipe.release()
        elif self._upstream.ending is not None:
            return self._run_dry()
        elif self._pipe.is_full or not self._pull():
            return False
        if self._pipe.has_ended and self._upstream.ending is None:
            self._is_cut_short = True
            self._upstream.end(Cancelled(response=self.accumulator.snapshot()))
        return True

    def _pull(self) -> bool:
        """Push what upstream has at hand into the pipe; ``False`` where it has nothing, and has not ended."""
        delivery = self._upstream.take()
        if delivery is None:
            return self._upstream.ending is not None
        if isinstance(delivery, Restarted):
            self._begin_anew()
        self._pipe.push(delivery)
        return True

    def _run_dry(self) -> bool:
        """Let out what is held after the end of upstream; where nothing is, that end is the end here too."""
        if not self._pipe.finish():
            return False
        if not self._pipe.ready:
            outcome = self._upstream.ending
            assert outcome is not None
            self.ending = replace(outcome, response=self.accumulator.snapshot())
        return True

    def _begin_anew(self) -> None:
        self.accumulator = Accumulator()
        self._retired += self._pipe.passages
        self._pipe = _Pipe()
        self._unopened = list(self._stages)

    async def _prepare(self) -> None:
        """Close the passages of a response that is not continued, and open those of the one that is."""
        async with AsyncExitStack() as stack:
            for passage in self._retired:
                stack.push_async_callback(passage.aclose)
        self._retired = []
        while self._unopened:
            self._pipe.append(self._unopened[0].open(self._run, self._call))
            del self._unopened[0]

    async def _wait(self) -> None:
        upstream, pipe = self._upstream, self._pipe
        if self.ending is not None:
            return
        if upstream.opened is not None and (upstream.ending is not None or pipe.is_full):
            await self._wait_for_stages()
        elif not self._alternation.is_stepping and (upstream.opened is None or not pipe.is_holding):
            # Nobody will call: then a task, and what it costs for each read, is not needed.
            await upstream.fill()
        else:
            await self._alternation.step_or_call(upstream.fill)

    async def _wait_for_stages(self) -> None:
        try:
            await self._upstream.within_total(self._alternation.called)
        except ClockExpired as error:
            self.end(ending.after_error(error, self.accumulator.snapshot()))

    def _call(self) -> None:
        self._woken = True
        self._alternation.call()


class _Pipe:
    """Passages one behind the other.

    Attributes:
        passages: the first of them hears what comes from the source.
        ready: what has left the last one.
        has_ended: a terminal event is on its way, or has left.
    """

    def __init__(self) -> None:
        self.passages: list[Passage] = []
        self.ready: deque[Event | Notice] = deque()
        self.has_ended = False
        # For each passage whether it has heard the end, and for who stands behind the last.
        self._heard_end = [False]

    @property
    def is_holding(self) -> bool:
        """Whether something is held that will come without another event."""
        for passage in self.passages:  # noqa: SIM110 - asked once a read; a generator takes twice as long
            if passage.is_holding:
                return True
        return False

    @property
    def is_full(self) -> bool:
        """Whether a passage takes nothing more for now."""
        for passage in self.passages:  # noqa: SIM110 - asked once an event
            if passage.is_full:
                return True
        return False

    def append(self, passage: Passage) -> None:
        """Put a passage behind the others."""
        self.passages.append(passage)
        self._heard_end.append(False)

    def push(self, delivery: Event | Notice, position: int = 0) -> None:
        """Hand something to the passage at a position; notices pass all of them. What follows the end goes nowhere."""
        if not isinstance(delivery, Event):
            self.ready.append(delivery)
            return
        if self._heard_end[position]:
            return
        if delivery.type in TERMINAL_TYPES:
            self._heard_end[position] = self.has_ended = True
        if position == len(self.passages):
            self.ready.append(delivery)
        else:
            self._push_all(self.passages[position].feed(delivery), position + 1)

    def release(self) -> None:
        """Ask the passages what may pass by now."""
        # From the end: what stands there was there first.
        for position in reversed(range(len(self.passages))):
            self._push_all(self.passages[position].release(), position + 1)

    def finish(self) -> bool:
        """Tell one passage after the other that nothing more comes; ``False`` where one must be waited for.

        What stands before a passage that has heard the end has no say any more.
        """
        last = max((position for position, heard in enumerate(self._heard_end) if heard), default=0)
        for position, passage in enumerate(self.passages[last:], last):
            if not self._heard_end[position]:
                self._heard_end[position] = True
                self._push_all(passage.finish(), position + 1)
            if self.ready:
                return True
            if passage.is_holding:
                return False
        return True

    def _push_all(self, deliveries: Iterable[Event | Notice], position: int) -> None:
        for delivery in deliveries:
            self.push(delivery, position)
