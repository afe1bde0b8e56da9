"""An answer that grows, as values of a Python type: as a whole, or one finished element after the other."""

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from streamkit.answer.reader import AnswerReader
from streamkit.events import Event, OutputTextDelta
from streamkit.outcome import Restarted
from streamkit.partial_json import PathPattern
from streamkit.partial_model import PartialModel
from streamkit.schema import adapter_for, output_type
from streamkit.type_path import type_at

if TYPE_CHECKING:
    from typing_extensions import TypeForm

EAGER_CHARACTERS = 4096
"""Up to this length of an answer, each change of it makes a partial value."""

STEPS = 100
"""Beyond that, an answer that has grown by less than one part in so many makes none, unless it is finished: a partial
value costs as much as the whole answer is long, and so the cost of a long one stays in proportion to its length."""


class PartialReader:
    """Makes partial values of an answer while it grows.

    Args:
        type_: what the answer is to be.

    Raises:
        UsageError: see ``OutputType``.
    """

    def __init__(self, type_: "TypeForm[object]") -> None:
        self._output = output_type(type_)
        self._answer = AnswerReader()
        self._last: PartialModel | None = None
        self._last_answer = 0
        self._seen = 0
        self._changed = False

    def feed(self, event: Event | Restarted) -> Sequence[PartialModel]:
        """Take one of the ``ANSWER_EVENTS``, and return the value so far if there is a new one."""
        changes = self._answer.feed(event)
        if self._answer.answers != self._last_answer:
            self._last_answer = self._answer.answers
            self._last, self._seen, self._changed = None, 0, False
        self._changed |= bool(changes)
        if not self._changed or (isinstance(event, OutputTextDelta) and not self._is_due()):
            return ()
        self._changed, self._seen = False, self._answer.length
        partial = self._output.partial(self._answer.json.value)
        if partial == self._last:
            return ()
        self._last = partial
        return (partial,)

    def _is_due(self) -> bool:
        length = self._answer.length
        return (length - self._seen) * STEPS >= length - EAGER_CHARACTERS or self._answer.json.is_complete


class Elements:
    """The type of the elements at a path of an answer, and how to find them.

    Args:
        type_: what the answer is to be.
        path: where the elements stand, such as ``items[*]``; from the list on, where the type is one.

    Raises:
        UsageError: the path is none, or the type has nothing there; or see ``OutputType``.
    """

    def __init__(self, type_: "TypeForm[object]", path: str) -> None:
        asked = PathPattern.parse(path)
        output = output_type(type_)
        self.adapter: TypeAdapter[Any] = adapter_for(type_at(type_, asked), f"what stands at {asked}")
        around = () if output.wrapper is None else (output.wrapper,)
        self.pattern = PathPattern((*around, *asked.steps))


class ElementReader:
    """Finds the elements of an answer as they are finished, each once.

    Args:
        elements: which.
    """

    def __init__(self, elements: Elements) -> None:
        self._elements = elements
        self._answer = AnswerReader()
        self._last_answer = 0
        self._last_reading = 0
        self._found = 0
        self._told = 0

    def feed(self, event: Event | Restarted) -> Sequence[object]:
        """Take one of the ``ANSWER_EVENTS``, and return the elements that it finished and that fit their type."""
        changes = self._answer.feed(event)
        if self._answer.answers != self._last_answer:
            self._last_answer, self._told = self._answer.answers, 0
        if self._answer.readings != self._last_reading:
            self._last_reading, self._found = self._answer.readings, 0
        matches = self._elements.pattern.matches
        finished = [change.value for change in changes if change.kind == "finished" and matches(change.path)]
        return list(self._new(finished)) if finished else ()

    def _new(self, finished: Sequence[object]) -> Iterator[object]:
        for value in finished:
            self._found += 1
            if self._found > self._told:
                self._told = self._found
                try:
                    yield self._elements.adapter.validate_json(json.dumps(value))
                except ValidationError:
                    # It is for the end to say so, and of the whole answer.
                    continue
