"""``on``: one spelling for what a function wants to be called for, by wire name or by class.

The bare ``on(...)`` marks a function, to be registered when it, or the ``StreamHandler`` it is a method of, is included
in a dispatcher. ``dispatcher.on(...)`` registers at once.
"""

# The overloads are many: evaluating their annotations would take a tenth of the whole import.
from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Generic, Literal, TypeVar, Unpack, overload

from typing_extensions import TypeVar as TypeVarWithDefault

from streamkit import events as ev
from streamkit import outcome as end
from streamkit.context import Run
from streamkit.dispatch.arguments import ArgumentsChange, ArgumentsOptions, select_arguments
from streamkit.dispatch.handler import AnyFunction
from streamkit.dispatch.options import Options, options_from
from streamkit.dispatch.selection import EventName, Selection, select, select_raw
from streamkit.errors import UsageError

E = TypeVar("E")
R = TypeVar("R")
Owner = TypeVar("Owner")
State = TypeVarWithDefault("State", default=SimpleNamespace)
F = TypeVar("F", bound=AnyFunction)
A = TypeVar("A", bound=end.Delivery)
B = TypeVar("B", bound=end.Delivery)
C = TypeVar("C", bound=end.Delivery)

Selector = EventName | type[end.Delivery]
"""What names an event, notice or outcome."""

Sink = Callable[[AnyFunction, Selection], None]
"""Where a decorated function and what it selects go."""

_MARKS = "__streamkit_marks__"


class Decorator(Generic[E, State]):
    """Takes a function ``(event)`` or ``(event, run)``, or such a method, and returns it unchanged.

    A second parameter with a default is the function's own, unless it is called ``run``. To a type checker the function
    takes just an ``E`` from then on; so name several events in one ``on(...)`` instead of decorating twice.

    Raises:
        UsageError: the function's signature is another, or it is given no function, or options besides.
    """

    def __init__(self, sink: Sink, selection: Selection) -> None:
        self._sink = sink
        self._selection = selection

    @overload
    def __call__(self, function: Callable[[E], R]) -> Callable[[E], R]: ...
    @overload
    def __call__(self, function: Callable[[E, Run[State]], R]) -> Callable[[E, Run[State]], R]: ...
    @overload
    def __call__(self, function: Callable[[Owner, E], R]) -> Callable[[Owner, E], R]: ...
    @overload
    def __call__(self, function: Callable[[Owner, E, Run[State]], R]) -> Callable[[Owner, E, Run[State]], R]: ...
    def __call__(self, function: AnyFunction | None = None, **options: object) -> AnyFunction:
        if function is None or options:
            raise UsageError(
                "a decorator such as @on_completed is written without (): on(Completed, ...) takes options"
            )
        self._sink(function, self._selection)
        return function


# The overloads follow the table of events; tests/test_overloads.py compares them and can write them anew.
class Registrar(Generic[State]):
    """Makes decorators for what is named: one or several wire names, event classes, families, notices or outcomes.

    Raises:
        UsageError: a name is unknown; the message says which one may have been meant.
    """

    def __init__(self, sink: Sink) -> None:
        self.register = sink
        """Takes a function and what it selects, as the decorators do."""

    # fmt: off
    # -- the events --
    @overload
    def __call__(self, name: Literal["response.completed"], /, **options: Unpack[Options[ev.ResponseCompleted]]) -> Decorator[ev.ResponseCompleted, State]: ...
    @overload
    def __call__(self, name: Literal["response.incomplete"], /, **options: Unpack[Options[ev.ResponseIncomplete]]) -> Decorator[ev.ResponseIncomplete, State]: ...
    @overload
    def __call__(self, name: Literal["response.failed"], /, **options: Unpack[Options[ev.ResponseFailed]]) -> Decorator[ev.ResponseFailed, State]: ...
    @overload
    def __call__(self, name: Literal["response.created"], /, **options: Unpack[Options[ev.ResponseCreated]]) -> Decorator[ev.ResponseCreated, State]: ...
    @overload
    def __call__(self, name: Literal["response.queued"], /, **options: Unpack[Options[ev.ResponseQueued]]) -> Decorator[ev.ResponseQueued, State]: ...
    @overload
    def __call__(self, name: Literal["response.in_progress"], /, **options: Unpack[Options[ev.ResponseInProgress]]) -> Decorator[ev.ResponseInProgress, State]: ...
    @overload
    def __call__(self, name: Literal["response.content_part.added"], /, **options: Unpack[Options[ev.ContentPartAdded]]) -> Decorator[ev.ContentPartAdded, State]: ...
    @overload
    def __call__(self, name: Literal["response.content_part.done"], /, **options: Unpack[Options[ev.ContentPartDone]]) -> Decorator[ev.ContentPartDone, State]: ...
    @overload
    def __call__(self, name: Literal["response.output_text.delta"], /, **options: Unpack[Options[ev.OutputTextDelta]]) -> Decorator[ev.OutputTextDelta, State]: ...
    @overload
    def __call__(self, name: Literal["response.output_text.done"], /, **options: Unpack[Options[ev.OutputTextDone]]) -> Decorator[ev.OutputTextDone, State]: ...
    @overload
    def __call__(self, name: Literal["response.output_text.annotation.added"], /, **options: Unpack[Options[ev.OutputTextAnnotationAdded]]) -> Decorator[ev.OutputTextAnnotationAdded, State]: ...
    @overload
    def __call__(self, name: Literal["response.refusal.delta"], /, **options: Unpack[Options[ev.RefusalDelta]]) -> Decorator[ev.RefusalDelta, State]: ...
    @overload
    def __call__(self, name: Literal["response.refusal.done"], /, **options: Unpack[Options[ev.RefusalDone]]) -> Decorator[ev.RefusalDone, State]: ...
    @overload
    def __call__(self, name: Literal["response.reasoning_text.delta"], /, **options: Unpack[Options[ev.ReasoningTextDelta]]) -> Decorator[ev.ReasoningTextDelta, State]: ...
    @overload
    def __call__(self, name: Literal["response.reasoning_text.done"], /, **options: Unpack[Options[ev.ReasoningTextDone]]) -> Decorator[ev.ReasoningTextDone, State]: ...
    @overload
    def __call__(self, name: Literal["response.reasoning.delta"], /, **options: Unpack[Options[ev.ReasoningDelta]]) -> Decorator[ev.ReasoningDelta, State]: ...
    @overload
    def __call__(self, name: Literal["response.reasoning.done"], /, **options: Unpack[Options[ev.ReasoningDone]]) -> Decorator[ev.ReasoningDone, State]: ...
    @overload
    def __call__(self, name: Literal["response.reasoning_part.added"], /, **options: Unpack[Options[ev.ReasoningPartAdded]]) -> Decorator[ev.ReasoningPartAdded, State]: ...
    @overload
    def __call__(self, name: Literal["response.reasoning_part.done"], /, **options: Unpack[Options[ev.ReasoningPartDone]]) -> Decorator[ev.ReasoningPartDone, State]: ...
    @overload
    def __call__(self, name: Literal["response.reasoning_summary_part.added"], /, **options: Unpack[Options[ev.ReasoningSummaryPartAdded]]) -> Decorator[ev.ReasoningSummaryPartAdded, State]: ...
    @overload
    def __call__(self, name: Literal["response.reasoning_summary_part.done"], /, **options: Unpack[Options[ev.ReasoningSummaryPartDone]]) -> Decorator[ev.ReasoningSummaryPartDone, State]: ...
    @overload
    def __call__(self, name: Literal["response.reasoning_summary_text.delta"], /, **options: Unpack[Options[ev.ReasoningSummaryTextDelta]]) -> Decorator[ev.ReasoningSummaryTextDelta, State]: ...
    @overload
    def __call__(self, name: Literal["response.reasoning_summary_text.done"], /, **options: Unpack[Options[ev.ReasoningSummaryTextDone]]) -> Decorator[ev.ReasoningSummaryTextDone, State]: ...
    @overload
    def __call__(self, name: Literal["response.shell_call_command.added"], /, **options: Unpack[Options[ev.ShellCallCommandAdded]]) -> Decorator[ev.ShellCallCommandAdded, State]: ...
    @overload
    def __call__(self, name: Literal["response.shell_call_command.delta"], /, **options: Unpack[Options[ev.ShellCallCommandDelta]]) -> Decorator[ev.ShellCallCommandDelta, State]: ...
    @overload
    def __call__(self, name: Literal["response.shell_call_command.done"], /, **options: Unpack[Options[ev.ShellCallCommandDone]]) -> Decorator[ev.ShellCallCommandDone, State]: ...
    @overload
    def __call__(self, name: Literal["response.shell_call_output_content.delta"], /, **options: Unpack[Options[ev.ShellCallOutputContentDelta]]) -> Decorator[ev.ShellCallOutputContentDelta, State]: ...
    @overload
    def __call__(self, name: Literal["response.shell_call_output_content.done"], /, **options: Unpack[Options[ev.ShellCallOutputContentDone]]) -> Decorator[ev.ShellCallOutputContentDone, State]: ...
    @overload
    def __call__(self, name: Literal["response.file_search_call.in_progress"], /, **options: Unpack[Options[ev.FileSearchCallInProgress]]) -> Decorator[ev.FileSearchCallInProgress, State]: ...
    @overload
    def __call__(self, name: Literal["response.file_search_call.searching"], /, **options: Unpack[Options[ev.FileSearchCallSearching]]) -> Decorator[ev.FileSearchCallSearching, State]: ...
    @overload
    def __call__(self, name: Literal["response.file_search_call.completed"], /, **options: Unpack[Options[ev.FileSearchCallCompleted]]) -> Decorator[ev.FileSearchCallCompleted, State]: ...
    @overload
    def __call__(self, name: Literal["response.web_search_call.in_progress"], /, **options: Unpack[Options[ev.WebSearchCallInProgress]]) -> Decorator[ev.WebSearchCallInProgress, State]: ...
    @overload
    def __call__(self, name: Literal["response.web_search_call.searching"], /, **options: Unpack[Options[ev.WebSearchCallSearching]]) -> Decorator[ev.WebSearchCallSearching, State]: ...
    @overload
    def __call__(self, name: Literal["response.web_search_call.completed"], /, **options: Unpack[Options[ev.WebSearchCallCompleted]]) -> Decorator[ev.WebSearchCallCompleted, State]: ...
    @overload
    def __call__(self, name: Literal["response.code_interpreter_call.in_progress"], /, **options: Unpack[Options[ev.CodeInterpreterCallInProgress]]) -> Decorator[ev.CodeInterpreterCallInProgress, State]: ...
    @overload
    def __call__(self, name: Literal["response.code_interpreter_call.interpreting"], /, **options: Unpack[Options[ev.CodeInterpreterCallInterpreting]]) -> Decorator[ev.CodeInterpreterCallInterpreting, State]: ...
    @overload
    def __call__(self, name: Literal["response.code_interpreter_call.completed"], /, **options: Unpack[Options[ev.CodeInterpreterCallCompleted]]) -> Decorator[ev.CodeInterpreterCallCompleted, State]: ...
    @overload
    def __call__(self, name: Literal["response.image_generation_call.in_progress"], /, **options: Unpack[Options[ev.ImageGenerationCallInProgress]]) -> Decorator[ev.ImageGenerationCallInProgress, State]: ...
    @overload
    def __call__(self, name: Literal["response.image_generation_call.generating"], /, **options: Unpack[Options[ev.ImageGenerationCallGenerating]]) -> Decorator[ev.ImageGenerationCallGenerating, State]: ...
    @overload
    def __call__(self, name: Literal["response.image_generation_call.completed"], /, **options: Unpack[Options[ev.ImageGenerationCallCompleted]]) -> Decorator[ev.ImageGenerationCallCompleted, State]: ...
    @overload
    def __call__(self, name: Literal["response.mcp_list_tools.in_progress"], /, **options: Unpack[Options[ev.McpListToolsInProgress]]) -> Decorator[ev.McpListToolsInProgress, State]: ...
    @overload
    def __call__(self, name: Literal["response.mcp_list_tools.completed"], /, **options: Unpack[Options[ev.McpListToolsCompleted]]) -> Decorator[ev.McpListToolsCompleted, State]: ...
    @overload
    def __call__(self, name: Literal["response.mcp_list_tools.failed"], /, **options: Unpack[Options[ev.McpListToolsFailed]]) -> Decorator[ev.McpListToolsFailed, State]: ...
    @overload
    def __call__(self, name: Literal["response.mcp_call.in_progress"], /, **options: Unpack[Options[ev.McpCallInProgress]]) -> Decorator[ev.McpCallInProgress, State]: ...
    @overload
    def __call__(self, name: Literal["response.mcp_call.completed"], /, **options: Unpack[Options[ev.McpCallCompleted]]) -> Decorator[ev.McpCallCompleted, State]: ...
    @overload
    def __call__(self, name: Literal["response.mcp_call.failed"], /, **options: Unpack[Options[ev.McpCallFailed]]) -> Decorator[ev.McpCallFailed, State]: ...
    @overload
    def __call__(self, name: Literal["response.output_item.added"], /, **options: Unpack[Options[ev.OutputItemAdded]]) -> Decorator[ev.OutputItemAdded, State]: ...
    @overload
    def __call__(self, name: Literal["response.output_item.done"], /, **options: Unpack[Options[ev.OutputItemDone]]) -> Decorator[ev.OutputItemDone, State]: ...
    @overload
    def __call__(self, name: Literal["response.function_call_arguments.delta"], /, **options: Unpack[Options[ev.FunctionCallArgumentsDelta]]) -> Decorator[ev.FunctionCallArgumentsDelta, State]: ...
    @overload
    def __call__(self, name: Literal["response.function_call_arguments.done"], /, **options: Unpack[Options[ev.FunctionCallArgumentsDone]]) -> Decorator[ev.FunctionCallArgumentsDone, State]: ...
    @overload
    def __call__(self, name: Literal["response.custom_tool_call_input.delta"], /, **options: Unpack[Options[ev.CustomToolCallInputDelta]]) -> Decorator[ev.CustomToolCallInputDelta, State]: ...
    @overload
    def __call__(self, name: Literal["response.custom_tool_call_input.done"], /, **options: Unpack[Options[ev.CustomToolCallInputDone]]) -> Decorator[ev.CustomToolCallInputDone, State]: ...
    @overload
    def __call__(self, name: Literal["response.code_interpreter_call_code.delta"], /, **options: Unpack[Options[ev.CodeInterpreterCallCodeDelta]]) -> Decorator[ev.CodeInterpreterCallCodeDelta, State]: ...
    @overload
    def __call__(self, name: Literal["response.code_interpreter_call_code.done"], /, **options: Unpack[Options[ev.CodeInterpreterCallCodeDone]]) -> Decorator[ev.CodeInterpreterCallCodeDone, State]: ...
    @overload
    def __call__(self, name: Literal["response.image_generation_call.partial_image"], /, **options: Unpack[Options[ev.ImageGenerationCallPartialImage]]) -> Decorator[ev.ImageGenerationCallPartialImage, State]: ...
    @overload
    def __call__(self, name: Literal["response.mcp_call_arguments.delta"], /, **options: Unpack[Options[ev.McpCallArgumentsDelta]]) -> Decorator[ev.McpCallArgumentsDelta, State]: ...
    @overload
    def __call__(self, name: Literal["response.mcp_call_arguments.done"], /, **options: Unpack[Options[ev.McpCallArgumentsDone]]) -> Decorator[ev.McpCallArgumentsDone, State]: ...
    @overload
    def __call__(self, name: Literal["response.apply_patch_call_operation_diff.delta"], /, **options: Unpack[Options[ev.ApplyPatchCallOperationDiffDelta]]) -> Decorator[ev.ApplyPatchCallOperationDiffDelta, State]: ...
    @overload
    def __call__(self, name: Literal["response.apply_patch_call_operation_diff.done"], /, **options: Unpack[Options[ev.ApplyPatchCallOperationDiffDone]]) -> Decorator[ev.ApplyPatchCallOperationDiffDone, State]: ...
    @overload
    def __call__(self, name: Literal["response.compaction.compacting"], /, **options: Unpack[Options[ev.CompactionCompacting]]) -> Decorator[ev.CompactionCompacting, State]: ...
    @overload
    def __call__(self, name: Literal["response.audio.delta"], /, **options: Unpack[Options[ev.AudioDelta]]) -> Decorator[ev.AudioDelta, State]: ...
    @overload
    def __call__(self, name: Literal["response.audio.transcript.delta"], /, **options: Unpack[Options[ev.AudioTranscriptDelta]]) -> Decorator[ev.AudioTranscriptDelta, State]: ...
    @overload
    def __call__(self, name: Literal["error"], /, **options: Unpack[Options[ev.ErrorEvent]]) -> Decorator[ev.ErrorEvent, State]: ...
    @overload
    def __call__(self, name: Literal["response.audio.done"], /, **options: Unpack[Options[ev.AudioDone]]) -> Decorator[ev.AudioDone, State]: ...
    @overload
    def __call__(self, name: Literal["response.audio.transcript.done"], /, **options: Unpack[Options[ev.AudioTranscriptDone]]) -> Decorator[ev.AudioTranscriptDone, State]: ...
    @overload
    def __call__(self, name: Literal["response.steer.accepted"], /, **options: Unpack[Options[ev.SteerAccepted]]) -> Decorator[ev.SteerAccepted, State]: ...
    @overload
    def __call__(self, name: Literal["response.steer.pending"], /, **options: Unpack[Options[ev.SteerPending]]) -> Decorator[ev.SteerPending, State]: ...
    @overload
    def __call__(self, name: Literal["response.steer.failed"], /, **options: Unpack[Options[ev.SteerFailed]]) -> Decorator[ev.SteerFailed, State]: ...
    @overload
    def __call__(self, name: Literal["response.inject.created"], /, **options: Unpack[Options[ev.InjectCreated]]) -> Decorator[ev.InjectCreated, State]: ...
    @overload
    def __call__(self, name: Literal["response.inject.failed"], /, **options: Unpack[Options[ev.InjectFailed]]) -> Decorator[ev.InjectFailed, State]: ...
    @overload
    def __call__(self, name: Literal["keepalive"], /, **options: Unpack[Options[ev.Keepalive]]) -> Decorator[ev.Keepalive, State]: ...
    @overload
    def __call__(self, name: Literal["codex.rate_limits"], /, **options: Unpack[Options[ev.CodexRateLimits]]) -> Decorator[ev.CodexRateLimits, State]: ...
    @overload
    def __call__(self, name: Literal["codex.response.metadata"], /, **options: Unpack[Options[ev.CodexResponseMetadata]]) -> Decorator[ev.CodexResponseMetadata, State]: ...
    # -- end of the events --
    @overload
    def __call__(self, selector: type[A], /, **options: Unpack[Options[A]]) -> Decorator[A, State]: ...
    # The last overload admits what these two do; they come first and say more.
    @overload
    def __call__(self, first: type[A], second: type[B], /, **options: Unpack[Options[A | B]]) -> Decorator[A | B, State]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, first: type[A], second: type[B], third: type[C], /, **options: Unpack[Options[A | B | C]]) -> Decorator[A | B | C, State]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, first: Selector, second: Selector, /, *others: Selector, **options: Unpack[Options[end.Delivery]]) -> Callable[[F], F]: ...
    # fmt: on
    def __call__(self, *selectors: object, **options: Any) -> Decorator[Any, State] | Callable[[F], F]:
        return Decorator(self.register, select(selectors, options_from(options)))

    @property
    def any(self) -> Decorator[ev.Event, State]:
        """Select every event: ``@dispatcher.on.any``; with options it is ``@dispatcher.on(Event, ...)``."""
        return Decorator(self.register, select((ev.Event,)))

    def raw(self, name: str, /, **options: Unpack[Options[ev.UnknownEvent]]) -> Decorator[ev.UnknownEvent, State]:
        """Select the events of one wire name that streamkit does not know, such as ``"vendor:event"``.

        Raises:
            UsageError: streamkit knows it, and so has a class for it.
        """
        return Decorator(self.register, select_raw(name, options_from(dict(options))))

    def arguments(
        self, tool: str, /, *, path: str | None = None, **options: Unpack[ArgumentsOptions]
    ) -> Decorator[ArgumentsChange, State]:
        """Select what changes in the arguments of a function's calls as they grow: ``@on.arguments("search")``.

        Args:
            tool: the name of the function.
            path: only changes of these values, such as ``city`` or ``items[*].name``; by default all of them.
            options: ``lane``, ``thread``, ``where`` (a function of the change) and ``on_error``, as for ``on``.

        Raises:
            UsageError: the path or an option makes no sense.
        """
        return Decorator(self.register, select_arguments(tool, path, options))


def _mark(function: AnyFunction, selection: Selection) -> None:
    try:
        setattr(function, _MARKS, (*marks_of(function), selection))
    except (AttributeError, TypeError) as error:
        raise UsageError(f"on(...) cannot mark {function!r}; register it with dispatcher.on(...)") from error


def marks_of(function: AnyFunction) -> tuple[Selection, ...]:
    """Return what ``on`` has marked a function for."""
    marks: tuple[Selection, ...] = getattr(function, _MARKS, ())
    return marks


on = Registrar[Any](_mark)
"""Mark a function or method for what is named; it is registered when it is included in a dispatcher.

To a type checker it takes functions for runs of any state: only the dispatcher knows what its runs have.
"""
