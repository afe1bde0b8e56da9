"""Deltas as bytes: told apart without decoding them, for those that nobody wants."""

from operator import methodcaller

from streamkit.events import EVENTS, DeltaEvent, InvalidEvent

DELTAS = {name: model for name, model in EVENTS.items() if issubclass(model, DeltaEvent)}
"""All deltas by wire name."""
# What the frame of a delta begins with, and what its data holds the way servers write JSON: without spaces, or with one
# behind a colon. What the data says decides; where it says something else than the frame, it must be looked at.
_HEADS = {b"event: %s" % name.encode(): name for name in DELTAS}
_MARKS = {name: (b'"type":"%s"' % name.encode(), b'"type": "%s"' % name.encode()) for name in DELTAS}
BEGINS = {
    name: methodcaller("startswith", tuple(b"event: %s\ndata: {%s" % (name.encode(), mark) for mark in marks))
    for name, marks in _MARKS.items()
}
"""By wire name, whether a block begins as most servers write the delta: enough to know that it is one."""


def deltas_but_for(wanted: tuple[type, ...]) -> frozenset[str]:
    """Return the wire names of the deltas that are not among some classes, and so need not be decoded for them."""
    # Whether a delta is invalid shows only when it is decoded.
    if issubclass(InvalidEvent, wanted):
        return frozenset()
    return frozenset(name for name, model in DELTAS.items() if not issubclass(model, wanted))


def name_of_delta(block: bytes) -> str | None:
    """Return the wire name of a block that is a delta; ``None`` where it is none, or must be decoded to tell."""
    head, _, data = block.partition(b"\ndata: ")
    name = _HEADS.get(head)
    return name if name is not None and any(mark in data for mark in _MARKS[name]) else None
