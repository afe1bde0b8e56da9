"""What waits for a reader slower than the stream: bounded queues that wait, merge or drop when they are full.

A backlog neither awaits nor wakes anybody: its feeder looks at ``must_wait`` after each entry that it adds, and its
reader at ``has_room`` after each one that it takes.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from typing import Literal, NamedTuple, cast

from pydantic import BaseModel

from streamkit.errors import UsageError
from streamkit.events import DeltaEvent, Event, OutputTextDelta
from streamkit.items import OutputItem
from streamkit.merging import GrowingDelta, part_of
from streamkit.outcome import Delivery

WhenFull = Literal["wait", "merge", "drop"]
"""What a full backlog does: make the stream wait, merge deltas without loss, or drop the oldest of them."""

ENTRY_BYTES = 1024
"""What an entry takes in memory, roughly, besides its text."""
VALUE_BYTES = 100
"""What a value within an entry takes, roughly, besides its text."""


class Dropped(NamedTuple):
    """Deltas that a backlog has dropped."""

    events: int
    characters: int
    """The length of their ``delta``, in total."""


def size_of(entry: Delivery) -> int:
    """Estimate the bytes that an entry takes; a character counts as one.

    Notices and outcomes count as small, for what they carry is held by the run anyway.
    """
    if isinstance(entry, DeltaEvent):
        logprobs = entry.logprobs if isinstance(entry, OutputTextDelta) else None
        return ENTRY_BYTES + len(entry.delta) + (_size_within(logprobs) if logprobs else 0)
    return ENTRY_BYTES + (_size_within(entry) if isinstance(entry, Event) else 0)


def _size_within(value: object) -> int:
    size = 0
    # No recursion: JSON may be nested deeper than Python calls may be.
    pending = [value]
    while pending:
        value = pending.pop()
        size += VALUE_BYTES
        if isinstance(value, str | bytes):
            size += len(value)
        else:
            pending.extend(_values_in(value))
    return size


def _values_in(value: object) -> Iterable[object]:
    if isinstance(value, BaseModel):
        return (*value.__dict__.values(), value.__pydantic_extra__)
    if isinstance(value, dict):
        members = cast("dict[object, object]", value)
        return (*members, *members.values())
    return cast("list[object]", value) if isinstance(value, list) else ()


class _Queued(NamedTuple):
    """An entry that waits."""

    number: int
    """Counted from the first that was ever added."""
    size: int
    division: int
    """How many times the backlog was divided before it."""
    entry: Delivery
    item: OutputItem | None


class Backlog(ABC):
    """A queue of events, notices and outcomes, first in, first out, with a limit in entries and one in bytes.

    Nothing is ever refused: the limits hold because the feeder adds nothing while ``must_wait``. Below the limit of
    bytes, one more entry is taken whole, however large it is.

    Args:
        max_events: how many entries it holds; a merged delta is one.
        max_bytes: how many bytes they take, as `size_of` estimates them.

    Attributes:
        bytes: what the entries take now.

    Raises:
        UsageError: a limit is below one.
    """

    def __init__(self, *, max_events: int, max_bytes: int) -> None:
        for name, limit in (("max_events", max_events), ("max_bytes", max_bytes)):
            if limit < 1:
                raise UsageError(f"{name} must be at least 1, not {limit}: a backlog without room passes nothing on")
        self.max_events = max_events
        self.max_bytes = max_bytes
        self.bytes: int = 0
        self._queue: deque[_Queued] = deque()
        self._added = 0
        self._divisions = 0

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def is_full(self) -> bool:
        """Whether either limit is reached."""
        return len(self) >= self.max_events or self.bytes >= self.max_bytes

    @property
    @abstractmethod
    def must_wait(self) -> bool:
        """Whether the feeder has to stop until there ``has_room``."""

    @property
    def has_room(self) -> bool:
        """Whether it is at most half full, so that a waiting feeder is worth waking."""
        return 2 * len(self) <= self.max_events and 2 * self.bytes <= self.max_bytes

    def add(self, entry: Delivery, item: OutputItem | None = None) -> None:
        """Put an entry behind all others, and keep with it the item that it belongs to, where that is wanted."""
        self._append(self._queue, entry, item)

    def divide(self) -> None:
        """Join nothing that is added from now on to what is there: it is of another response."""
        self._divisions += 1

    def take(self) -> Delivery:
        """Remove the oldest entry and return it.

        Raises:
            IndexError: there is none.
        """
        return self.take_with_item()[0]

    def take_with_item(self) -> tuple[Delivery, OutputItem | None]:
        """Remove the oldest entry and return it, and the item that was kept with it; raises as ``take``."""
        return self._pop(self._queue)

    def take_dropped(self) -> Dropped:
        """Return what was dropped since this was last asked."""
        return Dropped(0, 0)

    def _append(self, queue: deque[_Queued], entry: Delivery, item: OutputItem | None) -> None:
        size = size_of(entry)
        self._added += 1
        self.bytes += size
        queue.append(_Queued(self._added, size, self._divisions, entry, item))

    def _pop(self, queue: deque[_Queued]) -> tuple[Delivery, OutputItem | None]:
        _, size, _, entry, item = queue.popleft()
        self.bytes -= size
        return entry, item


class WaitingBacklog(Backlog):
    """A backlog that makes the stream wait when it is full."""

    @property
    def must_wait(self) -> bool:
        """Whether it is full."""
        return self.is_full


class MergingBacklog(Backlog):
    """A backlog that, when it fills, joins a delta to the last entry if that is a delta of the same part.

    Joining saves entries, and no text, so it begins when all entries are taken, or half of the bytes are. One entry
    that cannot be joined is held beyond the limit; then the feeder waits.
    """

    def __init__(self, *, max_events: int, max_bytes: int) -> None:
        super().__init__(max_events=max_events, max_bytes=max_bytes)
        # Stands for the last entry, once something was joined to it.
        self._growing: GrowingDelta | None = None

    @property
    def must_wait(self) -> bool:
        """Whether an entry could not be joined, or the limit of bytes is reached."""
        return len(self) > self.max_events or self.bytes >= self.max_bytes

    def add(self, entry: Delivery, item: OutputItem | None = None) -> None:
        """Join a delta to the last entry where that is needed and possible; put any other entry behind all others."""
        if self._is_filling and isinstance(entry, DeltaEvent) and self._join(entry, item):
            return
        self._settle()
        super().add(entry, item)

    def take_with_item(self) -> tuple[Delivery, OutputItem | None]:
        """Remove the oldest entry and return it, and the item that was kept with it; raises as ``take``."""
        if len(self) == 1:
            self._settle()
        return super().take_with_item()

    @property
    def _is_filling(self) -> bool:
        return len(self) >= self.max_events or 2 * self.bytes >= self.max_bytes

    def _join(self, event: DeltaEvent, item: OutputItem | None) -> bool:
        last = self._queue[-1]
        part, entry = part_of(event), last.entry
        if part is None or not isinstance(entry, DeltaEvent) or part != part_of(entry):
            return False
        if last.item is not item or last.division != self._divisions:
            return False
        if self._growing is None:
            self._growing = GrowingDelta(entry)
        self._growing.add(event)
        added = size_of(event) - ENTRY_BYTES
        self.bytes += added
        self._queue[-1] = last._replace(size=last.size + added)
        return True

    def _settle(self) -> None:
        """Make one delta of the last entry, to which nothing more will be joined."""
        if self._growing is not None:
            self._queue[-1] = self._queue[-1]._replace(entry=self._growing.build())
            self._growing = None


class DroppingBacklog(Backlog):
    """A backlog that drops its oldest deltas when it is full, and nothing but deltas."""

    def __init__(self, *, max_events: int, max_bytes: int) -> None:
        super().__init__(max_events=max_events, max_bytes=max_bytes)
        # Apart from the rest, so that the oldest is at hand; the numbers keep the order among both.
        self._deltas: deque[_Queued] = deque()
        self._dropped_events = 0
        self._dropped_characters = 0

    def __len__(self) -> int:
        return len(self._queue) + len(self._deltas)

    @property
    def must_wait(self) -> bool:
        """Whether it is full of what must not be dropped."""
        return self.is_full and not self._deltas

    def add(self, entry: Delivery, item: OutputItem | None = None) -> None:
        """Put an entry behind all others and drop deltas, at last the entry itself, until the limits hold."""
        self._append(self._deltas if isinstance(entry, DeltaEvent) else self._queue, entry, item)
        while self._deltas and self._is_beyond_limits():
            self._drop_oldest()

    def take_with_item(self) -> tuple[Delivery, OutputItem | None]:
        """Remove the oldest entry and return it, and the item that was kept with it; raises as ``take``."""
        if self._deltas and (not self._queue or self._deltas[0].number < self._queue[0].number):
            return self._pop(self._deltas)
        return self._pop(self._queue)

    def take_dropped(self) -> Dropped:
        """Return what was dropped since this was last asked."""
        dropped = Dropped(self._dropped_events, self._dropped_characters)
        self._dropped_events = self._dropped_characters = 0
        return dropped

    def _is_beyond_limits(self) -> bool:
        return len(self) > self.max_events or (self.bytes > self.max_bytes and len(self) > 1)

    def _drop_oldest(self) -> None:
        event, _ = self._pop(self._deltas)
        assert isinstance(event, DeltaEvent)
        self._dropped_events += 1
        self._dropped_characters += len(event.delta)


_BACKLOGS: dict[WhenFull, type[Backlog]] = {"wait": WaitingBacklog, "merge": MergingBacklog, "drop": DroppingBacklog}


def open_backlog(when_full: WhenFull, *, max_events: int, max_bytes: int) -> Backlog:
    """Return an empty backlog that does this when it is full.

    Raises:
        UsageError: there is no such way, or a limit is below one.
    """
    if when_full not in _BACKLOGS:
        raise UsageError(f"when_full must be one of {', '.join(map(repr, _BACKLOGS))}, not {when_full!r}")
    return _BACKLOGS[when_full](max_events=max_events, max_bytes=max_bytes)
