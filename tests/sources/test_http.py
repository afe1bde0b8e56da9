"""The client: what it sends, and what every kind of answer becomes, over real sockets."""

import asyncio
import gzip
import ssl
from typing import Any

import aiohttp
import anyio
import pytest

from streamkit import (
    Cancelled,
    Client,
    Completed,
    Disconnected,
    Dispatcher,
    Failed,
    Limits,
    Outcome,
    ResponseFailedError,
    Timeouts,
    UsageError,
)
from streamkit.errors import ClockExpired, ConnectFailed, ConnectionLost, NotAnEventStream, ServerError
from streamkit.items import Message
from streamkit.testing import LocalServer
from tests.paths import OWN_DATA
from tests.raw_server import answering, head, ok, raw_server
from tests.scripted import BEFORE_END, HELLO, frame

pytestmark = pytest.mark.anyio


async def outcome_of(base_url: str, **options: Any) -> Outcome:
    options = {"retry": None} | options
    async with Client(base_url=base_url, api_key="sk-secret", **options) as client, client.stream(model="m") as run:
        outcome = await run.outcome()
    assert "sk-secret" not in repr(outcome)
    return outcome


async def test_a_stream_that_ends_with_its_connection() -> None:
    async with raw_server(answering(ok(b"".join(HELLO)))) as base_url:
        outcome = await outcome_of(base_url)
    assert isinstance(outcome, Completed)
    assert outcome.response.output_text == "Hello"


REFUSALS: dict[str, tuple[bytes, type[ServerError], dict[str, object], str]] = {
    "a JSON error": (
        head("400 Bad Request", "x-request-id: req_9", "Content-Type: application/json")
        + b'{"error": {"message": "bad", "type": "invalid_request_error", "code": "c", "param": "p"}}',
        ServerError,
        {"status": 400, "code": "c", "param": "p", "type": "invalid_request_error", "request_id": "req_9"},
        "bad",
    ),
    "too many requests": (
        head("429 Too Many Requests", "Retry-After: 7") + b'{"error": {"message": "slow", "code": 429}}',
        ServerError,
        {"status": 429, "code": "429", "retry_after": 7.0},
        "slow",
    ),
    "a web page": (
        head("404 Not Found", "Content-Type: text/html") + b"<html><h1>Not here</h1></html>",
        ServerError,
        {"status": 404},
        "HTTP 404 (text/html): <html><h1>Not here",
    ),
    "JSON sent as bytes": (
        head("400 Bad Request", "Content-Type: application/octet-stream") + b'{"error": {"message": "bad"}}',
        ServerError,
        {"status": 400},
        "bad",
    ),
    "a status with an event stream": (
        head("500 Oh", "Content-Type: text/event-stream") + frame("error", error={"message": "m", "code": "c"}),
        ServerError,
        {"status": 500, "code": "c"},
        "m",
    ),
    "a detail as FastAPI sends it": (
        head("422 Unprocessable", "Content-Type: application/json") + b'{"detail": "Unexpected fields"}',
        ServerError,
        {"status": 422},
        "Unexpected fields",
    ),
    "nothing but a status": (head("503 Unavailable"), ServerError, {"status": 503}, "HTTP 503 with an empty body"),
    "a redirect": (
        head("307 Temporary Redirect", "Location: http://elsewhere.example/v1"),
        ServerError,
        {"status": 307},
        "redirects to http://elsewhere.example/v1",
    ),
    "a body that is cut off": (
        head("500 Oh", "Content-Length: 100", "Content-Type: text/plain") + b"half",
        ServerError,
        {"status": 500},
        "half",
    ),
    "200 with a web page": (ok(b"<html>", content_type="text/html"), NotAnEventStream, {"status": 200}, "text/html"),
    "200 with a JSON error": (
        ok(b'{"error": {"message": "no"}}', content_type="application/json"),
        ServerError,
        {},
        "no",
    ),
}


@pytest.mark.parametrize(("answer", "kind", "facts", "message"), REFUSALS.values(), ids=REFUSALS.keys())
async def test_a_refusal_is_one_typed_error(
    answer: bytes, kind: type[ServerError], facts: dict[str, object], message: str
) -> None:
    async with raw_server(answering(answer)) as base_url:
        outcome = await outcome_of(base_url)
    assert isinstance(outcome, Failed)
    assert type(outcome.error) is kind
    assert {name: getattr(outcome.error, name) for name in facts} == facts
    assert message in str(outcome.error)


LOSSES: dict[str, bytes] = {
    "fewer bytes than announced": ok(b"".join(BEFORE_END), "Content-Length: 100000"),
    "no last chunk": ok(b"%x\r\n%s\r\n" % (len(BEFORE_END[0]), BEFORE_END[0]), "Transfer-Encoding: chunked"),
    "a clean end": ok(b"".join(BEFORE_END)),
    "an empty body": ok(b""),
}


@pytest.mark.parametrize("answer", LOSSES.values(), ids=LOSSES.keys())
async def test_a_stream_that_breaks_off_is_a_lost_connection(answer: bytes) -> None:
    async with raw_server(answering(answer)) as base_url:
        outcome = await outcome_of(base_url)
    assert isinstance(outcome, Disconnected)
    assert isinstance(outcome.error, ConnectionLost)


async def test_a_reset_connection_is_lost_and_keeps_what_came() -> None:
    read = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ok(b"".join(BEFORE_END)))
        await read.wait()
        writer.transport.abort()

    async with raw_server(answer) as base_url, Client(base_url=base_url) as client, client.stream(model="m") as run:
        async for _ in run.events("response.output_text.delta"):
            break
        read.set()
        outcome = await run.outcome()
    assert isinstance(outcome, Disconnected)
    assert outcome.response.output_text == "Hello"


async def test_a_server_that_hangs_up_at_once() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)

    async with raw_server(answer) as base_url:
        outcome = await outcome_of(base_url)
    assert isinstance(outcome, Disconnected)
    assert isinstance(outcome.error, ConnectFailed)
    assert "did not answer" in str(outcome.error)


async def test_a_server_that_does_not_speak_http() -> None:
    async with raw_server(answering(b"220 mail.example ESMTP\r\n")) as base_url:
        outcome = await outcome_of(base_url)
    assert isinstance(outcome, Disconnected)
    assert isinstance(outcome.error, ConnectFailed)


async def test_a_closed_port() -> None:
    async with raw_server(answering()) as base_url:
        pass
    outcome = await outcome_of(base_url)
    assert isinstance(outcome, Disconnected)
    assert isinstance(outcome.error, ConnectFailed)
    assert outcome.error.url == f"{base_url}/responses"
    assert "cannot connect to http://127.0.0.1:" in str(outcome.error)
    assert "check that the server runs" in str(outcome.error)


async def test_a_name_that_does_not_exist() -> None:
    outcome = await outcome_of("http://no-such-host.invalid/v1")
    assert isinstance(outcome, Disconnected)
    assert isinstance(outcome.error, ConnectFailed)
    assert "no-such-host.invalid" in str(outcome.error)


async def test_https_to_a_server_without_tls() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head("400 Bad Request"))
        await writer.drain()

    async with raw_server(answer) as base_url:
        outcome = await outcome_of(base_url.replace("http://", "https://"))
    assert isinstance(outcome, Disconnected)
    assert isinstance(outcome.error, ConnectFailed)
    assert "no secure connection" in str(outcome.error)


async def test_a_certificate_that_nobody_vouches_for() -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(OWN_DATA / "self_signed.pem")
    async with raw_server(answering(ok(b"".join(HELLO))), tls) as base_url:
        address = base_url.replace("http://", "https://")
        outcome = await outcome_of(address)
    assert isinstance(outcome, Disconnected)
    assert isinstance(outcome.error, ConnectFailed)
    assert outcome.error.url == f"{address}/responses"
    assert "no secure connection" in str(outcome.error)
    assert "self-signed certificate" in str(outcome.error)
    assert "check the certificate" in str(outcome.error)


async def test_the_connect_clock() -> None:
    async def connect(*_: object, **__: object) -> aiohttp.ClientResponse:
        raise aiohttp.ConnectionTimeoutError

    async with aiohttp.ClientSession() as session:
        session.request = connect  # type: ignore[method-assign,assignment]
        outcome = await outcome_of("http://127.0.0.1/v1", session=session, timeouts=Timeouts(connect=3))
    assert isinstance(outcome, Disconnected)
    assert isinstance(outcome.error, ClockExpired)
    assert (outcome.error.clock, outcome.error.seconds) == ("connect", 3)


async def test_compression_is_not_asked_for_but_understood() -> None:
    body = gzip.compress(b"".join(HELLO))
    async with raw_server(answering(ok(body, "Content-Encoding: gzip"))) as base_url:
        assert isinstance(await outcome_of(base_url), Completed)


async def test_what_is_sent() -> None:
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"}"))
        writer.write(ok(b"".join(HELLO)))

    async with raw_server(answer) as base_url:
        options: dict[str, Any] = {"api_key": "sk-1\n", "organization": "o", "project": "p", "headers": {"x-own": "1"}}
        async with Client(base_url=f"{base_url}/", **options) as client:
            await client.run(Dispatcher(), model="m", input="hi", extra_headers={"x-more": "2"})
    request, _, body = seen[0].partition(b"\r\n\r\n")
    first, *rest = request.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in rest)
    assert first == "POST /v1/responses HTTP/1.1"
    assert body == b'{"model":"m","input":"hi","stream":true}'
    assert headers.items() >= {
        ("Accept", "text/event-stream"),
        ("Accept-Encoding", "identity"),
        ("Authorization", "Bearer sk-1"),
        ("Content-Type", "application/json"),
        ("OpenAI-Organization", "o"),
        ("OpenAI-Project", "p"),
        ("x-own", "1"),
        ("x-more", "2"),
    }


async def test_a_query_in_the_address_is_sent_with_every_request() -> None:
    async with LocalServer() as server, Client(base_url=f"{server.url}/?api-version=preview") as client:
        run = client.stream(model="m", input="hi", background=True)
        async with run:
            await run.outcome()
        assert run.response_id is not None
        async with client.resume(run.response_id, after=3) as resumed:
            await resumed.outcome()
    paths = [request.path for request in server.requests]
    assert paths[0] == "/v1/responses?api-version=preview"
    assert paths[1].endswith("?api-version=preview&stream=true&starting_after=3")


async def test_items_of_a_response_may_be_sent_back() -> None:
    async with LocalServer() as server, Client(base_url=server.url) as client:
        first = await client.run(Dispatcher(), model="m", input="hi")
        await client.run(Dispatcher(), model="m", input=[*first.output, {"role": "user", "content": None}])
    message = server.requests[-1].body["input"][0]
    assert isinstance(first.output[0], Message)
    assert message["content"][0]["text"] == first.output_text
    assert None not in message.values()
    assert server.requests[-1].body["input"][1] == {"role": "user", "content": None}


async def test_a_connection_is_used_again() -> None:
    async with LocalServer() as server, Client(base_url=server.url) as client:
        for _ in range(3):
            await client.run(Dispatcher(), model="m", input="hi")
        connector = client._open_session().connector
        assert isinstance(connector, aiohttp.TCPConnector)
        assert sum(len(idle) for idle in connector._conns.values()) == 1


async def test_a_session_that_is_given_stays_open() -> None:
    async with LocalServer() as server, aiohttp.ClientSession() as session:
        async with Client(base_url=server.url, session=session) as client:
            await client.run(Dispatcher(), model="m", input="hi")
        assert not session.closed


async def test_closing_the_client_ends_runs_in_flight() -> None:
    async with LocalServer(tokens_per_second=10) as server:
        client = Client(base_url=server.url)
        async with client.stream(model="m", input="hi") as run:
            await run.opened()
            await client.aclose()
            outcome = await run.outcome()
    assert isinstance(outcome, Cancelled)
    with pytest.raises(UsageError, match="closed"):
        client.stream(model="m")


async def test_leaving_early_closes_the_connection() -> None:
    closed = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        writer.write(ok(b"".join(BEFORE_END)))
        await reader.read()
        closed.set()

    async with raw_server(answer) as base_url, Client(base_url=base_url) as client:
        async with client.stream(model="m") as run:
            async for _ in run:
                break
        with anyio.fail_after(5):
            await closed.wait()
    assert isinstance(await run.outcome(), Cancelled)


async def test_the_key_and_the_address_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with LocalServer(api_key="sk-env") as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
        async with Client() as client:
            assert (await client.run(Dispatcher(), model="m", input="hi")).status == "completed"
        async with Client(api_key="sk-wrong") as client:
            with pytest.raises(ResponseFailedError, match="status=401"):
                await client.run(Dispatcher(), model="m", input="hi")


async def test_no_key_for_a_host_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    async with Client() as client:
        assert client.base_url == "https://api.openai.com/v1"
        with pytest.raises(UsageError, match=r"no API key for api\.openai\.com: set OPENAI_API_KEY"):
            client.stream(model="m")
        client.stream(model="m", extra_headers={"api-key": "azure"})
    for local in ("http://localhost:1/v1", "http://127.0.0.1/v1", "http://[::1]:1/v1", "http://api.localhost/v1"):
        async with Client(base_url=local) as client:
            client.stream(model="m")


@pytest.mark.parametrize("address", ["api.openai.com/v1", "ftp://host/v1", "http://", "/v1", "localhost:8000"])
def test_an_address_without_scheme_or_host_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="base_url must be an address such as"):
        Client(base_url=address)


async def test_requests_that_cannot_be_sent() -> None:
    async with Client(base_url="http://localhost/v1") as client:
        with pytest.raises(UsageError, match="always streams"):
            client.stream(model="m", stream=False)
        with pytest.raises(UsageError, match="written as JSON"):
            client.stream(model="m", input=object())


def test_the_key_is_not_in_the_repr() -> None:
    assert repr(Client(base_url="http://localhost/v1", api_key="sk-secret")) == "Client(base_url='http://localhost/v1')"


async def test_strict_and_the_size_limit_reach_the_run() -> None:
    broken = frame("response.output_text.delta", delta=5)
    async with raw_server(answering(ok(broken + b"".join(HELLO)))) as base_url:
        assert isinstance(await outcome_of(base_url), Completed)
        assert isinstance(await outcome_of(base_url, strict=True), Disconnected)
        assert isinstance(await outcome_of(base_url, limits=Limits(max_event_bytes=10)), Disconnected)


async def test_the_body_of_a_refusal_that_stalls_does_not_hide_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamkit.sources.http.ERROR_BODY_SECONDS", 0.05)
    stalling = answering(head("401 No", "Content-Length: 100") + b"half", then=asyncio.Event().wait)
    async with asyncio.timeout(5), raw_server(stalling) as base_url:
        outcome = await outcome_of(base_url)
    assert isinstance(outcome, Failed)
    assert outcome.error.status == 401
    assert "half" in str(outcome.error)
