"""A run as asynchronous iterators of its events, or of some of them; several at once, each with its own place."""

# The overloads are many: evaluating their annotations would take a tenth of the whole import.
from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, Literal, NamedTuple, Self, TypedDict, TypeVar, Unpack, cast, overload

from streamkit import events as ev
from streamkit.backlog import Backlog, WhenFull, open_backlog
from streamkit.dispatch.names import did_you_mean
from streamkit.dispatch.options import ensure_condition
from streamkit.dispatch.selection import EventName, select_iterable
from streamkit.dispatch.table import BEGINNINGS
from streamkit.errors import UsageError
from streamkit.outcome import Delivery, Opened, Reconnecting, Restarted, ToolCalled, ToolReturned
from streamkit.verdict import Moderated

E = TypeVar("E")
E_co = TypeVar("E_co", covariant=True)
A = TypeVar("A", bound=ev.Event)
B = TypeVar("B", bound=ev.Event)
C = TypeVar("C", bound=ev.Event)
N = TypeVar("N", bound=Opened | Reconnecting | Restarted | Moderated | ToolCalled | ToolReturned)

MAX_EVENTS = 1024
MAX_BYTES = 8 * 1024 * 1024


class IteratorOptions(TypedDict, Generic[E], total=False):
    """The keyword arguments of ``run.events(...)``."""

    where: Callable[[E], bool]
    """Only events for which this returns true."""
    max_events: int
    """How many events may wait for this iterator while others drive the run; 1024 unless told otherwise."""
    max_bytes: int
    """How much memory they may take, about: a KiB each, and their text; 8 MiB unless told otherwise."""
    when_full: WhenFull
    """``"wait"`` makes the run wait, ``"merge"`` joins adjacent deltas of the same part and loses nothing, ``"drop"``
    drops the oldest deltas, and tells handlers how many with ``EventsDropped``."""


_NAMES = [*IteratorOptions.__annotations__]


class Tap:
    """What a run keeps for one of its iterators.

    Attributes:
        classes: what the iterator wants the instances of.
        backlog: what others have read for it.
        reader: the task that last asked for an event.
        waiters: what those wait for who ask for an event now.
        is_closed: nobody will ask any more.
    """

    def __init__(self, classes: tuple[type, ...], where: Callable[..., bool] | None, backlog: Backlog) -> None:
        self.classes = classes
        self.backlog = backlog
        self.reader: asyncio.Task[Any] | None = None
        self.waiters: set[asyncio.Future[None]] = set()
        self.is_closed = False
        self._where = where
        self._at_once: Delivery | None = None
        self._error: Exception | None = None
        self._room: asyncio.Future[None] | None = None

    @property
    def label(self) -> str:
        """What to call the iterator in messages."""
        return f"an iterator over {', '.join(model.__name__ for model in self.classes)}"

    @property
    def has_something(self) -> bool:
        """Whether ``take`` gives something, or never will."""
        return self._at_once is not None or self._error is not None or self.is_closed

    def offer(self, delivery: Delivery) -> None:
        """Keep something behind all that is kept, if the iterator wants it."""
        if isinstance(delivery, BEGINNINGS):
            self.backlog.divide()
        if self._wants(delivery):
            self.backlog.add(delivery)
            self._wake()

    def offer_at_once(self, delivery: Delivery) -> None:
        """Keep something for the reader that drives the run itself, if the iterator wants it; nothing else is kept."""
        if self._wants(delivery):
            self._at_once = delivery

    def take(self) -> Delivery | None:
        """Return the oldest of what is kept; ``None`` where there is nothing.

        Raises:
            Exception: nothing is kept any more, and the iterator has failed with it.
        """
        if self._at_once is not None:
            delivery, self._at_once = self._at_once, None
            return delivery
        if len(self.backlog):
            delivery = self.backlog.take()
            if self.backlog.has_room:
                self.give_room()
            return delivery
        if self._error is not None:
            raise self._error
        return None

    def room_wanted(self) -> asyncio.Future[None]:
        """Return what is done once there is room, or nobody will ask any more."""
        self._room = asyncio.get_running_loop().create_future()
        return self._room

    def give_room(self) -> None:
        """Let the task go on that waits for room."""
        if self._room is not None:
            _resolve(self._room)

    def fail(self, error: Exception) -> None:
        """Take nothing more; raise an error behind what is kept."""
        self._error = error
        self._wake()

    def close(self) -> None:
        """Keep nothing any more; called in whatever thread forgets the iterator."""
        self.is_closed = True
        for future in (*self.waiters, *filter(None, [self._room])):
            loop = future.get_loop()
            if not future.done() and not loop.is_closed():
                loop.call_soon_threadsafe(_resolve, future)

    def _wants(self, delivery: Delivery) -> bool:
        if self._error is not None or not isinstance(delivery, self.classes):
            return False
        try:
            return self._where is None or self._where(delivery)
        except Exception as error:  # noqa: BLE001 - it is raised where the iterator is read
            self.fail(error)
            return False

    def _wake(self) -> None:
        for waiter in self.waiters:
            _resolve(waiter)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Supply(NamedTuple):
    """What iterators get their events from: a run."""

    attach: Callable[[Tap], None]
    """Keep for a tap what it wants from now on."""
    detach: Callable[[Tap], None]
    """Keep nothing for a tap any more."""
    next_for: Callable[[Tap], Awaitable[Delivery | None]]
    """Return the next of what a tap wants, ``None`` after the last; raise where the run did not complete."""


class EventIterator(Generic[E_co]):
    """The events of a run that are of the selected classes, from the moment it is made.

    Several iterators of a run may be read at the same time, by different tasks, also beside handlers: each gets all its
    events. One that is read no more holds the others up when it is full: so forget it, or ``aclose()`` it.
    """

    def __init__(self, supply: Supply, selectors: tuple[object, ...], options: Mapping[str, object]) -> None:
        self._supply = supply
        self._tap = _tap_for(selectors, options)
        supply.attach(self._tap)
        # An iterator that is forgotten, as after a ``break``, leaves nothing behind.
        self._forget = weakref.finalize(self, supply.detach, self._tap)
        self._forget.atexit = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> E_co:
        try:
            event = None if self._tap.is_closed else await self._supply.next_for(self._tap)
        except StopAsyncIteration as error:
            # It would end the iteration as if the response had completed.
            raise RuntimeError("a handler, a stage or a condition raised StopAsyncIteration") from error
        if event is None:
            raise StopAsyncIteration
        return cast("E_co", event)  # The tap takes no others.

    async def aclose(self) -> None:
        """Stop listening; what waits for this iterator is dropped."""
        self._forget()


def _tap_for(selectors: tuple[object, ...], options: Mapping[str, Any]) -> Tap:
    for name in options:
        if name not in _NAMES:
            hint = did_you_mean(name, _NAMES)
            raise UsageError(f"run.events(...) has no option {name!r}{hint}; it has {', '.join(_NAMES)}")
    ensure_condition(options.get("where"))
    backlog = open_backlog(
        options.get("when_full", "wait"),
        max_events=options.get("max_events", MAX_EVENTS),
        max_bytes=options.get("max_bytes", MAX_BYTES),
    )
    return Tap(select_iterable(selectors), options.get("where"), backlog)


class EventsOf:
    """Makes iterators over the events that are named, by wire name, class or family, and over a notice beside them.

    Raises:
        UsageError: a name is unknown; the message says which one may have been meant.
    """

    def __init__(self, supply: Supply) -> None:
        self._supply = supply

    # The overloads follow the table of events; tests/test_overloads.py compares them and can write them anew.
    # fmt: off
    # -- the events --
    @overload
    def __call__(self, name: Literal["response.completed"], /, **options: Unpack[IteratorOptions[ev.ResponseCompleted]]) -> EventIterator[ev.ResponseCompleted]: ...
    @overload
    def __call__(self, name: Literal["response.incomplete"], /, **options: Unpack[IteratorOptions[ev.ResponseIncomplete]]) -> EventIterator[ev.ResponseIncomplete]: ...
    @overload
    def __call__(self, name: Literal["response.failed"], /, **options: Unpack[IteratorOptions[ev.ResponseFailed]]) -> EventIterator[ev.ResponseFailed]: ...
    @overload
    def __call__(self, name: Literal["response.created"], /, **options: Unpack[IteratorOptions[ev.ResponseCreated]]) -> EventIterator[ev.ResponseCreated]: ...
    @overload
    def __call__(self, name: Literal["response.queued"], /, **options: Unpack[IteratorOptions[ev.ResponseQueued]]) -> EventIterator[ev.ResponseQueued]: ...
    @overload
    def __call__(self, name: Literal["response.in_progress"], /, **options: Unpack[IteratorOptions[ev.ResponseInProgress]]) -> EventIterator[ev.ResponseInProgress]: ...
    @overload
    def __call__(self, name: Literal["response.content_part.added"], /, **options: Unpack[IteratorOptions[ev.ContentPartAdded]]) -> EventIterator[ev.ContentPartAdded]: ...
    @overload
    def __call__(self, name: Literal["response.content_part.done"], /, **options: Unpack[IteratorOptions[ev.ContentPartDone]]) -> EventIterator[ev.ContentPartDone]: ...
    @overload
    def __call__(self, name: Literal["response.output_text.delta"], /, **options: Unpack[IteratorOptions[ev.OutputTextDelta]]) -> EventIterator[ev.OutputTextDelta]: ...
    @overload
    def __call__(self, name: Literal["response.output_text.done"], /, **options: Unpack[IteratorOptions[ev.OutputTextDone]]) -> EventIterator[ev.OutputTextDone]: ...
    @overload
    def __call__(self, name: Literal["response.output_text.annotation.added"], /, **options: Unpack[IteratorOptions[ev.OutputTextAnnotationAdded]]) -> EventIterator[ev.OutputTextAnnotationAdded]: ...
    @overload
    def __call__(self, name: Literal["response.refusal.delta"], /, **options: Unpack[IteratorOptions[ev.RefusalDelta]]) -> EventIterator[ev.RefusalDelta]: ...
    @overload
    def __call__(self, name: Literal["response.refusal.done"], /, **options: Unpack[IteratorOptions[ev.RefusalDone]]) -> EventIterator[ev.RefusalDone]: ...
    @overload
    def __call__(self, name: Literal["response.reasoning_text.delta"], /, **options: Unpack[IteratorOptions[ev.ReasoningTextDelta]]) -> EventIterator[ev.ReasoningTextDelta]: ...
    @overload
    def __call__(self, name: Literal["response.reasoning_text.done"], /, **options: Unpack[IteratorOptions[ev.ReasoningTextDone]]) -> EventIterator[ev.ReasoningTextDone]: ...
    @overload
    def __call__(self, name: Literal["response.reasoning.delta"], /, **options: Unpack[IteratorOptions[ev.ReasoningDelta]]) -> EventIterator[ev.ReasoningDelta]: ...
    @overload
    def __call__(self, name: Literal["response.reasoning.done"], /, **options: Unpack[IteratorOptions[ev.ReasoningDone]]) -> EventIterator[ev.ReasoningDone]: ...
    @overload
    def __call__(self, name: Literal["response.reasoning_part.added"], /, **options: Unpack[IteratorOptions[ev.ReasoningPartAdded]]) -> EventIterator[ev.ReasoningPartAdded]: ...
    @overload
    def __call__(self, name: Literal["response.reasoning_part.done"], /, **options: Unpack[IteratorOptions[ev.ReasoningPartDone]]) -> EventIterator[ev.ReasoningPartDone]: ...
    @overload
    def __call__(self, name: Literal["response.reasoning_summary_part.added"], /, **options: Unpack[IteratorOptions[ev.ReasoningSummaryPartAdded]]) -> EventIterator[ev.ReasoningSummaryPartAdded]: ...
    @overload
    def __call__(self, name: Literal["response.reasoning_summary_part.done"], /, **options: Unpack[IteratorOptions[ev.ReasoningSummaryPartDone]]) -> EventIterator[ev.ReasoningSummaryPartDone]: ...
    @overload
    def __call__(self, name: Literal["response.reasoning_summary_text.delta"], /, **options: Unpack[IteratorOptions[ev.ReasoningSummaryTextDelta]]) -> EventIterator[ev.ReasoningSummaryTextDelta]: ...
    @overload
    def __call__(self, name: Literal["response.reasoning_summary_text.done"], /, **options: Unpack[IteratorOptions[ev.ReasoningSummaryTextDone]]) -> EventIterator[ev.ReasoningSummaryTextDone]: ...
    @overload
    def __call__(self, name: Literal["response.shell_call_command.added"], /, **options: Unpack[IteratorOptions[ev.ShellCallCommandAdded]]) -> EventIterator[ev.ShellCallCommandAdded]: ...
    @overload
    def __call__(self, name: Literal["response.shell_call_command.delta"], /, **options: Unpack[IteratorOptions[ev.ShellCallCommandDelta]]) -> EventIterator[ev.ShellCallCommandDelta]: ...
    @overload
    def __call__(self, name: Literal["response.shell_call_command.done"], /, **options: Unpack[IteratorOptions[ev.ShellCallCommandDone]]) -> EventIterator[ev.ShellCallCommandDone]: ...
    @overload
    def __call__(self, name: Literal["response.shell_call_output_content.delta"], /, **options: Unpack[IteratorOptions[ev.ShellCallOutputContentDelta]]) -> EventIterator[ev.ShellCallOutputContentDelta]: ...
    @overload
    def __call__(self, name: Literal["response.shell_call_output_content.done"], /, **options: Unpack[IteratorOptions[ev.ShellCallOutputContentDone]]) -> EventIterator[ev.ShellCallOutputContentDone]: ...
    @overload
    def __call__(self, name: Literal["response.file_search_call.in_progress"], /, **options: Unpack[IteratorOptions[ev.FileSearchCallInProgress]]) -> EventIterator[ev.FileSearchCallInProgress]: ...
    @overload
    def __call__(self, name: Literal["response.file_search_call.searching"], /, **options: Unpack[IteratorOptions[ev.FileSearchCallSearching]]) -> EventIterator[ev.FileSearchCallSearching]: ...
    @overload
    def __call__(self, name: Literal["response.file_search_call.completed"], /, **options: Unpack[IteratorOptions[ev.FileSearchCallCompleted]]) -> EventIterator[ev.FileSearchCallCompleted]: ...
    @overload
    def __call__(self, name: Literal["response.web_search_call.in_progress"], /, **options: Unpack[IteratorOptions[ev.WebSearchCallInProgress]]) -> EventIterator[ev.WebSearchCallInProgress]: ...
    @overload
    def __call__(self, name: Literal["response.web_search_call.searching"], /, **options: Unpack[IteratorOptions[ev.WebSearchCallSearching]]) -> EventIterator[ev.WebSearchCallSearching]: ...
    @overload
    def __call__(self, name: Literal["response.web_search_call.completed"], /, **options: Unpack[IteratorOptions[ev.WebSearchCallCompleted]]) -> EventIterator[ev.WebSearchCallCompleted]: ...
    @overload
    def __call__(self, name: Literal["response.code_interpreter_call.in_progress"], /, **options: Unpack[IteratorOptions[ev.CodeInterpreterCallInProgress]]) -> EventIterator[ev.CodeInterpreterCallInProgress]: ...
    @overload
    def __call__(self, name: Literal["response.code_interpreter_call.interpreting"], /, **options: Unpack[IteratorOptions[ev.CodeInterpreterCallInterpreting]]) -> EventIterator[ev.CodeInterpreterCallInterpreting]: ...
    @overload
    def __call__(self, name: Literal["response.code_interpreter_call.completed"], /, **options: Unpack[IteratorOptions[ev.CodeInterpreterCallCompleted]]) -> EventIterator[ev.CodeInterpreterCallCompleted]: ...
    @overload
    def __call__(self, name: Literal["response.image_generation_call.in_progress"], /, **options: Unpack[IteratorOptions[ev.ImageGenerationCallInProgress]]) -> EventIterator[ev.ImageGenerationCallInProgress]: ...
    @overload
    def __call__(self, name: Literal["response.image_generation_call.generating"], /, **options: Unpack[IteratorOptions[ev.ImageGenerationCallGenerating]]) -> EventIterator[ev.ImageGenerationCallGenerating]: ...
    @overload
    def __call__(self, name: Literal["response.image_generation_call.completed"], /, **options: Unpack[IteratorOptions[ev.ImageGenerationCallCompleted]]) -> EventIterator[ev.ImageGenerationCallCompleted]: ...
    @overload
    def __call__(self, name: Literal["response.mcp_list_tools.in_progress"], /, **options: Unpack[IteratorOptions[ev.McpListToolsInProgress]]) -> EventIterator[ev.McpListToolsInProgress]: ...
    @overload
    def __call__(self, name: Literal["response.mcp_list_tools.completed"], /, **options: Unpack[IteratorOptions[ev.McpListToolsCompleted]]) -> EventIterator[ev.McpListToolsCompleted]: ...
    @overload
    def __call__(self, name: Literal["response.mcp_list_tools.failed"], /, **options: Unpack[IteratorOptions[ev.McpListToolsFailed]]) -> EventIterator[ev.McpListToolsFailed]: ...
    @overload
    def __call__(self, name: Literal["response.mcp_call.in_progress"], /, **options: Unpack[IteratorOptions[ev.McpCallInProgress]]) -> EventIterator[ev.McpCallInProgress]: ...
    @overload
    def __call__(self, name: Literal["response.mcp_call.completed"], /, **options: Unpack[IteratorOptions[ev.McpCallCompleted]]) -> EventIterator[ev.McpCallCompleted]: ...
    @overload
    def __call__(self, name: Literal["response.mcp_call.failed"], /, **options: Unpack[IteratorOptions[ev.McpCallFailed]]) -> EventIterator[ev.McpCallFailed]: ...
    @overload
    def __call__(self, name: Literal["response.output_item.added"], /, **options: Unpack[IteratorOptions[ev.OutputItemAdded]]) -> EventIterator[ev.OutputItemAdded]: ...
    @overload
    def __call__(self, name: Literal["response.output_item.done"], /, **options: Unpack[IteratorOptions[ev.OutputItemDone]]) -> EventIterator[ev.OutputItemDone]: ...
    @overload
    def __call__(self, name: Literal["response.function_call_arguments.delta"], /, **options: Unpack[IteratorOptions[ev.FunctionCallArgumentsDelta]]) -> EventIterator[ev.FunctionCallArgumentsDelta]: ...
    @overload
    def __call__(self, name: Literal["response.function_call_arguments.done"], /, **options: Unpack[IteratorOptions[ev.FunctionCallArgumentsDone]]) -> EventIterator[ev.FunctionCallArgumentsDone]: ...
    @overload
    def __call__(self, name: Literal["response.custom_tool_call_input.delta"], /, **options: Unpack[IteratorOptions[ev.CustomToolCallInputDelta]]) -> EventIterator[ev.CustomToolCallInputDelta]: ...
    @overload
    def __call__(self, name: Literal["response.custom_tool_call_input.done"], /, **options: Unpack[IteratorOptions[ev.CustomToolCallInputDone]]) -> EventIterator[ev.CustomToolCallInputDone]: ...
    @overload
    def __call__(self, name: Literal["response.code_interpreter_call_code.delta"], /, **options: Unpack[IteratorOptions[ev.CodeInterpreterCallCodeDelta]]) -> EventIterator[ev.CodeInterpreterCallCodeDelta]: ...
    @overload
    def __call__(self, name: Literal["response.code_interpreter_call_code.done"], /, **options: Unpack[IteratorOptions[ev.CodeInterpreterCallCodeDone]]) -> EventIterator[ev.CodeInterpreterCallCodeDone]: ...
    @overload
    def __call__(self, name: Literal["response.image_generation_call.partial_image"], /, **options: Unpack[IteratorOptions[ev.ImageGenerationCallPartialImage]]) -> EventIterator[ev.ImageGenerationCallPartialImage]: ...
    @overload
    def __call__(self, name: Literal["response.mcp_call_arguments.delta"], /, **options: Unpack[IteratorOptions[ev.McpCallArgumentsDelta]]) -> EventIterator[ev.McpCallArgumentsDelta]: ...
    @overload
    def __call__(self, name: Literal["response.mcp_call_arguments.done"], /, **options: Unpack[IteratorOptions[ev.McpCallArgumentsDone]]) -> EventIterator[ev.McpCallArgumentsDone]: ...
    @overload
    def __call__(self, name: Literal["response.apply_patch_call_operation_diff.delta"], /, **options: Unpack[IteratorOptions[ev.ApplyPatchCallOperationDiffDelta]]) -> EventIterator[ev.ApplyPatchCallOperationDiffDelta]: ...
    @overload
    def __call__(self, name: Literal["response.apply_patch_call_operation_diff.done"], /, **options: Unpack[IteratorOptions[ev.ApplyPatchCallOperationDiffDone]]) -> EventIterator[ev.ApplyPatchCallOperationDiffDone]: ...
    @overload
    def __call__(self, name: Literal["response.compaction.compacting"], /, **options: Unpack[IteratorOptions[ev.CompactionCompacting]]) -> EventIterator[ev.CompactionCompacting]: ...
    @overload
    def __call__(self, name: Literal["response.audio.delta"], /, **options: Unpack[IteratorOptions[ev.AudioDelta]]) -> EventIterator[ev.AudioDelta]: ...
    @overload
    def __call__(self, name: Literal["response.audio.transcript.delta"], /, **options: Unpack[IteratorOptions[ev.AudioTranscriptDelta]]) -> EventIterator[ev.AudioTranscriptDelta]: ...
    @overload
    def __call__(self, name: Literal["error"], /, **options: Unpack[IteratorOptions[ev.ErrorEvent]]) -> EventIterator[ev.ErrorEvent]: ...
    @overload
    def __call__(self, name: Literal["response.audio.done"], /, **options: Unpack[IteratorOptions[ev.AudioDone]]) -> EventIterator[ev.AudioDone]: ...
    @overload
    def __call__(self, name: Literal["response.audio.transcript.done"], /, **options: Unpack[IteratorOptions[ev.AudioTranscriptDone]]) -> EventIterator[ev.AudioTranscriptDone]: ...
    @overload
    def __call__(self, name: Literal["response.steer.accepted"], /, **options: Unpack[IteratorOptions[ev.SteerAccepted]]) -> EventIterator[ev.SteerAccepted]: ...
    @overload
    def __call__(self, name: Literal["response.steer.pending"], /, **options: Unpack[IteratorOptions[ev.SteerPending]]) -> EventIterator[ev.SteerPending]: ...
    @overload
    def __call__(self, name: Literal["response.steer.failed"], /, **options: Unpack[IteratorOptions[ev.SteerFailed]]) -> EventIterator[ev.SteerFailed]: ...
    @overload
    def __call__(self, name: Literal["response.inject.created"], /, **options: Unpack[IteratorOptions[ev.InjectCreated]]) -> EventIterator[ev.InjectCreated]: ...
    @overload
    def __call__(self, name: Literal["response.inject.failed"], /, **options: Unpack[IteratorOptions[ev.InjectFailed]]) -> EventIterator[ev.InjectFailed]: ...
    @overload
    def __call__(self, name: Literal["keepalive"], /, **options: Unpack[IteratorOptions[ev.Keepalive]]) -> EventIterator[ev.Keepalive]: ...
    @overload
    def __call__(self, name: Literal["codex.rate_limits"], /, **options: Unpack[IteratorOptions[ev.CodexRateLimits]]) -> EventIterator[ev.CodexRateLimits]: ...
    @overload
    def __call__(self, name: Literal["codex.response.metadata"], /, **options: Unpack[IteratorOptions[ev.CodexResponseMetadata]]) -> EventIterator[ev.CodexResponseMetadata]: ...
    # -- end of the events --
    # fmt: on
    @overload
    def __call__(self, selector: type[A], /, **options: Unpack[IteratorOptions[A]]) -> EventIterator[A]: ...
    @overload
    def __call__(
        self, selector: type[A], notice: type[N], /, **options: Unpack[IteratorOptions[A | N]]
    ) -> EventIterator[A | N]: ...
    @overload
    def __call__(
        self, first: type[A], second: type[B], /, **options: Unpack[IteratorOptions[A | B]]
    ) -> EventIterator[A | B]: ...
    @overload
    def __call__(
        self, first: type[A], second: type[B], third: type[C], /, **options: Unpack[IteratorOptions[A | B | C]]
    ) -> EventIterator[A | B | C]: ...
    @overload
    def __call__(
        self, *selectors: EventName | type[ev.Event], **options: Unpack[IteratorOptions[ev.Event]]
    ) -> EventIterator[ev.Event]: ...
    def __call__(self, *selectors: object, **options: Any) -> EventIterator[Any]:
        return EventIterator(self._supply, selectors, options)
