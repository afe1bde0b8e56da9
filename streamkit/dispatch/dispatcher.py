"""The dispatcher: which functions are called for what, compiled to one dictionary."""

from collections.abc import Iterator
from dataclasses import dataclass
from inspect import isawaitable
from types import CoroutineType
from typing import Any

from streamkit.context import Run
from streamkit.dispatch.handler import AnyFunction, Handler, handler_for, once_per_run
from streamkit.dispatch.hooks import HOOKS
from streamkit.dispatch.on import Decorator, Registrar, marks_of
from streamkit.dispatch.selection import Selection
from streamkit.dispatch.stream_handler import StreamHandler
from streamkit.errors import UsageError
from streamkit.outcome import Delivery, Disconnected, Failed, HandlerFailed, Outcome, Reconnecting, Restarted
from streamkit.response import Response


@dataclass(frozen=True, slots=True)
class _Registration:
    classes: tuple[type, ...]
    handler: Handler


class Routes(dict[type, tuple[Handler, ...]]):
    """The handlers of each class, in order of registration; worked out when a class is first seen."""

    def __init__(self, registrations: list[_Registration]) -> None:
        super().__init__()
        self._registrations = registrations

    def __missing__(self, model: type) -> tuple[Handler, ...]:
        handlers = tuple(entry.handler for entry in self._registrations if issubclass(model, entry.classes))
        self[model] = handlers
        return handlers


class Dispatcher:
    """Handlers and what they are called for. One dispatcher serves any number of runs, also at the same time.

    Register handlers with the decorators ``on`` and ``once`` and the lifecycle hooks, or include other dispatchers,
    ``StreamHandler`` objects and functions marked with the bare ``on``. Then pass the dispatcher to ``client.run(...)``
    or ``run.dispatch(...)``. A run uses the handlers that were registered when it began to dispatch.
    """

    def __init__(self) -> None:
        self._entries: list[_Registration | Dispatcher] = []
        self._changes = 0
        self._compiled: tuple[int, Routes] | None = None

    @property
    def on(self) -> Registrar:
        """Register a function: ``@dispatcher.on("response.output_text.delta")``, ``@dispatcher.on(ItemEvent)``."""
        return Registrar(self._register)

    @property
    def once(self) -> Registrar:
        """Register a function for the first event of each run only."""
        return Registrar(self._register_once)

    @property
    def on_created(self) -> Decorator[Response]:
        """Register a function ``(response)`` or ``(response, run)``: the response exists and has its id."""
        return self._hook("on_created")

    @property
    def on_completed(self) -> Decorator[Response]:
        """Register a function ``(response)`` or ``(response, run)``: the response is whole."""
        return self._hook("on_completed")

    @property
    def on_incomplete(self) -> Decorator[Response]:
        """Register a function ``(response)`` or ``(response, run)``: the server stopped the response before its end."""
        return self._hook("on_incomplete")

    @property
    def on_failed(self) -> Decorator[Failed | Disconnected]:
        """Register a function ``(outcome)`` or ``(outcome, run)``: the server or the network ended the response."""
        return self._hook("on_failed")

    @property
    def on_error(self) -> Decorator[HandlerFailed]:
        """Register a function ``(failure)`` or ``(failure, run)``: a handler raised; return ``True`` to go on."""
        return self._hook("on_error")

    @property
    def on_reconnecting(self) -> Decorator[Reconnecting]:
        """Register a function ``(notice)`` or ``(notice, run)``: an attempt failed and another follows."""
        return self._hook("on_reconnecting")

    @property
    def on_restarted(self) -> Decorator[Restarted]:
        """Register a function ``(notice)`` or ``(notice, run)``: discard what was shown, the response begins anew."""
        return self._hook("on_restarted")

    @property
    def on_close(self) -> Decorator[Outcome]:
        """Register a function ``(outcome)`` or ``(outcome, run)``: the run ended, however it did. It is called last."""
        return self._hook("on_close")

    def include(self, *parts: "Dispatcher | StreamHandler | AnyFunction") -> None:
        """Add the handlers of other dispatchers, of ``StreamHandler`` objects, and functions marked with ``on``.

        They come after the handlers registered so far. What is added to an included dispatcher later counts too.

        Raises:
            UsageError: a part is none of these, a function is not marked, a method could never be called, or
                dispatchers would include each other.
        """
        for part in parts:
            if isinstance(part, Dispatcher):
                self._include_dispatcher(part)
            elif isinstance(part, StreamHandler):
                for function, selection in part.handlers():
                    self._register(function, selection)
            else:
                self._include_function(part)

    def off(self, function: AnyFunction) -> None:
        """Remove a function from everything it is registered for here; included dispatchers keep theirs.

        Raises:
            UsageError: it is not registered here.
        """
        kept = [e for e in self._entries if isinstance(e, Dispatcher) or e.handler.function != function]
        if len(kept) == len(self._entries):
            raise UsageError(f"{function!r} is not registered in this dispatcher")
        self._entries = kept
        self._changes += 1

    def routes(self) -> Routes:
        """Return the compiled table of handlers."""
        version = self._version()
        if self._compiled is None or self._compiled[0] != version:
            self._compiled = (version, Routes(list(self._registrations())))
        return self._compiled[1]

    def _hook(self, name: str) -> Decorator[Any]:
        return Decorator(self._register, HOOKS[name])

    def _register(self, function: AnyFunction, selection: Selection) -> None:
        self._add(selection, handler_for(function))

    def _register_once(self, function: AnyFunction, selection: Selection) -> None:
        self._add(selection, once_per_run(handler_for(function)))

    def _add(self, selection: Selection, handler: Handler) -> None:
        self._entries.append(_Registration(selection.classes, selection.fit(handler)))
        self._changes += 1

    def _include_dispatcher(self, other: "Dispatcher") -> None:
        if other is self or self in other._included():
            raise UsageError("a dispatcher cannot include itself, directly or through another")
        self._entries.append(other)
        self._changes += 1

    def _include_function(self, function: AnyFunction) -> None:
        marks = marks_of(function)
        if not marks:
            hint = "; pass an instance of it" if isinstance(function, type) else ""
            raise UsageError(
                f"cannot include {function!r}: it is no Dispatcher, no instance of a StreamHandler, "
                f"and no function marked with @on(...){hint}"
            )
        for selection in marks:
            self._register(function, selection)

    def _included(self) -> "Iterator[Dispatcher]":
        for entry in self._entries:
            if isinstance(entry, Dispatcher):
                yield entry
                yield from entry._included()

    def _version(self) -> int:
        return self._changes + sum(other._changes for other in self._included())

    def _registrations(self) -> Iterator[_Registration]:
        for entry in self._entries:
            if isinstance(entry, Dispatcher):
                yield from entry._registrations()
            else:
                yield entry


def combine(parts: "tuple[Dispatcher | StreamHandler | AnyFunction, ...]") -> Dispatcher:
    """Return one dispatcher for all parts: the only one given, or a new one that includes them."""
    if len(parts) == 1 and isinstance(parts[0], Dispatcher):
        return parts[0]
    dispatcher = Dispatcher()
    dispatcher.include(*parts)
    return dispatcher


async def deliver(routes: Routes, subject: Delivery, run: Run) -> None:
    """Call the handlers of an event, notice or outcome one after the other, each awaited before the next.

    Raises:
        Exception: what a handler raised and no ``on_error`` handler swallowed, with a note saying where.
    """
    for handler in routes[type(subject)]:
        try:
            result = handler.call(subject, run) if handler.takes_run else handler.call(subject)
            # A coroutine is what nearly every handler returns; asking its type first spares the general question.
            if result is not None and (type(result) is CoroutineType or isawaitable(result)):
                await result
        except Exception as error:
            error.add_note(f"raised by the handler {handler.name} for {_describe(subject)}")
            if not await _swallowed(routes, HandlerFailed(handler=handler.name, event=subject, error=error), run):
                raise


async def _swallowed(routes: Routes, failure: HandlerFailed, run: Run) -> bool:
    answers = [await handler(failure, run) for handler in routes[HandlerFailed]]
    return any(answer is True for answer in answers)


def _describe(subject: Delivery) -> str:
    number = getattr(subject, "sequence_number", None)
    name = getattr(subject, "type", type(subject).__name__)
    return str(name) if number is None else f"{name} (sequence_number {number})"
