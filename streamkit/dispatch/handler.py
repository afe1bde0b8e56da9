"""A handler: a function, inspected once, and how to call it."""

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal
from weakref import WeakSet

from anyio import CancelScope, to_thread

from streamkit.context import Run
from streamkit.dispatch.lane import Lane
from streamkit.errors import UsageError

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
    lane: Lane | None = None
    on_error: "Policy | None" = None
    conditions: tuple[str, ...] = ()
    """What restricts the events it gets, in words."""
    is_threaded: bool = False
    joins_item: bool = False
    """Whether what restricts the events it gets is the item that they belong to."""
    identity: object = field(default_factory=object, repr=False)
    """What all handlers have in common that are made of this one: its registration, in whatever table."""

    async def __call__(self, subject: object, run: Run[object]) -> object:
        """Call the function and wait for it, whether it is a coroutine function or not."""
        result = self.call(subject, run) if self.takes_run else self.call(subject)
        return await result if inspect.isawaitable(result) else result

    def with_options(self, *, lane: Lane | None, on_error: "Policy | None") -> "Handler":
        """Return the handler with a lane and an error policy, where they are given."""
        if lane is None and on_error is None:
            return self
        return replace(self, lane=lane or self.lane, on_error=on_error or self.on_error)


Policy = Literal["raise", "log", "disable"] | Handler
"""What happens when a handler raises, unless an ``on_error`` handler swallows it."""


def handler_for(function: AnyFunction) -> Handler:
    """Inspect a function and return the handler that calls it.

    Raises:
        UsageError: it is not callable, is a generator, or takes neither ``(event)`` nor ``(event, run)``.
    """
    if not callable(function):
        raise UsageError(f"a handler must be a function, not {function!r}")
    name = name_of(function)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise UsageError(f"handler {name} must not yield: nobody would iterate over what it returns")
    return Handler(function, _takes_run(function, name), name, function)


def with_subject(handler: Handler, subject_of: Callable[[object], object]) -> Handler:
    """Return the handler that calls the same function with something taken out of the event."""

    def call(event: object, run: Run[object]) -> object:
        subject = subject_of(event)
        return handler.call(subject, run) if handler.takes_run else handler.call(subject)

    return replace(handler, call=call, takes_run=True)


def only_where(handler: Handler, accepts: Callable[[object, Run[object]], bool], condition: str) -> Handler:
    """Return the handler that calls the same function for those events only that are accepted."""

    def call(event: object, run: Run[object]) -> object:
        if not accepts(event, run):
            return None
        return handler.call(event, run) if handler.takes_run else handler.call(event)

    return replace(handler, call=call, takes_run=True, conditions=(condition, *handler.conditions))


def once_per_run(handler: Handler) -> Handler:
    """Return the handler that calls the same function for the first event of each run only."""
    served: WeakSet[Run[object]] = WeakSet()

    def is_first(_: object, run: Run[object]) -> bool:
        first = run not in served
        served.add(run)
        return first

    return only_where(handler, is_first, "once")


def in_thread(handler: Handler) -> Handler:
    """Return the handler that calls the same function in a worker thread and waits for it there.

    A call that has begun is waited for also when the run is cancelled, since a thread cannot be stopped; only a second
    cancellation leaves it to itself.

    Raises:
        UsageError: it is a coroutine function, which belongs into the event loop.
    """
    if is_async(handler.function):
        raise _async_in_thread(handler)

    async def call(event: object, run: Run[object]) -> object:
        arguments = (event, run) if handler.takes_run else (event,)
        under_way = asyncio.create_task(to_thread.run_sync(handler.call, *arguments))
        try:
            result = await asyncio.shield(under_way)
        except asyncio.CancelledError:
            # The scope is there for anyio, which would cancel again and again.
            with CancelScope(shield=True):
                await asyncio.wait([under_way])
            raise
        if inspect.iscoroutine(result):
            result.close()
            raise _async_in_thread(handler)
        return result

    return replace(handler, call=call, takes_run=True, is_threaded=True)


def is_async(function: object) -> bool:
    """Tell whether a function, or an object that can be called, is ``async``."""
    call: object = getattr(type(function), "__call__", None)  # noqa: B004 - what it is counts, not whether
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def takes_one(function: AnyFunction) -> bool:
    """Tell whether a function can be called with one argument; where it does not tell, it is believed to be."""
    try:
        return _fits(inspect.signature(function), 1)
    except (TypeError, ValueError):
        return True


def name_of(function: AnyFunction) -> str:
    """Return what to call a function in messages: its module and qualified name."""
    if isinstance(function, partial):
        return name_of(function.func)
    name: str = getattr(function, "__qualname__", type(function).__qualname__)
    module: str | None = getattr(function, "__module__", None)
    return f"{module}.{name}" if module else name


def _async_in_thread(handler: Handler) -> UsageError:
    return UsageError(f"handler {handler.name} is async: thread=True is for functions that are not")


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
