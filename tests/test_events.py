"""Events: names, families, what each requires and keeps, and the forms in which servers send them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import JsonValue, ValidationError

from streamkit import events
from streamkit.events import (
    EVENTS,
    TERMINAL_TYPES,
    CommandEvent,
    DeltaEvent,
    DoneSentinel,
    ErrorEvent,
    Event,
    InjectEvent,
    InvalidEvent,
    ItemEvent,
    Keepalive,
    OutputItemAdded,
    OutputItemDone,
    OutputTextAnnotationAdded,
    OutputTextDelta,
    PartEvent,
    ResponseCompleted,
    ResponseEvent,
    ShellCallOutputContentDelta,
    SteerEvent,
    SteerPending,
    SummaryEvent,
    TerminalEvent,
    ToolProgressEvent,
    UnknownEvent,
)
from streamkit.items import FilePath, Message, UnknownAnnotation, UnknownItem
from streamkit.response import ErrorDetail
from streamkit.sse import Decoder
from tests.paths import SHARED_DATA, needs_shared_data

RECORDINGS = sorted((SHARED_DATA / "recordings" / "responses").glob("*.sse"))
LOCAL = {UnknownEvent, InvalidEvent, DoneSentinel}

# A value for each field that some event requires.
SAMPLES: dict[str, JsonValue] = {
    "arguments": "{}",
    "code": "1 + 1",
    "command": "ls",
    "delta": "x",
    "diff": "+x",
    "input": "x",
    "item": None,
    "output": [],
    "part": {},
    "partial_image_b64": "AAAA",
    "refusal": "no",
    "response": {},
    "steer": {},
    "text": "x",
}


def required_fields(event: type[Event]) -> set[str]:
    return {name for name, field in event.model_fields.items() if field.is_required()}


def least(event: type[Event]) -> dict[str, JsonValue]:
    payload = {name: SAMPLES[name] for name in required_fields(event)}
    return {**payload, "delta": {}} if event is ShellCallOutputContentDelta else payload


def concrete(family: type[Event]) -> set[str]:
    return {name for name, event in EVENTS.items() if issubclass(event, family)}


def named(names: str) -> set[str]:
    return {f"response.{name}" for name in names.split()}


def test_every_event_class_is_in_the_table_or_local() -> None:
    classes = {value for value in vars(events).values() if isinstance(value, type) and issubclass(value, Event)}
    families = {family for family in classes if family.__subclasses__()}
    assert classes - families - LOCAL == set(EVENTS.values())
    assert len(EVENTS) == 73


@pytest.mark.parametrize(("name", "event"), EVENTS.items())
def test_an_event_needs_only_what_makes_it_one(name: str, event: type[Event]) -> None:
    instance = event.model_validate_json(json.dumps(least(event)))
    assert instance.type == name
    assert instance.sequence_number is None


@pytest.mark.parametrize("event", EVENTS.values())
def test_an_event_refuses_the_name_of_another(event: type[Event]) -> None:
    with pytest.raises(ValidationError, match="type"):
        event.model_validate({**least(event), "type": "another.name"})


@pytest.mark.parametrize("event", EVENTS.values())
def test_an_event_is_frozen(event: type[Event]) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        event.model_validate(least(event)).sequence_number = 1  # type: ignore[misc]


@pytest.mark.parametrize("event", EVENTS.values())
def test_only_deltas_drop_what_they_do_not_know(event: type[Event]) -> None:
    instance = event.model_validate({**least(event), "obfuscation": "xyz", "stream_id": "lane"})
    drops = issubclass(event, (DeltaEvent, ShellCallOutputContentDelta))
    assert instance.model_extra == (None if drops else {"obfuscation": "xyz"})
    assert hasattr(instance, "obfuscation") is not drops
    assert instance.stream_id == "lane"


@pytest.mark.parametrize(
    ("family", "names"),
    [
        (ResponseEvent, named("created queued in_progress completed incomplete failed")),
        (TerminalEvent, named("completed incomplete failed")),
        (SummaryEvent, {name for name in EVENTS if "reasoning_summary" in name}),
        (CommandEvent, {name for name in EVENTS if "shell_call_" in name}),
        (SteerEvent, named("steer.accepted steer.pending steer.failed")),
        (InjectEvent, named("inject.created inject.failed")),
        (DeltaEvent, {name for name in EVENTS if name.endswith(".delta")} - named("shell_call_output_content.delta")),
        (
            PartEvent,
            {name for name in EVENTS if "reasoning" in name and "summary" not in name}
            | {name for name in EVENTS if "content_part" in name or "output_text" in name or "refusal" in name},
        ),
        (
            ToolProgressEvent,
            named("file_search_call.in_progress file_search_call.searching file_search_call.completed")
            | named("web_search_call.in_progress web_search_call.searching web_search_call.completed")
            | named("code_interpreter_call.in_progress code_interpreter_call.interpreting")
            | named("code_interpreter_call.completed image_generation_call.in_progress")
            | named("image_generation_call.generating image_generation_call.completed")
            | named("mcp_list_tools.in_progress mcp_list_tools.completed mcp_list_tools.failed")
            | named("mcp_call.in_progress mcp_call.completed mcp_call.failed"),
        ),
    ],
)
def test_families_have_their_members(family: type[Event], names: set[str]) -> None:
    assert concrete(family) == names


def test_every_event_is_of_an_item_unless_it_says_otherwise() -> None:
    others = concrete(ResponseEvent) | concrete(SteerEvent) | concrete(InjectEvent)
    others |= named("audio.delta audio.done audio.transcript.delta audio.transcript.done")
    others |= {"error", "keepalive", "codex.rate_limits", "codex.response.metadata"}
    assert concrete(ItemEvent) == set(EVENTS) - others


def test_terminal_types_are_the_three_that_end_a_response() -> None:
    assert named("completed incomplete failed") == TERMINAL_TYPES


def test_the_reference_delta() -> None:
    event = OutputTextDelta.model_validate_json(
        '{"type":"response.output_text.delta","sequence_number":5,"item_id":"msg_1","output_index":0,'
        '"content_index":0,"delta":" word","logprobs":[{"token":" word","logprob":-0.5}],"obfuscation":"abc"}'
    )
    assert (event.delta, event.sequence_number, event.output_index, event.content_index) == (" word", 5, 0, 0)
    assert event.logprobs[0].logprob == -0.5
    assert "obfuscation" not in event.model_dump_json()


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"error": {"code": "c", "message": "m", "param": "p", "type": "t"}}, ("c", "m", "p", "t")),
        ({"code": "c", "message": "m", "param": "p"}, ("c", "m", "p", None)),
        ({"error": {"code": None, "message": "nested"}, "code": "c", "message": "flat"}, ("c", "nested", None, None)),
        ({"error": "just text"}, (None, "just text", None, None)),
        ({"error": {"code": 429, "message": "slow down"}, "status": 429}, (429, "slow down", None, None)),
        ({"error": {"code": 0}, "code": 1}, (0, None, None, None)),
        ({"error": None, "message": "flat"}, (None, "flat", None, None)),
        ({"type": "error", "error": [], "message": "flat"}, (None, "[]", None, None)),
        ({"status": "odd", "message": {"en": "no"}, "code": 1.5}, ("1.5", "{'en': 'no'}", None, None)),
        ({}, (None, None, None, None)),
    ],
)
def test_an_error_has_one_detail_whatever_its_form(
    payload: dict[str, JsonValue], expected: tuple[str | int | None, ...]
) -> None:
    detail = ErrorEvent.model_validate_json(json.dumps(payload)).detail
    assert (detail.code, detail.message, detail.param, detail.type) == expected


def test_an_error_keeps_the_headers_and_what_it_does_not_know() -> None:
    payload = {"error": {"headers": {"retry-after": "3"}, "hint": "wait"}, "message": "flat", "stream_id": "lane"}
    event = ErrorEvent.model_validate(payload)
    assert event.detail.headers == {"retry-after": "3"}
    assert event.detail.model_extra == {"hint": "wait"}
    assert event.stream_id == "lane"
    assert event.error == ErrorDetail.model_validate(payload["error"])


def test_an_item_may_be_missing_or_unknown() -> None:
    assert OutputItemAdded.model_validate({"item": None}).item is None
    assert OutputItemDone.model_validate({"item": {"type": "new"}}).item == UnknownItem(type="new")
    assert OutputItemDone.model_validate({"item": {"type": "message", "content": None}}).item == Message()


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (None, None),
        ({"type": "file_path", "file_id": "f"}, FilePath(file_id="f")),
        ({"type": "footnote"}, UnknownAnnotation(type="footnote")),
    ],
)
def test_an_annotation_may_be_missing_or_unknown(annotation: JsonValue, expected: object) -> None:
    assert OutputTextAnnotationAdded.model_validate({"annotation": annotation}).annotation == expected


def test_null_lists_are_empty() -> None:
    assert OutputTextDelta.model_validate({"delta": "x", "logprobs": None}).logprobs == []
    assert SteerPending.model_validate({"steer": {}, "required_input": None}).required_input == []


def test_a_response_within_an_event_is_read_leniently() -> None:
    event = ResponseCompleted.model_validate({"response": {"id": "r", "output": None, "copilot_usage": 1}})
    assert event.response.output == []
    assert event.response.model_extra == {"copilot_usage": 1}


@pytest.mark.parametrize(
    "event",
    [
        UnknownEvent(type="vendor:event", sequence_number=3, data={"type": "vendor:event", "x": [1]}),
        InvalidEvent(type="response.created", raw=b"{", error="not JSON"),
        InvalidEvent(type="", raw=b"[1]", error="not an object", data=[1]),
        DoneSentinel(),
    ],
)
def test_local_events_are_events_without_a_wire_name(event: Event) -> None:
    assert type(event) not in EVENTS.values()
    assert event.model_dump()["type"] == event.type


def test_a_keepalive_carries_only_its_number() -> None:
    event = Keepalive.model_validate_json('{"type":"keepalive","sequence_number":9}')
    assert event.model_dump(exclude_unset=True) == {"type": "keepalive", "sequence_number": 9}


def recorded_payloads(path: Path) -> Iterator[tuple[str, bytes]]:
    for frame in Decoder().feed(path.read_bytes()):
        if frame.data != b"[DONE]":
            data = json.loads(frame.data)
            yield data.get("type") or frame.event, frame.data


@needs_shared_data
@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_every_recorded_event_validates(path: Path) -> None:
    known = [(EVENTS[name], data) for name, data in recorded_payloads(path) if name in EVENTS]
    for event, data in known:
        event.model_validate_json(data)
    assert known


@needs_shared_data
def test_the_recordings_hold_what_they_are_believed_to_hold() -> None:
    names = [name for path in RECORDINGS for name, _ in recorded_payloads(path)]
    assert len(names) > 15_000
    assert set(names) <= set(EVENTS)
