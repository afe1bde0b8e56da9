"""A run as an iterator of what it brings - text, items, calls - for those who want the thing and not its events."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from streamkit.answer import ANSWER_EVENTS, PartialReader
from streamkit.events import Event, OutputItemDone, OutputTextDelta, OutputTextDone, ResponseCompleted
from streamkit.items import CustomToolCall, FunctionCall, OutputItem
from streamkit.iteration import EventIterator, Supply
from streamkit.outcome import Restarted
from streamkit.partial_model import PartialModel

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")


class View(ABC, Generic[T]):
    """An iterator over a run that gives something made of its events.

    It ends when the response completed and raises ``UnfinishedResponse`` where it did not, like any iteration of a run.
    """

    def __init__(self, supply: Supply, *classes: type[Event | Restarted]) -> None:
        self._events = EventIterator[Event | Restarted](supply, classes, {})
        self._ready: deque[T] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while not self._ready:
            self._ready.extend(self._made_of(await anext(self._events)))
        return self._ready.popleft()

    async def aclose(self) -> None:
        """Stop listening; what waits for this iterator is dropped."""
        self._ready.clear()
        await self._events.aclose()

    @abstractmethod
    def _made_of(self, event: Event | Restarted) -> Iterable[T]:
        """Return what an event gives."""


class TextStream(View[str]):
    """The text of the answer, piece by piece; a text that the server sends only whole is one piece.

    Where a response begins anew, so does the text, and nothing says so between the pieces. To be told, ask for
    ``run.events(OutputTextDelta, Restarted)``.
    """

    def __init__(self, supply: Supply) -> None:
        super().__init__(supply, OutputTextDelta, OutputTextDone, ResponseCompleted, Restarted)
        self._begun: set[tuple[int | None, int | None]] = set()

    def _made_of(self, event: Event | Restarted) -> Iterable[str]:
        if isinstance(event, OutputTextDelta):
            self._begun.add((event.output_index, event.content_index))
            return (event.delta,)
        if isinstance(event, OutputTextDone) and (event.output_index, event.content_index) not in self._begun:
            return (event.text,)
        if isinstance(event, ResponseCompleted | Restarted):
            # Another response follows, or may follow in the same run.
            self._begun.clear()
        return ()


class FinishedItems:
    """Finds the output items that events finish; where a server finishes none by itself, the end finishes them all."""

    def __init__(self) -> None:
        self._has_found = False

    def in_event(self, event: Event | Restarted) -> list[OutputItem]:
        """Return the items that an event finishes."""
        if isinstance(event, OutputItemDone) and event.item is not None:
            self._has_found = True
            return [event.item]
        if not isinstance(event, ResponseCompleted | Restarted):
            return []
        # Another response follows, or may follow in the same run.
        has_found, self._has_found = self._has_found, False
        return [] if has_found or isinstance(event, Restarted) else event.response.output


class ItemStream(View[OutputItem]):
    """The output items of a response, each as soon as it is finished.

    Where a response begins anew, its items follow those of the first attempt, and nothing says so between them. To be
    told, ask for ``run.events(OutputItemDone, Restarted)``.
    """

    def __init__(self, supply: Supply) -> None:
        super().__init__(supply, OutputItemDone, ResponseCompleted, Restarted)
        self._items = FinishedItems()

    def _made_of(self, event: Event | Restarted) -> Iterable[OutputItem]:
        return self._items.in_event(event)


class ToolCallStream(View[FunctionCall | CustomToolCall]):
    """The finished calls of functions and custom tools; answer each by its ``call_id`` in the next request.

    Where a response begins anew, its calls follow those of the first attempt, which are to be answered no more, and
    nothing says so between them. To be told, ask for ``run.events(OutputItemDone, Restarted)``.
    """

    def __init__(self, supply: Supply) -> None:
        super().__init__(supply, OutputItemDone, ResponseCompleted, Restarted)
        self._items = FinishedItems()

    def _made_of(self, event: Event | Restarted) -> Iterable[FunctionCall | CustomToolCall]:
        return [item for item in self._items.in_event(event) if isinstance(item, FunctionCall | CustomToolCall)]


class PartialStream(View[PartialModel]):
    """What has come of an answer in JSON, again and again while it grows; the last one is all of it.

    Where a response begins anew, so do the values.
    """

    def __init__(self, supply: Supply, type_: "TypeForm[object]") -> None:
        reader = PartialReader(type_)
        super().__init__(supply, *ANSWER_EVENTS)
        self._reader = reader

    def _made_of(self, event: Event | Restarted) -> Iterable[PartialModel]:
        return self._reader.feed(event)
