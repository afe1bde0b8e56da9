"""Chat Completions through the whole client, over sockets: the same handlers, outcomes and recordings as Responses."""

import asyncio
import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from streamkit import (
    Cancelled,
    Client,
    Completed,
    Disconnected,
    Dispatcher,
    Failed,
    Incomplete,
    Lane,
    Limits,
    Outcome,
    Restarted,
    Retry,
    Timeouts,
    UsageError,
)
from streamkit import events as ev
from streamkit.accumulator import Accumulator
from streamkit.chat import ChatChunk, ChatDecoder
from streamkit.context import ApiName
from streamkit.errors import InvalidEventError, NotAnEventStream, ResponseTooLarge
from streamkit.events import OutputTextDelta
from streamkit.sse import Decoder, Frame, encode
from streamkit.stages.moderation import Moderate
from streamkit.stages.smooth import smooth
from streamkit.testing import SCENARIOS, CutAfterEvents, HttpError, LocalServer, Only
from streamkit.verdict import Verdict
from tests.chat.support import DONE, HEAD, USAGE, chunk, frame
from tests.paths import SHARED_DATA, needs_shared_data
from tests.raw_server import answering, chunked, head, ok, raw_server, resetting

pytestmark = pytest.mark.anyio

ONLY_IN_RESPONSES = ("web-search", "mcp", "code-interpreter", "image")
IN_BOTH = [name for name in SCENARIOS if name not in ONLY_IN_RESPONSES]
AT_ONCE = Retry(first_delay=0)
CHAT_ALONE = ("chat.completion.chunk", "[DONE]")
CHAT: dict[str, Any] = {"api": "chat", "model": "m"}
QUESTION: dict[str, Any] = {"model": "m", "input": "Hello", "retry": None}
STOP = chunk(finish="stop")
HELLO = [chunk({"role": "assistant", "content": "Hel"}), chunk({"content": "lo"})]


async def outcome_of(base_url: str, api: ApiName = "chat", *, strict: bool = False, **options: Any) -> Outcome:
    async with (
        Client(base_url=base_url, api_key="sk-secret", strict=strict) as client,
        client.stream(api=api, **QUESTION | options) as run,
    ):
        return await run.outcome()


def facts_of(outcome: Outcome) -> dict[str, Any]:
    """What both APIs can tell of an outcome."""
    response, usage = outcome.response, outcome.response.usage
    thought = usage and usage.output_tokens_details and usage.output_tokens_details.reasoning_tokens
    error = outcome.error if isinstance(outcome, Failed) else None
    return {
        "kind": type(outcome),
        "text": response.output_text,
        "refusal": response.refusal,
        "calls": [(call.name, call.arguments) for call in response.function_calls],
        "usage": usage and (usage.input_tokens, usage.output_tokens, usage.total_tokens, thought),
        "reason": outcome.reason if isinstance(outcome, Incomplete) else None,
        "error": error and (error.code, error.message, error.retry_after),
    }


@pytest.mark.parametrize("name", IN_BOTH)
async def test_a_scenario_comes_out_the_same_by_both_apis(name: str) -> None:
    async with LocalServer(scenario=name) as server:
        chat, responses = await outcome_of(server.url, "chat"), await outcome_of(server.url, "responses")
        assert [request.path for request in server.requests] == ["/v1/chat/completions", "/v1/responses"]
    assert facts_of(chat) == facts_of(responses)


@pytest.mark.parametrize("name", ONLY_IN_RESPONSES)
async def test_a_scenario_that_no_chat_can_tell_is_refused(name: str) -> None:
    async with LocalServer(scenario=name) as server:
        outcome = await outcome_of(server.url)
    assert isinstance(outcome, Failed)
    assert outcome.error.status == 400


@pytest.mark.parametrize("name", ["text", "refusal", "function-call", "custom-tool-call", "incomplete", "failed"])
async def test_handlers_see_the_same_kinds_of_events(name: str) -> None:
    told: dict[str, list[str]] = {}
    async with LocalServer(scenario=name) as server, Client(base_url=server.url) as client:
        apis: tuple[ApiName, ...] = ("chat", "responses")
        for api in apis:
            async with client.stream(api=api, model="m", input="Hello") as run:
                seen: list[ev.Event] = []
                run.on(ev.Event)(seen.append)
                await run.outcome()
            numbers = [event.sequence_number for event in seen if event.sequence_number is not None]
            assert numbers == list(range(len(numbers)))
            told[api] = list(dict.fromkeys(event.type for event in seen if event.type not in CHAT_ALONE))
    assert told["chat"] == told["responses"]


async def test_a_request_is_translated() -> None:
    weather = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}
    async with LocalServer() as server, Client(base_url=server.url, api_key="sk") as client:
        response = await client.run(
            api="chat", model="m", instructions="Be kind.", input="Hello", tools=[weather], max_output_tokens=99
        )
        (request,) = server.requests
    assert "Hello" in response.output_text
    assert request.body == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}],
        "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}],
        "max_completion_tokens": 99,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_messages_go_as_they_are_and_items_of_an_answer_can_be_sent_back() -> None:
    said = {"role": "user", "content": "Hello"}
    async with LocalServer() as server, Client(base_url=server.url) as client:
        first = await client.run(api="chat", model="m", messages=[said])
        again = {"role": "user", "content": "Again"}
        await client.run(api="chat", model="m", input=[said, *first.output, again])
        messages = [request.body["messages"] for request in server.requests if isinstance(request.body, dict)]
    assert messages[0] == [said]
    assert messages[1] == [said, {"role": "assistant", "content": first.output_text}, again]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "background": ({"input": "Hi", "background": True}, "background has no counterpart"),
    "an earlier response": ({"input": "Hi", "previous_response_id": "resp_1"}, "previous_response_id has no"),
    "both": ({"input": "Hi", "messages": []}, "cannot take both"),
    "neither": ({}, "either input or messages"),
    "not streamed": ({"input": "Hi", "stream": False}, "always streams"),
    "no JSON": ({"messages": [object()]}, "cannot be written as JSON"),
    "no API": ({"input": "Hi", "api": "completions"}, "api must be 'responses' or 'chat', not 'completions'"),
}


@pytest.mark.parametrize(("request_", "message"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_no_chat_can_do_is_refused_before_anything_is_sent(request_: dict[str, Any], message: str) -> None:
    async with LocalServer() as server, Client(base_url=server.url) as client:
        with pytest.raises(UsageError, match=message):
            client.stream(**CHAT | request_)
        assert not server.requests


async def test_the_run_knows_its_api() -> None:
    async with LocalServer() as server, Client(base_url=server.url) as client:
        assert client.stream(model="m", input="Hi").api == "responses"
        assert client.stream(api="chat", model="m", input="Hi").api == "chat"


async def test_raw_chunks_have_handlers_and_iterators() -> None:
    dispatcher = Dispatcher()
    chunks: list[ChatChunk] = []
    dispatcher.on(ChatChunk)(chunks.append)
    async with LocalServer() as server, Client(base_url=server.url) as client:
        response = await client.run(dispatcher, api="chat", model="m", input="Hello")
        async with client.stream(api="chat", model="m", input="Hello") as run:
            iterated = [event async for event in run.events(ChatChunk)]
    pieces = [choice.delta.content or "" for each in chunks for choice in each.choices if choice.delta]
    assert "".join(map(str, pieces)) == response.output_text
    assert chunks[-1].usage is not None
    assert len(iterated) == len(chunks)


async def test_what_nobody_listens_to_is_in_the_response_all_the_same() -> None:
    dispatcher = Dispatcher()
    ends: list[str] = []
    dispatcher.on("response.completed")(lambda event: ends.append(event.response.output_text))
    async with LocalServer() as server, Client(base_url=server.url) as client:
        response = await client.run(dispatcher, api="chat", model="m", input="Hello")
    assert ends == [response.output_text]


async def test_iterators_stages_and_lanes_work_as_ever() -> None:
    dispatcher = Dispatcher()
    laned: list[str] = []

    @dispatcher.on(OutputTextDelta, lane=Lane())
    async def slowly(event: OutputTextDelta) -> None:
        await asyncio.sleep(0)
        laned.append(event.delta)

    async with LocalServer() as server, Client(base_url=server.url) as client:
        async with client.stream(api="chat", stages=[smooth()], **QUESTION) as run:
            smoothed = "".join([text async for text in run.text_stream()])
        response = await client.run(dispatcher, api="chat", **QUESTION)
        async with client.stream(api="chat", model="scenario:parallel-function-calls", input="Weather?") as run:
            calls = [call async for call in run.tool_calls()]
    assert smoothed == "".join(laned) == response.output_text
    assert [call.type for call in calls] == ["function_call"] * 2


async def test_text_is_smoothed_although_raw_chunks_come_between_its_deltas() -> None:
    words = chunked(body_of(*[chunk({"content": letter}) for letter in "one two three"], STOP, DONE))
    chunks: list[ChatChunk] = []
    async with (
        raw_server(answering(words)) as base_url,
        Client(base_url=base_url) as client,
        client.stream(stages=[smooth()], **CHAT, input="Hi") as run,
    ):
        run.on(ChatChunk)(chunks.append)
        texts = [text async for text in run.text_stream()]
    assert texts == ["one ", "two ", "three"]
    assert len(chunks) == 14


async def test_raw_chunks_do_not_pass_moderation_before_their_text_does() -> None:
    async def check(text: str) -> Verdict:
        return Verdict(flagged="secret" in text)

    seen: list[object] = []
    body = body_of(*[chunk({"content": piece}) for piece in ("secret", " thing")], STOP, DONE)
    async with (
        raw_server(answering(ok(body))) as base_url,
        Client(base_url=base_url) as client,
        client.stream(stages=[Moderate(check, window=4, overlap=6)], **CHAT, input="Hi") as run,
    ):
        run.on(ev.Event)(seen.append)
        outcome = await run.outcome()
    assert isinstance(outcome, Incomplete)
    assert outcome.reason == "content_filter"
    assert "secret" not in repr(seen)


class Forecast(BaseModel):
    city: str
    degrees: int


async def test_the_answer_can_be_a_value_of_a_type() -> None:
    async with LocalServer(scenario="structured-json") as server, Client(base_url=server.url) as client:
        response = await client.run(api="chat", model="m", input="Warm?", text_format=Forecast)
        (request,) = server.requests
    assert isinstance(request.body, dict)
    assert "response_format" in request.body
    assert isinstance(response.parsed, Forecast)


@pytest.mark.parametrize("said", [{"input": "Warm?"}, {"messages": [{"role": "user", "content": "Warm?"}]}])
async def test_tools_are_answered_with_the_whole_conversation(said: dict[str, Any]) -> None:
    asked: list[str] = []

    def get_weather(location: str) -> str:
        asked.append(location)
        return "mild"

    async with LocalServer(scenario="function-call") as server, Client(base_url=server.url) as client:
        response = await client.run(**CHAT, tools=[get_weather], **said)
        bodies: list[Any] = [request.body for request in server.requests]
    assert len(asked) == 1
    assert "mild" in response.output_text
    roles = [[message["role"] for message in body["messages"]] for body in bodies]
    assert roles == [["user"], ["user", "assistant", "tool"]]


# -- what goes wrong --


async def test_an_attempt_before_the_first_event_is_made_again_with_the_same_key() -> None:
    async with LocalServer(faults=[Only(HttpError(503), first=2)]) as server:
        outcome = await outcome_of(server.url, retry=AT_ONCE)
        keys = {request.headers["idempotency-key"] for request in server.requests}
        assert len(server.requests) == 3
    assert isinstance(outcome, Completed)
    assert len(keys) == 1


async def test_a_cut_stream_is_never_requested_again_by_itself() -> None:
    async with LocalServer(faults=[CutAfterEvents(4)]) as server:
        outcome = await outcome_of(server.url, retry=AT_ONCE)
        assert len(server.requests) == 1
    assert isinstance(outcome, Disconnected)
    assert outcome.response.output_text.startswith("You said")


async def test_a_cut_stream_is_requested_anew_where_that_is_allowed() -> None:
    async with (
        LocalServer(faults=lambda request: [CutAfterEvents(4)] if request.number == 1 else []) as server,
        Client(base_url=server.url, retry=AT_ONCE) as client,
        client.stream(api="chat", restart="allowed", model="m", input="Hello") as run,
    ):
        text = ""
        async for event in run.events(OutputTextDelta, Restarted):
            text = "" if isinstance(event, Restarted) else text + event.delta
        response = run.snapshot()
    assert (response.status, response.output_text) == ("completed", text)


async def test_a_run_can_be_cancelled() -> None:
    async with (
        LocalServer(scenario="long-text", tokens_per_second=200) as server,
        Client(base_url=server.url) as client,
        client.stream(api="chat", model="m", input="Hello") as run,
    ):
        run.once(OutputTextDelta)(lambda _event: run.cancel())
        outcome = await run.outcome()
    assert isinstance(outcome, Cancelled)
    assert outcome.response.output_text


def body_of(*frames: Frame) -> bytes:
    return b"".join(map(encode, frames))


ENDINGS: dict[str, tuple[bytes, type, str]] = {
    "[DONE]": (chunked(body_of(*HELLO, STOP, chunk(usage=USAGE), DONE)), Completed, "Hello"),
    "no [DONE]": (chunked(body_of(*HELLO, STOP)), Completed, "Hello"),
    "cut behind the reason": (chunked(body_of(*HELLO, STOP), last=False), Completed, "Hello"),
    "cut before the reason": (chunked(body_of(*HELLO), last=False), Disconnected, "Hello"),
    "closed before the reason": (chunked(body_of(*HELLO)), Disconnected, "Hello"),
    "too long": (chunked(body_of(*HELLO, chunk(finish="length"), DONE)), Incomplete, "Hello"),
    "an error as data": (chunked(body_of(*HELLO, frame({"error": {"message": "no"}}))), Failed, "Hello"),
    "an error first": (chunked(body_of(frame({"error": {"message": "no"}}))), Failed, ""),
    "an error in place of a stream": (ok(b'{"error":{"message":"no"}}', content_type="application/json"), Failed, ""),
    "a page": (ok(b"<html>", content_type="text/html"), Failed, ""),
    "nothing": (ok(b""), Disconnected, ""),
    "a refusal": (head("401 Unauthorized"), Failed, ""),
}


@pytest.mark.parametrize(("answer", "kind", "text"), ENDINGS.values(), ids=ENDINGS.keys())
async def test_how_an_answer_ends(answer: bytes, kind: type, text: str) -> None:
    async with raw_server(answering(answer)) as base_url:
        outcome = await outcome_of(base_url)
    assert (type(outcome), outcome.response.output_text) == (kind, text)


async def test_a_connection_reset_behind_the_reason_costs_nothing() -> None:
    async with raw_server(resetting(ok(body_of(*HELLO, STOP)))) as base_url:
        outcome = await outcome_of(base_url)
    # The reset may overtake the bytes, and with them the reason.
    assert isinstance(outcome, Completed) == (outcome.response.status == "completed")


async def test_a_server_that_falls_silent_behind_the_reason_is_not_waited_for_in_vain() -> None:
    forever = asyncio.Event()
    async with raw_server(answering(ok(body_of(*HELLO, STOP)), then=forever.wait)) as base_url:
        outcome = await outcome_of(base_url, timeouts=Timeouts(idle=0.05))
        forever.set()
    assert isinstance(outcome, Completed)


async def test_a_whole_completion_in_place_of_a_stream_is_told_as_such() -> None:
    whole = {**HEAD, "object": "chat.completion", "choices": [{"index": 0, "message": {"content": "Hi"}}]}
    async with raw_server(answering(ok(json.dumps(whole).encode(), content_type="application/json"))) as base_url:
        outcome = await outcome_of(base_url)
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, NotAnEventStream)


BAD = frame({**HEAD, "choices": [{"index": 0, "delta": {"content": 5}}]})


async def test_a_chunk_of_the_wrong_shape_costs_only_itself() -> None:
    seen: list[ev.InvalidEvent] = []
    dispatcher = Dispatcher()
    dispatcher.on(ev.InvalidEvent)(seen.append)
    async with (
        raw_server(answering(ok(body_of(*HELLO, BAD, STOP, DONE)))) as base_url,
        Client(base_url=base_url) as client,
    ):
        response = await client.run(dispatcher, api="chat", model="m", input="Hi")
    assert response.output_text == "Hello"
    assert [event.type for event in seen] == ["chat.completion.chunk"]


async def test_a_chunk_of_the_wrong_shape_ends_a_strict_run() -> None:
    async with raw_server(answering(ok(body_of(*HELLO, BAD, STOP, DONE)))) as base_url:
        outcome = await outcome_of(base_url, strict=True)
    assert isinstance(outcome, Disconnected)
    assert isinstance(outcome.error, InvalidEventError)
    assert outcome.response.output_text == "Hello"


async def test_limits_hold() -> None:
    async with (
        raw_server(answering(ok(body_of(*HELLO, STOP, DONE)))) as base_url,
        Client(base_url=base_url, limits=Limits(max_response_bytes=100)) as client,
        client.stream(api="chat", model="m", input="Hi") as run,
    ):
        outcome = await run.outcome()
    assert isinstance(outcome, Disconnected)
    assert isinstance(outcome.error, ResponseTooLarge)


# -- recordings --


async def test_a_recorded_chat_is_replayed_as_a_chat(tmp_path: Path) -> None:
    path = tmp_path / "chat.sse.jsonl"
    async with LocalServer(scenario="function-call") as server, Client(base_url=server.url) as client:
        response = await client.run(api="chat", record=path, **QUESTION)
        async with client.replay(path) as run:
            assert await run.dispatch() == response
        async with client.replay(path, api="chat", **QUESTION) as run:
            assert run.api == "chat"
            assert await run.dispatch() == response
        with pytest.raises(UsageError, match="what differs is messages"):
            client.replay(path, model="m", input="Time?")
        assert len(server.requests) == 1


async def test_a_saved_chat_is_replayed_where_its_api_is_told(tmp_path: Path) -> None:
    path = tmp_path / "chat.sse"
    path.write_bytes(body_of(*HELLO, STOP, DONE))
    async with Client() as client:
        async with client.replay(path, api="chat") as run:
            assert (await run.dispatch()).output_text == "Hello"
        async with client.replay(path) as run:
            assert isinstance(await run.outcome(), Disconnected)


RECORDED = sorted((SHARED_DATA / "recordings" / "chat").glob("*.sse"))


def decoded(body: bytes) -> Iterator[ev.Event]:
    """The events of a recording, up to the one that ends the response."""
    decoder = ChatDecoder()
    fed = chain.from_iterable(map(decoder.feed, Decoder().feed(body)))
    for event in [*fed, *decoder.finish()]:
        yield event
        if isinstance(event, ev.TerminalEvent):
            return


@needs_shared_data
@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem[-40:])
async def test_a_real_stream_comes_through_the_client_as_it_is_decoded(path: Path) -> None:
    body = path.read_bytes()  # noqa: ASYNC240 - a small file of this machine
    expected = list(decoded(body))
    accumulator = Accumulator()
    for event in expected:
        accumulator.add(event)
    seen: list[ev.Event] = []
    async with (
        raw_server(answering(chunked(body))) as base_url,
        Client(base_url=base_url) as client,
        client.stream(api="chat", model="m", input="Hi", retry=None) as run,
    ):
        run.on(ev.Event)(seen.append)
        await run.outcome()
        assert run.snapshot() == accumulator.snapshot()
    assert seen == expected
