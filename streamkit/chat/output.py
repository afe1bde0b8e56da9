"""The output of a response: items opened where the chunks begin something else, and closed in order."""

from collections.abc import Sequence

from streamkit import events as ev
from streamkit.chat.calls import CallItem, Calls
from streamkit.chat.chunks import ChatAudio, ChatToolCall
from streamkit.chat.outbox import Outbox
from streamkit.chat.text import TEXT, Channel, TextItem
from streamkit.items import JsonObject, Logprob, Message, OutputItem, Reasoning


class Output:
    """Writes texts and calls as output items. One text item is open at a time; calls are open until the end."""

    def __init__(self, outbox: Outbox, response_id: str) -> None:
        self._outbox = outbox
        self._response_id = response_id
        self._size = 0
        self._closed: dict[int, OutputItem] = {}
        self._text: tuple[int, TextItem] | None = None
        self._calls = Calls()
        self._speech: dict[type[ev.Event], None] = {}

    def write(self, channel: Channel, text: str, logprobs: Sequence[Logprob]) -> None:
        """Write a piece of text."""
        self._item_for(channel).write(channel, text, logprobs)

    def annotate(self, annotation: JsonObject) -> None:
        """Add an annotation to the text of the answer."""
        self._item_for(TEXT).annotate(annotation)

    def write_call(self, piece: ChatToolCall) -> None:
        """Write a piece of a tool call."""
        call = self._calls.find(piece)
        if call is None:
            self._close_text("completed")
            call = CallItem(self._outbox, self._next_index(), self._response_id, piece)
            self._calls.add(piece, call)
        call.write(piece)

    def speak(self, audio: ChatAudio) -> None:
        """Write a piece of spoken output, which belongs to no item."""
        if audio.data:
            self._outbox.add(ev.AudioDelta, delta=audio.data)
            self._speech[ev.AudioDone] = None
        if audio.transcript:
            self._outbox.add(ev.AudioTranscriptDelta, delta=audio.transcript)
            self._speech[ev.AudioTranscriptDone] = None

    def close(self, status: str) -> list[OutputItem]:
        """End what is open, with this status, and return all items in order."""
        for done in self._speech:
            self._outbox.add(done)
        self._close_text(status)
        for call in self._calls:
            self._closed[call.index] = call.close(status)
        return [item for _, item in sorted(self._closed.items())]

    def _item_for(self, channel: Channel) -> TextItem:
        if self._text is None or self._text[1].model is not channel.item:
            self._close_text("completed")
            index = self._next_index()
            self._text = index, TextItem(self._outbox, index, self._text_id(channel.item, index), channel.item)
        return self._text[1]

    def _text_id(self, model: type[Message | Reasoning], index: int) -> str:
        prefix = "msg" if model is Message else "rs"
        return f"{prefix}_{self._response_id}_{index}"

    def _close_text(self, status: str) -> None:
        if self._text is not None:
            index, item = self._text
            self._closed[index] = item.close(status)
            self._text = None

    def _next_index(self) -> int:
        self._size += 1
        return self._size - 1
