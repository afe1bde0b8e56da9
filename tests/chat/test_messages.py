"""The input of a Responses request as messages, compared with the official client's own types."""

import re
from collections.abc import Iterable
from typing import Any

import pytest
from openai.types.chat import ChatCompletionMessageParam
from pydantic import TypeAdapter

from streamkit.chat import chat_request
from streamkit.chat.messages import messages_from
from streamkit.errors import UsageError
from streamkit.items import FunctionCall, Message, OutputText, Reasoning, ReasoningText, SummaryText
from tests.chat.support import DONE, call, chunk, folded

Data = dict[str, Any]
MESSAGE = TypeAdapter[Any](ChatCompletionMessageParam)


def user(content: object) -> Data:
    return {"role": "user", "content": content}


def assistant(content: object, *calls: Data) -> Data:
    return {"role": "assistant", "content": content, **({"tool_calls": [*calls]} if calls else {})}


def text(value: str) -> Data:
    return {"type": "text", "text": value}


def function_call(call_id: str) -> Data:
    return {
        "type": "function_call",
        "id": "fc",
        "call_id": call_id,
        "name": "f",
        "arguments": "{}",
        "status": "completed",
    }


def output(call_id: str, value: object = "ok") -> Data:
    return {"type": "function_call_output", "call_id": call_id, "output": value}


def tool_call(call_id: str) -> Data:
    return {"id": call_id, "type": "function", "function": {"name": "f", "arguments": "{}"}}


def answer(call_id: str, content: object = "ok") -> Data:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def said(value: str) -> Data:
    return {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": value}]}


IMAGE = {"type": "input_image", "image_url": "https://example.org/a.png"}
IMAGE_PART = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}

INPUTS: dict[str, tuple[Any, list[Data]]] = {
    "a text": ("Hi", [user("Hi")]),
    "nothing": ([], []),
    "a message": ([{"role": "user", "content": "Hi"}], [user("Hi")]),
    "roles": (
        [{"type": "message", "role": role, "content": "Hi"} for role in ("system", "developer", "user")],
        [{"role": role, "content": "Hi"} for role in ("system", "developer", "user")],
    ),
    "one text part": ([user([{"type": "input_text", "text": "Hi"}])], [user("Hi")]),
    "no part": ([user([])], [user("")]),
    "several parts": (
        [user([{"type": "input_text", "text": "What is it?"}, IMAGE])],
        [user([text("What is it?"), IMAGE_PART])],
    ),
    "an image with its detail": (
        [user([{**IMAGE, "detail": "low"}])],
        [user([{"type": "image_url", "image_url": {"url": IMAGE["image_url"], "detail": "low"}}])],
    ),
    "files": (
        [user([{"type": "input_file", "file_id": "f"}, {"type": "input_file", "filename": "a", "file_data": "data:"}])],
        [
            user(
                [
                    {"type": "file", "file": {"file_id": "f"}},
                    {"type": "file", "file": {"file_data": "data:", "filename": "a"}},
                ]
            )
        ],
    ),
    "parts of a chat": ([user([text("Hi"), IMAGE_PART])], [user([text("Hi"), IMAGE_PART])]),
    "an answer": ([said("Yes")], [assistant("Yes")]),
    "a refusal": (
        [{"role": "assistant", "content": [{"type": "refusal", "refusal": "No"}]}],
        [assistant([{"type": "refusal", "refusal": "No"}])],
    ),
    "a call and its answer": (
        [user("Hi"), function_call("c1"), output("c1")],
        [user("Hi"), assistant(None, tool_call("c1")), answer("c1")],
    ),
    "parallel calls": (
        [function_call("c1"), function_call("c2"), output("c1"), output("c2")],
        [assistant(None, tool_call("c1"), tool_call("c2")), answer("c1"), answer("c2")],
    ),
    "calls one after the other": (
        [function_call("c1"), output("c1"), function_call("c2"), output("c2")],
        [assistant(None, tool_call("c1")), answer("c1"), assistant(None, tool_call("c2")), answer("c2")],
    ),
    "a text before a call": ([said("Well"), function_call("c1")], [assistant("Well", tool_call("c1"))]),
    "a text after a call": (
        [function_call("c1"), said("Well"), function_call("c2"), output("c1"), output("c2")],
        [assistant("Well", tool_call("c1"), tool_call("c2")), answer("c1"), answer("c2")],
    ),
    "texts around a call": (
        [said("A"), function_call("c1"), said("B")],
        [assistant([text("A"), text("B")], tool_call("c1"))],
    ),
    "two answers": ([said("A"), said("B")], [assistant("A"), assistant("B")]),
    "an output in parts": (
        [function_call("c1"), output("c1", [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}])],
        [assistant(None, tool_call("c1")), answer("c1", [text("a"), text("b")])],
    ),
    "reasoning": ([{"type": "reasoning", "summary": [], "content": []}, said("Yes")], [assistant("Yes")]),
    "a custom tool": (
        [
            {"type": "custom_tool_call", "call_id": "c1", "name": "sql", "input": "select 1"},
            {"type": "custom_tool_call_output", "call_id": "c1", "output": "1"},
        ],
        [
            assistant(None, {"id": "c1", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}),
            answer("c1", "1"),
        ],
    ),
    "models": (
        [
            Reasoning(id="rs", summary=[SummaryText(text="s")], content=[ReasoningText(text="t")]),
            Message(id="m", role="assistant", status="completed", content=[OutputText(text="Yes")]),
            FunctionCall(id="fc", call_id="c1", name="f", arguments="{}", status="completed"),
        ],
        [assistant("Yes", tool_call("c1"))],
    ),
}


@pytest.mark.parametrize(("given", "messages"), INPUTS.values(), ids=INPUTS.keys())
def test_input_becomes_messages(given: Any, messages: list[Data]) -> None:
    assert messages_from(given) == messages


@pytest.mark.parametrize(("given", "messages"), INPUTS.values(), ids=INPUTS.keys())
def test_messages_are_what_the_official_client_takes(given: Any, messages: list[Data]) -> None:
    for message in messages_from(given):
        _consume(MESSAGE.validate_python(message))


def _consume(value: object) -> None:
    """Go through a value, for pydantic validates iterables only while they are read."""
    members = value.values() if isinstance(value, dict) else value
    if isinstance(members, Iterable) and not isinstance(members, str):
        for member in members:
            _consume(member)


def test_the_output_of_a_response_goes_back_as_it_came() -> None:
    response = folded(
        [chunk({"reasoning": "Hm"}), chunk({"content": "Yes"}), chunk(call("{}", name="f", index=0, id="c1")), DONE]
    )
    assert messages_from([*response.output, output("c1")]) == [assistant("Yes", tool_call("c1")), answer("c1")]


REFUSED: dict[str, tuple[Any, str]] = {
    "a number": (5, "must be a text or a list"),
    "an object": ({"role": "user"}, "must be a text or a list"),
    "bytes": (b"Hi", "must be a text or a list of items, not bytes"),
    "a type that is none": ([{"type": ["message"]}], "an item of type ['message']"),
    "a part of a type that is none": ([user([{"type": ["text"]}])], "a part of type ['text']"),
    "an item that is a text": (["Hi"], "an item of input must be an object, not str"),
    "a message without a role": ([{"content": "Hi"}], "needs a role"),
    "a message without content": ([{"role": "user"}], "must be a text or a list of parts"),
    "an item of the server": (
        [{"type": "web_search_call", "id": "ws"}],
        "'web_search_call' in input has no counterpart",
    ),
    "a reference": ([{"type": "item_reference", "id": "m"}], "'item_reference'"),
    "a call without an id": ([{"type": "function_call", "name": "f", "arguments": "{}"}], "needs 'call_id'"),
    "an output without a value": ([{"type": "function_call_output", "call_id": "c"}], "needs 'output'"),
    "an image in an output": ([output("c", [IMAGE])], "can only be text"),
    "an image by its file": ([user([{"type": "input_image", "file_id": "f"}])], "needs an image_url"),
    "a file by its address": ([user([{"type": "input_file", "file_url": "u"}])], "needs file_data or file_id"),
    "an unknown part": ([user([{"type": "hologram"}])], "'hologram'"),
    "a part without a type": ([user([{"text": "Hi"}])], "a part of type None"),
}


@pytest.mark.parametrize(("given", "complaint"), REFUSED.values(), ids=REFUSED.keys())
def test_what_a_chat_cannot_say_is_refused(given: Any, complaint: str) -> None:
    with pytest.raises(UsageError, match=re.escape(complaint)):
        chat_request({"model": "m", "input": given})
