"""Frames to chunks: what is one, what is none, and what of it stays."""

import json

import pytest

from streamkit import Dispatcher
from streamkit.chat import ChatChunk
from streamkit.chat.chunks import read_frame
from streamkit.events import DoneSentinel, ErrorEvent, Event, InvalidEvent, Keepalive, UnknownEvent
from streamkit.sse import Frame
from tests.chat.support import HEAD, chunk, frame
from tests.dispatch.support import send

FRAMES: dict[str, tuple[Frame, type[Event]]] = {
    "a chunk": (chunk({"content": "x"}), ChatChunk),
    "a chunk with an event line": (Frame(event="chunk", data=chunk().data), ChatChunk),
    "no object": (frame({"choices": []}), ChatChunk),
    "no choices": (frame(HEAD), ChatChunk),
    "half a surrogate pair": (Frame(data=b'{"choices":[{"delta":{"content":"\\ud83d"}}]}'), ChatChunk),
    "bytes that are no UTF-8": (Frame(data=b'{"choices":[{"delta":{"content":"\xff"}}]}'), ChatChunk),
    "a type of its own": (frame({**HEAD, "choices": [], "type": "chunk"}), ChatChunk),
    "choices of a wrong shape": (frame({**HEAD, "choices": "x"}), InvalidEvent),
    "content of a wrong shape": (chunk({"content": 5}), InvalidEvent),
    "not JSON": (Frame(data=b"{"), InvalidEvent),
    "not an object": (Frame(data=b"[]"), InvalidEvent),
    "nothing": (Frame(), InvalidEvent),
    "[DONE]": (Frame(data=b"[DONE]"), DoneSentinel),
    "an error": (frame({"error": {"message": "no"}}), ErrorEvent),
    "a keepalive": (frame({"type": "keepalive"}), Keepalive),
    "something else": (frame({"x": 1}), UnknownEvent),
}


@pytest.mark.parametrize(("wire", "model"), FRAMES.values(), ids=FRAMES.keys())
def test_what_a_frame_is(wire: Frame, model: type[Event]) -> None:
    assert type(read_frame(wire)) is model


def test_an_invalid_chunk_says_what_is_wrong() -> None:
    event = read_frame(chunk({"content": 5}))
    assert isinstance(event, InvalidEvent)
    assert event.type == "chat.completion.chunk"
    assert "0.delta.content" in event.error
    assert "\n" not in event.error
    assert isinstance(event.data, dict)
    assert event.raw


def test_a_chunk_keeps_what_it_does_not_know_but_not_the_padding() -> None:
    event = read_frame(chunk({"content": "x", "vendor": 1}, system_fingerprint="fp", obfuscation="xyz", p="abc"))
    assert isinstance(event, ChatChunk)
    assert event.model_extra == {"system_fingerprint": "fp"}
    assert event.choices[0].delta is not None
    assert event.choices[0].delta.model_extra == {"vendor": 1}


def test_halves_of_surrogate_pairs_become_replacement_characters() -> None:
    event = read_frame(Frame(data=json.dumps({"choices": [{"delta": {"content": "a\ud83d"}}]}).encode()))
    assert isinstance(event, ChatChunk)
    assert event.choices[0].delta is not None
    assert event.choices[0].delta.content == "a\ufffd"


@pytest.mark.anyio
async def test_chunks_are_routed_by_their_class() -> None:
    dispatcher = Dispatcher()
    seen: list[ChatChunk] = []

    @dispatcher.on(ChatChunk)
    def keep(event: ChatChunk) -> None:
        seen.append(event)

    await send(dispatcher, read_frame(chunk({"content": "x"})), Keepalive())
    assert [event.id for event in seen] == ["chatcmpl_1"]
