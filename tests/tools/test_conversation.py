"""What a response leaves open, and the request that follows."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit.items import CustomToolCall, FunctionCall, McpApprovalRequest
from streamkit.response import Response
from streamkit.tools.conversation import answer_to, approval_of, next_request, open_calls

CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{}"}
QUERY = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_2", "name": "q", "input": "SELECT"}
APPROVAL = {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "dice", "name": "roll", "arguments": "{}"}
MESSAGE = {"type": "message", "role": "assistant", "content": []}
OUTPUT: dict[str, Any] = {"type": "function_call_output", "call_id": "call_1", "output": "1"}


def response(*output: dict[str, Any]) -> Response:
    return Response.model_validate({"id": "resp_1", "model": "m-2026", "output": list(output)})


@pytest.mark.parametrize(
    ("output", "open_ids"),
    [
        ([], []),
        ([MESSAGE, CALL], ["fc_1"]),
        ([CALL, QUERY, APPROVAL], ["fc_1", "ctc_1", "mcpr_1"]),
        ([CALL, {**CALL, "id": "fc_2"}], ["fc_1"]),
        ([CALL | {"status": "completed"}], ["fc_1"]),
        ([CALL | {"status": "in_progress"}], ["fc_1"]),
        ([CALL | {"status": "incomplete"}], []),
        ([CALL | {"call_id": None}], []),
        ([CALL, OUTPUT], []),
        ([CALL, {"type": "computer_call", "call_id": "call_3"}], []),
        ([CALL, {"type": "shell_call", "call_id": "call_3"}], []),
        (
            [CALL, {"type": "shell_call", "call_id": "call_3"}, {"type": "shell_call_output", "call_id": "call_3"}],
            ["fc_1"],
        ),
    ],
)
def test_these_calls_are_open(output: list[dict[str, Any]], open_ids: list[str]) -> None:
    assert [call.id for call in open_calls(response(*output))] == open_ids


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (answer_to(FunctionCall(call_id="a"), "1"), {"type": "function_call_output", "call_id": "a", "output": "1"}),
        (
            answer_to(CustomToolCall(call_id="a"), "1"),
            {"type": "custom_tool_call_output", "call_id": "a", "output": "1"},
        ),
        (
            answer_to(
                FunctionCall.model_validate({"call_id": "a", "caller": {"type": "program", "caller_id": "p"}}), ""
            ),
            {
                "type": "function_call_output",
                "call_id": "a",
                "output": "",
                "caller": {"type": "program", "caller_id": "p"},
            },
        ),
        (
            approval_of(McpApprovalRequest(id="r"), None),
            {"type": "mcp_approval_response", "approval_request_id": "r", "approve": True},
        ),
        (
            approval_of(McpApprovalRequest(id="r"), "no"),
            {"type": "mcp_approval_response", "approval_request_id": "r", "approve": False, "reason": "no"},
        ),
    ],
)
def test_answers_have_the_shape_that_the_api_wants(answer: object, expected: object) -> None:
    assert answer == expected


@pytest.mark.parametrize(
    ("choice", "following"),
    [
        (None, None),
        ("none", "none"),
        ("auto", "auto"),
        ("required", "auto"),
        ({"type": "function", "name": "f"}, "auto"),
        ({"type": "web_search"}, "auto"),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]},
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
        ),
    ],
)
def test_a_choice_that_forced_a_call_forces_no_other(choice: object, following: object) -> None:
    request = {"model": "m", "tool_choice": choice}
    assert next_request(request, response(CALL), [OUTPUT], whole=False)["tool_choice"] == following


def test_the_response_is_named_or_its_conversation_or_all_is_sent_again() -> None:
    output = response(MESSAGE, CALL)
    named = next_request({"model": "m", "input": "Hi"}, output, [OUTPUT], whole=False)
    assert named == {"model": "m", "input": [OUTPUT], "previous_response_id": "resp_1"}
    kept = next_request({"model": "m", "input": "Hi", "conversation": "conv_1"}, output, [OUTPUT], whole=False)
    assert kept == {"model": "m", "input": [OUTPUT], "conversation": "conv_1"}
    whole = next_request({"model": "m", "input": "Hi"}, output, [OUTPUT], whole=True)
    assert whole == {"model": "m", "input": [{"role": "user", "content": "Hi"}, *output.output, OUTPUT]}


def test_reasoning_is_given_back_only_where_its_encrypted_form_is_known() -> None:
    output = response({"type": "reasoning", "id": "rs_1"}, {"type": "reasoning", "encrypted_content": "gAAA"}, CALL)
    assert next_request({"model": "m"}, output, [OUTPUT], whole=True)["input"] == [*output.output[1:], OUTPUT]


def test_a_chat_that_was_given_messages_gets_messages() -> None:
    question = {"role": "user", "content": "Hi"}
    following = next_request({"model": "m", "messages": [question]}, response(CALL), [OUTPUT], whole=True)
    calls = [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    assert following["messages"] == [
        question,
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "call_1", "content": "1"},
    ]
    assert "input" not in following


def test_the_model_is_that_of_the_response_where_nobody_named_one() -> None:
    assert next_request({}, response(CALL), [], whole=False)["model"] == "m-2026"
    assert "model" not in next_request({"prompt": {"id": "p"}}, response(CALL), [], whole=False)


NAMES = st.sampled_from(["instructions", "temperature", "text", "metadata", "background", "tools", "max_tool_calls"])


@settings(max_examples=50)
@given(
    kept=st.dictionaries(NAMES, st.integers() | st.text(max_size=5)),
    rounds=st.lists(st.lists(st.sampled_from([MESSAGE, CALL, QUERY]), max_size=4), min_size=1, max_size=4),
    whole=st.booleans(),
)
def test_rounds_keep_what_was_asked_and_lose_nothing_that_was_said(
    kept: dict[str, Any], rounds: list[list[dict[str, Any]]], *, whole: bool
) -> None:
    question = {"role": "user", "content": "Hi"}
    first: dict[str, object] = {"model": "m", "input": [question], **kept}
    request, said = dict(first), list[object]([question])
    for output in rounds:
        answered = response(*output)
        answers = [answer_to(call, "1") for call in open_calls(answered) if not isinstance(call, McpApprovalRequest)]
        before = dict(request)
        following = next_request(request, answered, answers, whole=whole)
        assert request == before, "the request that was sent is left alone"
        said += [*answered.output, *answers]
        assert following["input"] == (said if whole else answers)
        assert {name: following[name] for name in kept} == kept
        request = following
    assert first["input"] == [question]
