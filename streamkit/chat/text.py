"""Messages and reasonings while they are written, and the kinds of text that they are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from streamkit import events as ev
from streamkit.chat.outbox import Outbox
from streamkit.items import (
    ContentPart,
    JsonObject,
    Logprob,
    Message,
    OutputText,
    Reasoning,
    ReasoningText,
    Refusal,
)


@dataclass(frozen=True, slots=True)
class Channel:
    """A kind of text: the item and the part that it stands in, and the events that carry it."""

    item: type[Message | Reasoning]
    part: type[OutputText | Refusal | ReasoningText]
    field: str
    delta: type[ev.Event]
    done: type[ev.Event]


TEXT: Final = Channel(Message, OutputText, "text", ev.OutputTextDelta, ev.OutputTextDone)
REFUSAL: Final = Channel(Message, Refusal, "refusal", ev.RefusalDelta, ev.RefusalDone)
REASONING: Final = Channel(Reasoning, ReasoningText, "text", ev.ReasoningTextDelta, ev.ReasoningTextDone)


class TextItem:
    """A message or a reasoning while it is written, one part after another.

    Attributes:
        model: which of the two it is.
    """

    def __init__(self, outbox: Outbox, index: int, item_id: str, model: type[Message | Reasoning]) -> None:
        self.model = model
        self._outbox = outbox
        self._index = index
        self._id = item_id
        self._parts: list[ContentPart] = []
        self._part: _Part | None = None
        outbox.add(ev.OutputItemAdded, output_index=index, item=self._item("in_progress"))

    def write(self, channel: Channel, text: str, logprobs: Sequence[Logprob]) -> None:
        """Write a piece of text; the part before it ends where the channel changes."""
        self._part_of(channel).write(text, logprobs)

    def annotate(self, annotation: JsonObject) -> None:
        """Add an annotation to the text."""
        self._part_of(TEXT).annotate(annotation)

    def close(self, status: str) -> Message | Reasoning:
        """End the item and return it whole."""
        self._close_part()
        item = self._item(status)
        self._outbox.add(ev.OutputItemDone, output_index=self._index, item=item)
        return item

    def _item(self, status: str) -> Message | Reasoning:
        if self.model is Message:
            return Message(id=self._id, status=status, role="assistant", content=self._parts)
        # Servers give a reasoning no status, and always a summary, be it empty.
        return Reasoning(id=self._id, summary=[], content=self._parts)

    def _part_of(self, channel: Channel) -> "_Part":
        part = self._part
        if part is None or part.channel is not channel:
            self._close_part()
            part = self._part = _Part(self._outbox, (self._index, self._id, len(self._parts)), channel)
        return part

    def _close_part(self) -> None:
        if self._part is not None:
            self._parts.append(self._part.close())
            self._part = None


class _Part:
    """A part of an item while it is written; its place is the item's index and id, and its own index."""

    def __init__(self, outbox: Outbox, place: tuple[int, str, int], channel: Channel) -> None:
        self.channel = channel
        self._outbox = outbox
        self._place: dict[str, Any] = dict(zip(("output_index", "item_id", "content_index"), place, strict=True))
        self._pieces: list[str] = []
        self._logprobs: list[Logprob] = []
        self._annotations: list[JsonObject] = []
        outbox.add(ev.ContentPartAdded, part=channel.part(), **self._place)

    def write(self, text: str, logprobs: Sequence[Logprob]) -> None:
        self._pieces.append(text)
        self._logprobs += logprobs
        # Deltas of other channels ignore the field.
        self._outbox.add(self.channel.delta, delta=text, logprobs=logprobs, **self._place)

    def annotate(self, annotation: JsonObject) -> None:
        number = len(self._annotations)
        self._annotations.append(annotation)
        self._outbox.add(ev.OutputTextAnnotationAdded, annotation=annotation, annotation_index=number, **self._place)

    def close(self) -> ContentPart:
        text: dict[str, Any] = {self.channel.field: "".join(self._pieces)}
        if self._logprobs:
            text["logprobs"] = self._logprobs
        self._outbox.add(self.channel.done, **text, **self._place)
        if self._annotations:
            text["annotations"] = self._annotations
        part = self.channel.part(**text)
        self._outbox.add(ev.ContentPartDone, part=part, **self._place)
        return part
