"""The events of one response as they leave its stages, which may have held, changed, split, added or dropped some."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from inspect import isawaitable, iscoroutine
from types import GeneratorType

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

_WHOLE = frozenset({list, tuple})
"""What passages return as a rule; it is passed on as it is, for this is asked for each event."""


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
        self._retired: list[_Post] = []
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
            UsageError: a stage returned something else than events and notices.
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
            UsageError: another task is driving the stream, or a stage opened something else than a passage.
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
            UsageError: a passage's ``aclose`` cannot be awaited.
            Exception: what a stage raised.
        """
        async with AsyncExitStack() as stack:
            for post in (*self._retired, *self._pipe.posts):
                stack.push_async_callback(post.aclose)
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
        self._retired += self._pipe.posts
        self._pipe = _Pipe()
        self._unopened = list(self._stages)

    async def _prepare(self) -> None:
        """Close the passages of a response that is not continued, and open those of the one that is."""
        async with AsyncExitStack() as stack:
            for post in self._retired:
                stack.push_async_callback(post.aclose)
        self._retired = []
        while self._unopened:
            self._pipe.append(_Post(self._unopened[0], self._run, self._call))
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


class _Post:
    """A passage, opened for a run, under the name of its stage: by that name it is called to account.

    Attributes:
        passage: the passage.
    """

    def __init__(self, stage: Stage, run: Run[object], wake: Callable[[], None]) -> None:
        self._name = f"{type(stage).__module__}.{type(stage).__qualname__}"
        try:
            opened = stage.open(run, wake)
        except Exception as error:
            self._note(error, "in open")
            raise
        self.passage = self._checked(opened)

    def ask(self, hook: Callable[..., Iterable[object]], event: Event | None = None) -> Iterable[object]:
        """Return all that a method of the passage returns.

        Raises:
            UsageError: it returned no iterable of events.
            Exception: what it raised, with a note that names the stage.
        """
        try:
            returned = hook() if event is None else hook(event)
            if type(returned) in _WHOLE:
                return returned
            if _is_iterable(returned):
                # Now, and not when it is passed on: what is raised meanwhile is raised by this stage.
                return list(returned)
        except Exception as error:
            self._note(error, f"in {_name(hook)}" if event is None else f"for {event.type}")
            raise
        rule = f"{_name(hook)} must return an iterable of events, such as [event] or ()"
        raise self._misuse(_kind(returned), rule)

    def notice(self, returned: object) -> Notice:
        """Return a notice that was among the events which the passage returned.

        Raises:
            UsageError: it is none.
        """
        if not isinstance(returned, Notice):
            raise self._misuse(f"{_kind(returned)} among its events", "a passage may return events and notices only")
        return returned

    async def aclose(self) -> None:
        """Close the passage.

        Raises:
            UsageError: its ``aclose`` cannot be awaited.
            Exception: what it raised, with a note that names the stage.
        """
        try:
            closing = self.passage.aclose()
            if isawaitable(closing):
                await closing
                return
        except Exception as error:
            self._note(error, "in aclose")
            raise
        raise self._misuse(_kind(closing), "aclose must be an async function")

    def _checked(self, opened: object) -> Passage:
        if not isinstance(opened, Passage):
            raise self._misuse(_kind(opened), "open must return a Passage")
        for name in ("is_holding", "is_full"):
            if callable(getattr(type(opened), name)):
                # It would be true for ever, and the run would wait for ever.
                raise self._misuse(_kind(opened), f"its {name} must be a @property")
        return opened

    def _misuse(self, what: str, rule: str) -> UsageError:
        return UsageError(f"the stage {self._name} returned {what}: {rule}")

    def _note(self, error: Exception, where: str) -> None:
        error.add_note(f"raised by the stage {self._name} {where}")


def _is_iterable(returned: object) -> bool:
    """Tell whether something can be iterated for events; an event can, too, but gives the names of its fields."""
    if type(returned) is GeneratorType:
        return True
    return isinstance(returned, Iterable) and not isinstance(returned, Event | Mapping | str | bytes)


def _name(hook: object) -> str:
    return str(getattr(hook, "__name__", hook))


def _kind(returned: object) -> str:
    if iscoroutine(returned):
        # Nobody will await it, and Python would warn of that.
        returned.close()
        return "a coroutine, as an async function does"
    return "None" if returned is None else type(returned).__name__


class _Pipe:
    """Passages one behind the other, each at its post.

    Attributes:
        posts: the first of them hears what comes from the source.
        ready: what has left the last one.
        has_ended: a terminal event is on its way, or has left.
    """

    def __init__(self) -> None:
        self.posts: list[_Post] = []
        self.ready: deque[Event | Notice] = deque()
        self.has_ended = False
        # For each passage whether it has heard the end, and for who stands behind the last.
        self._heard_end = [False]

    @property
    def is_holding(self) -> bool:
        """Whether something is held that will come without another event."""
        for post in self.posts:  # noqa: SIM110 - asked once a read; a generator takes twice as long
            if post.passage.is_holding:
                return True
        return False

    @property
    def is_full(self) -> bool:
        """Whether a passage takes nothing more for now."""
        for post in self.posts:  # noqa: SIM110 - asked once an event
            if post.passage.is_full:
                return True
        return False

    def append(self, post: _Post) -> None:
        """Put a passage behind the others."""
        self.posts.append(post)
        self._heard_end.append(False)

    def push(self, delivery: Event | Notice) -> None:
        """Hand something to the first passage; notices pass all of them. What follows the end goes nowhere."""
        if isinstance(delivery, Event):
            self._hand(delivery, 0)
        else:
            self.ready.append(delivery)

    def release(self) -> None:
        """Ask the passages what may pass by now."""
        # From the end: what stands there was there first.
        for position in reversed(range(len(self.posts))):
            post = self.posts[position]
            self._pass_on(post.ask(post.passage.release), position)

    def finish(self) -> bool:
        """Tell one passage after the other that nothing more comes; ``False`` where one must be waited for.

        What stands before a passage that has heard the end has no say any more.
        """
        last = max((position for position, heard in enumerate(self._heard_end) if heard), default=0)
        for position, post in enumerate(self.posts[last:], last):
            if not self._heard_end[position]:
                self._heard_end[position] = True
                self._pass_on(post.ask(post.passage.finish), position)
            if self.ready:
                return True
            if post.passage.is_holding:
                return False
        return True

    def _hand(self, event: Event, position: int) -> None:
        """Hand an event to the passage at a position, or to who stands behind the last."""
        if self._heard_end[position]:
            return
        if event.type in TERMINAL_TYPES:
            self._heard_end[position] = self.has_ended = True
        if position == len(self.posts):
            self.ready.append(event)
        else:
            post = self.posts[position]
            self._pass_on(post.ask(post.passage.feed, event), position)

    def _pass_on(self, deliveries: Iterable[object], position: int) -> None:
        """Hand what the passage at a position returned to the one behind it."""
        for delivery in deliveries:
            if isinstance(delivery, Event):
                self._hand(delivery, position + 1)
            else:
                self.ready.append(self.posts[position].notice(delivery))
