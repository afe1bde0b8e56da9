"""The base class for handlers that belong together: named methods for the common events, ``@on`` for all others."""

from collections.abc import Iterator
from dataclasses import replace

from streamkit import events as ev
from streamkit.dispatch.handler import AnyFunction
from streamkit.dispatch.hooks import HOOKS
from streamkit.dispatch.names import did_you_mean
from streamkit.dispatch.on import marks_of
from streamkit.dispatch.options import NO_OPTIONS
from streamkit.dispatch.selection import Selection
from streamkit.errors import UsageError
from streamkit.ledger import ToolCall
from streamkit.outcome import Disconnected, Failed, HandlerFailed, Outcome, Reconnecting, Restarted
from streamkit.response import Response
from streamkit.verdict import Moderated


class StreamHandler:
    """Subclass it, override what you want to hear of, and pass an instance to ``client.run(...)``.

    The methods here do nothing, and one that is not overridden costs nothing. For every other event, and wherever the
    run is wanted too, decorate a method with ``@on(...)``: ``async def broken(self, event: McpCallFailed, run: Run)``.
    Other methods must not have names that begin with ``on_``: they would be misspellings that nobody calls. An instance
    holds no state of a run by itself: used for several runs at once, it hears of all of them.
    """

    async def on_created(self, response: Response) -> None:
        """The response exists and has its id."""

    async def on_text_delta(self, event: ev.OutputTextDelta) -> None:
        """A piece of the answer's text."""

    async def on_text_done(self, event: ev.OutputTextDone) -> None:
        """A text of the answer is finished."""

    async def on_refusal_delta(self, event: ev.RefusalDelta) -> None:
        """A piece of a refusal."""

    async def on_refusal_done(self, event: ev.RefusalDone) -> None:
        """A refusal is finished."""

    async def on_reasoning_delta(
        self, event: ev.ReasoningSummaryTextDelta | ev.ReasoningTextDelta | ev.ReasoningDelta
    ) -> None:
        """A piece of the reasoning, or of its summary, whichever the server shows."""

    async def on_function_call_arguments_delta(self, event: ev.FunctionCallArgumentsDelta) -> None:
        """A piece of a function call's arguments."""

    async def on_function_call_arguments_done(self, event: ev.FunctionCallArgumentsDone) -> None:
        """A function call's arguments are finished."""

    async def on_output_item_added(self, event: ev.OutputItemAdded) -> None:
        """The model starts an item: a message, a reasoning, a call of a tool."""

    async def on_output_item_done(self, event: ev.OutputItemDone) -> None:
        """An item is finished, with everything in it."""

    async def on_completed(self, response: Response) -> None:
        """The response is whole."""

    async def on_incomplete(self, response: Response) -> None:
        """The server stopped the response before its end; ``response.incomplete_details`` says why."""

    async def on_failed(self, outcome: Failed | Disconnected) -> None:
        """The server or the network ended the response; ``outcome.error`` says how."""

    async def on_error(self, failure: HandlerFailed) -> bool | None:
        """A handler raised. Return ``True`` to go on as if it had not; else the run stops and raises it."""

    async def on_reconnecting(self, notice: Reconnecting) -> None:
        """An attempt failed and another follows; no event is delivered twice."""

    async def on_restarted(self, notice: Restarted) -> None:
        """Discard what was shown of the response so far: it begins anew."""

    async def on_moderated(self, notice: Moderated) -> None:
        """A text was flagged, by a ``Moderate`` stage or by the server, or could not be checked."""

    async def on_tool_call(self, call: ToolCall) -> None:
        """The model called a tool that runs here, and it begins to run."""

    async def on_tool_result(self, call: ToolCall) -> None:
        """It is known what the model will be told of a call: ``call.output``, and ``call.status`` says why."""

    async def on_close(self, outcome: Outcome) -> None:
        """The run ended, however it did. This is called last."""

    def handlers(self) -> Iterator[tuple[AnyFunction, Selection]]:
        """Yield the bound methods that are to be called, with what each is called for.

        Raises:
            UsageError: a method has a name like those here, but is none of them and is not marked with ``@on``.
        """
        for name in _attribute_names(type(self)):
            for selection in _selections(type(self), name):
                yield getattr(self, name), selection


def _attribute_names(owner: type) -> list[str]:
    """Return the names of a class and its bases in the order in which they were first defined."""
    return list(dict.fromkeys(name for base in reversed(owner.__mro__) for name in vars(base)))


def _selections(owner: type, name: str) -> list[Selection]:
    """Return what a method is called for by its name and by its marks, each once."""
    marks = _inherited_marks(owner, name)
    if name in HOOKS:
        overridden = getattr(owner, name) is not getattr(StreamHandler, name)
        is_marked = any(replace(mark, options=NO_OPTIONS) == HOOKS[name] for mark in marks)
        return list(dict.fromkeys([*([] if is_marked else [HOOKS[name]]), *marks])) if overridden else []
    if name.startswith("on_") and not marks:
        _refuse_misspelt(owner, name)
    return list(dict.fromkeys(marks))


def _inherited_marks(owner: type, name: str) -> tuple[Selection, ...]:
    """Return the marks of a method; an override that is not marked itself keeps those of what it overrides."""
    attributes = (vars(base)[name] for base in owner.__mro__ if name in vars(base))
    # A static or class method may be marked itself, or be made of a function that is.
    found = (marks_of(attribute) or marks_of(getattr(attribute, "__func__", attribute)) for attribute in attributes)
    return next((marks for marks in found if marks), ())


def _refuse_misspelt(owner: type, name: str) -> None:
    """Refuse a method that looks like one of ``StreamHandler`` but would never be called; mixins are left alone."""
    ours = any(name in vars(base) for base in owner.__mro__ if issubclass(base, StreamHandler))
    if ours and callable(getattr(owner, name)):
        hint = did_you_mean(name, HOOKS)
        raise UsageError(
            f"{owner.__qualname__}.{name} would never be called{hint}; mark it with @on(...), or name it otherwise"
        )
