"""Whole conversations with tools over a socket, with the official client: what is taken up, and what is refused."""

import json
from typing import Any

import openai
import pytest

from streamkit.testing import LocalServer
from tests.testing.clients import both, posted

pytestmark = pytest.mark.anyio

WEATHER = {
    "type": "function",
    "name": "look_up_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
}
QUERY = {"type": "custom", "name": "run_query"}
CASINO = {
    "type": "mcp",
    "server_label": "casino",
    "server_url": "https://example.com/mcp",
    "require_approval": "always",
}
QUESTION = {"role": "user", "content": "Weather?"}


def outputs_for(response: Any) -> list[dict[str, Any]]:
    """An output for each call of a response."""
    return [
        {"type": f"{item.type}_output", "call_id": item.call_id, "output": f"output {number}"}
        for number, item in enumerate(response.output)
    ]


@pytest.mark.parametrize("scenario", ["function-call", "parallel-function-calls", "custom-tool-call"])
async def test_a_round_without_anything_stored(scenario: str) -> None:
    async with both(scenario=scenario) as (_, client):
        options = {"model": "m", "tools": [WEATHER, QUERY], "store": False}
        first = await client.responses.create(input=[QUESTION], **options)
        outputs = outputs_for(first)
        whole = [QUESTION, *(item.model_dump(exclude_none=True) for item in first.output), *outputs]
        second = await client.responses.create(input=whole, **options)
    assert all(output["output"] in second.output_text for output in outputs)


@pytest.mark.parametrize("scenario", ["function-call", "parallel-function-calls", "custom-tool-call"])
async def test_a_round_that_continues_a_stored_response(scenario: str) -> None:
    async with both(scenario=scenario) as (_, client):
        options = {"model": "m", "tools": [WEATHER, QUERY], "tool_choice": "required"}
        first = await client.responses.create(input=[QUESTION], **options)
        outputs = outputs_for(first)
        second = await client.responses.create(input=outputs, previous_response_id=first.id, **options)
    assert all(output["output"] in second.output_text for output in outputs)


@pytest.mark.parametrize("stored", [True, False])
async def test_an_approval_is_asked_for_and_used(stored: bool) -> None:
    async with both(scenario="mcp") as (_, client):
        options = {"model": "m", "tools": [CASINO], "store": stored}
        stream = await client.responses.create(input=[QUESTION], stream=True, **options)
        first = [event async for event in stream][-1].response
        request = first.output[-1]
        answer = {"type": "mcp_approval_response", "approval_request_id": request.id, "approve": True}
        if stored:
            second = await client.responses.create(input=[answer], previous_response_id=first.id, **options)
        else:
            items = [QUESTION, *(item.model_dump(exclude_none=True) for item in first.output), answer]
            second = await client.responses.create(input=items, **options)
    call = second.output[0]
    assert (request.type, json.loads(request.arguments)) == ("mcp_approval_request", {"expression": "2d6+1"})
    assert (call.type, call.approval_request_id) == ("mcp_call", request.id)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (
            {"input": [{"type": "custom_tool_call", "call_id": "call_7"}]},
            "No tool output found for custom tool call call_7.",
        ),
        (
            {"input": [{"type": "function_call_output", "call_id": "call_7"}]},
            "No tool call found for function call output with call_id call_7.",
        ),
        (
            {"input": [{"type": "mcp_approval_response", "approval_request_id": "mcpr_7"}]},
            "No approval request found with id 'mcpr_7'.",
        ),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "function", "name": "tell_time"}},
            "Tool choice 'tell_time' not found in 'tools' parameter.",
        ),
        ({"tool_choice": "required"}, "Tool choice 'required' must be specified with 'tools' parameter."),
    ],
)
async def test_contradictions_are_refused(fields: dict[str, Any], problem: str) -> None:
    async with LocalServer() as server:
        status, body = await posted(server, {"model": "m", **fields})
    assert (status, body["error"]["message"]) == (400, problem)


async def test_the_choice_of_a_remote_tool_is_no_contradiction() -> None:
    choice = {"type": "mcp", "server_label": "casino", "name": "roll"}
    async with both(scenario="mcp") as (_, client):
        response = await client.responses.create(model="m", input="Roll.", tools=[CASINO], tool_choice=choice)
    assert response.output[-1].type == "mcp_approval_request"


async def test_a_custom_call_left_open_is_refused() -> None:
    async with both(scenario="custom-tool-call") as (_, client):
        first = await client.responses.create(model="m", input="How many?")
        with pytest.raises(openai.BadRequestError, match="for custom tool call call_"):
            await client.responses.create(model="m", input="So?", previous_response_id=first.id)
