"""Recordings: what a run got, written down while it got it, is what another run gets from the file."""

import asyncio
import json
import logging
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit import (
    Client,
    Completed,
    Disconnected,
    Dispatcher,
    Failed,
    Opened,
    Outcome,
    Response,
    ResponseDisconnectedError,
    Retry,
    StreamRun,
    UnfinishedResponse,
    UsageError,
)
from streamkit.cursor import Cursor
from streamkit.errors import (
    ClockExpired,
    ConnectFailed,
    ConnectionLost,
    NotAnEventStream,
    ServerError,
    StreamkitError,
    TransportError,
)
from streamkit.events import Event
from streamkit.source import Chunks, Source
from streamkit.sources.cassette import Cassette
from streamkit.sources.recording import Recording
from streamkit.sources.redaction import HttpRequest
from streamkit.sources.tape import Failure
from streamkit.sse import Frame, encode
from streamkit.testing import SCENARIOS, CutAfterEvents, Fault, LocalServer, Only, StreamExpired, play
from tests import virtual_time
from tests.raw_server import answering, ok, raw_server
from tests.scripted import BEFORE_END, COMPLETED, CREATED, HELLO, ScriptedSource

pytestmark = pytest.mark.anyio

AT_ONCE = Retry(first_delay=0, poll_every=0)
TEXT = [encode(Frame(str(event["type"]), json.dumps(event).encode())) for event in play("text")]

Timed = Sequence[tuple[float, bytes]]


class TimedSource:
    """Chunks, each so many seconds after the one before it."""

    def __init__(self, chunks: Timed, end: Exception, url: str = "timed:") -> None:
        self.opened = Opened(url=url, headers={})
        self._chunks = iter(chunks)
        self._end = end

    async def open(self, _: Cursor) -> Self:
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        for delay, chunk in self._chunks:
            await asyncio.sleep(delay)
            return chunk
        raise self._end

    async def aclose(self) -> None:
        pass


class InTurn:
    """One source after another, and answers to looks at the response: bytes, or an error."""

    def __init__(self, *sources: Source, looks: Sequence[Response | Exception] = ()) -> None:
        self._sources = iter(sources)
        self._looks = iter(looks)
        self.cancelled: list[str] = []

    async def open(self, cursor: Cursor) -> Chunks:
        return await next(self._sources).open(cursor)

    async def retrieve(self, _: str) -> Response:
        look = next(self._looks)
        if isinstance(look, Exception):
            raise look
        return look

    async def cancel(self, response_id: str) -> None:
        self.cancelled.append(response_id)


async def pulled(source: Source) -> tuple[list[tuple[float, bytes]], str]:
    """Read a source to its end: the chunks with their times, and what the end was."""
    time = asyncio.get_running_loop().time
    began = time()
    got: list[tuple[float, bytes]] = []
    chunks = await source.open(Cursor())
    try:
        while True:
            chunk = await chunks.__anext__()
            got.append((time() - began, chunk))
    except (StopAsyncIteration, StreamkitError) as error:
        return got, repr(error)
    finally:
        await chunks.aclose()


async def handled(run: StreamRun) -> tuple[list[Event], Outcome]:
    """Dispatch a run to its end: what handlers got, and the outcome."""
    events: list[Event] = []
    dispatcher = Dispatcher()
    dispatcher.on(Event)(events.append)
    async with run:
        with suppress(UnfinishedResponse):
            await run.dispatch(dispatcher)
        return events, await run.outcome()


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


TIMED = st.lists(st.tuples(st.floats(0, 1000), st.binary(min_size=1, max_size=40)), max_size=12)
ENDS = st.sampled_from([StopAsyncIteration(), ConnectionLost("cut"), ServerError("no", code="c", status=500)])


@settings(max_examples=60, deadline=None)
@given(chunks=TIMED, end=ENDS, speed=st.sampled_from([0, 1, 4, 0.5]))
def test_what_is_recorded_is_replayed_at_any_speed(chunks: Timed, end: Exception, speed: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run.sse.jsonl")
        recorded, how = virtual_time.run(pulled(Recording(TimedSource(chunks, end), path)))
        replayed, how_again = virtual_time.run(pulled(Cassette(path, speed=speed)))
    assert [chunk for _, chunk in replayed] == [chunk for _, chunk in chunks] == [chunk for _, chunk in recorded]
    assert how_again == how
    expected = [at / speed if speed else 0 for at, _ in recorded]
    assert [at for at, _ in replayed] == pytest.approx(expected, abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(chunks=TIMED, size=st.one_of(st.integers(1, 60), st.just("whole")))
def test_cut_anew_the_bytes_stay_the_same(chunks: Timed, size: int | Literal["whole"]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run.sse.jsonl")
        recorded, _ = virtual_time.run(pulled(Recording(TimedSource(chunks, StopAsyncIteration()), path)))
        replayed, _ = virtual_time.run(pulled(Cassette(path, speed=1, chunk_bytes=size)))
    data = b"".join(chunk for _, chunk in chunks)
    step = max(len(data), 1) if size == "whole" else size
    assert [chunk for _, chunk in replayed] == [data[start : start + step] for start in range(0, len(data), step)]
    if replayed:
        assert replayed[-1][0] == pytest.approx(recorded[-1][0], abs=1e-4)


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_a_replayed_run_is_as_the_recorded_one(scenario: str, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folders" / "run.sse.jsonl"
    async with LocalServer() as server, Client(base_url=server.url, retry=None) as client:
        asked: dict[str, Any] = {"model": f"scenario:{scenario}", "input": "Hello"}
        recorded = await handled(client.stream(record=path, **asked))
    client = Client(base_url="https://example.com/v1", retry=None)
    events, outcome = await handled(client.replay(path, **asked))
    assert (events, outcome.response) == (recorded[0], recorded[1].response)
    assert type(outcome) is type(recorded[1])
    assert str(getattr(outcome, "error", "")) == str(getattr(recorded[1], "error", ""))


async def test_run_records_too_and_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "run.sse.jsonl"
    path.write_text("something else")
    async with LocalServer() as server, Client(base_url=server.url) as client:
        response = await client.run(record=str(path), model="m", input="Hello")
    async with StreamRun(Cassette(path)) as run:
        assert await run.dispatch() == response


async def test_a_cassette_reads_well(tmp_path: Path) -> None:
    path = tmp_path / "run.sse.jsonl"
    request = HttpRequest(method="POST", url="https://example.com/v1/responses", body=b'{"model": "m", "input": "Hi"}')
    source = ScriptedSource(b"event: a\ndata: \xc3", b"\xa9\n\n", headers={"Content-Type": "text/event-stream"})
    async with StreamRun(Recording(source, path, request=request)) as run:
        await run.outcome()
    lines = lines_of(path)
    for line in lines[2:]:
        assert line.pop("at") >= 0
    assert lines == [
        {
            "streamkit": "cassette",
            "version": 1,
            "background": False,
            "request": {
                "method": "POST",
                "url": "https://example.com/v1/responses",
                "body": {"model": "m", "input": "Hi"},
            },
        },
        {"open": {}},
        {
            "opened": {
                "url": "scripted:",
                "status": 200,
                "headers": {"content-type": "text/event-stream"},
                "request_id": "req_1",
            }
        },
        {"base64": "ZXZlbnQ6IGEKZGF0YTogww=="},
        {"base64": "qQoK"},
        {"end": "eof"},
    ]


async def test_headers_are_found_in_any_case(tmp_path: Path) -> None:
    path = tmp_path / "run.sse.jsonl"
    async with StreamRun(Recording(ScriptedSource(*HELLO), path)) as run:
        await run.outcome()
    async with StreamRun(Cassette(path)) as run:
        opened = await run.opened()
    assert (opened.status, opened.request_id) == (200, "req_1")
    assert opened.headers["Content-Type"] == opened.headers["content-type"] == "text/event-stream"


async def test_each_line_is_in_the_file_as_soon_as_it_happened(tmp_path: Path) -> None:
    path = tmp_path / "run.sse.jsonl"
    chunks = await Recording(ScriptedSource(*HELLO), path).open(Cursor())
    for count, _ in enumerate(HELLO, start=1):
        await chunks.__anext__()
        assert [line["text"].encode() for line in lines_of(path)[3:]] == HELLO[:count]
    await chunks.aclose()
    assert lines_of(path)[-1]["end"] == "closed"


async def test_a_recording_that_breaks_off_anywhere_is_a_stream_that_breaks_off_there(tmp_path: Path) -> None:
    path = tmp_path / "run.sse.jsonl"
    async with StreamRun(Recording(ScriptedSource(*HELLO), path)) as run:
        await run.outcome()
    whole = path.read_bytes()
    completed = whole.index(b"\n", whole.index(b"event: response.completed"))
    for size in range(whole.index(b"\n"), len(whole), 7):
        path.write_bytes(whole[:size])
        async with StreamRun(Cassette(path)) as run:
            outcome = await run.outcome()
        if size >= completed:
            assert isinstance(outcome, Completed)
        else:
            assert isinstance(outcome, Disconnected)
            assert "the recording ends" in str(outcome.error) or "holds 0 connections" in str(outcome.error)


async def test_a_run_that_is_given_up_leaves_a_recording_that_ends_there(tmp_path: Path) -> None:
    path = tmp_path / "run.sse.jsonl"
    async with StreamRun(Recording(ScriptedSource(*BEFORE_END, None), path)) as run:
        async for event in run:
            if event.type == "response.output_text.delta":
                break
    async with StreamRun(Cassette(path)) as run:
        with pytest.raises(ResponseDisconnectedError, match="the recorded run closed the connection"):
            await run.dispatch()
        assert run.text == "Hel"


def numbered(start: int, end: int | None, *then: Exception) -> ScriptedSource:
    return ScriptedSource(*TEXT[start:end], *then)


async def test_attempts_that_failed_are_part_of_the_recording(tmp_path: Path) -> None:
    path = tmp_path / "run.sse.jsonl"
    refused = ServerError("slow down", code="c", status=429, retry_after=0.0, request_id="req_7")
    live = InTurn(
        ScriptedSource(on_open=refused), ScriptedSource(on_open=ConnectFailed("no", url="u")), numbered(0, None)
    )
    recorded = await handled(StreamRun(Recording(live, path), retry=AT_ONCE))
    assert [line for line in lines_of(path) if "open" in line] == [{"open": {}}] * 3
    replayed = await handled(Client(retry=Retry(first_delay=100)).replay(path))
    assert replayed == recorded
    assert isinstance(replayed[1], Completed)
    _, outcome = await handled(StreamRun(Cassette(path)))
    assert isinstance(outcome, Failed)
    assert vars(outcome.error) == vars(refused)


async def test_a_stream_that_was_taken_up_again_is_replayed_so(tmp_path: Path) -> None:
    path = tmp_path / "run.sse.jsonl"
    live = InTurn(numbered(0, 7, ConnectionLost("cut")), numbered(4, 9, ConnectionLost("cut")), numbered(9, None))
    recording = Recording(live, path, background=live)
    recorded = await handled(StreamRun(recording, background=recording, retry=AT_ONCE))
    positions = [line["open"].get("after") for line in lines_of(path) if "open" in line]
    assert positions == [None, 6, 8]
    replayed = await handled(Client().replay(path))
    assert replayed == recorded
    assert [event.sequence_number for event in replayed[0]] == list(range(len(TEXT)))


async def test_looks_at_a_response_whose_stream_is_gone_are_recorded(tmp_path: Path) -> None:
    path = tmp_path / "run.sse.jsonl"
    last: dict[str, Any] = dict(play("text")[-1]["response"])  # type: ignore[arg-type]
    gone = ScriptedSource(on_open=ServerError("too old", status=400))
    looks = [Response(id=last["id"], status="in_progress"), ServerError("busy", status=503), Response(**last)]
    live = InTurn(numbered(0, 6, ConnectionLost("cut")), gone, looks=looks)
    recording = Recording(live, path, background=live)
    recorded = await handled(StreamRun(recording, background=recording, retry=AT_ONCE))
    assert isinstance(recorded[1], Completed)
    assert await handled(Client().replay(path)) == recorded
    assert any(event.synthetic for event in recorded[0])


async def test_a_resumed_run_is_replayed_from_where_it_began(tmp_path: Path) -> None:
    path = tmp_path / "run.sse.jsonl"
    live = InTurn(numbered(5, None))
    recording = Recording(live, path, background=live)
    recorded = await handled(StreamRun(recording, cursor=Cursor("resp_1", 4), background=recording, retry=AT_ONCE))
    assert await handled(Client().replay(path)) == recorded
    assert recorded[0][0].sequence_number == 5


@pytest.mark.parametrize("gone", [False, True])
async def test_a_background_response_over_sockets(gone: bool, tmp_path: Path) -> None:
    path, rest = tmp_path / "run.sse.jsonl", tmp_path / "rest.sse.jsonl"
    faults: list[Fault] = [Only(CutAfterEvents(7), connection=1)]
    if gone:
        faults.append(Only(StreamExpired(), connection=2))
    async with LocalServer(faults=faults) as server, Client(base_url=server.url, retry=AT_ONCE) as client:
        asked: dict[str, Any] = {"model": "m", "input": "Hello", "background": True}
        recorded = await handled(client.stream(record=path, **asked))
        assert isinstance(recorded[1], Completed)
        assert any("retrieve" in line for line in lines_of(path)) == gone
        assert await handled(client.replay(path, **asked)) == recorded
        response_id = recorded[1].response.id
        assert response_id is not None
        resumed = await handled(client.resume(response_id, after=5, record=rest))
        assert await handled(client.replay(rest)) == resumed
    assert resumed[0][0].sequence_number == 6


async def test_cancelling_at_the_server_goes_through(tmp_path: Path) -> None:
    live = InTurn(numbered(0, 3, ConnectionLost("cut")))
    recording = Recording(live, tmp_path / "run.sse.jsonl", background=live)
    async with StreamRun(recording, background=recording) as run:
        async for _ in run:
            run.cancel(server=True)
            break
    assert live.cancelled == [run.response_id]
    async with Client().replay(tmp_path / "run.sse.jsonl") as run:
        async for _ in run:
            run.cancel(server=True)
            break


async def test_a_recording_without_background_has_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="background"):
        await Recording(ScriptedSource(), tmp_path / "run.sse.jsonl").retrieve("resp_1")


async def test_a_cassette_is_good_for_one_run(tmp_path: Path) -> None:
    path = tmp_path / "answer.sse"
    path.write_bytes(b"".join(HELLO))
    cassette = Cassette(path)
    assert isinstance((await handled(StreamRun(cassette)))[1], Completed)
    _, outcome = await handled(StreamRun(cassette))
    assert isinstance(outcome, Disconnected)
    assert "it holds 1 connections, and one more is asked for" in str(outcome.error)
    with pytest.raises(ConnectFailed, match="it holds 0 looks at the response"):
        await cassette.retrieve("resp_1")


@pytest.mark.parametrize("head", [b"", b"\xef\xbb\xbf", b": hello\n\n", b"\r\n", b"id: 1\n", b"data\n"])
async def test_an_event_stream_that_was_saved_as_it_came(head: bytes, tmp_path: Path) -> None:
    path = tmp_path / "answer.sse"
    path.write_bytes(head + b"".join(HELLO))
    async with StreamRun(Cassette(path, chunk_bytes=3)) as run:
        assert (await run.dispatch()).output_text == "Hello"
    async with Client().replay(path, model="any") as run:
        assert (await run.dispatch()).output_text == "Hello"


ERRORS: list[StreamkitError] = [
    ServerError("no", code="c", type="t", param="p", status=400, request_id="r", retry_after=1.5, should_retry=False),
    NotAnEventStream("a web page", content_type="text/html", body_head=b"", status=200, request_id="r"),
    ConnectFailed("no way", url="https://example.com"),
    ConnectionLost("cut"),
    ClockExpired("connect", 2.5),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_are_made_again(error: StreamkitError) -> None:
    again = Failure.of(error).error()
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_other_errors_of_the_transport_become_a_lost_connection() -> None:
    again = Failure.of(TransportError("odd")).error()
    assert (type(again), str(again)) == (ConnectionLost, "odd")


HEADER = '{"streamkit": "cassette", "version": 1}\n{"open": {}}\n'
OPENED = '{"at": 0, "opened": {"url": "u"}}\n'
NO_RECORDINGS = {
    "another kind": ("<html></html>\n", "is neither a cassette nor an event stream"),
    "other JSON": ('{"log": {}}\n', "is neither a cassette nor an event stream"),
    "empty": ("", "is neither a cassette nor an event stream"),
    "newer": ('{"streamkit": "cassette", "version": 7}\n', "recorded by a newer streamkit: its version is 7, and 1 is"),
    "no JSON": (HEADER + "oops\n" + OPENED, "line 3: "),
    "no JSON, at the end": (HEADER + OPENED + "oops\n", "line 4: "),
    "no object": (HEADER + "[1]\n\n", "line 3: this is no JSON object"),
    "unknown": (HEADER + OPENED + '\n{"at": 1, "what": 1}\n', "line 5: none of open, retrieve, text, .* stands in it"),
    "no time": (HEADER + '{"text": "x"}\n\n', "line 3: .*at Field required"),
    "no base64": (HEADER + '{"at": 1, "base64": "%"}\n\n', "line 3: .*base64"),
    "too early": ('{"streamkit": "cassette", "version": 1}\n' + OPENED, "line 2: nothing has been opened before it"),
    "no error": (HEADER + '{"at": 1, "failed": {"kind": "Odd", "message": ""}}\n', "line 3: .*failed.kind"),
}


@pytest.mark.parametrize("name", NO_RECORDINGS)
def test_what_is_wrong_with_a_file_is_said(name: str, tmp_path: Path) -> None:
    text, complaint = NO_RECORDINGS[name]
    path = tmp_path / "odd.sse.jsonl"
    path.write_text(text)
    with pytest.raises(UsageError, match=f"odd.sse.jsonl.*{complaint}"):
        Cassette(path)


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the cassette .*none: No such file"):
        Cassette(tmp_path / "none")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"speed": -1}, "speed must be a number from 0 on, not -1"),
        ({"speed": float("inf")}, "speed"),
        ({"speed": float("nan")}, "speed"),
        ({"chunk_bytes": 0}, "chunk_bytes must be at least 1, not 0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=complaint):
        Cassette(tmp_path / "none", **options)


async def test_a_replay_for_another_request_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.sse.jsonl"
    async with LocalServer() as server, Client(base_url=server.url) as client:
        await client.run(record=path, model="m", input="Hello", temperature=0)
        with pytest.raises(UsageError, match=r"run.sse.jsonl .*: what differs is input, temperature; record it anew"):
            client.replay(path, model="m", input="Good-bye")
        async with client.replay(path, model="m", input="Hello", temperature=0) as run:
            await run.dispatch()


async def test_a_recording_that_cannot_be_made_is_refused_when_the_run_opens(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with LocalServer() as server, Client(base_url=server.url) as client:
        async with client.stream(record=tmp_path / "file" / "run.sse.jsonl", model="m") as run:
            with pytest.raises(UsageError, match="cannot record to"):
                await run.dispatch()
        assert server.requests == []


async def test_a_full_disk_ends_the_recording_and_not_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    resource = pytest.importorskip("resource", reason="this system limits no file's size")
    path = tmp_path / "run.sse.jsonl"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400, hard))
    try:
        async with StreamRun(Recording(ScriptedSource(*HELLO), path)) as run:
            assert (await run.dispatch()).output_text == "Hello"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        f"recording to {path} has stopped: File too large"
    ]


async def test_a_recording_that_cannot_be_opened_again_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "run.sse.jsonl"
    recording = Recording(ScriptedSource(*HELLO), path)
    await pulled(recording)
    path.unlink()
    path.mkdir()
    assert [chunk for _, chunk in (await pulled(recording))[0]] == HELLO
    assert [chunk for _, chunk in (await pulled(recording))[0]] == HELLO
    assert [record.getMessage() for record in caplog.records] == [f"recording to {path} has stopped: Is a directory"]


SECRETS = {
    "sk-proj-0123456789abcdef",
    "org-ACME-0001",
    "proj_acme_0002",
    "session=cookie-0003",
    "mcp-secret-0006",
    "https://mcp.example.com/s/0007",
    "mcp-header-0008",
    "gateway-key-0009",
}


async def test_no_secret_is_in_a_cassette(tmp_path: Path) -> None:
    path = tmp_path / "run.sse.jsonl"
    echoed = [*SECRETS, "and none"]
    frames = b"".join(HELLO[:-1]) + b": " + " ".join(echoed).encode() + b"\n\n" + HELLO[-1]
    answer = ok(
        frames,
        f"Set-Cookie: {echoed[0]}",
        "openai-organization: org-ACME-0001",
        "x-request-id: sk-proj-0123456789abcdef",
        f"x-ratelimit-note: {' '.join(echoed)}",
        "x-echo: sk-proj-0123456789abcdef",
    )
    tools = [
        {
            "type": "mcp",
            "server_label": "acme",
            "authorization": "Bearer mcp-secret-0006",
            "server_url": "https://mcp.example.com/s/0007",
            "headers": {"X-Key": "mcp-header-0008"},
        },
        {"type": "function", "name": "f", "parameters": {"properties": {"password": {"type": "string"}}}},
    ]
    async with (
        raw_server(answering(answer)) as base_url,
        Client(
            base_url=base_url,
            api_key="sk-proj-0123456789abcdef",
            organization="org-ACME-0001",
            project="proj_acme_0002",
            headers={"Cookie": "session=cookie-0003", "X-Gateway-Key": "gateway-key-0009"},
        ) as client,
    ):
        events, outcome = await handled(client.stream(record=path, model="m", input="Hi", tools=tools))
    text = path.read_text()
    assert isinstance(outcome, Completed)
    assert {secret for secret in SECRETS if secret in text} == set()
    assert "and none" in text
    request = lines_of(path)[0]["request"]
    assert request["body"]["input"] == "Hi"
    assert request["body"]["tools"] == [
        {
            "type": "mcp",
            "server_label": "acme",
            "authorization": "***",
            "server_url": "***",
            "headers": "***",
        },
        {"type": "function", "name": "f", "parameters": {"properties": {"password": {"type": "string"}}}},
    ]
    # What is asked again with other keys is the same request.
    again = Client().replay(path, model="m", input="Hi", tools=tools)
    assert (await handled(again))[0] == events


async def test_no_secret_of_an_address_is_in_a_cassette(tmp_path: Path) -> None:
    path = tmp_path / "run.sse.jsonl"
    address = "https://user-0001:password-0002@example.com/v1/responses?code=query-0003&api-version=2026-01-01"
    body = b": user-0001 password-0002 query-0003 2026-01-01\n\n"
    source = TimedSource([(0, body)], StopAsyncIteration(), url=address)
    await pulled(Recording(source, path, request=HttpRequest(method="GET", url=address)))
    header, _, opened, chunk, _ = lines_of(path)
    harmless = "https://example.com/v1/responses?code=***&api-version=2026-01-01"
    assert header["request"] == {"method": "GET", "url": harmless}
    assert opened["opened"]["url"] == harmless
    assert chunk["text"] == ": ********* ************* ********** 2026-01-01\n\n"


async def test_an_address_that_is_none_is_hidden(tmp_path: Path) -> None:
    path = tmp_path / "run.sse.jsonl"
    await pulled(Recording(TimedSource([], StopAsyncIteration(), url="http://[secret"), path))
    assert lines_of(path)[2]["opened"]["url"] == "***"


KEY = "sk-proj-0123456789abcdef"
KEYED = HttpRequest(method="POST", url="https://example.com/v1/responses", headers={"Authorization": f"Bearer {KEY}"})


@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(st.sampled_from([KEY, "sk-", "s", "sk-proj-", ": é", "\n\n"]), max_size=8),
    cuts=st.lists(st.integers(0, 120), max_size=10),
)
def test_a_key_that_comes_back_is_found_however_it_is_cut(parts: list[str], cuts: list[int]) -> None:
    data = "".join(parts).encode()
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    chunks = [(1.0, data[start:end]) for start, end in pairwise(edges)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run.sse.jsonl")
        source = TimedSource(chunks, StopAsyncIteration())
        recorded, _ = virtual_time.run(pulled(Recording(source, path, request=KEYED)))
        replayed, _ = virtual_time.run(pulled(Cassette(path, speed=1)))
    assert [chunk for _, chunk in recorded] == [chunk for _, chunk in chunks]
    assert [(round(at, 3), len(chunk)) for at, chunk in replayed] == [(at, len(chunk)) for at, chunk in recorded]
    assert b"".join(chunk for _, chunk in replayed) == data.replace(KEY.encode(), b"*" * len(KEY))


@pytest.mark.parametrize("key", ["x", "local"])
async def test_a_short_key_is_not_looked_for_in_words(key: str, tmp_path: Path) -> None:
    path = tmp_path / "run.sse.jsonl"
    request = HttpRequest(method="POST", url="http://localhost", headers={"Authorization": f"Bearer {key}"})
    await pulled(Recording(ScriptedSource(b": local x\n\n"), path, request=request))
    assert lines_of(path)[3]["text"] == ": local x\n\n"


def test_a_request_shows_no_secret_of_itself() -> None:
    assert KEY not in repr(KEYED)


@pytest.mark.parametrize("cut", [CREATED, COMPLETED])
async def test_replays_let_other_tasks_run(cut: bytes, tmp_path: Path) -> None:
    path = tmp_path / "answer.sse"
    path.write_bytes(b"".join(HELLO) + cut)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(count())
    await pulled(Cassette(path, chunk_bytes=10))
    other.cancel()
    assert turns > 10
