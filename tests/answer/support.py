"""Answers as the events that servers send of them."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from streamkit import events as ev
from streamkit.items import Message
from streamkit.response import Response


def message(*texts: str, phase: str | None = None, message_id: str = "msg_1") -> Message:
    content = [{"type": "output_text", "text": text} for text in texts]
    return Message.model_validate({"id": message_id, "content": content, "phase": phase})


def delta(text: str, *, output: int | None = 0, part: int | None = 0) -> ev.OutputTextDelta:
    return ev.OutputTextDelta(output_index=output, item_id="msg_1", content_index=part, delta=text)


def done(text: str, *, output: int | None = 0, part: int | None = 0) -> ev.OutputTextDone:
    return ev.OutputTextDone(output_index=output, item_id="msg_1", content_index=part, text=text)


def added(item: Message, output: int | None = 0) -> ev.OutputItemAdded:
    return ev.OutputItemAdded(output_index=output, item=item)


def finished(item: Message, output: int | None = 0) -> ev.OutputItemDone:
    return ev.OutputItemDone(output_index=output, item=item)


def created(response_id: str = "resp_1") -> ev.ResponseCreated:
    return ev.ResponseCreated(response=Response(id=response_id))


def completed(*messages: Message) -> ev.ResponseCompleted:
    return ev.ResponseCompleted(response=Response(id="resp_1", status="completed", output=list(messages)))


def pieces(text: str, cuts: Sequence[int]) -> Iterator[str]:
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    for start, end in pairwise(places):
        yield text[start:end]


def streamed(text: str, cuts: Sequence[int] = ()) -> list[ev.Event]:
    """The whole stream of an answer whose text is cut at some places."""
    whole = message(text)
    deltas = [delta(piece) for piece in pieces(text, cuts)]
    return [created(), added(message()), *deltas, done(text), finished(whole), completed(whole)]
