"""Requests for chat completions, read as requests for responses, and those that are refused."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit.errors import UsageError
from streamkit.testing.api_error import ApiError
from streamkit.testing.chat_request import as_response_request
from streamkit.testing.checks import check_request
from streamkit.testing.scenarios import play

HELLO = {"role": "user", "content": "Hello"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
CUSTOM_CALL = {"id": "call_2", "type": "custom", "custom": {"name": "run_query", "input": "SELECT 1"}}


def read(**fields: Any) -> dict[str, Any]:
    return as_response_request({"model": "m", "messages": [HELLO], **fields})


@pytest.mark.parametrize(
    ("messages", "items"),
    [
        (
            [{"role": "system", "content": "Be brief."}, HELLO],
            [{"type": "message", "role": "system", "content": "Be brief."}, {"type": "message", **HELLO}],
        ),
        (
            [{"role": "user", "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]}],
            [{"type": "message", **HELLO}],
        ),
        (
            [
                {"role": "assistant", "content": None, "tool_calls": [CALL, CUSTOM_CALL]},
                {"role": "tool", "tool_call_id": "call_2", "content": "1"},
                {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "found"}]},
            ],
            [
                {"type": "function_call", "call_id": "call_1", "name": "look_up", "arguments": "{}"},
                {"type": "custom_tool_call", "call_id": "call_2", "name": "run_query", "input": "SELECT 1"},
                {"type": "custom_tool_call_output", "call_id": "call_2", "output": "1"},
                {"type": "function_call_output", "call_id": "call_1", "output": "found"},
            ],
        ),
        (
            [
                {"role": "assistant", "content": "Let me see.", "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "call_1", "content": "found"},
            ],
            [
                {"type": "message", "role": "assistant", "content": "Let me see."},
                {"type": "function_call", "call_id": "call_1", "name": "look_up", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "call_1", "output": "found"},
            ],
        ),
    ],
)
def test_messages_are_items(messages: list[Any], items: list[Any]) -> None:
    assert read(messages=messages)["input"] == items


SCHEMA = {"name": "x", "schema": {"type": "object"}, "strict": True}


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"max_tokens": 5}, "max_output_tokens", 5),
        ({"max_completion_tokens": 6, "max_tokens": 5}, "max_output_tokens", 6),
        ({"reasoning_effort": "low"}, "reasoning", {"effort": "low", "summary": None}),
        ({"tool_choice": "required"}, "tool_choice", "required"),
        (
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
            "tool_choice",
            {"type": "function", "name": "f"},
        ),
        (
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
                }
            },
            "tool_choice",
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": SCHEMA}},
            "text",
            {"format": {"type": "json_schema", **SCHEMA}, "verbosity": None},
        ),
        ({}, "text", {"format": {"type": "text"}, "verbosity": None}),
        ({"metadata": {"a": "b"}}, "metadata", {"a": "b"}),
    ],
)
def test_parameters_that_are_called_otherwise(fields: dict[str, Any], name: str, value: object) -> None:
    assert read(**fields)[name] == value


@pytest.mark.parametrize(
    ("fields", "problem", "param"),
    [
        ({"messages": [HELLO, "Hi"]}, "expected objects", "messages"),
        ({"messages": []}, "at least one message", "messages"),
        ({"input": "Hi"}, "Unknown parameter: 'input'", "input"),
        ({"background": True}, "Unknown parameter: 'background'", "background"),
        ({"n": 2}, "'n' must be 1", "n"),
        ({"stream_options": {}}, "only allowed when 'stream' is enabled", "stream_options"),
        ({"messages": [{"role": "robot"}]}, "Invalid value: 'robot'", "messages[0].role"),
        ({"tools": [{"type": "web_search"}]}, "Invalid value: 'web_search'", "tools[0].type"),
        ({"tools": [{"type": "function", "name": "f"}]}, "'tools[0].function'", "tools[0].function"),
        ({"tool_choice": {"type": "function", "name": "f"}}, "'tool_choice.function'", "tool_choice.function"),
        (
            {"messages": [{"role": "tool", "tool_call_id": "call_1", "content": "found"}]},
            "must be a response to a preceding message",
            "messages[0].role",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [CALL, CUSTOM_CALL]}]},
            "did not have response messages: call_1, call_2",
            "messages",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [CALL]}, HELLO]},
            "did not have response messages: call_1",
            "messages",
        ),
    ],
)
def test_refusals(fields: dict[str, Any], problem: str, param: str) -> None:
    with pytest.raises(ApiError) as caught:
        read(**fields)
    assert problem in str(caught.value)
    assert caught.value.body["error"]["param"] == param


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KIND = st.sampled_from(["function", "custom"]) | JUNK
NAMED = st.fixed_dictionaries({"name": JUNK}, optional={"arguments": JUNK, "input": JUNK})
TOOL = st.fixed_dictionaries({"type": KIND}, optional={"function": NAMED | JUNK, "custom": NAMED | JUNK, "id": JUNK})
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool"]) | JUNK},
    optional={"content": JUNK, "tool_calls": st.lists(TOOL, max_size=2) | JUNK, "tool_call_id": JUNK},
)


@settings(max_examples=60, deadline=None)
@given(
    messages=st.lists(MESSAGE, max_size=3),
    fields=st.fixed_dictionaries({}, optional={"tools": st.lists(TOOL, max_size=2), "tool_choice": TOOL | JUNK}),
)
def test_whatever_is_asked_is_answered_or_refused(messages: list[Any], fields: dict[str, Any]) -> None:
    try:
        request = read(messages=messages, **fields)
        check_request(request, None)
        events = play("parallel-function-calls", request)
    except (ApiError, UsageError):
        return
    assert events[-1]["type"] == "response.completed"
