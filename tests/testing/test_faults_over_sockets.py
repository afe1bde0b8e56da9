"""Faults as they arrive at a client: every byte, and the way in which the connection ends."""

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import openai
import pytest

from streamkit.testing import (
    Comments,
    CutAfterBytes,
    CutAfterEvents,
    DataBeforeEvent,
    Drip,
    Drop,
    Duplicate,
    EmptyStream,
    Fault,
    FramesAfterEnd,
    GarbageAfterEvents,
    Gzip,
    HeartbeatsAfterEvents,
    HttpError,
    LateAnswer,
    LineEnds,
    LocalServer,
    NoAnswer,
    NoEventLines,
    Only,
    Postpone,
    RecordedRequest,
    Redirect,
    SecondTerminal,
    StallAfterEvents,
    StreamExpired,
    WrongBody,
    encode_event,
)
from streamkit.testing.answers import EVENT_STREAM, Answer
from streamkit.testing.fault import apply_faults
from streamkit.testing.front import Attempts
from tests.testing.clients import both, events_in, exchanged, get, official_client, posted

pytestmark = pytest.mark.anyio

BACKGROUND = {"model": "gpt-5", "input": "Hi", "background": True, "stream": True}
STREAM = {"model": "gpt-5", "input": "Hi", "stream": True}


class Finished:
    """A response on a server, whose stream can be fetched again and again."""

    def __init__(self, server: LocalServer, session: aiohttp.ClientSession, events: list[dict[str, Any]]) -> None:
        self.server = server
        self.frames = [encode_event(event) for event in events]
        self.url = f"{server.url}/responses/{events[0]['response']['id']}?stream=true"
        self._session = session

    @property
    def path(self) -> str:
        return self.url.removeprefix(self.server.url.removesuffix("/v1"))

    async def read(self, *faults: Fault, **options: Any) -> tuple[bytes, type[BaseException] | None]:
        """The bytes that arrive under the given faults, and how the reading failed if it did."""
        received = bytearray()
        headers = {"x-streamkit-faults": ", ".join(map(str, faults))}
        async with self._session.get(self.url, headers=headers, **options) as response:
            try:
                while chunk := await response.content.readany():
                    received += chunk
            except (aiohttp.ClientError, OSError) as error:
                return bytes(received), type(error)
        return bytes(received), None


@asynccontextmanager
async def finished(**options: Any) -> AsyncIterator[Finished]:
    async with LocalServer(**options) as server, aiohttp.ClientSession() as session:
        _, events = await posted(server, BACKGROUND)
        yield Finished(server, session, events)


UNCUT: list[list[Fault]] = [
    [],
    [Drip(100)],
    [Drip(7), Drop(2)],
    [Duplicate(3), Postpone(5, by=2), GarbageAfterEvents(4)],
    [LineEnds("crlf"), Comments(2)],
    [LineEnds("cr")],
    [NoEventLines()],
    [DataBeforeEvent()],
    [SecondTerminal(), FramesAfterEnd(3)],
    [StallAfterEvents(3, seconds=0.01)],
    [LateAnswer(seconds=0.01)],
    [EmptyStream()],
    [CutAfterEvents(4, how="end")],
    [CutAfterBytes(333, how="end")],
]


class TestBytes:
    async def test_what_arrives_is_what_the_faults_make_of_the_stream(self) -> None:
        async with finished() as response:
            for faults in UNCUT:
                answer = apply_faults(faults, Answer(headers=EVENT_STREAM, body=tuple(response.frames)))
                expected = b"".join(step for step in answer.steps if isinstance(step, bytes))
                cut = [fault for fault in faults if isinstance(fault, CutAfterEvents | CutAfterBytes)]
                received, error = await response.read(*faults)
                assert error is None
                assert received == expected[: cut_at(cut, response.frames)]

    async def test_a_body_that_is_cut_without_its_last_chunk(self) -> None:
        async with finished() as response:
            head, whole = response.frames[0], b"".join(response.frames)
            assert await response.read(CutAfterEvents(1)) == (head, aiohttp.ClientPayloadError)
            assert await response.read(CutAfterBytes(1000)) == (whole[:1000], aiohttp.ClientPayloadError)
            assert await response.read(CutAfterBytes(0)) == (b"", aiohttp.ClientPayloadError)

    async def test_the_last_chunk_is_there_or_not(self) -> None:
        async with finished() as response:
            for how, ends_well in (("end", True), ("close", False)):
                fault = CutAfterEvents(2, how=how)  # type: ignore[arg-type]
                received, error = await exchanged(response.server, get(response.path, faulty(fault)))
                assert (received.endswith(b"\r\n0\r\n\r\n"), error) == (ends_well, None)
                assert response.frames[1] in received
                assert response.frames[2] not in received

    async def test_a_reset_comes_after_the_bytes_before_it(self) -> None:
        async with finished(scenario="long-text") as response:
            for count in (1, 300):
                request = get(response.path, faulty(CutAfterEvents(count, how="reset")))
                received, error = await exchanged(response.server, request)
                assert error is ConnectionResetError
                assert response.frames[count - 1] in received
                assert response.frames[count] not in received

    async def test_a_reset_can_take_the_last_bytes_with_it_and_no_others(self) -> None:
        fault = CutAfterBytes(2_000_000, how="reset")
        async with finished(scenario=lambda script: script.text("x " * 10_000).complete()) as response:
            # In HTTP/1.0 there are no chunks: the body is all that follows the headers.
            request = get(response.path, faulty(fault)).replace(b"HTTP/1.1", b"HTTP/1.0")
            received, error = await exchanged(response.server, request)
        body = received.partition(b"\r\n\r\n")[2]
        assert error is ConnectionResetError
        assert 0 < len(body) <= fault.count
        assert b"".join(response.frames).startswith(body)

    async def test_a_compressed_stream_is_marked_as_such(self) -> None:
        async with finished() as response:
            received, error = await response.read(Gzip(), auto_decompress=False)
            assert (gzip.decompress(received), error) == (b"".join(response.frames), None)
            assert await response.read(Gzip()) == (b"".join(response.frames), None)

    async def test_small_writes_are_small_chunks(self) -> None:
        async with finished() as response:
            received, _ = await exchanged(response.server, get(response.path, faulty(CutAfterBytes(300), Drip(1))))
        assert b"\r\n1\r\ne\r\n1\r\nv\r\n1\r\ne\r\n" in received


def faulty(*faults: Fault) -> dict[str, str]:
    return {"x-streamkit-faults": ", ".join(map(str, faults))}


def cut_at(cuts: list[CutAfterEvents | CutAfterBytes], frames: list[bytes]) -> int | None:
    if not cuts:
        return None
    (cut,) = cuts
    return cut.count if isinstance(cut, CutAfterBytes) else len(b"".join(frames[: cut.count]))


class TestWaiting:
    @pytest.mark.parametrize("fault", [StallAfterEvents(3), HeartbeatsAfterEvents(3, seconds=0.001)], ids=str)
    async def test_a_stream_that_goes_no_further(self, fault: Fault) -> None:
        async with (
            LocalServer(faults=[fault]) as server,
            aiohttp.ClientSession() as session,
            session.post(f"{server.url}/responses", json=STREAM) as response,
        ):
            received = b""
            beats = 5 if isinstance(fault, HeartbeatsAfterEvents) else 0
            while received.count(b"\n\n") < 3 + beats:
                received += await response.content.readany()
        assert received.count(b"event: ") == 3

    async def test_an_answer_that_never_comes(self) -> None:
        async with LocalServer(faults=[LateAnswer()]) as server:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(posted(server, STREAM), timeout=0.05)
            assert len(server.requests) == 1

    @pytest.mark.parametrize("how", ["close", "reset"])
    async def test_a_connection_that_is_cut_before_any_answer(self, how: Any) -> None:
        async with LocalServer(faults=[NoAnswer(how)]) as server:
            with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
                await posted(server, STREAM)


class TestRefusals:
    async def test_a_status_with_headers(self) -> None:
        fault = HttpError(429, headers={"retry-after": "7", "x-ratelimit-remaining-requests": "0"})
        async with both(faults=[fault]) as (_, client):
            with pytest.raises(openai.RateLimitError) as caught:
                await client.responses.create(**STREAM)
        headers = caught.value.response.headers
        assert (headers["retry-after"], headers["x-ratelimit-remaining-requests"]) == ("7", "0")
        assert caught.value.code == "injected_fault"

    async def test_a_redirect_is_not_carried_out(self) -> None:
        async with (
            LocalServer() as server,
            aiohttp.ClientSession() as session,
            session.post(
                f"{server.url}/responses", json=STREAM, headers=faulty(Redirect("/v1/models")), allow_redirects=False
            ) as response,
        ):
            assert (response.status, response.headers["location"]) == (307, "/v1/models")

    async def test_a_web_page(self) -> None:
        async with (
            LocalServer(faults=[WrongBody()]) as server,
            aiohttp.ClientSession() as session,
            session.post(f"{server.url}/responses", json=STREAM) as response,
        ):
            assert (response.status, response.content_type) == (200, "text/html")
            assert (await response.text()).startswith("<!doctype html>")

    async def test_a_refused_request_is_not_carried_out(self) -> None:
        made: list[str] = []

        def scenario(script: Any) -> None:
            made.append("response")
            script.text("Hi").complete()

        async with LocalServer(scenario=scenario) as server:
            await posted(server, BACKGROUND, **faulty(HttpError(503)))
            assert made == []
            await posted(server, BACKGROUND, **faulty(Drop(0)))
            assert made == ["response"]

    async def test_an_expired_stream(self) -> None:
        async with both() as (_, client):
            response = await client.responses.create(**BACKGROUND | {"stream": False})
            with pytest.raises(openai.BadRequestError, match="can no longer be streamed"):
                await client.responses.retrieve(response.id, stream=True, extra_headers=faulty(StreamExpired()))

    async def test_an_unreadable_header(self) -> None:
        async with LocalServer() as server:
            status, answer = await posted(server, STREAM, **{"x-streamkit-faults": "cut-after-event=5"})
        assert (status, answer["error"]["type"]) == (400, "invalid_request_error")
        assert "did you mean 'cut-after-events'?" in answer["error"]["message"]


class TestOccasions:
    async def test_the_header_takes_the_place_of_the_servers_faults(self) -> None:
        async with LocalServer(faults=[HttpError(500)]) as server:
            statuses = [
                (await posted(server, STREAM, **headers))[0] for headers in ({}, faulty(), faulty(HttpError(502)))
            ]
        assert statuses == [500, 200, 502]

    async def test_a_function_chooses_the_faults_of_each_request(self) -> None:
        def faults(request: RecordedRequest) -> list[Fault]:
            return [HttpError(503)] if request.number == 2 and request.method == "POST" else []

        async with LocalServer(faults=faults) as server:
            assert [(await posted(server, STREAM))[0] for _ in range(3)] == [200, 503, 200]

    async def test_the_first_attempts_fail(self) -> None:
        async with LocalServer(faults=[Only(HttpError(503), first=2)]) as server:
            assert [(await posted(server, STREAM))[0] for _ in range(4)] == [503, 503, 200, 200]

    async def test_the_first_attempts_of_each_key_fail(self) -> None:
        keys = ["a", "b", "a", "a", "b", "c"]
        async with LocalServer(faults=[Only(HttpError(503), first=1)]) as server:
            statuses = [(await posted(server, STREAM, **{"Idempotency-Key": key}))[0] for key in keys]
        assert statuses == [503, 503, 200, 200, 200, 503]

    async def test_the_official_client_gets_over_failing_attempts(self) -> None:
        fault = HttpError(503, headers={"retry-after-ms": "1"})
        async with (
            LocalServer(faults=[Only(fault, first=2)]) as server,
            official_client(server, max_retries=2) as client,
        ):
            stream = await client.responses.create(**STREAM)
            assert [event.type async for event in stream][-1] == "response.completed"
        assert [request.headers["x-stainless-retry-count"] for request in server.requests] == ["0", "1", "2"]

    async def test_each_connection_of_a_response_has_faults_of_its_own(self) -> None:
        faults = [Only(CutAfterEvents(3, "end"), connection=1), Only(CutAfterEvents(2, "end"), connection=2)]
        async with LocalServer(faults=faults) as server, aiohttp.ClientSession() as session:
            for _ in range(2):
                _, events = await posted(server, BACKGROUND)
                url = f"{server.url}/responses/{events[0]['response']['id']}"
                counts = [len(events)]
                for query in ("stream=true&starting_after=2", "", "stream=true&starting_after=4"):
                    async with session.get(f"{url}?{query}") as response:
                        counts.append(len(events_in(await response.read())))
                assert counts[:3] == [3, 2, 0]
                assert counts[3] > 2

    def test_the_least_recent_request_is_forgotten(self) -> None:
        attempts = Attempts(limit=2)
        assert [attempts.count(key) for key in ("a", "b", "a", "c", "a", "b")] == [1, 1, 2, 1, 3, 1]


class TestQuietness:
    async def test_faults_leave_nothing_in_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        complaints: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        cuts: list[Fault] = [NoAnswer(), NoAnswer("reset"), CutAfterBytes(0, "reset"), CutAfterEvents(2, "close")]
        with caplog.at_level(logging.WARNING):
            async with LocalServer() as server:
                for fault in cuts:
                    with pytest.raises(aiohttp.ClientError):
                        await posted(server, STREAM, **faulty(fault))
        assert complaints == []
        assert caplog.messages == []
