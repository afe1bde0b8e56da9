"""The table of handlers: compiled once from a tree of dispatchers, then one look at a dictionary for each event."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple, final, get_args

from streamkit.dispatch.handler import AnyFunction, Handler, Policy
from streamkit.dispatch.lane import Lane
from streamkit.errors import UsageError
from streamkit.events import Event, InvalidEvent, ResponseCreated
from streamkit.outcome import Closed, EventsDropped, HandlerBlocked, HandlerFailed, Outcome, Restarted
from streamkit.undecoded import DELTAS, deltas_but_for

CallNext = Callable[[Event], Awaitable[None]]
"""Passes an event on: to the next middleware, in the end to the handlers."""


@dataclass(frozen=True, slots=True, eq=False)
class Middleware:
    """A function around the handlers of a dispatcher: ``call(event, run, call_next)``."""

    call: AnyFunction
    name: str
    on_error: Policy | None = None
    identity: object = field(default_factory=object, repr=False)


@dataclass(frozen=True, slots=True)
class Registration:
    """A handler, and the classes it is called for."""

    classes: tuple[type, ...]
    handler: Handler


@dataclass(frozen=True, slots=True)
class Branch:
    """A dispatcher as it was when a run began: its middleware, and what was registered in it, in that order."""

    middleware: tuple[Middleware, ...]
    entries: "tuple[Registration | Branch, ...]"


@final
@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """Handlers with middleware around them."""

    middleware: tuple[Middleware, ...]
    steps: "tuple[Step, ...]"


Step = Handler | Chain
"""What is called for an event, one after the other."""


class LaneRoute(NamedTuple):
    """What a lane calls for the instances of a class."""

    lane: Lane
    steps: tuple[Step, ...]
    joins_item: bool
    """Whether one of them is called for the events of some items only."""


@dataclass(frozen=True, slots=True)
class Route:
    """What is called for the instances of a class."""

    inline: tuple[Step, ...]
    """Called while the stream waits."""
    lanes: tuple[LaneRoute, ...]
    """Called by lanes, which are handed the event."""


NOBODY = Route((), ())
"""The route of what no handler wants."""

BEGINNINGS = (ResponseCreated, Restarted)
"""What a response begins with, or begins anew: deltas before it must not be merged with those after it."""
_NOT_FOR_LANES = (*get_args(Outcome), Closed, HandlerFailed, HandlerBlocked, EventsDropped)
"""What is told when the lanes have ended, or is about them, or is a question that is waiting for its answer."""


class Table(dict[type, Route]):
    """The route of each class, worked out when the class is first seen.

    Raises:
        UsageError: lanes have the same name, and different settings.
    """

    def __init__(self, root: Branch) -> None:
        super().__init__()
        self._root = _with_shared_lanes(root, {})
        self._lanes = list(dict.fromkeys(handler.lane for handler in handlers_in(self._root) if handler.lane))

    def __missing__(self, model: type) -> Route:
        in_lanes: list[Lane] = [] if issubclass(model, _NOT_FOR_LANES) else self._lanes
        by_lane = [_lane_route(lane, _steps(self._root, model, [lane])) for lane in in_lanes]
        inline = _steps(self._root, model, [None] if in_lanes else [None, *self._lanes])
        # Every lane is told of a beginning, whether it has somebody to call or not.
        route = Route(inline, tuple(entry for entry in by_lane if entry.steps or model in BEGINNINGS))
        self[model] = route if route.inline or route.lanes else NOBODY
        return self[model]

    @cached_property
    def unwanted(self) -> frozenset[str]:
        """The wire names of the deltas that no handler is called for."""
        models: list[type[Event]] = [*DELTAS.values(), InvalidEvent]
        return deltas_but_for(tuple(model for model in models if self[model] is not NOBODY))

    def followed_by(self, branch: Branch) -> "Table":
        """Return the table of the same handlers, and those of a branch behind them; raises as the making of one."""
        return Table(Branch((), (self._root, branch)))


def handlers_in(branch: Branch) -> Iterator[Handler]:
    """Yield the handlers of a branch, in the order of their registration."""
    for entry in branch.entries:
        if isinstance(entry, Branch):
            yield from handlers_in(entry)
        else:
            yield entry.handler


def _lane_route(lane: Lane, steps: tuple[Step, ...]) -> LaneRoute:
    return LaneRoute(lane, steps, any(handler.joins_item for handler in _handlers_of(steps)))


def _handlers_of(steps: tuple[Step, ...]) -> Iterator[Handler]:
    for step in steps:
        if isinstance(step, Chain):
            yield from _handlers_of(step.steps)
        else:
            yield step


def _steps(branch: Branch, model: type, lanes: Sequence[Lane | None]) -> tuple[Step, ...]:
    """Return what is called for a class in one of some lanes; ``None`` among them stands for inline."""
    steps: list[Step] = []
    for entry in branch.entries:
        if isinstance(entry, Branch):
            steps += _steps(entry, model, lanes)
        elif issubclass(model, entry.classes) and entry.handler.lane in lanes:
            steps.append(entry.handler)
    if steps and branch.middleware and issubclass(model, Event):
        return (Chain(branch.middleware, tuple(steps)),)
    return tuple(steps)


def _with_shared_lanes(branch: Branch, named: dict[str, Lane]) -> Branch:
    """Return the branch with one ``Lane`` object for all lanes of a name."""
    return replace(branch, entries=tuple(_with_shared_lane(entry, named) for entry in branch.entries))


def _with_shared_lane(entry: Registration | Branch, named: dict[str, Lane]) -> Registration | Branch:
    if isinstance(entry, Branch):
        return _with_shared_lanes(entry, named)
    lane = entry.handler.lane
    if lane is None or lane.name is None:
        return entry
    shared = named.setdefault(lane.name, lane)
    if not shared.is_set_as(lane):
        raise UsageError(f"lanes named {lane.name!r} share a queue, and so must have the same settings everywhere")
    return replace(entry, handler=replace(entry.handler, lane=shared))
