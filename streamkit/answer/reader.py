"""The text of an answer as growing JSON: found among the events of a response, whichever way a server sends it."""

from collections.abc import Sequence

from streamkit.events import (
    Event,
    ItemEvent,
    OutputItemAdded,
    OutputItemDone,
    OutputTextDelta,
    OutputTextDone,
    ResponseCreated,
    TerminalEvent,
)
from streamkit.items import Message, OutputItem, OutputText
from streamkit.outcome import Restarted
from streamkit.partial_json import Change, GrowingJson
from streamkit.response import Response

ANSWER_EVENTS = (
    OutputTextDelta,
    OutputTextDone,
    OutputItemAdded,
    OutputItemDone,
    ResponseCreated,
    TerminalEvent,
    Restarted,
)
"""What an ``AnswerReader`` is to be fed."""

_Key = int | str | None


def answer_text(response: Response) -> str | None:
    """Return the text of the last message that is an answer, and no commentary; ``None`` where there is no such."""
    answers = [item for item in response.output if isinstance(item, Message) and not _is_commentary(item)]
    return "".join(_texts_of(answers[-1]).values()) if answers else None


class AnswerReader:
    """Reads the text of the last message that is an answer as one JSON document, while it comes.

    The parts of a message belong together. Texts that come only whole are read then, and where a whole text is not what
    its pieces made, the document is read anew. Feed it the ``ANSWER_EVENTS``, in order.

    Attributes:
        json: the document.
        length: how many characters of it were read.
        answers: how many answers were begun: it changes where an earlier one no longer counts.
        readings: how many documents were begun: it also changes where an answer is read anew from its beginning.
    """

    def __init__(self) -> None:
        self.json = GrowingJson()
        self.length = 0
        self.answers = 0
        self.readings = 0
        self._response_id: str | None = None
        self._message: _Key = None
        self._parts: dict[int, list[str]] = {}
        self._pieces: list[str] = []
        self._begun: set[_Key] = set()
        self._commentary: set[_Key] = set()

    def feed(self, event: Event | Restarted) -> Sequence[Change]:
        """Take an event and return what it changed in the document."""
        match event:
            case OutputTextDelta():
                return self._add(_key_of(event), event)
            case OutputTextDone():
                return self._finish_text(_key_of(event), event)
            case OutputItemAdded():
                self._note_phase(event, event.item)
            case OutputItemDone(item=Message() as message):
                return self._finish_message(event, message)
            case TerminalEvent():
                return self._finish(event.response)
            case ResponseCreated():
                self._start(event.response.id)
            case Restarted():
                self._reset()
            case _:
                pass
        return ()

    def _add(self, key: _Key, event: OutputTextDelta) -> Sequence[Change]:
        if not self._is_current(key):
            return ()
        self._parts.setdefault(self._part_of(event), []).append(event.delta)
        return self._read(event.delta)

    def _finish_text(self, key: _Key, event: OutputTextDone) -> Sequence[Change]:
        if not self._is_current(key):
            return ()
        self._parts[self._part_of(event)] = [event.text]
        return self._go_on()

    def _go_on(self) -> Sequence[Change]:
        """Read what the parts hold beyond what was read of them, or all of it where they hold something else."""
        text = "".join("".join(pieces) for _, pieces in sorted(self._parts.items()))
        if not text.startswith("".join(self._pieces)):
            self._begin_reading()
        return self._read(text[self.length :])

    def _finish_message(self, event: OutputItemDone, message: Message) -> Sequence[Change]:
        self._note_phase(event, message)
        key = _key_of(event)
        if key in self._commentary and key in self._begun and key == self._message:
            # Only now the server says that this was no answer.
            self._begin(None)
        texts = _texts_of(message)
        if not texts or not self._is_current(key):
            return ()
        self._parts = {index: [text] for index, text in texts.items()}
        return self._go_on()

    def _finish(self, response: Response) -> Sequence[Change]:
        text = answer_text(response)
        if text is None:
            return ()
        self._parts = {0: [text]}
        return self._go_on()

    def _start(self, response_id: str | None) -> None:
        if response_id != self._response_id:
            self._response_id = response_id
            self._reset()

    def _reset(self) -> None:
        self._begun.clear()
        self._commentary.clear()
        self._begin(None)

    def _note_phase(self, event: OutputItemAdded | OutputItemDone, item: OutputItem | None) -> None:
        if isinstance(item, Message) and _is_commentary(item):
            self._commentary.add(_key_of(event))

    def _is_current(self, key: _Key) -> bool:
        """Tell whether a message is the answer; one that begins is."""
        if key in self._commentary:
            return False
        if key not in self._begun:
            self._begun.add(key)
            self._begin(key)
        return key == self._message

    def _begin(self, key: _Key) -> None:
        self._message = key
        self._parts = {}
        self.answers += 1
        self._begin_reading()

    def _begin_reading(self) -> None:
        self.json = GrowingJson()
        self.length = 0
        self.readings += 1
        self._pieces = []

    def _read(self, text: str) -> Sequence[Change]:
        self.length += len(text)
        self._pieces.append(text)
        return self.json.feed(text) if text else ()

    def _part_of(self, event: OutputTextDelta | OutputTextDone) -> int:
        return max(self._parts, default=0) if event.content_index is None else event.content_index


def _key_of(event: ItemEvent) -> _Key:
    """Return what tells messages apart: some servers change ids from event to event, others send no index."""
    item: OutputItem | None = getattr(event, "item", None)
    item_id = event.item_id if item is None else item.id
    return item_id if event.output_index is None else event.output_index


def _texts_of(message: Message) -> dict[int, str]:
    return {index: part.text for index, part in enumerate(message.content) if isinstance(part, OutputText)}


def _is_commentary(message: Message) -> bool:
    return message.phase not in {None, "final_answer"}
