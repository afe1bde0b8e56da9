"""Deltas that nobody listens to: they are not decoded until somebody wants to know, and nothing else is different."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit import (
    Completed,
    Dispatcher,
    Failed,
    Limits,
    Outcome,
    Restarted,
    Retry,
    Run,
    StreamRun,
    UnfinishedResponse,
)
from streamkit.codec import decode, decode_block, decode_strictly
from streamkit.cursor import Cursor
from streamkit.deferral import FRAME_BYTES
from streamkit.errors import ConnectionLost
from streamkit.events import Event, InvalidEvent
from streamkit.response import Response
from streamkit.sse import Frame, encode
from streamkit.stream import EventStream
from tests.pushed import PushedSource
from tests.recordings import recordings
from tests.scripted import BEFORE_END, COMPLETED, DELTAS, HELLO, ScriptedSource, Step, frame

pytestmark = pytest.mark.anyio

NO_OUTPUT = frame("response.completed", response={"id": "resp_1", "status": "completed", "output": []})
TEXT: Final = "response.output_text.delta"
AT_ONCE = Retry(first_delay=0, poll_every=0)


def numbered(count: int) -> list[bytes]:
    """A whole text answer whose events have numbers and whose terminal event has no output."""
    script: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": {"id": "resp_1", "status": "in_progress"}}),
        ("response.output_item.added", {"output_index": 0, "item": {"type": "message", "id": "m", "content": []}}),
        ("response.content_part.added", {"output_index": 0, "content_index": 0, "part": {"type": "output_text"}}),
        *((TEXT, {"output_index": 0, "content_index": 0, "delta": f"{n} "}) for n in range(count)),
        ("response.completed", {"response": {"id": "resp_1", "status": "completed"}}),
    ]
    return [frame(name, sequence_number=number, **fields) for number, (name, fields) in enumerate(script)]


def kept_by(stream: EventStream) -> int:
    """How many deltas, and events behind them, a stream keeps until somebody wants to know."""
    return len(stream._deferral.entries) if stream._deferral is not None else 0


class Decoded:
    """The names of the frames that were decoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self.decode = decode
        monkeypatch.setattr("streamkit.stream.decode_leniently", self)
        monkeypatch.setattr("streamkit.stream.decode_block", self.decode_block)

    def __call__(self, frame: Frame) -> Event:
        self.names.append(frame.event)
        return self.decode(frame)

    def decode_block(self, block: bytes, unwanted: frozenset[str]) -> Event | None:
        event = decode_block(block, unwanted)
        if event is not None:
            self.names.append(event.type)
        return event


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Decoded:
    return Decoded(monkeypatch)


def run_of(decoded: Decoded, *steps: Step, **options: Any) -> StreamRun:
    return StreamRun(ScriptedSource(*steps), decode=decoded, **options)


async def test_what_nobody_wants_is_not_decoded_and_the_answer_is_whole(decoded: Decoded) -> None:
    async with run_of(decoded, *HELLO) as run:
        outcome = await run.outcome()
    assert TEXT not in decoded.names
    assert len(decoded.names) == len(HELLO) - 2
    assert outcome.response.output_text == run.text == "Hello"
    assert run.anomalies == ()
    assert run.stats.events == len(HELLO)
    assert run.stats.text_characters == 5
    assert run.stats.first_text_after is not None


async def test_an_event_that_comes_alone_is_told_behind_the_deltas_that_were_put_off() -> None:
    source, texts = PushedSource(), list[str]()

    def note(_: object, run: Run) -> None:
        assert isinstance(run, StreamRun)
        texts.append(run.text)

    async with asyncio.timeout(10), StreamRun(source) as run:
        run.on("response.completed")(note)
        driving = asyncio.create_task(run.outcome())
        for event in numbered(3):
            await source.push(event)
        await source.end()
        await driving
    assert texts == ["0 1 2 "]
    assert run.stats.gaps == 0
    assert run.stats.events == len(numbered(3))


async def test_an_end_without_output_is_made_of_the_deltas(decoded: Decoded) -> None:
    async with run_of(decoded, *BEFORE_END, NO_OUTPUT) as run:
        assert (await run.outcome()).response.output_text == "Hello"
    assert decoded.names.count(TEXT) == 2


WANTED: dict[str, tuple[Callable[[StreamRun], object], int]] = {
    "its handler": (lambda run: run.on(TEXT)(print), 2),
    "its family's handler": (lambda run: run.on(Event)(print), 2),
    "its iterator": (lambda run: run.events(TEXT), 2),
    "what is invalid": (lambda run: run.on(InvalidEvent)(print), 2),
    "others": (lambda run: run.on("response.refusal.delta")(print), 0),
    "an iterator over others": (lambda run: run.events("response.completed"), 0),
}


@pytest.mark.parametrize(("listen", "count"), WANTED.values(), ids=WANTED.keys())
async def test_a_delta_is_decoded_for_who_listens(
    decoded: Decoded, listen: Callable[[StreamRun], object], count: int
) -> None:
    async with run_of(decoded, *HELLO) as run:
        _kept = listen(run)
        await run.outcome()
    assert decoded.names.count(TEXT) == count


async def test_what_is_read_in_between_is_decoded_once(decoded: Decoded) -> None:
    async with run_of(decoded, *BEFORE_END, NO_OUTPUT) as run:
        await run.wait("response.content_part.added")
        run.on("keepalive")(print)
        async for _ in run.events("response.completed"):
            assert run.text == run.snapshot().output_text == "Hello"
    assert decoded.names.count(TEXT) == 2


async def test_a_line_that_lies_about_the_event_defers_nothing() -> None:
    lying = encode(
        Frame(TEXT, json.dumps({"type": "response.completed", "response": {"status": "completed"}}).encode())
    )
    quoting = encode(Frame(TEXT, json.dumps({"type": "error", "message": "m", "code": TEXT}).encode()))
    async with StreamRun(ScriptedSource(*BEFORE_END, lying)) as run:
        assert isinstance(await run.outcome(), Completed)
    async with StreamRun(ScriptedSource(*BEFORE_END, quoting)) as run:
        assert isinstance(await run.outcome(), Failed)


async def test_broken_deltas_that_nobody_wants_do_no_harm() -> None:
    broken = encode(Frame(TEXT, b'{"type": "%s", "delta": ' % TEXT.encode()))
    async with StreamRun(ScriptedSource(*BEFORE_END, broken, NO_OUTPUT)) as run:
        outcome = await run.outcome()
    assert isinstance(outcome, Completed)
    assert outcome.response.output_text == "Hello"
    assert [anomaly.kind for anomaly in run.anomalies] == ["invalid"]


async def test_strict_decoding_looks_at_everything() -> None:
    broken = frame(TEXT, delta=5)
    async with StreamRun(ScriptedSource(*BEFORE_END, broken, COMPLETED), decode=decode_strictly) as run:
        assert not isinstance(await run.outcome(), Completed)


async def test_what_is_kept_undecoded_has_a_limit() -> None:
    stream = EventStream(
        ScriptedSource(*BEFORE_END, *DELTAS * 1000, NO_OUTPUT), limits=Limits(max_undecoded_bytes=20_000)
    )
    stream.unwanted = frozenset([TEXT])
    most = 0
    while stream.ending is None:
        if stream.take() is None:
            most = max(most, kept_by(stream))
            await stream.fill()
    assert 2 < most < 20_000 / FRAME_BYTES
    assert stream.ending.response.output_text == "Hello" * 1001
    await stream.close()


async def test_events_behind_what_is_undecoded_count_for_the_limit() -> None:
    item = {"type": "message", "id": "m", "content": [{"type": "output_text", "text": "x" * 1000}]}
    done = frame("response.output_item.done", output_index=0, item=item)
    stream = EventStream(ScriptedSource(*BEFORE_END, *[done] * 100), limits=Limits(max_undecoded_bytes=20_000))
    stream.unwanted = frozenset([TEXT])
    while stream.ending is None:
        if stream.take() is None:
            assert kept_by(stream) < 25
            await stream.fill()
    await stream.close()


class Cut:
    """A numbered answer that breaks off at each position that is given, and is taken up behind what was asked for."""

    def __init__(self, frames: list[bytes], *cuts: int, overlap: int = 0) -> None:
        self.frames = frames
        self.cuts = list(cuts)
        self.overlap = overlap
        self.asked: list[int | None] = []

    async def open(self, cursor: Cursor) -> Any:
        self.asked.append(cursor.position)
        start = 0 if cursor.position is None else max(0, cursor.position + 1 - self.overlap)
        steps: list[Step] = [*self.frames[start:]]
        if self.cuts:
            steps = [*self.frames[start : self.cuts.pop(0)], ConnectionLost("cut")]
        return await ScriptedSource(*steps).open(cursor)

    async def retrieve(self, _: str) -> Response:
        return Response(id="resp_1", status="in_progress")

    async def cancel(self, _: str) -> None: ...


@pytest.mark.parametrize("overlap", [0, 3, 100])
@pytest.mark.parametrize("listened", [(), (TEXT,), ("response.completed",)])
async def test_a_cut_in_the_background_is_taken_up_behind_what_was_not_decoded(
    listened: tuple[Any, ...], overlap: int
) -> None:
    source = Cut(numbered(20), 8, 15, 22, overlap=overlap)
    seen: list[Any] = []
    async with StreamRun(source, background=source, retry=AT_ONCE) as run:
        if listened:
            run.on(*listened)(lambda event: seen.append(event.sequence_number))
        outcome = await run.outcome()
    assert source.asked == [None, 7, 14, 21]
    assert outcome.response.output_text == "".join(f"{n} " for n in range(20))
    assert seen == sorted(set(seen))
    assert run.stats.gaps == 0


async def test_a_restart_forgets_what_was_not_decoded() -> None:
    class Anew(Cut):
        async def open(self, _: Cursor) -> Any:
            return await super().open(Cursor())

    restarted: list[object] = []
    async with StreamRun(Anew(numbered(5), 6), retry=AT_ONCE, restart=True) as run:
        run.on(Restarted)(restarted.append)
        outcome = await run.outcome()
    assert len(restarted) == 1
    assert outcome.response.output_text == "0 1 2 3 4 "


@pytest.mark.parametrize(("missing", "gaps"), [([], 0), ([5], 1), ([4, 5, 6], 1), ([22], 1)], ids=str)
async def test_numbers_that_are_skipped_show_behind_what_was_not_decoded(missing: list[int], gaps: int) -> None:
    frames = [one for number, one in enumerate(numbered(20)) if number not in missing]
    async with StreamRun(ScriptedSource(*frames)) as run:
        await run.outcome()
    assert run.stats.gaps == gaps


BODIES = [recording.body for recording in recordings() if recording.status.startswith("200")]
BODIES = BODIES or [b"".join(HELLO), b"".join([*BEFORE_END, NO_OUTPUT]), b"".join(numbered(9))]


async def told(body: bytes, size: int, moments: set[int], *, listens: bool) -> tuple[Any, ...]:
    """Drive a run over a body and return what can be seen of it: at some events, and at its end."""
    seen: list[object] = []
    count = 0

    def look(event: Event, run: Any) -> None:
        nonlocal count
        count += 1
        if count in moments:
            seen.append((event.type, run.text, run.snapshot(), run.response_id))

    dispatcher = Dispatcher()
    for name in ("response.output_item.added", "response.output_item.done", "response.content_part.done"):
        dispatcher.on(name)(look)
    if listens:
        dispatcher.on(Event)(lambda _: None)
    source = ScriptedSource(*(body[start : start + size] for start in range(0, len(body), size)))
    async with StreamRun(source) as run:
        try:
            await run.dispatch(dispatcher)
        except UnfinishedResponse as error:
            seen.append(type(error))
        outcome: Outcome = await run.outcome()
    stats = run.stats
    return seen, type(outcome), outcome.response, stats.events, stats.keepalives, stats.text_characters


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(BODIES), st.integers(1_000, 30_000), st.sets(st.integers(1, 12)))
def test_what_a_run_shows_is_the_same_at_any_time(body: bytes, size: int, moments: set[int]) -> None:
    async def both() -> tuple[Any, Any]:
        return await told(body, size, moments, listens=False), await told(body, size, moments, listens=True)

    deferred, looked_at = asyncio.run(both())
    assert deferred == looked_at
