"""Events folded into a response: what valid streams add up to, what odd ones leave behind, and what it costs."""

import json
import sys
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from streamkit import events as ev
from streamkit.accumulator import MAX_ANOMALIES, Accumulator
from streamkit.codec import decode
from streamkit.items import FunctionCall, Message, OutputText, Reasoning
from streamkit.response import Response
from streamkit.sse import Frame
from tests.strategies import STREAMS, Data, Stream, damaged_streams, events_of, without

TERMINAL = (".completed", ".incomplete", ".failed")


def fold(stream: Stream) -> Accumulator:
    return fold_events(events_of({"sequence_number": number, **data} for number, data in enumerate(stream)))


def fold_events(events: list[ev.Event]) -> Accumulator:
    accumulator = Accumulator()
    for event in events:
        accumulator.add(event)
    return accumulator


def anomalies(accumulator: Accumulator) -> list[tuple[str, str]]:
    return [(anomaly.kind, anomaly.event.removeprefix("response.")) for anomaly in accumulator.anomalies]


def terminal(stream: Stream) -> Response | None:
    last = events_of(stream[-1:])[0]
    return last.response if isinstance(last, ev.TerminalEvent) else None


def grown_texts(response: Response) -> list[JsonValue]:
    """All that deltas build, in the order of the output."""
    fields = {"arguments", "input", "code", "text", "refusal", "diff", "commands", "stdout", "stderr"}

    def collect(value: JsonValue) -> list[JsonValue]:
        match value:
            case dict():
                found = [value[name] for name in sorted(fields & value.keys()) if value[name]]
                return [*found, *(text for name in sorted(value) for text in collect(value[name]))]
            case list():
                return [text for element in value for text in collect(element)]
            case _:
                return []

    return [text for item in response.output for text in collect(item.model_dump(mode="json"))]


def test_before_the_first_event_there_is_an_empty_response() -> None:
    accumulator = Accumulator()
    assert accumulator.snapshot() == Response()
    assert (accumulator.text, accumulator.response_id, accumulator.anomalies) == ("", None, ())


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS.keys())
class TestValidStreams:
    def test_without_its_terminal_event_it_adds_up_to_the_same_output(self, stream: Stream) -> None:
        whole = terminal(stream)
        accumulator = fold(stream if whole is None else stream[:-1])
        assert accumulator.snapshot().output == (whole.output if whole else [])
        assert accumulator.anomalies == ()

    def test_without_done_items_its_texts_are_the_same(self, stream: Stream) -> None:
        whole = terminal(stream)
        accumulator = fold([data for data in stream if data["type"] not in _ENDS_OF_ITEMS])
        assert grown_texts(accumulator.snapshot()) == (grown_texts(whole) if whole else [])

    def test_of_deltas_alone_its_texts_are_the_same(self, stream: Stream) -> None:
        whole = terminal(stream)
        accumulator = fold(without(stream, "text.done", "part.done", "item.done", "arguments.done", *TERMINAL))
        assert accumulator.text == (whole.output_text if whole else "")

    def test_the_terminal_response_is_the_result(self, stream: Stream) -> None:
        whole = terminal(stream)
        accumulator = fold(stream)
        assert whole is None or accumulator.snapshot() == whole
        assert accumulator.text == accumulator.snapshot().output_text
        assert accumulator.response_id == stream[0]["response"]["id"]
        assert accumulator.anomalies == ()

    def test_text_is_at_any_time_that_of_the_snapshot(self, stream: Stream) -> None:
        accumulator, shown = Accumulator(), ""
        for event in events_of(stream):
            accumulator.add(event)
            assert accumulator.text == accumulator.snapshot().output_text
            assert accumulator.text.startswith(shown)
            shown = accumulator.text


_ENDS_OF_ITEMS = {"response.output_item.done", "response.completed", "response.incomplete", "response.failed"}


@given(damaged_streams())
@settings(max_examples=200, deadline=None)
def test_no_stream_however_damaged_raises(stream: Stream) -> None:
    accumulator = Accumulator()
    for number, event in enumerate(events_of(stream)):
        accumulator.add(event)
        if number % 10 == 0:
            assert accumulator.text == accumulator.snapshot().output_text
    response = accumulator.snapshot()
    assert accumulator.text == response.output_text
    assert response.model_dump_json()
    assert len(accumulator.anomalies) == min(accumulator.anomaly_count, MAX_ANOMALIES)


def message(**fields: JsonValue) -> Data:
    return {"type": "message", "id": "msg", **fields}


def text_part(text: str = "", **fields: JsonValue) -> Data:
    return {"type": "output_text", "text": text, **fields}


def summary_part(text: str = "") -> Data:
    return {"type": "summary_text", "text": text}


def event(name: str, **fields: JsonValue) -> Data:
    return {"type": f"response.{name}", **fields}


def added(index: int | None = 0, item: JsonValue = None) -> Data:
    return event("output_item.added", item=item, output_index=index)


def done(index: int | None = 0, item: JsonValue = None) -> Data:
    return event("output_item.done", item=item, output_index=index)


def delta(text: str, **place: JsonValue) -> Data:
    return event("output_text.delta", delta=text, **({"output_index": 0, "content_index": 0} | place))


def bare_delta(text: str, kind: str = "output_text", **place: JsonValue) -> Data:
    return event(f"{kind}.delta", delta=text, **place)


ANNOTATION: Data = {"type": "url_citation", "url": "u"}
SECOND_ANNOTATION: Data = {"type": "url_citation", "url": "v"}
PART_PLACE: Data = {"output_index": 0, "content_index": 0}
MESSAGE_ADDED = added(item=message())
PART_ADDED = event("content_part.added", part=text_part(), **PART_PLACE)

# The stream, the output it adds up to, and what was odd about it.
STREAM_TO_OUTPUT: dict[str, tuple[Stream, list[Data], list[tuple[str, str]]]] = {
    "deltas of an item and a part never announced": (
        [delta("a", item_id="x"), delta("b")],
        [message(id="x", status="in_progress", content=[text_part("ab")])],
        [("item_not_announced", "output_text.delta"), ("part_not_announced", "output_text.delta")],
    ),
    "deltas of a part never announced": (
        [MESSAGE_ADDED, delta("a"), delta("b")],
        [message(content=[text_part("ab")])],
        [("part_not_announced", "output_text.delta")],
    ),
    "a refusal never announced": (
        [MESSAGE_ADDED, bare_delta("no", "refusal", **PART_PLACE)],
        [message(content=[{"type": "refusal", "refusal": "no"}])],
        [("part_not_announced", "refusal.delta")],
    ),
    "a summary never announced": (
        [
            added(item={"type": "reasoning"}),
            bare_delta("hm", "reasoning_summary_text", output_index=0, summary_index=0),
        ],
        [{"type": "reasoning", "summary": [summary_part("hm")]}],
        [("part_not_announced", "reasoning_summary_text.delta")],
    ),
    "nothing but the end of a text": (
        [event("output_text.done", text="a", **PART_PLACE)],
        [{**message(id=None, status="in_progress"), "content": [text_part("a")]}],
        [("item_not_announced", "output_text.done"), ("part_not_announced", "output_text.done")],
    ),
    "nothing but the end of an item": (
        [done(item=message(content=[text_part("a")]))],
        [message(content=[text_part("a")])],
        [("item_not_announced", "output_item.done")],
    ),
    "nothing but the end of a part": (
        [event("content_part.done", part=text_part("a"), **PART_PLACE)],
        [{**message(id=None, status="in_progress"), "content": [text_part("a")]}],
        [("item_not_announced", "content_part.done")],
    ),
    "done without deltas": (
        [
            added(item={"type": "function_call", "name": "f"}),
            event("function_call_arguments.done", output_index=0, arguments="{}"),
        ],
        [{"type": "function_call", "name": "f", "arguments": "{}"}],
        [],
    ),
    "done contradicts the deltas": (
        [MESSAGE_ADDED, PART_ADDED, delta("a"), event("output_text.done", text="b", **PART_PLACE)],
        [message(content=[text_part("b")])],
        [],
    ),
    "a delta after the text was done": (
        [MESSAGE_ADDED, PART_ADDED, event("output_text.done", text="a", **PART_PLACE), delta("b"), delta("c")],
        [message(content=[text_part("a")])],
        [("late", "output_text.delta")] * 2,
    ),
    "a delta after a text that had several was done": (
        [
            MESSAGE_ADDED,
            PART_ADDED,
            *map(delta, "abc"),
            event("output_text.done", text="abc", **PART_PLACE),
            delta("d"),
        ],
        [message(content=[text_part("abc")])],
        [("late", "output_text.delta")],
    ),
    "a delta after the part was done": (
        [MESSAGE_ADDED, event("content_part.done", part=text_part("a"), **PART_PLACE), delta("b")],
        [message(content=[text_part("a")])],
        [("late", "output_text.delta")],
    ),
    "everything after the item was done": (
        [
            done(item=message(content=[text_part("a")])),
            delta("b"),
            event("output_text.done", text="b", **PART_PLACE),
            PART_ADDED,
            event("content_part.done", part=text_part("b"), **PART_PLACE),
            event("output_text.annotation.added", annotation=ANNOTATION, annotation_index=0, **PART_PLACE),
            event("shell_call_command.added", command="ls", command_index=0, output_index=0),
            event("shell_call_output_content.delta", delta={"stdout": "x"}, command_index=0, output_index=0),
            event("shell_call_output_content.done", output=[], command_index=0, output_index=0),
            event("web_search_call.searching", output_index=0),
        ],
        [message(content=[text_part("a")])],
        [
            ("item_not_announced", "output_item.done"),
            ("late", "output_text.delta"),
            ("late", "output_text.done"),
            ("late", "content_part.added"),
            ("late", "content_part.done"),
            ("late", "output_text.annotation.added"),
            ("late", "shell_call_command.added"),
            ("late", "shell_call_output_content.delta"),
            ("late", "shell_call_output_content.done"),
            ("late", "web_search_call.searching"),
        ],
    ),
    "an item announced twice": (
        [MESSAGE_ADDED, PART_ADDED, delta("a"), added(item=message(id="other")), delta("b")],
        [message(content=[text_part("ab")])],
        [("repeated", "output_item.added")],
    ),
    "a part announced twice": (
        [MESSAGE_ADDED, PART_ADDED, delta("a"), PART_ADDED, delta("b")],
        [message(content=[text_part("ab")])],
        [("repeated", "content_part.added")],
    ),
    "items that are null": ([added(), done()], [], [("empty", "output_item.added"), ("empty", "output_item.done")]),
    "an annotation that is null": (
        [MESSAGE_ADDED, PART_ADDED, event("output_text.annotation.added", annotation=None, **PART_PLACE)],
        [message(content=[text_part()])],
        [("empty", "output_text.annotation.added")],
    ),
    "gaps in the output": (
        [added(5, message(id="c")), added(2, message(id="b")), added(-1, message(id="a"))],
        [message(id="a"), message(id="b"), message(id="c")],
        [],
    ),
    "ids that change with every event": (
        [
            MESSAGE_ADDED,
            event("content_part.added", item_id="2", part=text_part(), **PART_PLACE),
            delta("a", item_id="3"),
            delta("b", item_id="4"),
            done(item=message(id="5", content=[text_part("ab")])),
        ],
        [message(id="5", content=[text_part("ab")])],
        [],
    ),
    "no indexes, but ids": (
        [
            added(None, message(id="a")),
            event("content_part.added", item_id="a", part=text_part()),
            bare_delta("1", item_id="a"),
            added(None, {"type": "function_call", "id": "b"}),
            bare_delta("{", "function_call_arguments", item_id="b"),
            bare_delta("2", item_id="a"),
            event("output_text.annotation.added", item_id="a", annotation=ANNOTATION),
            event("output_text.annotation.added", item_id="a", annotation=SECOND_ANNOTATION),
            done(None, {"type": "function_call", "id": "b", "arguments": "{}"}),
            event("content_part.added", item_id="a", part=text_part()),
            bare_delta("3", item_id="a"),
            event("content_part.done", item_id="a", part=text_part("4")),
            bare_delta("late", item_id="a"),
        ],
        [
            message(id="a", content=[text_part("12", annotations=[ANNOTATION, SECOND_ANNOTATION]), text_part("4")]),
            {"type": "function_call", "id": "b", "arguments": "{}"},
        ],
        [("late", "output_text.delta")],
    ),
    "neither indexes nor ids": (
        [
            bare_delta("hm", "reasoning_text"),
            bare_delta("m", "reasoning_text"),
            bare_delta("a"),
            bare_delta("b"),
            done(None, {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hmm!"}]}),
            bare_delta("c"),
            done(None, {"type": "message", "content": [text_part("abc")]}),
            done(None, {"type": "message", "content": [text_part("more")]}),
        ],
        [
            {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hmm!"}]},
            {"type": "message", "content": [text_part("abc")]},
            {"type": "message", "content": [text_part("more")]},
        ],
        [
            ("item_not_announced", "reasoning_text.delta"),
            ("part_not_announced", "reasoning_text.delta"),
            ("item_not_announced", "output_text.delta"),
            ("part_not_announced", "output_text.delta"),
            ("item_not_announced", "output_item.done"),
        ],
    ),
    "parts of a summary without an index": (
        [
            added(item={"type": "reasoning"}),
            event("reasoning_summary_part.added", output_index=0, part=summary_part()),
            bare_delta("a", "reasoning_summary_text", output_index=0),
            event("reasoning_summary_part.added", output_index=0, part=summary_part()),
            bare_delta("b", "reasoning_summary_text", output_index=0),
            event("reasoning_summary_part.done", output_index=0, part=summary_part("b!")),
        ],
        [{"type": "reasoning", "summary": [summary_part("a"), summary_part("b!")]}],
        [],
    ),
    "a part of a type that nothing knows": (
        [event("content_part.added", part={"type": "hologram", "x": 1}, **PART_PLACE)],
        [{**message(id=None, status="in_progress"), "content": [{"type": "hologram", "x": 1}]}],
        [("item_not_announced", "content_part.added")],
    ),
    "an item of a type that nothing knows": (
        [added(item={"type": "hologram_call", "id": "h", "x": 1}), event("web_search_call.searching", output_index=0)],
        [{"type": "hologram_call", "id": "h", "x": 1, "status": "searching"}],
        [],
    ),
    "progress of a tool never announced": (
        [event("mcp_list_tools.failed", output_index=0, item_id="m")],
        [{"type": "mcp_list_tools", "id": "m", "status": "failed"}],
        [("item_not_announced", "mcp_list_tools.failed")],
    ),
    "shell output without indexes": (
        [
            event("shell_call_output_content.delta", delta={"stdout": "a", "stderr": "b"}),
            event("shell_call_output_content.delta", delta={"stdout": "c", "stderr": None}),
        ],
        [{"type": "shell_call_output", "status": "in_progress", "output": [{"stdout": "ac", "stderr": "b"}]}],
        [("item_not_announced", "shell_call_output_content.delta")],
    ),
    "arguments for a message": (
        [MESSAGE_ADDED, bare_delta("{}", "function_call_arguments", output_index=0)],
        [message(arguments="{}")],
        [],
    ),
    "a patch whose operation is missing": (
        [added(item={"type": "apply_patch_call"}), bare_delta("+x", "apply_patch_call_operation_diff", output_index=0)],
        [{"type": "apply_patch_call", "operation": {"diff": "+x"}}],
        [],
    ),
    "deltas that belong to no item": (
        [event("audio.delta", delta="AAAA"), event("audio.transcript.delta", delta="a"), event("audio.done")],
        [],
        [],
    ),
    "what nothing knows, and what says nothing": (
        [{"type": "vendor:thing"}, {"type": "keepalive"}, {"type": "error", "message": "m"}],
        [],
        [],
    ),
    "an invalid event": ([event("output_text.delta", output_index=0)], [], [("invalid", "output_text.delta")]),
}


@pytest.mark.parametrize(("stream", "expected", "odd"), STREAM_TO_OUTPUT.values(), ids=STREAM_TO_OUTPUT.keys())
def test_an_odd_stream_adds_up(stream: Stream, expected: list[Data], odd: list[tuple[str, str]]) -> None:
    accumulator = fold(stream)
    items = Response.model_validate({"output": expected}).output
    assert accumulator.snapshot().output == items
    assert anomalies(accumulator) == odd
    assert accumulator.text == accumulator.snapshot().output_text


def started(number: int = 0, **response: JsonValue) -> Data:
    return event("created" if number == 0 else "in_progress", response={"id": "r", "status": "in_progress", **response})


def ended(name: str = "completed", **response: JsonValue) -> Data:
    return event(name, response={"id": "r", "status": name, **response})


ITEM = message(content=[text_part("a")])
STREAMED = [started(output=[]), MESSAGE_ADDED, PART_ADDED, delta("a"), done(item=ITEM)]

# The stream, the response it ends with, and what was odd about it.
STREAM_TO_RESPONSE: dict[str, tuple[Stream, Data, list[tuple[str, str]]]] = {
    "the terminal output is null": ([*STREAMED, ended(output=None)], {"status": "completed", "output": [ITEM]}, []),
    "the terminal output is empty": ([*STREAMED, ended(output=[])], {"status": "completed", "output": [ITEM]}, []),
    "the terminal output is missing": ([*STREAMED, ended()], {"status": "completed", "output": [ITEM]}, []),
    "a failure leaves what came before it": (
        [*STREAMED[:-1], ended("failed", output=[], error={"code": "c"})],
        {"status": "failed", "error": {"code": "c"}, "output": [ITEM]},
        [],
    ),
    "nothing but the end": ([ended(output=[ITEM])], {"status": "completed", "output": [ITEM]}, []),
    "an end without anything": ([ended()], {"status": "completed", "output": []}, []),
    "the terminal output contradicts what came": (
        [*STREAMED, ended(output=[message(content=[text_part("b")])])],
        {"status": "completed", "output": [message(content=[text_part("b")])]},
        [("text_differs", "completed")],
    ),
    "two ends": (
        [*STREAMED, ended(), ended("failed"), delta("b"), MESSAGE_ADDED, started(1), {"type": "keepalive"}],
        {"status": "completed", "output": [ITEM]},
        [
            ("late", "failed"),
            ("late", "output_text.delta"),
            ("late", "output_item.added"),
            ("late", "in_progress"),
        ],
    ),
    "a snapshot in between replaces what came": (
        [
            *STREAMED,
            started(1, output=[message(content=[text_part("abc")]), {"type": "function_call", "id": "fc"}]),
            delta("d"),
            bare_delta("{}", "function_call_arguments", item_id="fc"),
        ],
        {
            "status": "in_progress",
            "output": [
                message(content=[text_part("abcd")]),
                {"type": "function_call", "id": "fc", "arguments": "{}"},
            ],
        },
        [],
    ),
    "a snapshot in between without output replaces nothing": (
        [*STREAMED, started(1, model="m")],
        {"status": "in_progress", "model": "m", "output": [ITEM]},
        [],
    ),
    "an end that is invalid but for some fields": (
        [*STREAMED, ended(created_at="then", output=[])],
        {"status": "completed", "output": [ITEM]},
        [("invalid", "completed")],
    ),
    "an end whose output is invalid": (
        [*STREAMED, ended(output="gone", usage={"input_tokens": "many"})],
        {"status": "completed", "output": [ITEM]},
        [("invalid", "completed")],
    ),
    "an end without a response": (
        [*STREAMED, event("completed")],
        {"status": "in_progress", "output": [ITEM]},
        [("invalid", "completed")],
    ),
    "a start that is invalid but for some fields": (
        [started(created_at="then"), started(1, model=5)],
        {"status": "in_progress", "output": []},
        [("invalid", "created"), ("invalid", "in_progress")],
    ),
}


@pytest.mark.parametrize(("stream", "expected", "odd"), STREAM_TO_RESPONSE.values(), ids=STREAM_TO_RESPONSE.keys())
def test_an_odd_stream_has_a_response(stream: Stream, expected: Data, odd: list[tuple[str, str]]) -> None:
    accumulator = fold(stream)
    assert accumulator.snapshot() == Response.model_validate({"id": "r", **expected})
    assert anomalies(accumulator) == odd


@pytest.mark.parametrize("data", [b"not JSON", b'"x"'])
def test_an_end_that_is_not_even_an_object_still_ends(data: bytes) -> None:
    end = decode(Frame("response.completed", data))
    accumulator = fold_events([*events_of(STREAMED), end, *events_of([delta("late")])])
    assert accumulator.snapshot().output == [Message.model_validate(ITEM)]
    assert fold_events([end]).snapshot() == Response()


def test_a_start_that_is_not_an_object_starts_nothing() -> None:
    accumulator = fold_events([decode(Frame("response.created", b"[]"))])
    assert accumulator.response_id is None


def test_events_made_by_hand_are_as_good_as_those_of_the_wire() -> None:
    accumulator = fold_events(
        [
            ev.ResponseCreated(response=Response(id="r")),
            ev.OutputItemAdded(output_index=0, item=Message(id="m")),
            ev.ContentPartAdded(output_index=0, content_index=0, part=OutputText()),
            ev.OutputTextDelta(output_index=0, content_index=0, delta="a"),
            ev.OutputItemAdded(output_index=1, item=Reasoning()),
            ev.OutputItemAdded(output_index=2, item=FunctionCall(name="f")),
            ev.FunctionCallArgumentsDelta(output_index=2, delta="{}"),
        ]
    )
    assert accumulator.snapshot() == Response(
        id="r",
        output=[Message(id="m", content=[OutputText(text="a")]), Reasoning(), FunctionCall(name="f", arguments="{}")],
    )


def test_a_snapshot_does_not_change_as_the_response_grows() -> None:
    accumulator = fold([MESSAGE_ADDED, PART_ADDED, delta("a")])
    snapshot = accumulator.snapshot()
    accumulator.add(events_of([delta("b")])[0])
    assert (snapshot.output_text, accumulator.text) == ("a", "ab")


def test_data_nested_as_deeply_as_the_codec_lets_pass_does_no_harm() -> None:
    deep = json.loads("[" * 150 + "]" * 150)
    accumulator = fold([added(item=message(deep=deep)), delta("a")])
    (item,) = accumulator.snapshot().output
    assert isinstance(item, Message)
    assert (item.model_extra, accumulator.text) == ({"deep": deep}, "a")


def test_only_the_first_anomalies_are_kept_and_all_are_counted() -> None:
    accumulator = fold([added()] * (MAX_ANOMALIES + 5))
    assert (len(accumulator.anomalies), accumulator.anomaly_count) == (MAX_ANOMALIES, MAX_ANOMALIES + 5)
    assert accumulator.anomalies[3].sequence_number == 3


@given(st.lists(st.tuples(st.sampled_from([(0, 0), (0, 1), (1, 0)]), st.text(max_size=3), st.booleans())))
def test_the_deltas_of_several_texts_may_come_in_any_order(deltas: list[tuple[tuple[int, int], str, bool]]) -> None:
    stream = [MESSAGE_ADDED, added(1, message())]
    for (output_index, content_index), text, is_interrupted in deltas:
        stream.append(bare_delta(text, output_index=output_index, content_index=content_index))
        stream += [event("in_progress", response={"id": "resp_1"})] if is_interrupted else []
    by_part = [
        "".join(text for place, text, _ in deltas if place == part) for part in sorted({place for place, *_ in deltas})
    ]
    assert fold(stream).text == "".join(by_part)


def calls_while_adding(accumulator: Accumulator, events: list[ev.Event]) -> Counter[str]:
    calls: Counter[str] = Counter()

    def count(frame: Any, kind: str, argument: Any) -> None:
        if kind in ("call", "c_call"):
            calls[frame.f_code.co_name if kind == "call" else argument.__name__] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    for one in events:
        accumulator.add(one)
    sys.setprofile(before)
    return calls


@pytest.mark.parametrize("place", [PART_PLACE, {"item_id": "msg"}], ids=["by index", "by id"])
def test_a_delta_costs_the_same_however_long_the_answer_is(place: Data) -> None:
    accumulator = fold([MESSAGE_ADDED, PART_ADDED, bare_delta("first ", **place), bare_delta("second ", **place)])
    thousand = events_of([bare_delta("word ", **place)]) * 1000
    early = calls_while_adding(accumulator, thousand)
    for one in thousand * 20:
        accumulator.add(one)
    late = calls_while_adding(accumulator, thousand)
    assert early == late
    assert early["append"] == 1000
    assert "join" not in early
    assert accumulator.text == "first second " + "word " * 22_000


def test_annotations_cost_the_same_however_many_there_are() -> None:
    accumulator = fold([MESSAGE_ADDED, PART_ADDED])
    announced = events_of(
        event("output_text.annotation.added", annotation=ANNOTATION, annotation_index=index, **PART_PLACE)
        for index in range(2000)
    )
    early = calls_while_adding(accumulator, announced[:1000])
    assert calls_while_adding(accumulator, announced[1000:]).total() <= early.total()
    (item,) = accumulator.snapshot().output
    assert isinstance(item, Message)
    assert isinstance(item.content[0], OutputText)
    assert len(item.content[0].annotations) == 2000


def test_the_streams_of_this_file_show_every_delta_that_has_a_place() -> None:
    shown = {data["type"] for stream in STREAMS.values() for data in stream}
    deltas = {name for name, model in ev.EVENTS.items() if issubclass(model, ev.DeltaEvent)}
    assert deltas - shown == {"response.audio.delta", "response.audio.transcript.delta"}
