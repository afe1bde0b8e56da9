"""Chat completions over a socket, as the official client sees them and as bytes."""

import json
from typing import Any

import aiohttp
import openai
import pytest
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel

from streamkit.sse import Decoder, Frame
from streamkit.testing import LocalServer, Script, play
from tests.testing.clients import both, official_client

pytestmark = pytest.mark.anyio

HELLO = [{"role": "user", "content": "Hello there"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "look_up_weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
QUERY = {"type": "custom", "custom": {"name": "run_query"}}
TOLD = [
    "text",
    "long-text",
    "reasoning",
    "function-call",
    "parallel-function-calls",
    "custom-tool-call",
    "structured-json",
    "refusal",
    "incomplete",
    "content-filter",
]
NOT_TOLD = {
    "web-search": "web_search_call",
    "mcp": "mcp_list_tools",
    "code-interpreter": "code_interpreter_call",
    "image": "image_generation_call",
}
FAILING = ["failed", "error-nested", "error-flat"]


class Forecast(BaseModel):
    city: str
    degrees: int


async def posted(server: LocalServer, body: Any, **headers: str) -> tuple[int, str, bytes]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{server.url}/chat/completions", json=body, headers=headers) as response,
    ):
        return response.status, response.content_type, await response.read()


async def frames(server: LocalServer, name: str, **fields: Any) -> list[Frame]:
    body = {"model": f"scenario:{name}", "messages": HELLO, "stream": True, **fields}
    status, content_type, content = await posted(server, body)
    assert (status, content_type) == (200, "text/event-stream")
    return list(Decoder().feed(content))


async def chunks(server: LocalServer, name: str, **fields: Any) -> list[dict[str, Any]]:
    *told, done = await frames(server, name, **fields)
    assert done == Frame(data=b"[DONE]")
    return [json.loads(frame.data) for frame in told]


def deltas(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [choice["delta"] for chunk in told for choice in chunk["choices"]]


def joined(told: list[dict[str, Any]], field: str) -> str:
    return "".join(delta.get(field) or "" for delta in deltas(told))


def folded_calls(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The calls that the pieces add up to, by index."""
    calls: list[dict[str, Any]] = []
    for piece in (piece for delta in deltas(told) for piece in delta.get("tool_calls", [])):
        if "id" in piece:
            assert piece["index"] == len(calls)
            calls.append({name: piece[name] for name in piece if name != "index"})
            continue
        call = calls[piece["index"]]
        argument = "arguments" if call["type"] == "function" else "input"
        call[call["type"]][argument] += piece[call["type"]][argument]
    return calls


class TestStreams:
    @pytest.mark.parametrize("name", TOLD)
    async def test_every_chunk_is_as_the_api_sends_it(self, name: str) -> None:
        async with LocalServer() as server:
            told = await chunks(server, name)
        for chunk in told:
            if name != "custom-tool-call":  # the official model of a chunk knows only functions
                ChatCompletionChunk.model_validate(chunk)
        assert {(chunk["object"], chunk["id"], chunk["model"]) for chunk in told} == {
            ("chat.completion.chunk", told[0]["id"], f"scenario:{name}")
        }
        assert told[0]["id"].startswith("chatcmpl-")
        assert deltas(told)[0] == {"role": "assistant", "content": "", "refusal": None}
        assert [chunk["choices"][0]["finish_reason"] is None for chunk in told] == [True] * (len(told) - 1) + [False]
        assert deltas(told)[-1] == {}
        assert "usage" not in told[-1]

    @pytest.mark.parametrize("name", TOLD)
    async def test_the_stream_adds_up_to_the_whole_completion(self, name: str) -> None:
        body = {"model": f"scenario:{name}", "messages": HELLO}
        async with LocalServer() as server:
            told = await chunks(server, name, stream_options={"include_usage": True})
            _, _, content = await posted(server, body)
        whole = json.loads(content)
        (choice,) = whole["choices"]
        for field in ("content", "refusal", "reasoning_content"):
            assert joined(told, field) == (choice["message"].get(field) or "")
        calls = [{**call, "id": None} for call in folded_calls(told)]
        assert calls == [{**call, "id": None} for call in choice["message"].get("tool_calls", [])]
        assert told[-2]["choices"][0]["finish_reason"] == choice["finish_reason"]
        assert told[-1]["usage"] == whole["usage"]

    @pytest.mark.parametrize(
        ("name", "field"), [("text", "content"), ("refusal", "refusal"), ("reasoning", "reasoning_content")]
    )
    async def test_what_a_response_says_arrives_in_the_same_pieces(self, name: str, field: str) -> None:
        events = play(name, {"input": "Hello there"})
        async with LocalServer() as server:
            told = await chunks(server, name)
        pieces = [delta[field] for delta in deltas(told)[1:] if field in delta]
        family = {"content": "output_text", "refusal": "refusal", "reasoning_content": "reasoning_summary_text"}[field]
        sent = [event["delta"] for event in events if event["type"] == f"response.{family}.delta"]
        assert [piece for piece in pieces if piece != "\n\n"] == sent

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("text", "stop"),
            ("refusal", "stop"),
            ("function-call", "tool_calls"),
            ("custom-tool-call", "tool_calls"),
            ("incomplete", "length"),
            ("content-filter", "content_filter"),
        ],
    )
    async def test_finish_reasons(self, name: str, reason: str) -> None:
        async with LocalServer() as server:
            told = await chunks(server, name)
        assert told[-1]["choices"][0]["finish_reason"] == reason

    async def test_usage_comes_in_a_chunk_without_choices(self) -> None:
        async with LocalServer() as server:
            *before, last = await chunks(server, "reasoning", stream_options={"include_usage": True})
        assert all(chunk["usage"] is None for chunk in before)
        assert last["choices"] == []
        usage = last["usage"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        assert 0 < usage["completion_tokens_details"]["reasoning_tokens"] < usage["completion_tokens"]

    async def test_frames_have_data_alone(self) -> None:
        body = {"model": "scenario:text", "messages": HELLO, "stream": True}
        async with LocalServer() as server:
            _, _, content = await posted(server, body)
        assert all(line.startswith(b"data: ") for line in content.splitlines() if line)

    async def test_deltas_are_padded_where_the_request_says_so(self) -> None:
        async with LocalServer() as server:
            told = await chunks(server, "text", stream_options={"include_obfuscation": True})
        assert all("obfuscation" in chunk for chunk in told[1:-1])

    async def test_moderation_comes_in_a_chunk_of_its_own(self) -> None:
        messages = [{"role": "user", "content": "poppycock"}]
        async with both() as (_, client):
            options = {"model": "m", "messages": messages, "moderation": {"model": "omni-moderation-latest"}}
            stream = await client.chat.completions.create(**options, stream=True)
            told = [chunk async for chunk in stream]
            whole = await client.chat.completions.create(**options)
        assert told[-1].choices == []
        assert told[-1].moderation.to_dict() == whole.moderation.to_dict()
        assert [result.flagged for result in whole.moderation.input.results] == [True]

    @pytest.mark.parametrize("name", FAILING)
    async def test_an_error_in_the_midst_is_told_once_and_ends_the_stream(self, name: str) -> None:
        async with LocalServer() as server:
            *_, last = await frames(server, name)
        error = json.loads(last.data)["error"]
        assert error["type"] == "server_error"
        assert error["code"] in ("server_error", "rate_limit_exceeded")

    async def test_a_failure_without_an_error_event_is_told_too(self) -> None:
        async with LocalServer(scenario=lambda script: script.fail("server_error", "No more.")) as server:
            body = {"model": "m", "messages": HELLO, "stream": True}
            _, _, content = await posted(server, body)
        _, last = Decoder().feed(content)
        assert json.loads(last.data)["error"]["message"] == "No more."

    async def test_a_scenario_that_does_not_end_has_no_end(self) -> None:
        async with LocalServer(scenario=lambda script: script.event("vendor:thing").text("and then")) as server:
            _, _, content = await posted(server, {"model": "m", "messages": HELLO, "stream": True})
            status, _, _ = await posted(server, {"model": "m", "messages": HELLO})
        last = json.loads(list(Decoder().feed(content))[-1].data)
        assert last["choices"][0]["delta"] == {"content": " then"}
        assert status == 500


class TestOfficialClient:
    async def test_it_streams(self) -> None:
        async with both() as (_, client):
            stream = await client.chat.completions.create(model="gpt-5", messages=HELLO, stream=True)
            told = [chunk async for chunk in stream]
        assert "Hello there" in "".join(chunk.choices[0].delta.content or "" for chunk in told)

    async def test_it_gets_whole_completions(self) -> None:
        async with both() as (server, client):
            completion = await client.chat.completions.create(model="gpt-5", messages=HELLO)
            (recorded,) = server.requests
        assert "Hello there" in completion.choices[0].message.content
        assert completion.usage.completion_tokens > 0
        assert (recorded.path, recorded.body["messages"]) == ("/v1/chat/completions", HELLO)

    async def test_it_parses_structured_output(self) -> None:
        async with (
            both() as (_, client),
            client.chat.completions.stream(
                model="scenario:structured-json", messages=HELLO, response_format=Forecast
            ) as stream,
        ):
            completion = await stream.get_final_completion()
        assert completion.choices[0].message.parsed == Forecast(city="Paris", degrees=1)

    @pytest.mark.parametrize("name", ["function-call", "parallel-function-calls"])
    async def test_it_makes_a_round_of_function_calling(self, name: str) -> None:
        async with both(scenario=name) as (_, client):
            async with client.chat.completions.stream(model="m", messages=HELLO, tools=[WEATHER]) as stream:
                message = (await stream.get_final_completion()).choices[0].message
            assert [json.loads(call.function.arguments) for call in message.tool_calls] == [{"city": "Paris"}] * (
                len(message.tool_calls)
            )
            said = message.model_dump(exclude_none=True, include={"role", "content", "tool_calls"})
            outputs = [
                {"role": "tool", "tool_call_id": call.id, "content": f"{12 + index} degrees"}
                for index, call in enumerate(message.tool_calls)
            ]
            answer = await client.chat.completions.create(model="m", messages=[*HELLO, said, *outputs], tools=[WEATHER])
        assert all(output["content"] in answer.choices[0].message.content for output in outputs)
        assert answer.choices[0].finish_reason == "stop"

    async def test_a_custom_tool_is_called_with_free_text(self) -> None:
        async with both(scenario="custom-tool-call") as (_, client):
            completion = await client.chat.completions.create(model="m", messages=HELLO, tools=[QUERY])
            (call,) = completion.choices[0].message.tool_calls
            said = {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]}
            output = {"role": "tool", "tool_call_id": call.id, "content": "3 rows"}
            answer = await client.chat.completions.create(model="m", messages=[*HELLO, said, output], tools=[QUERY])
        assert (call.type, call.custom.name, call.custom.input) == ("custom", "run_query", "Hello there")
        assert "3 rows" in answer.choices[0].message.content

    @pytest.mark.parametrize("name", FAILING)
    async def test_errors_reach_it(self, name: str) -> None:
        async with both(scenario=name) as (_, client):
            stream = await client.chat.completions.create(model="m", messages=HELLO, stream=True)
            with pytest.raises(openai.APIError):
                [chunk async for chunk in stream]
            with pytest.raises(openai.InternalServerError):
                await client.chat.completions.create(model="m", messages=HELLO)


class TestServer:
    async def test_metadata_and_header_choose_the_scenario(self) -> None:
        async with both(scenario="web-search") as (_, client):
            by_metadata = await client.chat.completions.create(
                model="m", messages=HELLO, metadata={"scenario": "refusal"}
            )
            by_header = await client.chat.completions.create(
                model="m", messages=HELLO, extra_headers={"x-streamkit-scenario": "refusal"}
            )
        for completion in (by_metadata, by_header):
            assert "can't help" in completion.choices[0].message.refusal

    async def test_a_scenario_of_ones_own_sees_a_request_for_a_response(self) -> None:
        seen: list[Any] = []

        def scenario(script: Script) -> None:
            seen.append(script.request)
            script.text("Noted.").complete()

        async with both(scenario=scenario) as (_, client):
            await client.chat.completions.create(model="m", messages=HELLO, tools=[WEATHER], max_tokens=7)
        (request,) = seen
        assert request["input"] == [{"type": "message", **HELLO[0]}]
        assert request["tools"] == [{"type": "function", **WEATHER["function"]}]
        assert request["max_output_tokens"] == 7

    async def test_a_wrong_key(self) -> None:
        async with LocalServer(api_key="right") as server, official_client(server, "wrong") as client:
            with pytest.raises(openai.AuthenticationError):
                await client.chat.completions.create(model="m", messages=HELLO)

    @pytest.mark.parametrize(
        ("faults", "left"), [("cut-after-events=3;how=end", 3), ("drop=0", -1), ("comments=1", 0), ("duplicate=2", 1)]
    )
    async def test_faults_strike_the_stream(self, faults: str, left: int) -> None:
        body = {"model": "m", "messages": HELLO, "stream": True}
        async with LocalServer() as server:
            _, _, whole = await posted(server, body)
            _, _, struck = await posted(server, body, **{"x-streamkit-faults": faults})
        expected = left if left > 1 else len(list(Decoder().feed(whole))) + left
        assert len(list(Decoder().feed(struck))) == expected

    @pytest.mark.parametrize("name", NOT_TOLD)
    @pytest.mark.parametrize("stream", [True, False])
    async def test_what_chat_completions_cannot_tell_is_refused(self, name: str, stream: bool) -> None:
        async with LocalServer() as server:
            status, _, content = await posted(
                server, {"model": f"scenario:{name}", "messages": HELLO, "stream": stream}
            )
        assert status == 400
        error = json.loads(content)["error"]
        assert f"'{NOT_TOLD[name]}', which is only supported in v1/responses" in error["message"]
