"""Deltas of one part of a response joined into one delta, without loss: which ones may be, and how."""

from collections.abc import Callable, Sequence
from operator import attrgetter

from streamkit.events import EVENTS, AudioDelta, DeltaEvent, OutputTextDelta

Part = tuple[object, ...]
"""What a delta grows: deltas of equal parts, one right after the other, can be joined."""

LOOSE_DELTAS = 256
"""How many deltas a `GrowingDelta` holds as they came; a delta takes far more memory than its text."""

_INDEXES = ("output_index", "content_index", "summary_index", "command_index")


def _reader_of_part(model: type[DeltaEvent]) -> Callable[[DeltaEvent], Part]:
    return attrgetter("type", "stream_id", *(name for name in _INDEXES if name in model.model_fields))


# Each piece of audio is padded base64 by itself: the pieces of it do not concatenate.
_PARTS = {
    model: _reader_of_part(model)
    for model in EVENTS.values()
    if issubclass(model, DeltaEvent) and model is not AudioDelta
}


def part_of(event: DeltaEvent) -> Part | None:
    """Return what a delta grows, to be compared with that of another; ``None`` where it cannot be joined to any.

    Item ids count only where the server sends no output index, for some servers change them on every event.
    """
    read = _PARTS.get(type(event))
    if read is None:
        return None
    part = read(event)
    if getattr(event, "output_index", None) is None:
        return (*part, getattr(event, "item_id", None))
    return part


def joined(deltas: Sequence[DeltaEvent]) -> DeltaEvent:
    """Return one delta in place of several, at least one, which follow one another and grow the same part.

    It stands where the last of them stood, so that the stream can be resumed after it. ``merged`` counts the deltas of
    the wire that it is made of, and it is synthetic if one of them is.
    """
    last = deltas[-1]
    if len(deltas) == 1:
        return last
    changes: dict[str, object] = {
        "delta": "".join([event.delta for event in deltas]),
        "merged": sum(event.merged for event in deltas),
        "synthetic": any(event.synthetic for event in deltas),
    }
    logprobs = [logprob for event in deltas if isinstance(event, OutputTextDelta) for logprob in event.logprobs]
    if logprobs:
        changes["logprobs"] = logprobs
    return last.model_copy(update=changes)


class GrowingDelta:
    """A delta that others are joined to, one by one; each costs the same, however many there are."""

    __slots__ = ("_loose", "_packed")

    def __init__(self, first: DeltaEvent) -> None:
        self._packed: list[DeltaEvent] = []
        self._loose = [first]

    @property
    def pieces(self) -> int:
        """How many events are held: far fewer than were added."""
        return len(self._packed) + len(self._loose)

    def add(self, event: DeltaEvent) -> None:
        """Join the next delta, which must grow the same part."""
        self._loose.append(event)
        if len(self._loose) >= LOOSE_DELTAS:
            self._packed.append(joined(self._loose))
            self._loose.clear()

    def build(self) -> DeltaEvent:
        """Return all of it as one delta."""
        return joined([*self._packed, *self._loose])
