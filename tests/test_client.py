"""The client: what it refuses before anything is sent, and what closing it means."""

from functools import partial
from typing import Any

import aiohttp
import pytest

from streamkit import Cancelled, Client, Disconnected, Retry, UsageError
from streamkit.errors import ConnectFailed
from streamkit.testing import LocalServer

pytestmark = pytest.mark.anyio

NOWHERE = "http://127.0.0.1:9/v1"


async def test_a_closed_client_makes_no_runs() -> None:
    never_used, used = Client(base_url=NOWHERE), Client(base_url=NOWHERE)
    run = used.stream(model="m")
    for client in (never_used, used):
        await client.aclose()
        await client.aclose()
        with pytest.raises(UsageError, match="is closed"):
            client.stream(model="m")
    assert isinstance(await run.outcome(), Cancelled)


async def test_a_session_that_its_owner_closes_is_no_connection() -> None:
    session = aiohttp.ClientSession()
    client = Client(base_url=NOWHERE, session=session, retry=Retry(attempts=2, first_delay=0))
    async with client.stream(model="m") as run:
        await session.close()
        outcome = await run.outcome()
    assert isinstance(outcome, Disconnected)
    assert isinstance(outcome.error, ConnectFailed)
    assert "Session is closed" in str(outcome.error)
    with pytest.raises(UsageError, match="is closed"):
        client.stream(model="m")


@pytest.mark.parametrize("name", ["stage", "timeout", "sate", "tool", "max_round", "text_formats"])
async def test_a_parameter_that_is_misspelt_is_not_sent_to_the_server(name: str) -> None:
    async with Client(base_url=NOWHERE) as client:
        for ask in (client.stream, partial(client.resume, "resp_1"), partial(client.replay, "nothing.sse")):
            with pytest.raises(UsageError, match=f"{name!r} is no parameter of streamkit, .*did you mean"):
                ask(**{name: None})


async def test_parameters_of_the_server_are() -> None:
    request: dict[str, Any] = {"store": False, "parallel_tool_calls": True, "max_tool_calls": 3, "vendor_option": 1}
    async with LocalServer() as server, Client(base_url=server.url) as client:
        await client.run(model="m", input="Hi", **request)
    assert server.requests[0].body.items() >= request.items()


@pytest.mark.parametrize("response_id", ["", ".", "..", "../models", "a/b"])
async def test_what_cannot_name_a_response_is_not_asked_for(response_id: str) -> None:
    async with Client(base_url=NOWHERE) as client:
        with pytest.raises(UsageError, match="is no response id"):
            client.resume(response_id)


@pytest.mark.parametrize("value", [None, 5, "two\nlines"])
async def test_headers_that_cannot_be_sent_are_refused_when_they_would_be(value: object) -> None:
    async with LocalServer() as server, Client(base_url=server.url) as client:
        async with client.stream(model="m", extra_headers={"x": value}) as run:  # type: ignore[dict-item]
            with pytest.raises(UsageError, match="cannot be sent"):
                await run.outcome()
        assert isinstance(await run.outcome(), Cancelled)
        assert not server.requests


async def test_one_client_serves_many_runs_with_their_own_settings() -> None:
    async with LocalServer() as server, Client(base_url=server.url) as client:
        runs = [client.stream(model="scenario:text", input="hi", retry=None), client.stream(model="m", background=True)]
        assert [run.model for run in runs] == ["scenario:text", "m"]
        assert {run.base_url for run in runs} == {server.url}
        assert (await client.run(model="scenario:text", input="hi")).output_text
