"""A handler: a function, inspected once, and how to call it."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from weakref import WeakSet

from streamkit.context import Run
from streamkit.errors import UsageError
from streamkit.events import Event

AnyFunction = Callable[..., object]
"""A function whose signature is checked when it becomes a handler."""

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


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
        UsageError: it is not callable, is a generator, or takes neither ``(event)`` nor ``(event, run)``.
    """
    if not callable(function):
        raise UsageError(f"a handler must be a function, not {function!r}")
    name = _name_of(function)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise UsageError(f"handler {name} must not yield: nobody would iterate over what it returns")
    return Handler(function, _takes_run(function, name), name, function)


def with_subject(handler: Handler, subject_of: Callable[[object], object]) -> Handler:
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
    module: str | None = getattr(function, "__module__", None)
    return f"{module}.{name}" if module else name


def _takes_run(function: AnyFunction, name: str) -> bool:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        # Some built-in functions tell nothing about themselves; print-like ones take an event.
        return False
    positional = [p for p in signature.parameters.values() if p.kind in _POSITIONAL]
    if inspect.isfunction(function) and positional and positional[0].name == "self":
        raise UsageError(
            f"handler {name}{signature} is a method: mark it with @on(...) and include an instance of its class"
        )
    if _fits(signature, 2) and _wants_run(positional):
        return True
    if _fits(signature, 1):
        return False
    raise UsageError(f"handler {name}{signature} must take (event) or (event, run)")


def _fits(signature: inspect.Signature, arguments: int) -> bool:
    try:
        signature.bind(*[None] * arguments)
    except TypeError:
        return False
    return True


def _wants_run(positional: list[inspect.Parameter]) -> bool:
    """Tell whether the second parameter is for the run: one with a default is not, unless it is called so."""
    return len(positional) > 1 and (positional[1].default is inspect.Parameter.empty or positional[1].name == "run")
