"""What a function asks for: wire names and classes, resolved to the classes that events are routed by."""

from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Literal, get_args

from streamkit.dispatch.handler import Handler, only_where, with_subject
from streamkit.dispatch.names import did_you_mean
from streamkit.dispatch.options import NO_OPTIONS, HandlerOptions
from streamkit.errors import UsageError
from streamkit.events import EVENTS, Event, UnknownEvent
from streamkit.outcome import HandlerFailed, Notice, Opened, Outcome, Reconnecting, Restarted, ToolCalled, ToolReturned
from streamkit.verdict import Moderated

# The names follow the table of events; tests/test_overloads.py compares them and can write them anew.
EventName = Literal[
    # -- the events --
    "response.completed",
    "response.incomplete",
    "response.failed",
    "response.created",
    "response.queued",
    "response.in_progress",
    "response.content_part.added",
    "response.content_part.done",
    "response.output_text.delta",
    "response.output_text.done",
    "response.output_text.annotation.added",
    "response.refusal.delta",
    "response.refusal.done",
    "response.reasoning_text.delta",
    "response.reasoning_text.done",
    "response.reasoning.delta",
    "response.reasoning.done",
    "response.reasoning_part.added",
    "response.reasoning_part.done",
    "response.reasoning_summary_part.added",
    "response.reasoning_summary_part.done",
    "response.reasoning_summary_text.delta",
    "response.reasoning_summary_text.done",
    "response.shell_call_command.added",
    "response.shell_call_command.delta",
    "response.shell_call_command.done",
    "response.shell_call_output_content.delta",
    "response.shell_call_output_content.done",
    "response.file_search_call.in_progress",
    "response.file_search_call.searching",
    "response.file_search_call.completed",
    "response.web_search_call.in_progress",
    "response.web_search_call.searching",
    "response.web_search_call.completed",
    "response.code_interpreter_call.in_progress",
    "response.code_interpreter_call.interpreting",
    "response.code_interpreter_call.completed",
    "response.image_generation_call.in_progress",
    "response.image_generation_call.generating",
    "response.image_generation_call.completed",
    "response.mcp_list_tools.in_progress",
    "response.mcp_list_tools.completed",
    "response.mcp_list_tools.failed",
    "response.mcp_call.in_progress",
    "response.mcp_call.completed",
    "response.mcp_call.failed",
    "response.output_item.added",
    "response.output_item.done",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.custom_tool_call_input.delta",
    "response.custom_tool_call_input.done",
    "response.code_interpreter_call_code.delta",
    "response.code_interpreter_call_code.done",
    "response.image_generation_call.partial_image",
    "response.mcp_call_arguments.delta",
    "response.mcp_call_arguments.done",
    "response.apply_patch_call_operation_diff.delta",
    "response.apply_patch_call_operation_diff.done",
    "response.compaction.compacting",
    "response.audio.delta",
    "response.audio.transcript.delta",
    "error",
    "response.audio.done",
    "response.audio.transcript.done",
    "response.steer.accepted",
    "response.steer.pending",
    "response.steer.failed",
    "response.inject.created",
    "response.inject.failed",
    "keepalive",
    "codex.rate_limits",
    "codex.response.metadata",
    # -- end of the events --
]
"""Every wire name that has a model."""

_ROUTED = (Event, *get_args(Notice), *get_args(Outcome))


@dataclass(frozen=True, slots=True)
class Selection:
    """The classes whose instances a function is called for, and what it is called with."""

    classes: tuple[type, ...]
    subject_of: Callable[[object], object] | None = None
    """What of the instance the function gets, if not the instance itself."""
    unknown_type: str | None = None
    """The wire name of the unknown events it gets, if not all of them."""

    options: HandlerOptions = NO_OPTIONS

    def fit(self, handler: Handler) -> Handler:
        """Return the handler that calls the same function with what is selected, and for nothing else.

        Raises:
            UsageError: what it is called for does not go with the options.
        """
        if self.options.lane is not None and HandlerFailed in self.classes:
            raise UsageError(f"{handler.name} decides whether a run goes on after a failure, and so cannot have a lane")
        if self.subject_of is not None:
            handler = with_subject(handler, self.subject_of)
        if self.unknown_type is not None:
            name = self.unknown_type
            handler = only_where(handler, lambda event, _: getattr(event, "type", None) == name, f"type={name!r}")
        return self.options.around(handler)


def select(selectors: tuple[object, ...], options: HandlerOptions = NO_OPTIONS) -> Selection:
    """Return what selectors name: wire names, event classes, families, notices and outcomes.

    Raises:
        UsageError: there is none, or one is no wire name and no such class; a near miss is named.
    """
    if not selectors:
        raise UsageError("name at least one event: a wire name or a class, such as Event for everything")
    return Selection(tuple(_class_for(selector) for selector in selectors), options=options)


def select_iterable(selectors: tuple[object, ...]) -> tuple[type, ...]:
    """Return the classes that selectors name, of events and of the notices that come between them.

    Raises:
        UsageError: as ``select``, or one is an outcome or another notice, which an iteration never meets.
    """
    classes = select(selectors).classes
    for model in classes:
        if not issubclass(model, (Event, Opened, Reconnecting, Restarted, Moderated, ToolCalled, ToolReturned)):
            raise UsageError(f"{model.__name__} does not come among the events; register a handler for it")
    return classes


def select_raw(name: str, options: HandlerOptions = NO_OPTIONS) -> Selection:
    """Return the selection of one wire name that streamkit does not know.

    Raises:
        UsageError: streamkit knows it.
    """
    if name in EVENTS:
        raise UsageError(f"{name!r} has a model, {EVENTS[name].__name__}: select it with on({name!r})")
    return Selection((UnknownEvent,), unknown_type=name, options=options)


def _class_for(selector: object) -> type:
    if isinstance(selector, str):
        return _class_named(selector)
    if isinstance(selector, type) and issubclass(selector, _ROUTED):
        return selector
    hint = "; write on(...) with parentheses" if isinstance(selector, FunctionType) else ""
    raise UsageError(f"cannot route by {selector!r}: expected a wire name or an event, notice or outcome class{hint}")


def _class_named(name: str) -> type[Event]:
    model = EVENTS.get(name)
    if model is not None:
        return model
    hint = did_you_mean(name, EVENTS) or did_you_mean(f"response.{name}", EVENTS)
    raise UsageError(f"there is no event named {name!r}{hint}; events without a model are selected with on.raw(name)")
