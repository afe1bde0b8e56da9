"""Frames to events: what each form of frame becomes, and that any bytes become something."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import JsonValue

from streamkit import events as ev
from streamkit.codec import decode, decode_block, decode_strictly
from streamkit.errors import InvalidEventError
from streamkit.events import EVENTS
from streamkit.items import OutputText
from streamkit.sse import Decoder, Frame
from tests.test_events import least

DELTA = ev.OutputTextDelta(delta="x", output_index=0)
DELTA_DATA = b'{"type":"response.output_text.delta","delta":"x","output_index":0}'


def minimal_data(name: str) -> dict[str, JsonValue]:
    return {**least(EVENTS[name]), "type": name} if name in EVENTS else {"type": name}


def frame_of(wire: bytes) -> Frame:
    (frame,) = Decoder().feed(wire)
    return frame


@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize("named", [True, False], ids=["with event line", "without event line"])
def test_every_known_event_becomes_its_class(name: str, named: bool) -> None:
    data = json.dumps(minimal_data(name)).encode()
    event = decode(Frame(event=name, data=data) if named else Frame(data=data))
    assert type(event) is EVENTS[name]
    assert event.type == name


WIRE_TO_EVENT: dict[str, tuple[bytes, ev.Event]] = {
    "the common shape": (b"event: response.output_text.delta\ndata: " + DELTA_DATA + b"\n\n", DELTA),
    "no event line": (b"data: " + DELTA_DATA + b"\n\n", DELTA),
    "data before event": (b"data: " + DELTA_DATA + b"\nevent: response.output_text.delta\n\n", DELTA),
    "an event line that names another event": (b"event: response.refusal.delta\ndata: " + DELTA_DATA + b"\n\n", DELTA),
    "an event line that nothing knows": (b"event: delta\ndata: " + DELTA_DATA + b"\n\n", DELTA),
    "a type only on the event line": (
        b'event: response.output_text.delta\ndata: {"delta":"x","output_index":0}\n\n',
        DELTA,
    ),
    "a null type beside an event line": (
        b'event: response.output_text.delta\ndata: {"type":null,"delta":"x","output_index":0}\n\n',
        DELTA,
    ),
    "data on several lines": (
        b'data: {"type":"response.output_text.delta",\ndata: "delta":"x","output_index":0}\n\n',
        DELTA,
    ),
    "an unknown type": (
        b'data: {"type":"vendor:thing","sequence_number":3,"x":[1]}\n\n',
        ev.UnknownEvent(
            type="vendor:thing", sequence_number=3, data={"type": "vendor:thing", "sequence_number": 3, "x": [1]}
        ),
    ),
    "an unknown type on the event line only": (
        b'event: ping\ndata: {"sequence_number":"3"}\n\n',
        ev.UnknownEvent(type="ping", data={"sequence_number": "3"}),
    ),
    "no type anywhere": (b"data: {}\n\n", ev.UnknownEvent(type="", data={})),
    "the end of the stream": (b"data: [DONE]\n\n", ev.DoneSentinel()),
    "the end of the stream, named": (b"event: done\ndata: [DONE]\n\n", ev.DoneSentinel()),
    "the end of the stream, named like an event": (b"event: keepalive\ndata: [DONE]\n\n", ev.DoneSentinel()),
    "a keepalive": (b'data: {"type":"keepalive","sequence_number":4}\n\n', ev.Keepalive(sequence_number=4)),
    "bytes that are not UTF-8": (
        b'data: {"type":"response.output_text.delta","delta":"a\xffb"}\n\n',
        ev.OutputTextDelta(delta="a\ufffdb"),
    ),
    "the first half of a surrogate pair": (
        rb'data: {"type":"response.output_text.delta","delta":"a\ud83d"}' + b"\n\n",
        ev.OutputTextDelta(delta="a\ufffd"),
    ),
    "the second half, named": (
        b"event: response.output_text.delta\n" + rb'data: {"delta":"\ude00"}' + b"\n\n",
        ev.OutputTextDelta(delta="\ufffd"),
    ),
    "a whole pair beside a half": (
        rb'data: {"type":"response.output_text.delta","delta":"\ud83d\ude00\ud83d"}' + b"\n\n",
        ev.OutputTextDelta(delta="\U0001f600\ufffd"),
    ),
    "a half in a key": (
        rb'data: {"type":"x","a\ud83d":["\ud83d"]}' + b"\n\n",
        ev.UnknownEvent(type="x", data={"type": "x", "a\ufffd": ["\ufffd"]}),
    ),
}


@pytest.mark.parametrize(("wire", "event"), WIRE_TO_EVENT.values(), ids=WIRE_TO_EVENT.keys())
def test_a_frame_becomes_an_event(wire: bytes, event: ev.Event) -> None:
    decoded = decode(frame_of(wire))
    assert decoded == event
    assert type(decoded) is type(event)
    assert decode_strictly(frame_of(wire)) == event


# Name on the event line, data, and what the error's detail says.
ERRORS: dict[str, tuple[str, JsonValue, dict[str, JsonValue]]] = {
    "nested": (
        "error",
        {"type": "error", "sequence_number": 2, "error": {"type": "t", "code": "c", "message": "m", "param": None}},
        {"type": "t", "code": "c", "message": "m"},
    ),
    "flat": (
        "error",
        {"type": "error", "code": "c", "message": "m", "param": "p", "sequence_number": 2},
        {"code": "c", "message": "m", "param": "p"},
    ),
    "nested, with some of it flat": (
        "message",
        {"type": "error", "code": "c", "message": "flat", "error": {"message": "m"}},
        {"code": "c", "message": "m"},
    ),
    "untyped": ("message", {"error": {"message": "m", "code": "500"}}, {"code": "500", "message": "m"}),
    "untyped, on an error line": ("error", {"error": {"message": "m"}}, {"message": "m"}),
    "untyped, on another event's line": ("response.completed", {"error": {"message": "m"}}, {"message": "m"}),
    "the error's own type, on an error line": (
        "error",
        {"type": "overloaded_error", "message": "m"},
        {"type": "overloaded_error", "message": "m"},
    ),
    "an unknown type around an error, on an error line": (
        "error",
        {"type": "api_error", "error": {"message": "m", "type": "t"}},
        {"type": "t", "message": "m"},
    ),
    "a null type around an error": ("message", {"type": None, "error": {"message": "m"}}, {"message": "m"}),
    "an object that says it is an error": (
        "message",
        {"object": "error", "type": "BadRequestError", "message": "m", "code": 400},
        {"type": "BadRequestError", "message": "m", "code": 400},
    ),
    "a number as code": ("message", {"error": {"code": 429, "message": "m"}}, {"code": 429, "message": "m"}),
    "a string as error": ("message", {"error": "out of cheese"}, {"message": "out of cheese"}),
    "a list as error": ("message", {"error": ["a", "b"]}, {"message": "['a', 'b']"}),
    "an empty object on an error line": ("error", {}, {}),
}


@pytest.mark.parametrize(("name", "data", "detail"), ERRORS.values(), ids=ERRORS.keys())
def test_an_error_is_read_in_every_form(name: str, data: JsonValue, detail: dict[str, JsonValue]) -> None:
    event = decode(Frame(event=name, data=json.dumps(data).encode()))
    assert isinstance(event, ev.ErrorEvent)
    assert event.detail.model_dump(include={*detail, "code", "message", "param", "type"}, exclude_none=True) == detail


def test_an_event_with_an_error_of_its_own_is_no_error_event() -> None:
    event = decode(Frame(data=b'{"type":"vendor:tool_failed","error":{"message":"m"}}'))
    assert isinstance(event, ev.UnknownEvent)


# Name on the event line, data, and: the type, the error, the data that an InvalidEvent has.
INVALID: dict[str, tuple[str, bytes, str, str, JsonValue]] = {
    "not JSON": ("message", b"<html>", "", "not JSON: ", None),
    "not JSON, named": ("response.completed", b'{"type":', "response.completed", "not JSON: ", None),
    "nothing": ("message", b"", "", "not JSON: ", None),
    "[DONE] and more": ("message", b"[DONE] ", "", "not JSON: ", None),
    "[DONE] in a list": ("message", b'["DONE"]', "", "not a JSON object", ["DONE"]),
    "a string": ("response.completed", b'"x"', "response.completed", "not a JSON object", "x"),
    "null": ("message", b"null", "", "not a JSON object", None),
    "nested too deeply": ("message", b'{"type":"x","a":' + b"[" * 500 + b"]" * 500 + b"}", "", "not JSON: ", None),
    "nested absurdly deeply": ("message", b"[" * 100_000, "", "not JSON: ", None),
    "a number of absurd length": ("message", b'{"sequence_number":-' + b"9" * 5000 + b"}", "", "not JSON: ", None),
    "a field is missing": (
        "message",
        b'{"type":"response.output_text.delta"}',
        "response.output_text.delta",
        "delta: Field required",
        {"type": "response.output_text.delta"},
    ),
    "a field has the wrong shape": (
        "response.output_text.delta",
        b'{"type":"response.output_text.delta","delta":{"a":1}}',
        "response.output_text.delta",
        "delta: Input should be a valid string",
        {"type": "response.output_text.delta", "delta": {"a": 1}},
    ),
    "a field within a response has the wrong shape": (
        "message",
        b'{"type":"response.completed","response":{"output":[],"created_at":"then"}}',
        "response.completed",
        "response.created_at: Input should be a valid number",
        {"type": "response.completed", "response": {"output": [], "created_at": "then"}},
    ),
}


@pytest.mark.parametrize(("name", "raw", "kind", "error", "data"), INVALID.values(), ids=INVALID.keys())
def test_what_fits_no_model_comes_through_as_invalid(
    name: str, raw: bytes, kind: str, error: str, data: JsonValue
) -> None:
    event = decode(Frame(event=name, data=raw))
    assert isinstance(event, ev.InvalidEvent)
    assert (event.type, event.raw, event.data) == (kind, raw, data)
    assert event.error.startswith(error)
    assert "\n" not in event.error


def test_several_errors_stand_in_one_line() -> None:
    event = decode(Frame(data=b'{"type":"response.output_text.delta","output_index":"x"}'))
    assert isinstance(event, ev.InvalidEvent)
    assert event.error.count("; ") == 1


@pytest.mark.parametrize(
    ("frame", "message", "kind"),
    [
        (Frame("error", b"oops"), "error does not fit its model: not JSON", "error"),
        (Frame(data=b"[]"), "an event without a type does not fit its model: not a JSON object", ""),
    ],
)
def test_strict_decoding_refuses_what_is_invalid(frame: Frame, message: str, kind: str) -> None:
    with pytest.raises(InvalidEventError, match=message) as caught:
        decode_strictly(frame)
    assert (caught.value.type, caught.value.raw) == (kind, frame.data)


@pytest.mark.parametrize("name", [*EVENTS, "vendor:thing"])
@pytest.mark.parametrize("named", [True, False], ids=["with event line", "without event line"])
def test_obfuscation_reaches_nobody(name: str, named: bool) -> None:
    data: dict[str, Any] = {**minimal_data(name), "obfuscation": "PADDING"}
    raw = json.dumps(data).encode()
    event = decode(Frame(event=name, data=raw) if named else Frame(data=raw))
    for shown in (repr(event), str(event), event.model_dump_json(), str(event.model_dump())):
        assert "PADDING" not in shown
        assert "obfuscation" not in shown


@pytest.mark.parametrize(
    "frame",
    [
        Frame("error", b'{"type":"busy","message":"m","obfuscation":"PADDING"}'),
        Frame("response.completed", b'{"type":"vendor:thing","obfuscation":"PADDING"}'),
    ],
)
def test_obfuscation_does_not_hide_in_what_is_kept(frame: Frame) -> None:
    assert "obfuscation" not in decode(frame).model_dump_json()


def test_an_invalid_event_keeps_obfuscation_only_in_its_raw_bytes() -> None:
    event = decode(Frame(data=b'{"type":"response.output_text.delta","obfuscation":"PADDING"}'))
    assert isinstance(event, ev.InvalidEvent)
    assert event.data == {"type": "response.output_text.delta"}


def test_other_fields_that_no_model_knows_are_kept() -> None:
    event = decode(Frame(data=b'{"type":"response.content_part.added","part":{"type":"output_text","odd":1},"more":2}'))
    assert isinstance(event, ev.ContentPartAdded)
    assert isinstance(event.part, OutputText)
    assert (event.model_extra, event.part.model_extra) == ({"more": 2}, {"odd": 1})


field_names = st.sampled_from(
    sorted(set().union(*(event.model_fields for event in EVENTS.values())) | {"obfuscation", "object"})
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(field_names | st.text(), inner, max_size=5),
    max_leaves=12,
)
names = st.sampled_from([*EVENTS, "message", "", "vendor:thing"]) | st.text()


@given(event=names, data=st.binary())
@example(event="response.completed", data=b"\xef\xbb\xbf{}")
def test_any_bytes_become_an_event(event: str, data: bytes) -> None:
    assert isinstance(decode(Frame(event=event, data=data)), ev.Event)


@given(event=names, kind=names | json_values, fields=st.dictionaries(field_names, json_values))
def test_any_object_becomes_an_event_that_can_be_shown(event: str, kind: JsonValue, fields: dict[str, Any]) -> None:
    data = json.dumps({**fields, "type": kind}).encode()
    decoded = decode(Frame(event=event, data=data))
    assert isinstance(decoded, ev.Event)
    assert repr(decoded)
    assert decoded.model_dump_json()


def test_what_fits_no_model_keeps_its_number() -> None:
    for number, kept in ((7, 7), ("7", None), (True, None), (None, None)):
        data = json.dumps({"type": "response.output_text.delta", "delta": 5, "sequence_number": number}).encode()
        event = decode(Frame("message", data))
        assert isinstance(event, ev.InvalidEvent)
        assert event.sequence_number == kept


BLOCK = b"event: response.output_text.delta\ndata: " + DELTA_DATA
block_pieces = st.sampled_from(
    [
        BLOCK,
        BLOCK[:-1],
        b"event: response.refusal.delta\ndata: " + DELTA_DATA,
        b"event: response.output_text.done\ndata: " + DELTA_DATA,
        b'event: response.output_text.done\ndata: {"type":"response.output_text.done","text":"x"}',
        b"data: " + DELTA_DATA,
        b"data: ",
        b": keepalive",
        b"id: 7",
        b"}",
        b" ",
        b"\n",
        b"\n\n",
    ]
)


@given(st.lists(block_pieces, max_size=5).map(b"".join))
@example(BLOCK)
@example(BLOCK + b"\n\n" + BLOCK)
@example(BLOCK + b"\n\n: keepalive")
@example(BLOCK + b"\n\n ")
@example(BLOCK.replace(b",", b",\n"))
def test_what_is_decoded_as_one_block_is_one_frame(wire: bytes) -> None:
    event = decode_block(wire, frozenset())
    if event is not None:
        assert [decode(frame) for frame in Decoder().feed(wire + b"\n\n")] == [event]


@pytest.mark.parametrize("name", ["response.output_text.delta", "response.refusal.delta"])
def test_a_block_of_the_common_shape_is_decoded_at_once_unless_it_is_unwanted(name: str) -> None:
    block = BLOCK.replace(b"response.output_text.delta", name.encode())
    event = decode_block(block, frozenset())
    assert event is not None
    assert event.type == name
    assert decode_block(block, frozenset({name})) is None
