"""Reading: one connection after another, each closed whatever happens."""

import asyncio

import pytest

from streamkit import Limits, Timeouts
from streamkit.cursor import Cursor
from streamkit.errors import ClockExpired, ConnectionLost, ResponseTooLarge, UsageError
from streamkit.reader import BODY_HEAD_BYTES, Reader
from streamkit.stats import RunStats
from streamkit.watchdog import Interrupted
from tests.scripted import CREATED, HELLO, ScriptedSource

pytestmark = pytest.mark.anyio


def reader(limits: Limits | None = None, timeouts: Timeouts | None = None) -> Reader:
    return Reader(timeouts or Timeouts(), limits or Limits(), RunStats())


async def opened(source: ScriptedSource, limits: Limits | None = None, timeouts: Timeouts | None = None) -> Reader:
    made = reader(limits, timeouts)
    answer = await made.open(lambda: source.open(Cursor()))
    assert answer is made.opened
    return made


async def test_a_farewell_is_not_late() -> None:
    assert reader().count_late([b"data: {}", b"data: [DONE]", b": a comment", b"data:"]) == 2


async def test_frames_come_as_chunks_complete_them() -> None:
    made = await opened(ScriptedSource(CREATED[:9], CREATED[9:] + CREATED))
    assert [len(await made.read() or []) for _ in range(2)] == [0, 2]
    assert await made.read() is None
    await made.close()


async def test_bytes_are_counted_with_the_time_of_the_first_and_the_last() -> None:
    made = await opened(ScriptedSource(b": a\n\n", CREATED, b"\n"))
    times = []
    while await made.read() is not None:
        times.append(made._stats.last_byte_after)
    stats = made._stats
    assert (stats.chunks, stats.bytes) == (3, len(CREATED) + 6)
    assert (stats.first_byte_after, stats.last_byte_after) == (times[0], times[-1])
    assert times == sorted(times)
    await made.close()


async def test_the_head_of_a_body_is_kept_until_a_frame_comes() -> None:
    made = await opened(ScriptedSource(b": a\n\n", b"x" * BODY_HEAD_BYTES, b"\n\n", CREATED))
    heads = []
    for _ in range(4):
        await made.read()
        heads.append((len(made.body_head), made.has_frames))
    assert heads == [(5, False), (BODY_HEAD_BYTES, False), (BODY_HEAD_BYTES, False), (0, True)]


async def test_a_response_that_never_ends_is_too_large() -> None:
    made = await opened(ScriptedSource(*[b": more\n\n"] * 10), Limits(max_response_bytes=20))
    with pytest.raises(ResponseTooLarge, match="max_response_bytes=20"):
        for _ in range(10):
            await made.read()


async def test_opening_and_resting_close_what_was_open() -> None:
    source = ScriptedSource(*HELLO)
    made = await opened(source)
    await made.open(lambda: source.open(Cursor()))
    assert source.closed_count == 1
    await made.rest(lambda: asyncio.sleep(0))
    assert source.closed_count == 2
    await made.close()
    assert source.closed_count == source.opened_count == 2


async def test_what_is_opened_although_it_was_interrupted_is_closed() -> None:
    source = ScriptedSource(*HELLO)
    made = reader()

    async def open_and_interrupt() -> object:
        chunks = await source.open(Cursor())
        made.interrupt()
        return chunks

    with pytest.raises(Interrupted):
        await made.open(open_and_interrupt)  # type: ignore[arg-type]
    await made.close()
    assert source.closed_count == source.opened_count == 1


async def test_while_a_task_waits_others_change_nothing() -> None:
    source = ScriptedSource(None)
    made = await opened(source, timeouts=Timeouts(idle=0.03))
    waiting = asyncio.create_task(made.read())
    await source.reading.wait()
    for call in (lambda: made.open(lambda: source.open(Cursor())), lambda: made.rest(lambda: asyncio.sleep(0))):
        with pytest.raises(UsageError):
            await call()
    assert source.closed_count == 0
    with pytest.raises(ClockExpired):
        await waiting
    made.ensure_free()


async def test_what_follows_the_end_is_counted_and_its_errors_are_not_heard() -> None:
    assert await reader().drain() == 0
    assert await (await opened(ScriptedSource(CREATED + CREATED, CREATED))).drain() == 3
    assert await (await opened(ScriptedSource(CREATED, ConnectionLost("cut"), CREATED))).drain() == 1
    assert await (await opened(ScriptedSource(CREATED, None, CREATED))).drain() == 1


async def test_an_error_is_followed_soon() -> None:
    made = await opened(ScriptedSource(CREATED, None), timeouts=Timeouts(idle=0.02))
    await made.read()
    made.expect_end()
    with pytest.raises(ClockExpired):
        await made.read()


async def test_only_events_that_are_no_keepalives_are_progress() -> None:
    async def expired(keepalives: int) -> str:
        made = await opened(ScriptedSource(CREATED, None), timeouts=Timeouts(progress=0.02, first_event=0.5))
        await made.read()
        made._stats.events, made._stats.keepalives = 1, keepalives
        made.note_progress()
        made.note_progress()
        with pytest.raises(ClockExpired) as caught:
            await made.read()
        made.note_end()
        await made.close()
        return caught.value.clock

    assert [await expired(keepalives) for keepalives in (0, 1)] == ["progress", "progress"]


async def test_what_the_end_cut_off_can_be_had() -> None:
    made = await opened(ScriptedSource(CREATED.rstrip(b"\n")))
    assert await made.read() == []
    assert await made.read() is None
    cut_off = made.unterminated()
    assert cut_off is not None
    assert cut_off.event == "response.created"
