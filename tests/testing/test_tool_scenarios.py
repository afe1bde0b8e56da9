"""The scenarios that call tools: what they call, what they do with the outputs, and what forbids or forces a call."""

import json
from typing import Any

import pytest

from streamkit.testing.scenarios import play
from tests.testing.laws import LAWS

WEATHER = {
    "type": "function",
    "name": "look_up_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 3}},
        "required": ["city", "days"],
    },
}
TIME = {"type": "function", "name": "tell_time", "parameters": None}
QUERY = {"type": "custom", "name": "run_query"}
ASKED = {"input": "What is the weather?", "tools": [WEATHER, TIME]}
CALL = {"type": "function_call", "call_id": "call_1", "name": "look_up_weather", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "12 degrees and rain"}
CUSTOM_OUTPUT = {"type": "custom_tool_call_output", "call_id": "call_2", "output": [{"text": "3 rows"}]}
USER = {"role": "user", "content": "What is the weather?"}
ANSWER = {"role": "assistant", "content": [{"type": "output_text", "text": "It rains."}]}
SCHEMA = {"type": "object", "properties": {"degrees": {"type": "integer"}}, "required": ["degrees"]}
CALLERS = ["function-call", "parallel-function-calls", "custom-tool-call"]


def output(name: str, request: dict[str, Any]) -> list[dict[str, Any]]:
    events = play(name, request)
    for law in LAWS:
        law(events)
    return events[-1]["response"]["output"]


def types(items: list[dict[str, Any]]) -> list[str]:
    return [item["type"] for item in items]


def called(items: list[dict[str, Any]]) -> list[tuple[str, object]]:
    return [
        (call["name"], json.loads(call["arguments"]) if call["type"] == "function_call" else call["input"])
        for call in items
    ]


def text(items: list[dict[str, Any]]) -> str:
    return items[-1]["content"][0]["text"]


@pytest.mark.parametrize(
    ("request_body", "call"),
    [
        ({}, ("get_weather", {"location": "Paris"})),
        (ASKED, ("look_up_weather", {"city": "Paris", "days": 3})),
        ({"input": "How many?", "tools": [QUERY]}, ("run_query", "How many?")),
        ({"tools": [{"type": "web_search"}, TIME]}, ("tell_time", {})),
        ({**ASKED, "tool_choice": "required"}, ("look_up_weather", {"city": "Paris", "days": 3})),
        ({**ASKED, "tool_choice": {"type": "function", "name": "tell_time"}}, ("tell_time", {})),
        (
            {"tools": [WEATHER, QUERY], "tool_choice": {"type": "custom", "name": "run_query"}},
            ("run_query", "example input of run_query"),
        ),
        (
            {**ASKED, "tool_choice": {"type": "allowed_tools", "tools": [{"type": "function", "name": "tell_time"}]}},
            ("tell_time", {}),
        ),
    ],
)
def test_function_call_calls_the_right_tool(request_body: dict[str, Any], call: tuple[str, object]) -> None:
    assert called(output("function-call", request_body)) == [call]


@pytest.mark.parametrize(
    ("request_body", "names"),
    [
        ({}, ["get_weather", "get_weather"]),
        ({"tools": [WEATHER]}, ["look_up_weather", "look_up_weather"]),
        (ASKED, ["look_up_weather", "tell_time"]),
        ({"tools": [WEATHER, QUERY]}, ["look_up_weather", "run_query"]),
        ({"tools": [WEATHER, TIME] * 4}, ["look_up_weather", "tell_time", "look_up_weather"]),
        ({**ASKED, "parallel_tool_calls": False}, ["look_up_weather"]),
    ],
)
def test_parallel_calls(request_body: dict[str, Any], names: list[str]) -> None:
    calls = output("parallel-function-calls", request_body)
    assert [call["name"] for call in calls] == names
    assert len({call["call_id"] for call in calls}) == len(calls)


@pytest.mark.parametrize(
    ("request_body", "call"),
    [
        ({}, ("run_query", "SELECT name FROM rivers LIMIT 3;")),
        ({**ASKED, "tools": [WEATHER, QUERY]}, ("run_query", "What is the weather?")),
    ],
)
def test_custom_tools_are_given_free_text(request_body: dict[str, Any], call: tuple[str, str]) -> None:
    items = output("custom-tool-call", request_body)
    assert types(items) == ["custom_tool_call"]
    assert called(items) == [call]


@pytest.mark.parametrize("name", CALLERS)
@pytest.mark.parametrize(
    "items",
    [
        [OUTPUT, CUSTOM_OUTPUT],
        [USER, CALL, OUTPUT, CUSTOM_OUTPUT],
        [USER, ANSWER, CALL, OUTPUT, CUSTOM_OUTPUT],
        [OUTPUT, CUSTOM_OUTPUT, USER],
    ],
)
def test_an_answer_uses_the_outputs(name: str, items: list[dict[str, Any]]) -> None:
    (answer,) = output(name, {**ASKED, "input": items, "tool_choice": "required"})
    assert "12 degrees and rain; 3 rows" in text([answer])


@pytest.mark.parametrize("name", CALLERS)
def test_outputs_that_were_taken_up_already_are_old(name: str) -> None:
    items = output(name, {**ASKED, "input": [USER, CALL, OUTPUT, ANSWER, USER]})
    assert set(types(items)) <= {"function_call", "custom_tool_call"}


@pytest.mark.parametrize("name", [*CALLERS, "mcp"])
def test_nothing_is_called_where_the_choice_is_none(name: str) -> None:
    assert types(output(name, {**ASKED, "tool_choice": "none"})) == ["message"]


@pytest.mark.parametrize(
    ("name", "request_body"),
    [
        ("function-call", {"input": [OUTPUT]}),
        ("function-call", {"tool_choice": "none"}),
        ("mcp", {}),
        ("mcp", {"input": [{"type": "mcp_approval_response", "approve": False}]}),
    ],
)
def test_an_answer_follows_the_format(name: str, request_body: dict[str, Any]) -> None:
    request = {**request_body, "text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}}
    assert json.loads(text(output(name, request))) == {"degrees": 1}


def server(**fields: Any) -> dict[str, Any]:
    return {"tools": [{"type": "mcp", "server_label": "casino", "server_url": "https://example.com/mcp", **fields}]}


@pytest.mark.parametrize("policy", [None, "never", {"never": {"tool_names": ["roll"]}}, {"always": {"tool_names": []}}])
def test_mcp_calls_at_once_where_it_may(policy: object) -> None:
    items = output("mcp", server(require_approval=policy))
    assert types(items) == ["mcp_list_tools", "mcp_call", "message"]
    assert {item["server_label"] for item in items[:2]} == {"casino"}
    assert items[1]["approval_request_id"] is None


@pytest.mark.parametrize("policy", ["always", {"always": {"tool_names": ["roll"]}}])
def test_mcp_asks_for_approval_where_it_must(policy: object) -> None:
    listed, asked = output("mcp", server(require_approval=policy))
    assert listed["tools"][0]["name"] == asked["name"] == "roll"
    assert (asked["type"], asked["server_label"]) == ("mcp_approval_request", "casino")
    assert json.loads(asked["arguments"]) == {"expression": "2d6+1"}


@pytest.mark.parametrize("before", [[], [USER, {"type": "mcp_approval_request", "id": "mcpr_1"}]])
@pytest.mark.parametrize(
    ("approve", "left"), [(True, ["mcp_call", "message"]), (False, ["message"]), (None, ["message"])]
)
def test_mcp_calls_what_was_approved(before: list[Any], approve: bool | None, left: list[str]) -> None:
    response = {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": approve}
    items = output("mcp", {"input": [*before, response], **server(require_approval="always")})
    assert types(items) == left
    if approve:
        assert items[0]["approval_request_id"] == "mcpr_1"
