"""Responses parameters to those of Chat Completions: what is renamed, nested, left as it is, or refused."""

import copy
import re
from typing import Any

import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming

from streamkit.chat import chat_request
from streamkit.errors import UsageError

Data = dict[str, Any]

SCHEMA = {"type": "object", "properties": {}, "additionalProperties": False}
FUNCTION = {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True}
GRAMMAR = {"syntax": "lark", "definition": "start: X"}

TRANSLATED: dict[str, tuple[Data, Data]] = {
    "the limit": ({"max_output_tokens": 9}, {"max_completion_tokens": 9}),
    "the effort": ({"reasoning": {"effort": "low", "summary": None}}, {"reasoning_effort": "low"}),
    "no effort": ({"reasoning": {}}, {}),
    "the verbosity": ({"text": {"verbosity": "low"}}, {"verbosity": "low"}),
    "plain text": ({"text": {"format": {"type": "text"}}}, {"response_format": {"type": "text"}}),
    "a schema": (
        {"text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}},
    ),
    "a function": (
        {"tools": [{"type": "function", **FUNCTION}]},
        {"tools": [{"type": "function", "function": FUNCTION}]},
    ),
    "a function of a chat": (
        {"tools": [{"type": "function", "function": FUNCTION}]},
        {"tools": [{"type": "function", "function": FUNCTION}]},
    ),
    "a custom tool": (
        {"tools": [{"type": "custom", "name": "sql", "format": {"type": "grammar", **GRAMMAR}}]},
        {"tools": [{"type": "custom", "custom": {"name": "sql", "format": {"type": "grammar", "grammar": GRAMMAR}}}]},
    ),
    "a custom tool of free text": (
        {"tools": [{"type": "custom", "name": "sql", "format": {"type": "text"}}]},
        {"tools": [{"type": "custom", "custom": {"name": "sql", "format": {"type": "text"}}}]},
    ),
    "a choice by a word": ({"tool_choice": "required"}, {"tool_choice": "required"}),
    "a choice of a function": (
        {"tool_choice": {"type": "function", "name": "f"}},
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
    ),
    "a choice of a custom tool": (
        {"tool_choice": {"type": "custom", "name": "sql"}},
        {"tool_choice": {"type": "custom", "custom": {"name": "sql"}}},
    ),
    "a choice of several": (
        {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]}},
        {
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
            }
        },
    ),
    "a choice of several of a chat": (
        {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}},
        {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}},
    ),
    "log probabilities": ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
    "the likeliest tokens": ({"top_logprobs": 2}, {"top_logprobs": 2, "logprobs": True}),
    "nothing included": ({"include": []}, {}),
    "what a chat does anyway": ({"background": False, "truncation": "disabled", "stream": True, "n": 1}, {"n": 1}),
    "what only chats have": ({"stop": ["x"], "seed": 1, "max_tokens": 5}, {"stop": ["x"], "seed": 1, "max_tokens": 5}),
    "what a vendor has": ({"top_k": 5}, {"top_k": 5}),
    "what is None": ({"previous_response_id": None, "temperature": None, "tools": None}, {}),
}


@pytest.mark.parametrize(("given", "sent"), TRANSLATED.values(), ids=TRANSLATED.keys())
def test_parameters_are_translated(given: Data, sent: Data) -> None:
    body = chat_request({"model": "m", "input": "Hi", **given})
    assert body.pop("stream") is True
    assert body.pop("stream_options") == {"include_usage": True}
    assert body == {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **sent}


def test_the_request_is_left_as_it_was() -> None:
    request = {"input": "Hi", **{name: value for given, _ in TRANSLATED.values() for name, value in given.items()}}
    before = copy.deepcopy(request)
    chat_request(request)
    assert request == before


def test_messages_go_as_they_are() -> None:
    messages = [{"role": "user", "content": "Hi", "name": "Ann"}]
    assert chat_request({"messages": messages})["messages"] == messages


@pytest.mark.parametrize(
    "given", [{"input": "Hi"}, {"messages": [{"role": "user", "content": "Hi"}]}], ids=["input", "messages"]
)
@pytest.mark.parametrize("first", [True, False])
def test_instructions_come_first(given: Data, first: bool) -> None:
    instructions = {"instructions": "Be brief."}
    body = chat_request({**instructions, **given} if first else {**given, **instructions})
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert "instructions" not in body


def test_stream_options_are_the_callers() -> None:
    options = {"include_usage": False, "include_obfuscation": False}
    assert chat_request({"input": "Hi", "stream_options": options})["stream_options"] == options


REFUSED: dict[str, tuple[Data, str]] = {
    "a response to go on from": ({"previous_response_id": "resp_1"}, "previous_response_id has no counterpart"),
    "a conversation": ({"conversation": "conv"}, "send the whole conversation in input"),
    "the background": ({"background": True}, "background has no counterpart"),
    "a prompt": ({"prompt": {"id": "p"}}, "write it out"),
    "truncation": ({"truncation": "auto"}, "shorten input"),
    "a number of tool calls": ({"max_tool_calls": 3}, "max_tool_calls"),
    "encrypted reasoning": ({"include": ["reasoning.encrypted_content"]}, "not 'reasoning.encrypted_content'"),
    "a summary": ({"reasoning": {"effort": "low", "summary": "auto"}}, "reasoning.summary has no counterpart"),
    "an unknown setting of the text": ({"text": {"style": "x"}}, "text.style has no counterpart"),
    "a web search": ({"tools": [{"type": "web_search"}]}, "web_search_options"),
    "a built-in tool": ({"tools": [{"type": "mcp"}]}, "not 'mcp'"),
    "the choice of a built-in tool": ({"tool_choice": {"type": "file_search"}}, "not 'file_search'"),
    "several answers": ({"n": 2}, "leave out n"),
    "no stream": ({"stream": False}, "leave out stream=False"),
    "messages besides input": ({"messages": []}, "cannot take both"),
    "neither": ({"input": None}, "either input or messages"),
    "messages that are no list": ({"input": None, "messages": "Hi"}, "messages must be a list"),
    "instructions that are no text": ({"instructions": ["Be brief."]}, "instructions must be a text"),
    "tools that are no list": ({"tools": {"type": "function"}}, "tools must be a list"),
    "a tool that is no object": ({"tools": ["f"]}, "a tool must be an object"),
    "a text that is no object": ({"text": "x"}, "text must be an object"),
    "a format that is no object": ({"text": {"format": "json"}}, "text.format must be an object"),
    "reasoning that is no object": ({"reasoning": "low"}, "reasoning must be an object"),
    "a choice that is no object": ({"tool_choice": 1}, "tool_choice must be an object"),
    "options that are no object": ({"stream_options": True}, "stream_options must be an object"),
    "an include that is no list": ({"include": "x"}, "include must be a list"),
}


@pytest.mark.parametrize(("given", "complaint"), REFUSED.values(), ids=REFUSED.keys())
def test_what_has_no_counterpart_is_refused(given: Data, complaint: str) -> None:
    with pytest.raises(UsageError, match=re.escape(complaint)):
        chat_request({"model": "m", "input": "Hi", **given})


def test_every_parameter_of_responses_is_known_to_chats_or_looked_after() -> None:
    of_chats = CompletionCreateParamsStreaming.__annotations__.keys()
    for name in ResponseCreateParamsStreaming.__annotations__.keys() - of_chats - {"input", "include"}:
        try:
            sent = chat_request({"input": "Hi", name: {}}).keys()
        except UsageError:
            continue
        assert name not in sent, f"{name} would go to a server that does not know it"
