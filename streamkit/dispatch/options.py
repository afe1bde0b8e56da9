"""What a handler may ask for besides its events: which of them, where it runs, and what happens when it fails."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, Literal, TypedDict, TypeVar, cast

from streamkit.context import Run
from streamkit.dispatch.handler import (
    AnyFunction,
    Handler,
    Policy,
    handler_for,
    in_thread,
    is_async,
    only_where,
    takes_one,
)
from streamkit.dispatch.joining import item_of
from streamkit.dispatch.lane import Lane
from streamkit.dispatch.names import did_you_mean
from streamkit.errors import UsageError
from streamkit.events import FunctionCallArgumentsDone
from streamkit.outcome import HandlerFailed

E = TypeVar("E")

ErrorPolicy = Literal["raise", "log", "disable"] | Callable[[HandlerFailed], object]
"""What happens when a handler raises and no ``on_error`` handler swallows it: the run stops and raises it; or it is
logged; or it is logged and the handler not called any more in this run; or a function returns ``True`` to go on."""


class Options(TypedDict, Generic[E], total=False):
    """The keyword arguments of ``on(...)``."""

    lane: Lane
    """A queue and a task of its own, so that the handler does not hold up the stream."""
    thread: bool
    """Call the function, which must not be ``async``, in a worker thread; one call after the other."""
    tool: str
    """Only events of calls of the function, custom tool or MCP tool of this name."""
    item_type: str
    """Only events of output items of this type, such as ``"mcp_call"``."""
    where: Callable[[E], bool]
    """Only events for which this returns true. In a lane it is asked when the lane gets to the event."""
    on_error: ErrorPolicy
    """What happens when the function raises; by default what the dispatcher says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerOptions:
    """The keyword arguments of ``on(...)``, as far as they are given."""

    lane: Lane | None = None
    thread: bool = False
    tool: str | None = None
    item_type: str | None = None
    where: Callable[..., bool] | None = None
    on_error: ErrorPolicy | None = None

    def handler_for(self, function: AnyFunction) -> Handler:
        """Inspect a function and return the handler that calls it, in a thread where that is asked for.

        Raises:
            UsageError: it cannot be a handler, or not one that is called in a thread.
        """
        handler = handler_for(function)
        return in_thread(handler) if self.thread else handler

    def around(self, handler: Handler) -> Handler:
        """Return the handler that calls the same function for the events that are asked for."""
        for accepts, condition in self._conditions():
            handler = only_where(handler, accepts, condition)
        handler = handler.with_options(lane=self.lane, on_error=policy_for(self.on_error))
        return handler if self.tool is None and self.item_type is None else replace(handler, joins_item=True)

    def _conditions(self) -> list[tuple[Callable[[Any, Run[object]], bool], str]]:
        conditions: list[tuple[Callable[[Any, Run[object]], bool], str]] = []
        where, tool, item_type = self.where, self.tool, self.item_type
        # The last one is asked first: a function of the caller's gets only events of the right item.
        if where is not None:
            conditions.append((lambda event, _: where(event), f"where={getattr(where, '__qualname__', where)}"))
        if tool is not None:
            conditions.append((lambda event, run: _tool_of(event, run) == tool, f"tool={tool!r}"))
        if item_type is not None:
            conditions.append((lambda event, run: _item_type_of(event, run) == item_type, f"item_type={item_type!r}"))
        return conditions


NO_OPTIONS = HandlerOptions()
_NAMES = [field.name for field in fields(HandlerOptions)]


def options_from(given: Mapping[str, object]) -> HandlerOptions:
    """Return keyword arguments as options.

    Raises:
        UsageError: one has a name that is none of theirs, or a value that makes no sense.
    """
    for name in given:
        if name not in _NAMES:
            raise UsageError(f"on(...) has no option {name!r}{did_you_mean(name, _NAMES)}; it has {', '.join(_NAMES)}")
    lane, where = given.get("lane"), given.get("where")
    if lane is not None and not isinstance(lane, Lane):
        raise UsageError(f"lane must be a Lane(...), not {lane!r}")
    ensure_condition(where)
    for name in ("tool", "item_type"):
        if not isinstance(given.get(name), str | None):
            raise UsageError(f"{name} must be one name, not {given[name]!r}; use where=... to choose among several")
    return HandlerOptions(**cast("dict[str, Any]", given)) if given else NO_OPTIONS


def ensure_condition(where: object) -> None:
    """Raise ``UsageError`` where a condition is no function of the event, or an async one, which would always hold."""
    if where is not None and (not callable(where) or is_async(where) or not takes_one(where)):
        raise UsageError(f"where must be a function of the event alone, and not async, but is {where!r}")


def ensure_whole(lane: Lane | None, what: str) -> None:
    """Raise ``UsageError`` where a lane may drop the deltas that something is made of."""
    if lane is not None and lane.when_full == "drop":
        raise UsageError(f"{what} is made of all deltas, and this lane may drop some: take when_full='merge' or 'wait'")


def policy_for(given: ErrorPolicy | None) -> Policy | None:
    """Return an error policy as a handler keeps it.

    Raises:
        UsageError: it is neither a known word nor a function of the failure.
    """
    if given is None or given in ("raise", "log", "disable"):
        return cast("Policy | None", given)
    if not callable(given):
        raise UsageError(f"on_error must be 'raise', 'log', 'disable' or a function of the failure, not {given!r}")
    return handler_for(given)


def _tool_of(event: object, run: Run[object]) -> str | None:
    if isinstance(event, FunctionCallArgumentsDone) and event.name is not None:
        return event.name
    name: str | None = getattr(item_of(event, run), "name", None)
    return name


def _item_type_of(event: object, run: Run[object]) -> str | None:
    item = item_of(event, run)
    return None if item is None else item.type
