"""The local server over real sockets, as the official client sees it and as a bare HTTP client sees it."""

import asyncio
import gc
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import openai
import pytest
from aiohttp import web
from pydantic import BaseModel

from streamkit.errors import UsageError
from streamkit.testing import SCENARIOS, LocalServer, Script, create_app, play
from streamkit.testing.front import MAX_RECORDED_REQUESTS
from tests.testing.clients import both, official_client, posted
from tests.testing.laws import LAWS

pytestmark = pytest.mark.anyio

WEATHER = {
    "type": "function",
    "name": "look_up_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
}
KNOWN_HEADERS = ("x-request-id", "openai-processing-ms", "openai-version", "x-ratelimit-remaining-tokens")


class Forecast(BaseModel):
    city: str
    degrees: int


class TestStreaming:
    @pytest.mark.parametrize("name", SCENARIOS)
    async def test_every_scenario_arrives_whole(self, name: str) -> None:
        async with LocalServer() as server:
            status, events = await posted(server, {"model": f"scenario:{name}", "stream": True})
        assert status == 200
        assert [event["type"] for event in events] == [event["type"] for event in play(name)]
        for law in LAWS:
            law(events)

    async def test_headers_are_those_of_an_event_stream(self) -> None:
        async with (
            LocalServer() as server,
            aiohttp.ClientSession() as session,
            session.post(f"{server.url}/responses", json={"model": "m", "stream": True}) as response,
        ):
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert response.headers["x-request-id"].startswith("req_")
            assert all(name in response.headers for name in KNOWN_HEADERS)

    async def test_the_official_client_streams_events(self) -> None:
        async with both() as (_, client):
            stream = await client.responses.create(model="gpt-5", input="Hello there", stream=True)
            events = [event async for event in stream]
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        assert "Hello there" in text
        assert events[-1].type == "response.completed"
        assert events[-1].response.output_text == text

    async def test_the_official_client_parses_structured_output(self) -> None:
        async with (
            both() as (_, client),
            client.responses.stream(model="scenario:structured-json", input="Weather?", text_format=Forecast) as stream,
        ):
            types = [event.type async for event in stream]
            response = await stream.get_final_response()
        assert "response.output_text.done" in types
        assert response.output_parsed == Forecast(city="Paris", degrees=1)

    async def test_the_official_client_makes_a_round_of_function_calling(self) -> None:
        async with both(scenario="function-call") as (_, client):
            async with client.responses.stream(model="gpt-5", input="Weather?", tools=[WEATHER]) as stream:
                first = await stream.get_final_response()
            call = first.output[0]
            assert (call.type, call.name, json.loads(call.arguments)) == (
                "function_call",
                "look_up_weather",
                {"city": "Paris"},
            )
            output = {"type": "function_call_output", "call_id": call.call_id, "output": "12 degrees"}
            second = await client.responses.create(
                model="gpt-5", input=[output], previous_response_id=first.id, tools=[WEATHER]
            )
        assert "12 degrees" in second.output_text
        assert second.previous_response_id == first.id

    async def test_an_error_within_the_stream_reaches_the_official_client(self) -> None:
        async with both(scenario="failed") as (_, client):
            stream = await client.responses.create(model="gpt-5", input="Hi", stream=True)
            with pytest.raises(openai.APIError, match="had an error"):
                [event async for event in stream]

    async def test_a_call_that_is_left_unanswered_is_refused(self) -> None:
        async with both(scenario="function-call") as (_, client):
            first = await client.responses.create(model="gpt-5", input="Weather?")
            with pytest.raises(openai.BadRequestError, match=r"No tool output found.*call_"):
                await client.responses.create(model="gpt-5", input="So?", previous_response_id=first.id)


class TestChoosingTheScenario:
    @pytest.mark.parametrize(
        ("body", "headers", "item_type"),
        [
            ({"model": "gpt-5"}, {}, "web_search_call"),
            ({"model": "scenario:image"}, {}, "image_generation_call"),
            ({"model": "gpt-5"}, {"x-streamkit-scenario": "mcp"}, "mcp_list_tools"),
            ({"model": "gpt-5", "metadata": {"scenario": "reasoning"}}, {}, "reasoning"),
            ({"model": "scenario:image"}, {"x-streamkit-scenario": "mcp"}, "image_generation_call"),
        ],
    )
    async def test_model_header_metadata_default(
        self, body: dict[str, Any], headers: dict[str, str], item_type: str
    ) -> None:
        async with LocalServer(scenario="web-search") as server:
            _, response = await posted(server, body, **headers)
        assert response["output"][0]["type"] == item_type

    async def test_a_function_can_be_the_scenario(self) -> None:
        def greet(script: Script) -> None:
            script.text(f"Welcome, {script.request['user']}.").complete()

        async with both(scenario=greet) as (_, client):
            response = await client.responses.create(model="gpt-5", input="Hi", user="Ada")
        assert response.output_text == "Welcome, Ada."

    def test_an_unknown_default_is_refused_at_once(self) -> None:
        with pytest.raises(UsageError, match="did you mean 'text'"):
            LocalServer(scenario="txt")


class TestStoredResponses:
    async def test_a_response_can_be_fetched_until_it_is_deleted(self) -> None:
        async with both() as (_, client):
            made = await client.responses.create(model="gpt-5", input="Hi")
            assert await client.responses.retrieve(made.id) == made
            await client.responses.delete(made.id)
            with pytest.raises(openai.NotFoundError):
                await client.responses.retrieve(made.id)

    async def test_a_streamed_response_can_be_fetched_when_its_end_is_known(self) -> None:
        async with both() as (_, client):
            stream = await client.responses.create(model="gpt-5", input="Hi", stream=True)
            async for event in stream:
                if event.type == "response.completed":
                    assert await client.responses.retrieve(event.response.id) == event.response

    async def test_a_response_that_is_not_to_be_stored_is_not(self) -> None:
        async with both() as (_, client):
            made = await client.responses.create(model="gpt-5", input="Hi", store=False)
            with pytest.raises(openai.NotFoundError):
                await client.responses.retrieve(made.id)

    async def test_input_items_come_in_the_order_asked_for(self) -> None:
        said = [{"role": "user", "content": "one"}, {"role": "user", "content": "two"}]
        async with both() as (_, client):
            made = await client.responses.create(model="gpt-5", input=said)
            backwards = [item.content async for item in client.responses.input_items.list(made.id)]
            forwards = [item.content async for item in client.responses.input_items.list(made.id, order="asc")]
        assert (backwards, forwards) == (["two", "one"], ["one", "two"])

    @pytest.mark.parametrize("call", [lambda r, i: r.cancel(i), lambda r, i: r.retrieve(i, stream=True)])
    async def test_what_only_a_background_response_can_do_is_refused(self, call) -> None:
        async with both() as (_, client):
            made = await client.responses.create(model="gpt-5", input="Hi")
            with pytest.raises(openai.BadRequestError, match="background"):
                await call(client.responses, made.id)


class TestModels:
    async def test_every_scenario_is_a_model(self) -> None:
        async with both() as (_, client):
            listed = [model.id async for model in client.models.list()]
            one = await client.models.retrieve("scenario:text")
            with pytest.raises(openai.NotFoundError):
                await client.models.retrieve("gpt-0")
        assert listed == [f"scenario:{name}" for name in SCENARIOS]
        assert one.id == "scenario:text"


def refused(message: str | None, code: str | None = None, param: str | None = None) -> dict[str, object]:
    return {"message": message, "type": "invalid_request_error", "code": code, "param": param}


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "error"),
        [
            ({}, refused("Missing required parameter: 'model'.", "missing_required_parameter", "model")),
            ({"model": 5}, refused("Invalid type for 'model'.", "invalid_type", "model")),
            ({"model": "m", "input": 5}, refused("Invalid type for 'input'.", "invalid_type", "input")),
            ({"model": "m", "stream": "yes"}, refused("Invalid type for 'stream'.", "invalid_type", "stream")),
            ([], refused("The body of your request is not a JSON object.")),
            ({"model": "m", "background": 1}, refused("Invalid type for 'background'.", "invalid_type", "background")),
            (
                {"model": "m", "previous_response_id": "resp_0"},
                refused(
                    "Previous response with id 'resp_0' not found.",
                    "previous_response_not_found",
                    "previous_response_id",
                ),
            ),
            (
                {"model": "m", "input": [{"type": "function_call", "call_id": "call_7"}]},
                refused("No tool output found for function call call_7.", None, "input"),
            ),
            ({"model": "scenario:txt"}, refused("no scenario is called 'txt'; did you mean 'text'?")),
        ],
    )
    async def test_a_wrong_request(self, body: Any, error: dict[str, object]) -> None:
        async with LocalServer() as server:
            assert await posted(server, body) == (400, {"error": error})

    @pytest.mark.parametrize("body", [b"", b"{", b'{"model": NaN}', b'"\xff"', b'{"model": "\\ud800"}'])
    async def test_a_body_that_is_not_json(self, body: bytes) -> None:
        async with LocalServer() as server:
            status, answer = await posted(server, body)
        assert status == 400
        assert answer["error"]["message"].startswith("We could not parse the JSON body")

    async def test_a_body_that_is_too_large(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("streamkit.testing.server.MAX_REQUEST_BYTES", 1000)
        async with LocalServer() as server:
            status, answer = await posted(server, b" " * 1001)
        assert (status, answer["error"]["type"]) == (413, "invalid_request_error")

    @pytest.mark.parametrize("pace", ["fast", "-1", "nan", "inf", "\udcff"])
    async def test_a_pace_that_is_none(self, pace: str) -> None:
        async with LocalServer() as server:
            status, _ = await posted(server, {"model": "m"}, **{"x-streamkit-tokens-per-second": pace})
        assert status == 400

    @pytest.mark.parametrize("pace", [-1, float("nan"), float("inf")])
    def test_a_default_pace_that_is_none(self, pace: float) -> None:
        with pytest.raises(UsageError, match="tokens_per_second"):
            LocalServer(tokens_per_second=pace)

    @pytest.mark.parametrize(
        ("method", "path", "status", "message"),
        [
            ("GET", "/v1/nothing", 404, "Invalid URL (GET /v1/nothing)"),
            ("PUT", "/v1/responses", 405, "Not allowed to PUT /v1/responses."),
            ("GET", "/v1/responses/resp_0", 404, "Response with id 'resp_0' not found."),
            ("DELETE", "/v1/responses/resp_0", 404, "Response with id 'resp_0' not found."),
            ("POST", "/v1/responses/resp_0/cancel", 404, "Response with id 'resp_0' not found."),
        ],
    )
    async def test_a_wrong_place(self, method: str, path: str, status: int, message: str) -> None:
        async with LocalServer() as server, aiohttp.ClientSession() as session:
            url = server.url.removesuffix("/v1") + path
            async with session.request(method, url) as response:
                body = await response.json()
        assert (response.status, body["error"]["message"]) == (status, message)
        assert all(name in response.headers for name in KNOWN_HEADERS)
        assert response.headers.get("allow") == ("POST" if status == 405 else None)

    async def test_the_official_client_raises_its_errors(self) -> None:
        async with both() as (_, client):
            with pytest.raises(openai.BadRequestError) as caught:
                await client.responses.create(model="m", input="Hi", previous_response_id="resp_0")
        assert caught.value.code == "previous_response_not_found"
        assert caught.value.request_id.startswith("req_")

    async def test_a_wrong_key(self) -> None:
        async with LocalServer(api_key="right") as server:
            async with official_client(server, "wrong") as client:
                with pytest.raises(openai.AuthenticationError) as caught:
                    await client.responses.create(model="m", input="Hi")
            status, _ = await posted(server, {"model": "m"}, Authorization="Bearer \udcff")
            async with official_client(server, "right") as client:
                await client.responses.create(model="m", input="Hi")
        assert (status, caught.value.code) == (401, "invalid_api_key")
        assert "right" not in str(caught.value)

    @pytest.mark.parametrize("name", ["error-nested", "error-flat"])
    async def test_without_a_stream_an_error_is_a_status(self, name: str) -> None:
        async with both(scenario=name) as (_, client):
            with pytest.raises(openai.InternalServerError) as caught:
                await client.responses.create(model="m", input="Hi")
        assert caught.value.code == "rate_limit_exceeded"

    async def test_without_a_stream_a_scenario_must_end(self) -> None:
        async with both(scenario=lambda script: script.text("and then")) as (_, client):
            with pytest.raises(openai.InternalServerError, match="ended early"):
                await client.responses.create(model="m", input="Hi")

    async def test_without_a_stream_a_failure_is_a_response(self) -> None:
        async with both(scenario="failed") as (_, client):
            response = await client.responses.create(model="m", input="Hi")
        assert (response.status, response.error.code) == ("failed", "server_error")


class TestRecordedRequests:
    async def test_requests_are_recorded_without_their_secrets(self) -> None:
        async with both() as (server, client):
            await client.responses.create(model="m", input="Hi", extra_headers={"Cookie": "a=secret"})
            await client.models.list()
            posted_request, listed = server.requests
        assert (posted_request.method, posted_request.path) == ("POST", "/v1/responses")
        assert posted_request.body == {"model": "m", "input": "Hi"}
        assert posted_request.headers["authorization"] == posted_request.headers["Cookie"] == "(hidden)"
        assert (listed.method, listed.path, listed.body) == ("GET", "/v1/models", None)

    async def test_refused_requests_are_recorded_too(self) -> None:
        async with LocalServer(api_key="right") as server:
            await posted(server, {"model": "m"})
            assert [request.body for request in server.requests] == [{"model": "m"}]

    async def test_the_record_is_bounded(self) -> None:
        async with LocalServer() as server, aiohttp.ClientSession() as session:
            for number in range(MAX_RECORDED_REQUESTS + 1):
                async with session.get(f"{server.url}/models?n={number}") as response:
                    await response.read()
            assert len(server.requests) == MAX_RECORDED_REQUESTS
            assert server.requests[0].path == "/v1/models?n=1"


class TestPace:
    @pytest.mark.parametrize(
        ("default", "headers"),
        [(100, {}), (None, {"x-streamkit-tokens-per-second": "100"}), (1, {"x-streamkit-tokens-per-second": "100"})],
    )
    async def test_deltas_take_their_time(self, default: float | None, headers: dict[str, str]) -> None:
        body = {"model": "scenario:long-text", "stream": True, "metadata": {"tokens": "20"}}
        loop = asyncio.get_running_loop()
        async with LocalServer(tokens_per_second=default) as server:
            start = loop.time()
            await posted(server, body, **headers)
            spent = loop.time() - start
        assert 0.15 < spent < 10

    async def test_a_request_can_ask_for_no_pace(self) -> None:
        body = {"model": "scenario:long-text", "stream": True, "metadata": {"tokens": "1000"}}
        async with LocalServer(tokens_per_second=1) as server:
            status, _ = await posted(server, body, **{"x-streamkit-tokens-per-second": "0"})
        assert status == 200


SLOW = {"model": "scenario:long-text", "stream": True}


@asynccontextmanager
async def open_stream(url: str) -> AsyncIterator[aiohttp.ClientResponse]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/responses", json=SLOW, headers={"x-streamkit-tokens-per-second": "20"}) as response,
    ):
        await response.content.readany()
        yield response


def server_tasks(before: set[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - before


class TestGoingAway:
    async def test_a_client_may_leave_in_the_middle(self, caplog: pytest.LogCaptureFixture) -> None:
        complaints: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        before = asyncio.all_tasks()
        with caplog.at_level(logging.INFO):
            async with LocalServer() as server:
                for _ in range(5):
                    async with open_stream(server.url):
                        pass
                status, _ = await posted(server, {"model": "m"})
        gc.collect()
        assert status == 200
        assert complaints == []
        assert [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO] == []
        assert server_tasks(before) == set()

    async def test_a_client_may_leave_an_unpaced_stream_unread(self, caplog: pytest.LogCaptureFixture) -> None:
        body = {"model": "scenario:long-text", "stream": True, "metadata": {"tokens": "50000"}}
        async with LocalServer() as server, aiohttp.ClientSession() as session:
            async with session.post(f"{server.url}/responses", json=body) as response:
                await response.content.readany()
            status, _ = await posted(server, {"model": "m"})
        assert status == 200
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []

    async def test_closing_cuts_the_streams_in_flight(self) -> None:
        loop = asyncio.get_running_loop()
        async with LocalServer() as server, open_stream(server.url) as first, open_stream(server.url) as second:
            start = loop.time()
            await server.__aexit__(None, None, None)
            spent = loop.time() - start
            for response in (first, second):
                with pytest.raises(aiohttp.ClientPayloadError):
                    await response.read()
        assert spent < 5

    async def test_an_application_of_ones_own_cuts_them_too(self) -> None:
        runner = web.AppRunner(create_app(), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0]
        async with open_stream(f"http://{host}:{port}/v1") as response:
            await asyncio.wait_for(runner.cleanup(), timeout=5)
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()


class TestRunning:
    def test_a_server_that_does_not_run_has_no_address(self) -> None:
        with pytest.raises(UsageError, match="not running"):
            _ = LocalServer().url

    async def test_a_taken_port_is_an_error(self) -> None:
        async with LocalServer() as server:
            port = int(server.url.split(":")[2].partition("/")[0])
            with pytest.raises(OSError, match="address already in use"):
                async with LocalServer(port=port):
                    pass

    async def test_serving_forever_ends_when_cancelled(self) -> None:
        async with LocalServer() as server:
            task = asyncio.create_task(server.serve_forever())
            status, _ = await posted(server, {"model": "m"})
            assert (status, task.done()) == (200, False)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    async def test_ipv6(self) -> None:
        try:
            async with LocalServer("::1") as server:
                assert server.url.startswith("http://[::1]:")
                status, _ = await posted(server, {"model": "m"})
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")
        assert status == 200
