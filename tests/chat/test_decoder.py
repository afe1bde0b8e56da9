"""Frames of a chat to events: the sequence, the endings, and laws that hold for any chunks and for every recording."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai._models import construct_type
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from streamkit import events as ev
from streamkit.accumulator import Accumulator
from streamkit.chat import ChatChunk, ChatDecoder
from streamkit.items import FunctionCall, Message, Reasoning
from streamkit.response import Response
from streamkit.sse import Decoder, Frame
from tests.chat.support import DONE, HEAD, USAGE, call, chunk, decoded, folded, frame, names
from tests.paths import SHARED_DATA, needs_shared_data

HELLO = [chunk({"role": "assistant", "content": ""}), chunk({"content": "Hel"}), chunk({"content": "lo"})]
STOP = chunk(finish="stop")


def test_a_text_comes_in_the_sequence_of_responses() -> None:
    events = decoded([*HELLO, STOP, frame({**HEAD, "choices": [], "usage": USAGE}), DONE])
    assert names(events) == [
        *("created", "in_progress", "output_item.added", "content_part.added"),
        *("output_text.delta", "output_text.delta", "[DONE]"),
        *("output_text.done", "content_part.done", "output_item.done", "completed"),
    ]
    made = [event for event in events if not isinstance(event, ChatChunk | ev.DoneSentinel)]
    assert [event.sequence_number for event in made] == list(range(len(made)))


def test_a_call_comes_in_the_sequence_of_responses() -> None:
    first = call("", name="f", index=0, id="c1")
    events = decoded([chunk(first), chunk(call('{"a":', index=0)), chunk(call("1}", index=0)), chunk(finish="stop")])
    assert names(events) == [
        *("created", "in_progress", "output_item.added"),
        *("function_call_arguments.delta", "function_call_arguments.delta", "function_call_arguments.done"),
        *("output_item.done", "completed"),
    ]


def test_reasoning_text_refusal_and_calls_each_have_their_place() -> None:
    deltas = [
        {"reasoning_content": "Hm."},
        {"content": "Yes"},
        {"refusal": "No"},
        call("{}", name="f", index=0, id="c1"),
        {"content": "After"},
        call("{}", name="g", index=1, id="c2"),
    ]
    response = folded([*map(chunk, deltas), chunk(finish="tool_calls"), DONE])
    assert [type(item) for item in response.output] == [Reasoning, Message, FunctionCall, Message, FunctionCall]
    assert response.output_text == "YesAfter"
    assert response.refusal == "No"
    assert [each.name for each in response.function_calls] == ["f", "g"]
    assert all(item.status == "completed" for item in response.output if not isinstance(item, Reasoning))


def test_a_text_is_closed_as_soon_as_something_else_begins() -> None:
    decoder = ChatDecoder()
    for each in HELLO:
        decoder.feed(each)
    assert "output_text.done" in names(decoder.feed(chunk(call("", name="f", index=0, id="c1"))))


def test_the_response_knows_what_the_chunks_tell() -> None:
    response = folded([*HELLO, chunk(finish="stop", service_tier="flex"), chunk(usage=USAGE), DONE])
    assert (response.id, response.model, response.created_at) == ("chatcmpl_1", "m", 1700000000)
    assert (response.object, response.status, response.service_tier) == ("response", "completed", "flex")
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (3, 5, 8)


ENDINGS: dict[str, tuple[list[Frame], str | None, str | None]] = {
    "a reason and [DONE]": ([STOP, DONE], "response.completed", None),
    "a reason, then the end of the bytes": ([STOP], "response.completed", None),
    "[DONE] without a reason": ([DONE], "response.completed", None),
    "neither": ([], None, None),
    "an empty reason": ([chunk(finish="")], None, None),
    "a reason that is no text": ([chunk(finish=["stop"])], None, None),
    "calls": ([chunk(finish="tool_calls"), DONE], "response.completed", None),
    "a reason nobody knows": ([chunk(finish="eos"), DONE], "response.completed", None),
    "too long": ([chunk(finish="length"), DONE], "response.incomplete", "max_output_tokens"),
    "too long, by Mistral": ([chunk(finish="model_length"), DONE], "response.incomplete", "max_output_tokens"),
    "filtered": ([chunk(finish="content_filter"), DONE], "response.incomplete", "content_filter"),
    "DeepSeek ran out": (
        [chunk(finish="insufficient_system_resource")],
        "response.incomplete",
        "insufficient_system_resource",
    ),
    "too long, then a proxy's stop": ([chunk(finish="length"), STOP, DONE], "response.incomplete", "max_output_tokens"),
    "a stop, then the true reason": ([STOP, chunk(finish="length")], "response.incomplete", "max_output_tokens"),
    "an error as reason": ([chunk(finish="error"), DONE], "response.failed", None),
    "an error as data": ([frame({"error": {"message": "no"}})], "response.failed", None),
    "an error, then [DONE]": ([frame({"error": {"message": "no"}}), DONE], "response.failed", None),
    "a reason, then an error": ([STOP, frame({"error": "no"})], "response.failed", None),
}


@pytest.mark.parametrize(("last", "terminal", "reason"), ENDINGS.values(), ids=ENDINGS.keys())
def test_how_a_response_ends(last: list[Frame], terminal: str | None, reason: str | None) -> None:
    events = decoded([*HELLO, *last])
    ends = [event for event in events if isinstance(event, ev.TerminalEvent)]
    assert [event.type for event in ends] == [terminal] * (terminal is not None)
    for event in ends:
        details = event.response.incomplete_details
        assert (details and details.reason) == reason
    assert folded([*HELLO, *last]).output_text == "Hello"


def test_what_is_cut_short_is_marked_incomplete() -> None:
    frames = [*HELLO, chunk(call('{"a', name="f", index=0, id="c1")), chunk(finish="length"), DONE]
    assert [item.status for item in folded(frames).output] == ["completed", "incomplete"]


ERRORS: dict[str, tuple[Frame, str | None, object]] = {
    "nested": (frame({"error": {"message": "no", "code": 429}}), "no", 429),
    "a text": (frame({"error": "no"}), "no", None),
    "vLLM's": (frame({"object": "error", "message": "no", "code": 400}), "no", 400),
    "on an event line": (Frame(event="error", data=b'{"error":{"message":"no"}}'), "no", None),
    "flat on an event line": (Frame(event="error", data=b'{"message":"no","code":"x"}'), "no", "x"),
    "in a chunk": (chunk({"content": ""}, "error", error={"code": 502, "message": "no"}), "no", 502),
    "in a chunk without choices": (frame({**HEAD, "error": {"message": "no"}}), "no", None),
}


@pytest.mark.parametrize("before", [[], HELLO], ids=["first", "later"])
@pytest.mark.parametrize(("wire", "message", "code"), ERRORS.values(), ids=ERRORS.keys())
def test_an_error_in_any_form_fails_the_response(
    before: list[Frame], wire: Frame, message: str | None, code: object
) -> None:
    events = decoded([*before, wire])
    error, failed = events[-2:]
    assert isinstance(error, ev.ErrorEvent)
    assert isinstance(failed, ev.ResponseFailed)
    assert failed.response.error is not None
    assert (failed.response.error.message, failed.response.error.code) == (message, code)
    assert (error.detail.message, error.detail.code) == (message, code)


@pytest.mark.parametrize("nothing", [None, {}, {"message": None}, False, ""], ids=repr)
def test_an_empty_error_is_none(nothing: object) -> None:
    assert folded([*HELLO, chunk(error=nothing), STOP, DONE]).status == "completed"


def test_after_the_end_frames_give_only_what_they_hold() -> None:
    decoder = ChatDecoder()
    for each in (*HELLO, STOP, DONE):
        decoder.feed(each)
    for late in (chunk({"content": "x"}), DONE, frame({"error": "no"})):
        assert len(decoder.feed(late)) == 1
    assert decoder.finish() == []


def test_a_stream_without_any_chunk_has_no_end() -> None:
    assert names(decoded([DONE])) == ["[DONE]"]
    assert decoded([]) == []


SAME_TEXT: dict[str, list[Frame]] = {
    "no choices": [frame({**HEAD, "choices": None}), frame(HEAD), frame({**HEAD, "choices": []}), *HELLO],
    "a delta that is null": [frame({**HEAD, "choices": [{"index": 0, "delta": None}]}), *HELLO],
    "a choice without a delta": [*HELLO, frame({**HEAD, "choices": [{"index": 0, "content_filter_offsets": {}}]})],
    "a choice without an index": [frame({**HEAD, "choices": [{"delta": {"content": text}}]}) for text in ("Hel", "lo")],
    "a delta of nulls": [*HELLO, chunk({"content": None, "tool_calls": None, "refusal": None, "reasoning": None})],
    "another choice": [*HELLO, frame({**HEAD, "choices": [{"index": 1, "delta": {"content": "Other"}}]})],
    "a stop with each chunk": [chunk({"content": "Hel"}, "stop"), chunk({"content": "lo"}, "stop")],
    "odd facts": [chunk({"content": "Hello"}, created="now", usage=7, model=[], service_tier={}, moderation="x")],
    "a keepalive between": [*HELLO, frame({"type": "keepalive", "sequence_number": 3})],
    "something unknown between": [*HELLO, frame({"vendor": True}), frame([1]), Frame(data=b"{"), Frame(data=b"1")],
    "content in parts": [chunk({"content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]})],
    "a type of its own": [chunk({"content": "Hello"}, type="chunk")],
}


@pytest.mark.parametrize("frames", SAME_TEXT.values(), ids=SAME_TEXT.keys())
def test_oddities_change_no_text(frames: list[Frame]) -> None:
    response = folded([*frames, STOP, DONE])
    assert (response.output_text, response.status) == ("Hello", "completed")


def test_two_choices_without_an_index_are_not_mixed() -> None:
    both = [{"delta": {"content": "Hello"}}, {"delta": {"content": "Other"}}]
    assert folded([frame({**HEAD, "choices": both}), STOP, DONE]).output_text == "Hello"


def test_the_id_is_waited_for_where_the_first_chunk_tells_none() -> None:
    first = frame({"id": "", "object": "", "model": "", "created": 0, "choices": [], "prompt_filter_results": [{}]})
    created = next(event for event in decoded([first, *HELLO]) if isinstance(event, ev.ResponseCreated))
    assert (created.response.id, created.response.model) == ("chatcmpl_1", "m")


def test_a_response_without_an_id_still_has_its_text() -> None:
    response = folded([chunk({"content": "Hello"}, id="", created=0, model="m"), STOP._replace(data=b"[DONE]")])
    assert (response.id, response.output_text, response.created_at) == (None, "Hello", None)


def test_calls_without_an_id_are_told_apart_in_a_conversation_without_ids() -> None:
    call = {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]}
    rounds = [folded([chunk(call, id="", created=at, model="m"), *HELLO[2:], STOP, DONE]) for at in (1, 2)]
    first, second = [response.function_calls[0].call_id for response in rounds]
    assert first
    assert first != second


def test_a_whole_completion_is_a_stream_of_one() -> None:
    piece = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {
        "role": "assistant",
        "content": "Hello",
        "refusal": None,
        "reasoning_content": "Hm",
        "tool_calls": [piece],
    }
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    response = folded([frame({**HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE})])
    assert [item.type for item in response.output] == ["reasoning", "message", "function_call"]
    assert (response.output_text, response.status) == ("Hello", "completed")


def test_a_message_beside_the_delta_is_not_read_twice() -> None:
    choice = {"index": 0, "delta": {"content": "Hello"}, "message": {"content": "Hello"}}
    last = {"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}
    frames = [frame({**HEAD, "choices": [each]}) for each in (choice, last)]
    assert folded(frames).output_text == "Hello"


def test_events_of_responses_come_through_and_end_the_response() -> None:
    completed = ev.ResponseCompleted(response=Response(id="resp_1"))
    frames = [*HELLO, Frame(data=completed.model_dump_json().encode()), STOP, DONE]
    assert names(decoded(frames))[-3:] == ["output_text.delta", "completed", "[DONE]"]


def test_speech_comes_as_audio_events() -> None:
    pieces = [{"id": "a", "transcript": "Hel"}, {"transcript": "lo"}, {"data": "AAAA"}, {"expires_at": 1}]
    events = decoded([*(chunk({"audio": piece}) for piece in pieces), DONE])
    assert [event.delta for event in events if isinstance(event, ev.AudioTranscriptDelta)] == ["Hel", "lo"]
    assert [event.delta for event in events if isinstance(event, ev.AudioDelta)] == ["AAAA"]
    assert names(events)[-3:] == ["audio.transcript.done", "audio.done", "completed"]


def test_log_probabilities_stay_with_their_text() -> None:
    def with_logprobs(text: str) -> Frame:
        logprobs = {"content": [{"token": text, "logprob": -1.0, "top_logprobs": []}], "refusal": None}
        return frame({**HEAD, "choices": [{"index": 0, "delta": {"content": text}, "logprobs": logprobs}]})

    events = decoded([with_logprobs("a"), with_logprobs("b"), STOP])
    deltas = [event for event in events if isinstance(event, ev.OutputTextDelta)]
    done = next(event for event in events if isinstance(event, ev.OutputTextDone))
    assert [[each.token for each in event.logprobs] for event in deltas] == [["a"], ["b"]]
    assert [each.token for each in done.logprobs] == ["a", "b"]


# -- laws --

TEXTS = st.text(max_size=4)
ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 3), st.floats(allow_nan=False), TEXTS, st.just([]), st.just({})
)
FUNCTIONS = st.fixed_dictionaries(
    {}, optional={"name": st.sampled_from(["f", "g", "", None]), "arguments": TEXTS | ODD}
)
PIECES = st.fixed_dictionaries(
    {},
    optional={
        "index": st.integers(0, 2) | st.none(),
        "id": st.sampled_from(["a", "b", "c", "", None]),
        "type": st.sampled_from(["function", "custom", None]),
        "function": FUNCTIONS | st.none(),
        "custom": st.fixed_dictionaries({}, optional={"name": TEXTS, "input": TEXTS}),
    },
)
DELTAS = st.fixed_dictionaries(
    {},
    optional={
        "content": TEXTS | ODD | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS}), max_size=2),
        "refusal": TEXTS | st.none(),
        "reasoning_content": TEXTS | ODD,
        "reasoning": TEXTS | ODD,
        "tool_calls": st.lists(PIECES, max_size=2) | ODD,
        "function_call": FUNCTIONS | st.none(),
        "annotations": st.lists(st.fixed_dictionaries({"type": TEXTS}), max_size=1) | ODD,
        "audio": st.fixed_dictionaries({}, optional={"data": TEXTS, "transcript": TEXTS}),
    },
)
CHOICES = st.fixed_dictionaries(
    {"delta": DELTAS | ODD},
    optional={
        "index": st.integers(0, 1) | st.none(),
        "finish_reason": st.sampled_from(["stop", "length", "error", "", None]) | ODD,
        "logprobs": ODD,
    },
)
CHUNKS = st.fixed_dictionaries(
    {"object": st.just("chat.completion.chunk"), "choices": st.lists(CHOICES, max_size=2) | st.none()},
    optional={"id": st.sampled_from(["x", "y", ""]) | ODD, "usage": st.just(USAGE) | ODD, "error": ODD, "model": ODD},
)
FRAMES = st.one_of(
    CHUNKS.map(frame),
    CHUNKS.map(frame),
    CHUNKS.map(frame),
    ODD.map(frame),
    st.just(DONE),
    st.binary().map(lambda data: Frame(data=data)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(FRAMES, max_size=12))
def test_any_chunks_give_a_well_formed_stream(frames: list[Frame]) -> None:
    events = [event for event in decoded(frames) if event.sequence_number is not None]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    terminal = [event for event in events if isinstance(event, ev.TerminalEvent)]
    assert terminal in ([], events[-1:])
    pairs = Counter(
        _place(event) for event in events if event.type.endswith(".added") and "annotation" not in event.type
    )
    assert all(count == 1 for count in pairs.values())
    if terminal and not isinstance(terminal[0], ev.ResponseFailed):
        closed = (ev.OutputItemDone, ev.ContentPartDone)
        assert pairs == Counter(_place(event) for event in events if isinstance(event, closed))


def _place(event: ev.Event) -> tuple[object, ...]:
    return getattr(event, "output_index", None), getattr(event, "content_index", None)


@settings(max_examples=60, deadline=None)
@given(st.lists(CHUNKS.map(frame), max_size=12))
def test_the_accumulator_finds_nothing_odd_and_loses_nothing(frames: list[Frame]) -> None:
    accumulator = Accumulator()
    events: list[ev.Event] = []
    for event in decoded([*frames, DONE]):
        accumulator.add(event)
        events.append(event)
        if isinstance(event, ev.TerminalEvent):
            break
    assert {anomaly.kind for anomaly in accumulator.anomalies} <= {"invalid"}
    told = "".join(event.delta for event in events if isinstance(event, ev.OutputTextDelta))
    assert sorted(accumulator.snapshot().output_text) == sorted(told)


# -- recordings --

RECORDINGS = sorted((SHARED_DATA / "recordings" / "chat").glob("*.sse"))


def test_recordings_are_there() -> None:
    assert not SHARED_DATA.is_dir() or len(RECORDINGS) == 50


def chunks_in(body: bytes) -> Iterator[dict[str, Any]]:
    """The chunks of a recording, read line by line: every recording has one line of data to an event."""
    for line in body.decode().splitlines():
        name, _, data = line.partition(":")
        if name == "data" and data.strip() != "[DONE]":
            yield json.loads(data)


def summary(response: Response) -> dict[str, Any]:
    usage = response.usage
    return {
        "text": response.output_text,
        "refusal": response.refusal or "",
        "calls": [(each.call_id, each.name, each.arguments) for each in response.function_calls],
        "usage": usage and (usage.input_tokens, usage.output_tokens, usage.total_tokens),
        "cut": response.status != "completed",
    }


def plain_fold(chunks: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """What the chunks of a recording add up to, by the shortest way that suffices for these recordings."""
    text = refusal = reason = ""
    calls: dict[int, list[str]] = {}
    usage = None
    for each in chunks:
        usage = each.get("usage") or each.get("x_groq", {}).get("usage") or usage
        for choice in each.get("choices", []):
            delta = choice.get("delta") or {}
            text += delta.get("content") or ""
            refusal += delta.get("refusal") or ""
            reason = choice.get("finish_reason") or reason
            for piece in delta.get("tool_calls") or []:
                told = piece["function"]
                entry = calls.setdefault(piece.get("index", len(calls)), ["", "", ""])
                for position, value in enumerate((piece.get("id"), told.get("name"), told.get("arguments"))):
                    entry[position] += value or ""
    return {
        "text": text,
        "refusal": refusal,
        "calls": [tuple(entry) for entry in calls.values()],
        "usage": usage and (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]),
        "cut": reason == "length",
    }


def official_fold(chunks: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """What the official client makes of the chunks."""
    state = ChatCompletionStreamState()
    for each in chunks:
        built = construct_type(type_=ChatCompletionChunk, value=each)
        assert isinstance(built, ChatCompletionChunk)
        state.handle_chunk(built)
    completion = state.current_completion_snapshot
    message, usage = completion.choices[0].message, completion.usage
    return {
        "text": message.content or "",
        "refusal": message.refusal or "",
        "calls": [(each.id, each.function.name, each.function.arguments or "") for each in message.tool_calls or []],
        "usage": usage and (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens),
        "cut": completion.choices[0].finish_reason == "length",
    }


# It fails on chunks without choices, a call without an index, and arguments that begin with null, and it forgets the
# usage when a chunk with the moderation follows.
OFFICIAL_CANNOT = ("5f5536", "44018e", "67b0af", "4406c1")


@needs_shared_data
@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem[-40:])
@pytest.mark.parametrize("size", [None, 7], ids=lambda size: f"in pieces of {size}" if size else "whole")
def test_recordings_come_out_as_they_are(path: Path, size: int | None) -> None:
    body = path.read_bytes()
    decoder = Decoder()
    pieces = [body[at : at + size] for at in range(0, len(body), size)] if size else [body]
    response = folded(each for piece in pieces for each in decoder.feed(piece))
    assert summary(response) == plain_fold(chunks_in(body))


@needs_shared_data
@pytest.mark.parametrize(
    "path", [path for path in RECORDINGS if not path.stem.endswith(OFFICIAL_CANNOT)], ids=lambda path: path.stem[-40:]
)
def test_recordings_come_out_as_with_the_official_client(path: Path) -> None:
    body = path.read_bytes()
    assert summary(folded(Decoder().feed(body))) == official_fold(chunks_in(body))
