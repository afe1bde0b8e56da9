"""The item that an event belongs to, for filters that are asked when the run has gone on already."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from streamkit.context import Run
from streamkit.events import ItemEvent
from streamkit.items import OutputItem


class _Joined(NamedTuple):
    """The item of the event that a lane is handling."""

    run: Run[object]
    item: OutputItem | None


_joined: ContextVar[_Joined | None] = ContextVar("streamkit_joined", default=None)


def item_of(event: object, run: Run[object]) -> OutputItem | None:
    """Return the item that an event belongs to, in a lane as it was when the lane was handed the event."""
    joined = _joined.get()
    if joined is not None and joined.run is run:
        return joined.item
    return run.item_of(event) if isinstance(event, ItemEvent) else None


@contextmanager
def joined_with(item: OutputItem | None, run: Run[object]) -> Generator[None]:
    """Within this, have ``item_of`` return an item for the event that is being handled."""
    token = _joined.set(_Joined(run, item))
    try:
        yield
    finally:
        _joined.reset(token)
