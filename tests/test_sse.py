"""Frames: the WHATWG algorithm, whatever the chunks."""

import base64
import json
import random
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamkit.errors import FrameTooLarge, UsageError
from streamkit.sse import MAX_EVENT_BYTES, Decoder, Frame, blocks_in, encode
from tests.paths import SHARED_DATA, needs_shared_data


def decode(chunks: Iterable[bytes], *, max_event_bytes: int = MAX_EVENT_BYTES) -> tuple[list[Frame], Decoder]:
    decoder = Decoder(max_event_bytes=max_event_bytes)
    return [frame for chunk in chunks for frame in decoder.feed(chunk)], decoder


def one_byte_at_a_time(wire: bytes) -> list[bytes]:
    return [wire[i : i + 1] for i in range(len(wire))]


def cuts(wire: bytes) -> Iterator[list[bytes]]:
    """Every way of cutting in two, or for long input two hundred random ones."""
    everywhere = range(len(wire) + 1)
    positions = everywhere if len(wire) <= 2000 else random.Random(0).sample(everywhere, 200)
    for position in positions:
        yield [wire[:position], wire[position:]]


def conformance_cases() -> list[Any]:
    path = SHARED_DATA / "sse_cases.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else []


@needs_shared_data
def test_there_are_conformance_cases() -> None:
    assert len(conformance_cases()) > 100


@pytest.mark.parametrize("case", conformance_cases(), ids=lambda case: case["name"])
def test_conformance_case(case: dict[str, Any]) -> None:
    wire = base64.b64decode(case["wire_bytes"])
    own_chunks = [base64.b64decode(chunk) for chunk in case["chunks"]]
    for chunks in [[wire], own_chunks, one_byte_at_a_time(wire), *cuts(wire)]:
        frames, decoder = decode(chunks)
        seen = [{"event": frame.event, "data": frame.text, "lastEventId": frame.id} for frame in frames]
        assert seen == case["expected"]
        assert decoder.retry == case["retry"]
        assert decoder.last_event_id == case["final_last_event_id"]


WIRE_TO_FRAMES: dict[str, tuple[bytes, list[Frame]]] = {
    "the common shape": (b"event: a\ndata: {}\n\n", [Frame("a", b"{}")]),
    "data before event": (b"data: {}\nevent: a\n\n", [Frame("a", b"{}")]),
    "no space after the colon": (b"event:a\ndata:{}\n\n", [Frame("a", b"{}")]),
    "only one space is removed": (b"event:  a\ndata:  b\n\n", [Frame(" a", b" b")]),
    "no event name": (b"data: [DONE]\n\n", [Frame("message", b"[DONE]")]),
    "an empty event name": (b"event: \ndata: x\n\n", [Frame("message", b"x")]),
    "an event name without a colon": (b"event\ndata: x\n\n", [Frame("message", b"x")]),
    "several data lines": (b"event: a\ndata: 1\ndata\ndata: 2\n\n", [Frame("a", b"1\n\n2")]),
    "empty data is data": (b"event: a\ndata:\n\n", [Frame("a", b"")]),
    "no data is no event": (b"event: a\n\nid: 1\n\n", []),
    "an event name does not carry over": (b"event: a\n\ndata: x\n\n", [Frame("message", b"x")]),
    "an id stays in force": (
        b"id: 1\ndata: x\n\nevent: a\ndata: y\n\n",
        [Frame(data=b"x", id="1"), Frame("a", b"y", "1")],
    ),
    "an id with NUL is ignored": (b"id: 1\n\nid: 2\x003\ndata: x\n\n", [Frame(data=b"x", id="1")]),
    "an empty id resets": (b"id: 1\n\nid\ndata: x\n\n", [Frame(data=b"x")]),
    "retry takes digits": (b"retry: 150\ndata: x\n\n", [Frame(data=b"x", retry=150)]),
    "retry refuses signs": (
        b"retry: +5\nretry: -5\nretry: 1_0\nretry: 5 \nretry:\ndata: x\n\n",
        [Frame(data=b"x")],
    ),
    "retry refuses other digits": ("retry: ٣\ndata: x\n\n".encode(), [Frame(data=b"x")]),
    "an absurd retry": (b"retry: " + b"9" * 5000 + b"\ndata: x\n\n", [Frame(data=b"x", retry=10**18)]),
    "leading zeros": (b"retry: " + b"0" * 5000 + b"7\ndata: x\n\n", [Frame(data=b"x", retry=7)]),
    "comments and unknown fields": (b": hi\nfoo: bar\n:\ndata: x\n\n", [Frame(data=b"x")]),
    "a comment block after an id": (b"id: 1\ndata: x\n\n: keepalive\n\n", [Frame(data=b"x", id="1")]),
    "blank lines between": (b"\n\n\ndata: x\n\n\n\n\ndata: y\n\n", [Frame(data=b"x"), Frame(data=b"y")]),
    "CR alone": (b"event: a\rdata: x\r\rdata: y\r\r", [Frame("a", b"x"), Frame(data=b"y")]),
    "CRLF": (b"event: a\r\ndata: x\r\n\r\n", [Frame("a", b"x")]),
    "line ends mixed": (b"event: a\rdata: x\r\n\ndata: y\n\r\n", [Frame("a", b"x"), Frame(data=b"y")]),
    "separators that are no line ends": (
        "data: a\u2028b\u2029c\u0085d\x0be\x0cf\n\n".encode(),
        [Frame(data="a\u2028b\u2029c\u0085d\x0be\x0cf".encode())],
    ),
    "a byte order mark": (b"\xef\xbb\xbfdata: x\n\n", [Frame(data=b"x")]),
    "a second byte order mark is a field name": (b"\xef\xbb\xbf\xef\xbb\xbfdata: x\n\n", []),
    "half a byte order mark is a field name": (b"\xef\xbbdata: x\n\ndata: y\n\n", [Frame(data=b"y")]),
    "an unterminated frame is dropped": (b"data: x\n\ndata: y\n", [Frame(data=b"x")]),
    "nothing": (b"", []),
}


@pytest.mark.parametrize(("wire", "frames"), WIRE_TO_FRAMES.values(), ids=WIRE_TO_FRAMES.keys())
def test_wire_gives_frames(wire: bytes, frames: list[Frame]) -> None:
    for chunks in [[wire], one_byte_at_a_time(wire), *cuts(wire)]:
        assert decode(chunks)[0] == frames


def test_text_replaces_bytes_that_are_not_utf8() -> None:
    frames, _ = decode([b"event: \xff\ndata: a\xffb\n\n"])
    assert frames[0].text == "a\ufffdb"
    assert frames[0].event == "\ufffd"


def test_a_frame_ends_with_its_cr_and_does_not_wait_for_an_lf() -> None:
    decoder = Decoder()
    assert decoder.feed(b"data: x\r\r") == [Frame(data=b"x")]
    assert decoder.feed(b"\n") == []
    assert decoder.feed(b"data: y\r\n\r\n") == [Frame(data=b"y")]


def test_flush_gives_the_unterminated_frame_once() -> None:
    decoder = Decoder()
    decoder.feed(b"event: a\ndata: 1\n\nevent: b\ndata: 2")
    assert decoder.flush() == Frame("b", b"2")
    assert decoder.flush() is None


def test_flush_without_data_gives_nothing() -> None:
    decoder = Decoder()
    decoder.feed(b"event: a\n")
    assert decoder.flush() is None


SMALL_STREAM = b"data: 1\n\ndata: 22222222222222\n\ndata: 3\n\n"


@pytest.mark.parametrize("chunks", [[SMALL_STREAM], one_byte_at_a_time(SMALL_STREAM), *cuts(SMALL_STREAM)])
def test_what_came_before_a_frame_that_is_too_large_is_not_lost(chunks: list[bytes]) -> None:
    decoder = Decoder(max_event_bytes=16)
    frames: list[Frame] = []
    with pytest.raises(FrameTooLarge, match="max_event_bytes=16"):
        for chunk in chunks:
            frames += decoder.feed(chunk)
        decoder.flush()
    assert frames == [Frame(data=b"1")]
    with pytest.raises(FrameTooLarge):
        decoder.feed(b"")


@pytest.mark.parametrize("ends", [b"\n\n", b"\n\n\n", b"\n\n\n\n"])
@pytest.mark.parametrize("chunked", [lambda wire: [wire], one_byte_at_a_time], ids=["in one chunk", "in bytes"])
def test_a_frame_of_exactly_the_limit_passes(chunked: Callable[[bytes], list[bytes]], ends: bytes) -> None:
    chunks = chunked(b"data: 1234567890" + ends)
    assert decode(chunks, max_event_bytes=16)[0] == [Frame(data=b"1234567890")]


def test_blocks_come_in_one_piece_as_soon_as_they_are_whole() -> None:
    decoder = Decoder()
    assert decoder.cut(b"data: 1\n\n: a\n\ndata: ") == b"data: 1\n\n: a"
    assert decoder.cut(b"2\n") == b""
    assert decoder.cut(b"\n") == b"data: 2"
    assert [blocks_in(b""), blocks_in(b"data: 1\n\n: a")] == [[], [b"data: 1", b": a"]]


def test_a_frame_that_never_ends_is_too_large() -> None:
    decoder = Decoder(max_event_bytes=1000)
    with pytest.raises(FrameTooLarge) as caught:
        for _ in range(100):
            decoder.feed(b"x" * 100)
    assert caught.value.limit == 1000


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="max_event_bytes"):
        Decoder(max_event_bytes=0)


def test_a_large_frame_in_small_chunks_is_one_frame() -> None:
    payload = b"x" * (4 * 1024 * 1024)
    wire = b"event: image\ndata: " + payload + b"\n\n"
    frames, _ = decode(wire[i : i + 1024] for i in range(0, len(wire), 1024))
    assert frames == [Frame("image", payload)]


# Weighted towards the bytes that mean something, so that line ends, fields and cuts meet often.
wire_pieces = st.sampled_from(
    [
        b"\r",
        b"\n",
        b"\r\n",
        b"\n\n",
        b"data",
        b"data: ",
        b"event: ",
        b"id: ",
        b"retry: ",
        b":",
        b" ",
        b"7",
        b"x",
        b"\0",
        b"\xef\xbb\xbf",
        b"\xff",
    ]
)
wires = st.lists(wire_pieces | st.binary(max_size=5), max_size=40).map(b"".join)


@given(wire=wires, positions=st.lists(st.integers(min_value=0, max_value=300), max_size=12))
@example(wire=b"\xef\xbb\xbfdata: x\r\n\r\n", positions=[1, 2, 11])
def test_any_chunking_gives_the_same_frames(wire: bytes, positions: list[int]) -> None:
    edges = [0, *sorted(min(position, len(wire)) for position in positions), len(wire)]
    chunks = [wire[start:end] for start, end in pairwise(edges)]
    assert decode(chunks)[0] == decode([wire])[0] == decode(one_byte_at_a_time(wire))[0]


@given(
    chunks=st.lists(st.binary(max_size=30) | wire_pieces, max_size=30),
    limit=st.integers(min_value=1, max_value=20),
)
@example(chunks=[b"\n", b"\n\n", b"x"], limit=1)
@example(chunks=[b"x\n\n", b"\nx"], limit=1)
@example(chunks=[b"x\n\n\nx\n\n"], limit=1)
def test_any_bytes_raise_nothing_but_frame_too_large(chunks: list[bytes], limit: int) -> None:
    def outcome(chunks: list[bytes]) -> tuple[list[Frame], bool]:
        decoder = Decoder(max_event_bytes=limit)
        frames: list[Frame] = []
        try:
            for chunk in chunks:
                frames += decoder.feed(chunk)
            frames += [frame for frame in [decoder.flush()] if frame]
        except FrameTooLarge:
            return frames, True
        return frames, False

    whole = b"".join(chunks)
    assert outcome(chunks) == outcome([whole]) == outcome(one_byte_at_a_time(whole))


line_text = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]))
frames_to_encode = st.builds(
    Frame,
    event=line_text.filter(bool),
    data=st.binary().map(lambda data: data.replace(b"\r", b"")),
    id=line_text.filter(bool),
    retry=st.none() | st.integers(min_value=0, max_value=10**15),
)


@given(st.lists(frames_to_encode, max_size=5))
def test_decoding_what_was_encoded_gives_the_frames(frames: list[Frame]) -> None:
    assert decode([b"".join(encode(frame) for frame in frames)])[0] == frames


def test_encode_writes_only_what_is_there() -> None:
    assert encode(Frame(data=b"x")) == b"data: x\n\n"
    assert encode(Frame("a", b"1\n2", "7", 10)) == b"event: a\nid: 7\nretry: 10\ndata: 1\ndata: 2\n\n"


def test_encode_turns_carriage_returns_in_data_into_line_feeds() -> None:
    assert encode(Frame(data=b"1\r\n2\r3")) == b"data: 1\ndata: 2\ndata: 3\n\n"


@pytest.mark.parametrize(
    "frame", [Frame("a\nb"), Frame("a\rb"), Frame(id="1\n2"), Frame(id="1\r2"), Frame(id="1\x002")]
)
def test_encode_refuses_what_would_forge_a_line(frame: Frame) -> None:
    with pytest.raises(UsageError):
        encode(frame)
