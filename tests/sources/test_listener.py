"""Hearing when bytes have come: over real sockets nothing is lost, and afterwards the connection is aiohttp's alone."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web

from streamkit import Client, Completed, Disconnected, Dispatcher, Failed, Limits, Outcome, Run, StreamRun, on
from streamkit.errors import ConnectionLost
from streamkit.events import DeltaEvent, Event
from streamkit.sources.http import HttpChunks
from streamkit.sources.listener import Listener
from tests.paths import OWN_DATA
from tests.raw_server import Answer, answering, chunked, ok, raw_server, resetting
from tests.scripted import BEFORE_END, COMPLETED, CREATED, DELTAS, HELLO, frame

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


class Wire(asyncio.Transport):
    """A transport that only knows its protocol."""

    def __init__(self, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self.protocol = protocol
        self.is_closed = False

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert not self.is_closed
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert not self.is_closed
        self.protocol = protocol

    def is_closing(self) -> bool:
        return self.is_closed


class Called(asyncio.Protocol):
    """A protocol that notes what it is told."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def data_received(self, data: bytes) -> None:
        self.calls.append(data)

    def eof_received(self) -> bool | None:
        self.calls.append("eof")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append(exc)

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")


def listening() -> tuple[Listener, Wire, Called, aiohttp.StreamReader]:
    behind = Called()
    wire = Wire(behind)
    content = aiohttp.StreamReader(aiohttp.base_protocol.BaseProtocol(asyncio.get_running_loop()), 2**16)
    return Listener(wire, content, lambda: behind.calls.append("came")), wire, behind, content


async def test_all_that_a_connection_says_is_passed_on_and_bytes_and_the_end_are_told() -> None:
    listener, wire, behind, _ = listening()
    assert wire.protocol is listener
    listener.pause_writing()
    listener.resume_writing()
    listener.data_received(b"x")
    assert listener.eof_received() is True
    over, lost = [listener.is_over], ConnectionError("cut")
    listener.connection_lost(lost)
    assert [*over, listener.is_over] == [False, True]
    assert behind.calls == ["pause", "resume", b"x", "came", "eof", lost, "came"]


async def test_the_end_of_an_answer_leaves_the_connection_to_the_protocol_behind() -> None:
    listener, wire, behind, content = listening()
    content.feed_eof()
    assert listener.is_over
    assert wire.protocol is behind


async def test_a_connection_that_is_closed_or_another_protocols_is_left_as_it_is() -> None:
    listener, wire, behind, _ = listening()
    wire.is_closed = True
    listener.stop()
    listener.connection_lost(None)
    assert behind.calls == [None, "came"]
    listener, wire, behind, _ = listening()
    wire.protocol = other = Called()
    listener.stop()
    assert wire.protocol is other


async def test_a_connection_that_is_just_being_lost_has_no_protocol_and_is_lost() -> None:
    _, wire, _, content = listening()
    wire.protocol = cast("asyncio.BaseProtocol", None)
    answer = SimpleNamespace(url="u", status=200, headers={}, content=content)
    answer.connection = SimpleNamespace(transport=wire)
    chunks = HttpChunks(cast("aiohttp.ClientResponse", answer))
    chunks.listen(lambda: None)
    content.feed_data(CREATED)
    assert chunks.take() == CREATED
    with pytest.raises(ConnectionLost):
        chunks.take()


@asynccontextmanager
async def run_of(base_url: str, *, limits: Limits | None = None) -> AsyncIterator[StreamRun]:
    connector = aiohttp.TCPConnector(ssl=_trusting())
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        Client(base_url=base_url, api_key="sk-1", retry=None, session=session, limits=limits) as client,
        client.stream(model="m") as run,
    ):
        yield run


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@asynccontextmanager
async def server_of(answer: Answer, *, secure: bool) -> AsyncIterator[str]:
    context = None
    if secure:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(OWN_DATA / "self_signed.pem")
    async with raw_server(answer, context) as base_url:
        yield base_url.replace("http:", "https:") if secure else base_url


async def told_by(answer: Answer, *, secure: bool = False, limits: Limits | None = None) -> tuple[list[str], Outcome]:
    """Return the names of the events of an answer, and how it ended."""
    names: list[str] = []

    async def take(event: Event) -> None:
        names.append(event.type)
        if len(names) % 2:
            await asyncio.sleep(0)

    async with (
        asyncio.timeout(10),
        server_of(answer, secure=secure) as base_url,
        run_of(base_url, limits=limits) as run,
    ):
        run.on(Event)(take)
        return names, await run.outcome()


def slowly(*pieces: bytes, then: Callable[[], Any] | None = None) -> Answer:
    """Answer with bytes, each most likely in a read of its own."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        # Who has heard enough goes away, which uvloop says by a RuntimeError where it is known before a write.
        with suppress(ConnectionError, RuntimeError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.001)
        if then is not None:
            await then()

    return answer


NAMES = ["response.created", "response.output_item.added", "response.content_part.added"]
NAMES += ["response.output_text.delta"] * 2 + ["response.completed"]
BODY = b"".join(HELLO)
WHOLE: dict[str, Answer] = {
    "the end with the bytes": answering(ok(BODY)),
    "a last chunk with the bytes": answering(chunked(BODY)),
    "every event alone": slowly(ok(b""), *HELLO),
    "the end alone": slowly(ok(b""), BODY),
    "chunks of three bytes in one read": answering(chunked(*(BODY[at : at + 3] for at in range(0, len(BODY), 3)))),
    "bytes one by one": slowly(ok(b""), BODY[:-20], *(bytes([byte]) for byte in BODY[-20:])),
}


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("answer", WHOLE.values(), ids=WHOLE)
async def test_however_an_answer_comes_it_comes_whole(answer: Answer, secure: bool) -> None:
    names, outcome = await told_by(answer, secure=secure)
    assert names == NAMES
    assert isinstance(outcome, Completed)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("cut", [slowly, answering, resetting])
async def test_a_connection_that_breaks_off_ends_the_run(cut: Callable[..., Answer], secure: bool) -> None:
    names, outcome = await told_by(cut(chunked(*BEFORE_END, last=False)), secure=secure)
    assert names == NAMES[: len(names)]
    assert isinstance(outcome, Disconnected)


async def test_a_body_that_cannot_be_decoded_ends_the_run_although_the_connection_goes_on() -> None:
    answer = slowly(ok(b"", "Content-Encoding: gzip"), b"this is no gzip", then=asyncio.Event().wait)
    _, outcome = await told_by(answer)
    assert isinstance(outcome, Disconnected)


async def test_a_large_body_that_cannot_be_decoded_to_its_end_ends_the_run_although_the_connection_goes_on() -> None:
    compressed = bytearray(gzip.compress(b"".join([*BEFORE_END, *DELTAS * 15_000])))
    compressed[-6] ^= 1  # Of the checksum: all that comes before it is decoded when aiohttp is asked for more.
    answer = slowly(ok(b"", "Content-Encoding: gzip"), bytes(compressed), then=asyncio.Event().wait)
    async with asyncio.timeout(10), raw_server(answer) as base_url, run_of(base_url) as run:
        run.on(Event)(lambda _: None)
        assert isinstance(await run.outcome(), Disconnected)


async def test_a_limit_that_is_passed_in_place_ends_the_run() -> None:
    names, outcome = await told_by(slowly(ok(b""), *HELLO), limits=Limits(max_response_bytes=len(CREATED)))
    assert names == NAMES[:1]
    assert isinstance(outcome, Disconnected | Failed)


async def test_more_than_aiohttp_keeps_comes_whole() -> None:
    large = frame("response.output_text.delta", output_index=0, content_index=0, delta="x" * 500_000)
    pieces = [*BEFORE_END, large, *DELTAS * 500, large, COMPLETED]
    names, outcome = await told_by(answering(chunked(b"".join(pieces))))
    assert len(names) == len(pieces)
    assert isinstance(outcome, Completed)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
async def test_a_handler_may_close_the_connection_that_its_event_came_from(secure: bool) -> None:
    @on(DeltaEvent)
    async def close(_: object, run: Run) -> None:
        assert isinstance(run, StreamRun)
        run.cancel()
        await run.outcome()

    answer = slowly(ok(b""), *HELLO, then=asyncio.Event().wait)
    async with asyncio.timeout(10), server_of(answer, secure=secure) as base_url, run_of(base_url) as run:
        run.include(close)
        assert (await run.outcome()).response.output_text == "Hel"


async def test_a_session_that_is_closed_ends_the_run() -> None:
    answer = slowly(ok(b""), *BEFORE_END, then=asyncio.Event().wait)
    async with asyncio.timeout(10), raw_server(answer) as base_url:
        session = aiohttp.ClientSession()
        client = Client(base_url=base_url, api_key="sk-1", retry=None, session=session)
        async with session, client, client.stream(model="m") as run:
            run.on(DeltaEvent)(lambda _: session.close())
            assert isinstance(await run.outcome(), Disconnected)


async def test_the_next_run_is_answered_on_the_same_connection_by_aiohttps_own_protocol() -> None:
    transports: list[asyncio.BaseTransport | None] = []

    async def serve(request: web.Request) -> web.StreamResponse:
        transports.append(request.transport)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in HELLO:
            await response.write(piece)
            await asyncio.sleep(0.001)
        return response

    app = web.Application()
    app.router.add_post("/v1/responses", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    session = aiohttp.ClientSession()
    async with session, Client(base_url=f"http://127.0.0.1:{runner.addresses[0][1]}/v1", session=session) as client:
        for _ in range(3):
            events: list[Event] = []
            dispatcher = Dispatcher()
            dispatcher.on(Event)(events.append)
            await client.run(dispatcher, model="m")
            assert [event.type for event in events] == NAMES
            assert session.connector is not None
            (kept,) = [proto for pool in session.connector._conns.values() for proto, _ in pool]
            assert kept.transport is not None
            assert kept.transport.get_protocol() is kept
    await runner.cleanup()
    assert len(set(transports)) == 1
