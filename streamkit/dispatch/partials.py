"""Handlers that are called with an answer as it grows, or with its elements as they are finished."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypedDict
from weakref import WeakKeyDictionary

from streamkit.answer import ANSWER_EVENTS, ElementReader, Elements, PartialReader
from streamkit.context import Run
from streamkit.dispatch.handler import Handler
from streamkit.dispatch.lane import Lane
from streamkit.dispatch.options import ErrorPolicy, ensure_whole, options_from, policy_for
from streamkit.dispatch.selection import Selection
from streamkit.errors import UsageError
from streamkit.events import Event
from streamkit.outcome import Restarted
from streamkit.schema import output_type

if TYPE_CHECKING:
    from typing_extensions import TypeForm


class PartialOptions(TypedDict, total=False):
    """The keyword arguments of ``on_partial(...)`` that it shares with ``on(...)``."""

    lane: Lane
    thread: bool
    on_error: ErrorPolicy


class Reader(Protocol):
    """Makes values of the events of one run."""

    def feed(self, event: Event | Restarted) -> Sequence[object]:
        """Take one of the ``ANSWER_EVENTS``, and return what the handler is to be called with, one after the other."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialSelection(Selection):
    """The values that a function is called for, which are made of several events."""

    make_reader: Callable[[], Reader]
    condition: str

    def fit(self, handler: Handler) -> Handler:
        """Return the handler that calls the same function with each value that the reader makes.

        Raises:
            UsageError: the function does not go with the options.
        """
        handler = self._for_values(handler)
        return handler.with_options(lane=self.options.lane, on_error=policy_for(self.options.on_error))

    def _for_values(self, handler: Handler) -> Handler:
        # A run knows nothing of this: what is read of it goes when the run does.
        readers: WeakKeyDictionary[Run[object], Reader] = WeakKeyDictionary()

        def call(event: Event | Restarted, run: Run[object]) -> object:
            reader = readers.get(run)
            if reader is None:
                reader = readers[run] = self.make_reader()
            values = reader.feed(event)
            return _call_for_each(handler, values, run) if values else None

        return replace(handler, call=call, takes_run=True, conditions=(self.condition, *handler.conditions))


def select_partial(type_: "TypeForm[object]", path: str | None, options: Mapping[str, object]) -> PartialSelection:
    """Return the selection of an answer as it grows, or of its elements at a path.

    Raises:
        UsageError: the type is none for an answer or has nothing at the path, there is no such option, or its lane may
            drop deltas.
    """
    if extra := options.keys() - PartialOptions.__annotations__.keys():
        raise UsageError(f"on_partial(...) has no option {', '.join(map(repr, sorted(extra)))}")
    chosen = options_from(options)
    ensure_whole(chosen.lane, "what on_partial(...) gives")
    condition = f"partial {output_type(type_).name}" if path is None else f"path={path!r}"
    return PartialSelection(
        classes=ANSWER_EVENTS,
        options=chosen,
        make_reader=partial(PartialReader, type_) if path is None else partial(ElementReader, Elements(type_, path)),
        condition=condition,
    )


async def _call_for_each(handler: Handler, values: Sequence[object], run: Run[object]) -> None:
    for value in values:
        await handler(value, run)
