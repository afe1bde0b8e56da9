"""A handler: a function, inspected once, and how to call it."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import WeakSet

from streamkit.context import Run
from streamkit.errors import UsageError
from streamkit.events import Event

AnyFunction = Callable[..., object]
"""A function whose signature is checked when it becomes a handler."""


@dataclass(frozen=True, slots=True, eq=False)
class Handler:
    """What is called for an event: ``call(event, run)`` where it takes the run, else ``call(event)``."""

    call: AnyFunction
    takes_run: bool
    name: str
    function: AnyFunction = field(repr=False)
    """The function as it was registered."""

    async def __call__(self, subject: object, run: Run) -> object:
        """Call the function and wait for it, whether it is a coroutine function or not."""
        result = self.call(subject, run) if self.takes_run else self.call(subject)
        return await result if inspect.isawaitable(result) else result


def handler_for(function: AnyFunction) -> Handler:
    """Inspect a function and return the handler that calls it.

    Raises:
        UsageError: it is not callable, or takes neither ``(event)`` nor ``(event, run)``.
    """
    if not callable(function):
        raise UsageError(f"a handler must be a function, not {function!r}")
    name = _name_of(function)
    return Handler(function, _takes_run(function, name), name, function)


def with_subject(handler: Handler, subject_of: Callable[[Any], object]) -> Handler:
    """Return the handler that calls the same function with something taken out of the event."""

    def call(event: object, run: Run) -> object:
        subject = subject_of(event)
        return handler.call(subject, run) if handler.takes_run else handler.call(subject)

    return Handler(call, True, handler.name, handler.function)


def only_for_type(handler: Handler, name: str) -> Handler:
    """Return the handler that calls the same function for events of one wire name only."""

    def call(event: Event, run: Run) -> object:
        if event.type != name:
            return None
        return handler.call(event, run) if handler.takes_run else handler.call(event)

    return Handler(call, True, handler.name, handler.function)


def once_per_run(handler: Handler) -> Handler:
    """Return the handler that calls the same function for the first event of each run only."""
    served: WeakSet[Run] = WeakSet()

    def call(event: object, run: Run) -> object:
        if run in served:
            return None
        served.add(run)
        return handler.call(event, run) if handler.takes_run else handler.call(event)

    return Handler(call, True, handler.name, handler.function)


def _name_of(function: AnyFunction) -> str:
    if isinstance(function, partial):
        return _name_of(function.func)
    name: str = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{getattr(function, '__module__', None) or '?'}.{name}"


def _takes_run(function: AnyFunction, name: str) -> bool:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        # Some built-in functions tell nothing about themselves; print-like ones take an event.
        return False
    for arguments in (2, 1):
        try:
            signature.bind(*[None] * arguments)
        except TypeError:
            continue
        return arguments == 2 and not _takes_any_number(signature)
    raise UsageError(f"handler {name}{signature} must take (event) or (event, run)")


def _takes_any_number(signature: inspect.Signature) -> bool:
    """Tell print-like functions, which would take a run but have no use for it."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    named = [parameter for parameter in signature.parameters.values() if parameter.kind in positional]
    return len(named) < 2 and any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in signature.parameters.values())
