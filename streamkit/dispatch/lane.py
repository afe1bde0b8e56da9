"""Lanes: what a handler asks for that must not hold up the stream."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, fields
from inspect import iscoroutinefunction
from typing import cast

from streamkit.backlog import WhenFull
from streamkit.errors import UsageError
from streamkit.events import Event


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Lane:
    """A queue and a task of their own for the handlers that are registered with it, in each run.

    The run hands events over and reads on. The lane calls its handlers for one event after the other, in the order of
    the stream. A run is over when its lanes have handled all they were handed; a run that is cancelled cancels them.
    Handlers share a lane by sharing the ``Lane`` object, or by naming it alike.

    A handler in a lane may wait for its own run, which goes on for it: meanwhile a lane that waits takes more than its
    bounds allow.

    Raises:
        UsageError: a number is out of its range, or lanes are to work concurrently without a key.
    """

    max_events: int = 1024
    max_bytes: int = 8 * 1024 * 1024
    """How much memory the events that are waiting may take, about: a KiB each, and their text."""
    when_full: WhenFull = "wait"
    """``"wait"`` slows the stream down. ``"merge"`` joins adjacent deltas of the same part, losing nothing, and waits
    where that is not possible; it begins when half of ``max_bytes`` is taken. ``"drop"`` drops deltas, the oldest
    first, and tells how many with ``EventsDropped``. Events other than deltas are never merged or dropped."""
    name: str | None = None
    concurrency: int = 1
    """How many events are handled at the same time: of different keys, for those of one key stay in order. The bounds
    above are shared evenly."""
    key: str | Callable[..., Hashable] | None = None
    """An attribute of the events, such as ``"output_index"`` or ``"item_id"``, or a function of them; what it gives
    must be hashable. Events that lack the attribute stay in order with one another."""
    drain_timeout: float | None = 60.0
    """Seconds that the lane has, after the end of the response, for what is waiting; ``None`` for no limit."""

    def __post_init__(self) -> None:
        for field in ("max_events", "max_bytes", "concurrency"):
            value: object = getattr(self, field)
            if not isinstance(value, int) or value < 1:
                raise UsageError(f"Lane.{field} must be at least 1, not {value!r}")
        if self.when_full not in ("wait", "merge", "drop"):
            raise UsageError(f"Lane.when_full must be 'wait', 'merge' or 'drop', not {self.when_full!r}")
        timeout = cast("object", self.drain_timeout)
        if timeout is not None and not (isinstance(timeout, int | float) and timeout > 0):
            raise UsageError(f"Lane.drain_timeout must be above zero, or None for no limit, not {timeout!r}")
        if self.concurrency > 1 and self.key is None:
            raise UsageError("a Lane with concurrency needs a key that says what must stay in order: key='item_id'")

        if not (self.key is None or isinstance(self.key, str) or callable(self.key)) or iscoroutinefunction(self.key):
            raise UsageError(f"Lane.key must be a name or a function of the event, and not async, but is {self.key!r}")

    @property
    def identity(self) -> object:
        """What tells it from other lanes: its name, where it has one."""
        return self if self.name is None else self.name

    @property
    def label(self) -> str:
        """What to call the lane in messages."""
        return "a lane without a name" if self.name is None else f"lane {self.name!r}"

    def key_of(self, event: object) -> Hashable:
        """Return what an event must stay in order with; a notice has no key."""
        if isinstance(self.key, str):
            attribute: Hashable = getattr(event, self.key, None)
            return attribute
        # Every lane is told of a restart, too, of which a key of events knows nothing.
        return self.key(event) if self.key is not None and isinstance(event, Event) else None

    def is_set_as(self, other: "Lane") -> bool:
        """Tell whether another lane has the same settings, so that both may go by one name."""
        return all(getattr(self, field.name) == getattr(other, field.name) for field in fields(self))
