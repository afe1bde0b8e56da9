"""Which call a piece belongs to, with servers that index, reuse, rotate or forget."""

from typing import Any

import pytest

from streamkit import events as ev
from streamkit.items import CustomToolCall
from tests.chat.support import DONE, call, chunk, decoded, folded

Delta = dict[str, Any]
Call = tuple[str, str, str]

ONE = [("c1", "f", '{"a":1}')]
TWO = [("c1", "f", '{"a":1}'), ("c2", "g", '{"b":2}')]

CALLS: dict[str, tuple[list[Delta], list[Call]]] = {
    "the common shape": (
        [call("", name="f", index=0, id="c1"), call('{"a":', index=0), call("1}", index=0)],
        ONE,
    ),
    "in one piece": ([call('{"a":1}', name="f", index=0, id="c1")], ONE),
    "two, one after the other": (
        [call("", name="f", index=0, id="c1"), call('{"a":1}', index=0), call('{"b":2}', name="g", index=1, id="c2")],
        TWO,
    ),
    "two, in turns": (
        [
            call("", name="f", index=0, id="c1"),
            call("", name="g", index=1, id="c2"),
            call('{"a":', index=0),
            call('{"b":', index=1),
            call("1}", index=0),
            call("2}", index=1),
        ],
        TWO,
    ),
    "two in one chunk": (
        [
            {
                "tool_calls": [
                    {"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"a":1}'}},
                    {"index": 1, "id": "c2", "function": {"name": "g", "arguments": '{"b":2}'}},
                ]
            }
        ],
        TWO,
    ),
    "one index for all, with ids": (
        [call('{"a":1}', name="f", index=0, id="c1"), call('{"b":2}', name="g", index=0, id="c2")],
        TWO,
    ),
    "one index for all, with ids, of one function": (
        [call("1", name="f", index=0, id="c1"), call("2", name="f", index=0, id="c2")],
        [("c1", "f", "1"), ("c2", "f", "2")],
    ),
    "a new id with every piece": (
        [call('{"a"', name="f", index=0, id="c1"), call(":1", index=0, id="c1b"), call("}", index=0, id="c1c")],
        ONE,
    ),
    "the name again with every piece": (
        [call('{"a"', name="f", index=0, id="c1"), call(":1}", name="f", index=0)],
        ONE,
    ),
    "the name and the id again": (
        [call('{"a"', name="f", index=0, id="c1"), call(":1}", name="f", index=0, id="c1")],
        ONE,
    ),
    "no index, but ids": (
        [call('{"a":', name="f", id="c1"), call('{"b":2}', name="g", id="c2"), call("1}", id="c1")],
        TWO,
    ),
    "no index, and a new id with every piece": ([call('{"a":', name="f", id="c1"), call("1}", id="c1b")], ONE),
    "no index and later no id": ([call('{"a":', name="f", id="c1"), call("1}")], ONE),
    "an id first, the name later": ([call(index=0, id="c1"), call('{"a":1}', name="f", index=0)], ONE),
    "the name after the arguments": ([call('{"a":', index=0, id="c1"), call("1}", name="f", index=0)], ONE),
    "an id that is a number": ([call('{"a":1}', name="f", index=0, id=7)], [("7", "f", '{"a":1}')]),
    "arguments as an object": ([call({"a": 1}, name="f", index=0, id="c1")], ONE),
    "no arguments": ([call(name="f", index=0, id="c1")], [("c1", "f", "")]),
    "no id": (
        [call("1", name="f", index=0), call("2", name="g", index=0)],
        [("call_chatcmpl_1_0", "f", "1"), ("call_chatcmpl_1_1", "g", "2")],
    ),
    "no id and no index": (
        [call("1", name="f"), call("2", name="f")],
        [("call_chatcmpl_1_0", "f", "1"), ("call_chatcmpl_1_1", "f", "2")],
    ),
    "indexes with gaps": (
        [call('{"a":1}', name="f", index=3, id="c1"), call('{"b":2}', name="g", index=7, id="c2")],
        TWO,
    ),
    "text between the pieces": (
        [call('{"a":', name="f", index=0, id="c1"), {"content": "\n"}, call("1}", index=0)],
        ONE,
    ),
    "a function call of older servers": (
        [{"function_call": {"name": "f", "arguments": ""}}, {"function_call": {"arguments": "{}"}}],
        [("call_chatcmpl_1_0", "f", "{}")],
    ),
    "an empty list of calls": ([{"tool_calls": []}], []),
}


@pytest.mark.parametrize(("deltas", "calls"), CALLS.values(), ids=CALLS.keys())
def test_pieces_come_together_as_calls(deltas: list[Delta], calls: list[Call]) -> None:
    response = folded([*map(chunk, deltas), chunk(finish="tool_calls"), DONE])
    assert [(each.call_id, each.name, each.arguments) for each in response.function_calls] == calls


@pytest.mark.parametrize(("deltas", "calls"), CALLS.values(), ids=CALLS.keys())
def test_deltas_add_up_to_what_is_done(deltas: list[Delta], calls: list[Call]) -> None:
    events = decoded([*map(chunk, deltas), DONE])
    done = {event.output_index: event.arguments for event in events if isinstance(event, ev.FunctionCallArgumentsDone)}
    told = dict.fromkeys(done, "")
    for event in events:
        if isinstance(event, ev.FunctionCallArgumentsDelta):
            told[event.output_index] += event.delta
    assert told == done
    assert list(done.values()) == [arguments for _, _, arguments in calls]


def test_a_call_is_announced_with_its_name() -> None:
    events = decoded([chunk(call(index=0, id="c1")), chunk(call(name="f", index=0)), chunk(call("{}", index=0)), DONE])
    added = next(event for event in events if isinstance(event, ev.OutputItemAdded))
    assert (added.item and added.item.type, getattr(added.item, "name", None)) == ("function_call", "f")


def test_a_custom_tool_gets_its_input_as_text() -> None:
    pieces = [
        {"index": 0, "id": "c1", "type": "custom", "custom": {"name": "sql", "input": ""}},
        {"index": 0, "custom": {"input": "select "}},
        {"index": 0, "custom": {"input": "1"}},
    ]
    frames = [chunk({"tool_calls": [piece]}) for piece in pieces]
    (item,) = folded([*frames, DONE]).output
    assert isinstance(item, CustomToolCall)
    assert (item.call_id, item.name, item.input) == ("c1", "sql", "select 1")
    deltas = [event.delta for event in decoded(frames) if isinstance(event, ev.CustomToolCallInputDelta)]
    assert deltas == ["select ", "1"]
