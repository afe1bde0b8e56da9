"""Reading: one connection after another, each closed whatever happens."""

import asyncio
from collections.abc import Callable

import pytest

from streamkit import Limits, Timeouts
from streamkit.cursor import Cursor
from streamkit.errors import ClockExpired, ConnectionLost, ResponseTooLarge, UsageError
from streamkit.reader import BODY_HEAD_BYTES, Reader
from streamkit.source import Chunks
from streamkit.sse import blocks_in
from streamkit.stats import RunStats
from streamkit.watchdog import Interrupted
from tests import virtual_time
from tests.pushed import PushedSource
from tests.scripted import CREATED, HELLO, ScriptedSource

pytestmark = pytest.mark.anyio


def reader(limits: Limits | None = None, timeouts: Timeouts | None = None) -> Reader:
    return Reader(timeouts or Timeouts(), limits or Limits(), RunStats())


async def opened(source: ScriptedSource, limits: Limits | None = None, timeouts: Timeouts | None = None) -> Reader:
    made = reader(limits, timeouts)
    answer = await made.open(source, Cursor())
    assert (answer.url, answer.status) == ("scripted:", 200)
    return made


async def test_a_farewell_is_not_late() -> None:
    assert reader().count_late([b"data: {}", b"data: [DONE]", b": a comment", b"data:"]) == 2


async def test_frames_come_as_chunks_complete_them() -> None:
    made = await opened(ScriptedSource(CREATED[:9], CREATED[9:] + CREATED))
    assert [len(blocks_in(await made.read() or b"")) for _ in range(2)] == [0, 2]
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
    await made.open(source, Cursor())
    assert source.closed_count == 1
    await made.rest(lambda: asyncio.sleep(0))
    assert source.closed_count == 2
    await made.close()
    assert source.closed_count == source.opened_count == 2


async def test_what_is_opened_although_it_was_interrupted_is_closed() -> None:
    source = ScriptedSource(*HELLO)
    made = reader()

    class Interrupting:
        async def open(self, cursor: Cursor) -> Chunks:
            chunks = await source.open(cursor)
            made.interrupt()
            return chunks

    with pytest.raises(Interrupted):
        await made.open(Interrupting(), Cursor())
    await made.close()
    assert source.closed_count == source.opened_count == 1


async def test_while_a_task_waits_others_change_nothing() -> None:
    source = ScriptedSource(None)
    made = await opened(source, timeouts=Timeouts(idle=0.03))
    waiting = asyncio.create_task(made.read())
    await source.reading.wait()
    for call in (lambda: made.open(source, Cursor()), lambda: made.rest(lambda: asyncio.sleep(0))):
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
    assert await made.read() == b""
    assert await made.read() is None
    cut_off = made.unterminated()
    assert cut_off is not None
    assert cut_off.event == "response.created"


class Working:
    """Works in place on whatever arrives, and does something else with what comes first."""

    def __init__(self, first: Callable[[Reader], object] = lambda _: None, *, timeouts: Timeouts | None = None) -> None:
        self.source = PushedSource()
        self.reader = Reader(timeouts or Timeouts(), Limits(), RunStats())
        self.reader.taker = self
        self.waits_on = True
        self.blocks: list[bytes] = []
        self._first = first

    async def open(self) -> "asyncio.Task[bytes | None]":
        await self.reader.open(self.source, Cursor())
        reading = asyncio.create_task(self.reader.read())
        await asyncio.sleep(0)
        return reading

    def take(self, whole: bytes) -> bool:
        if not self.blocks:
            self._first(self.reader)
        self.blocks += blocks_in(whole)
        return self.waits_on


async def test_who_reads_waits_on_while_what_arrives_is_worked_on() -> None:
    working = Working()
    reading = await working.open()
    for chunk in (b": a\n\n", b": b\n\n"):
        await working.source.push(chunk)
    assert not reading.done()
    await working.source.end()
    assert await reading is None
    assert working.blocks == [b": a", b": b"]


async def test_who_reads_goes_on_where_it_is_needed() -> None:
    working = Working()
    working.waits_on = False
    reading = await working.open()
    asyncio.get_running_loop().call_soon(working.source.arrive, b": a\n\n")
    assert await reading == b""


async def test_what_breaks_off_in_place_is_raised_where_it_is_waited_for() -> None:
    working = Working()
    reading = await working.open()
    await working.source.end(ConnectionLost("cut"))
    with pytest.raises(ConnectionLost, match="cut"):
        await reading


async def test_a_stop_iteration_raised_in_place_is_raised_where_it_is_waited_for() -> None:
    working = Working(lambda _: next(iter(())))
    reading = await working.open()
    asyncio.get_running_loop().call_soon(working.source.arrive, b": a\n\n")
    with pytest.raises(RuntimeError, match="StopIteration"):
        await reading


async def test_bytes_that_arrive_while_others_are_worked_on_come_after_them() -> None:
    working = Working(lambda _: working.source.arrive(b": b\n\n"))
    reading = await working.open()
    await working.source.push(b": a\n\n")
    assert working.blocks == [b": a", b": b"]
    assert not reading.done()
    reading.cancel()


async def test_a_reader_that_works_is_not_waiting() -> None:
    def interrupt(reader: Reader) -> None:
        reader.ensure_free()
        reader.interrupt()

    working = Working(interrupt)
    reading = await working.open()
    await working.source.push(b": a\n\n")
    assert (reading.cancelling(), reading.done()) == (0, False)
    with pytest.raises(UsageError):
        working.reader.ensure_free()
    working.reader.interrupt()
    with pytest.raises(Interrupted):
        await reading


@pytest.mark.parametrize("error", [None, ConnectionLost("cut")])
async def test_a_task_that_is_cancelled_in_its_place_is_cancelled(error: Exception | None) -> None:
    def cancel(_: Reader) -> None:
        reading.cancel()
        if error is not None:
            raise error

    working = Working(cancel)
    reading = await working.open()
    asyncio.get_running_loop().call_soon(working.source.arrive, b": a\n\n")
    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_clocks_that_run_out_sooner_than_before_are_watched_in_place() -> None:
    working = Working(Reader.expect_end, timeouts=Timeouts(idle=0.02))
    reading = await working.open()
    await working.source.push(b": a\n\n")
    with pytest.raises(ClockExpired):
        await reading


@pytest.mark.parametrize(
    ("keepalives", "seconds", "clock", "runs_out_at"),
    [
        # The clock for the first event would run out before all of these.
        (0, 0.0, "idle", 0.4 + 0.5),
        (0, 0.3, "idle", 0.4 + 0.3 + 0.5),
        (1, 0.0, "progress", 0.7),
        (1, 0.1, "progress", 0.1 + 0.7),
    ],
)
def test_in_place_the_time_of_handlers_is_no_silence_and_keepalives_are_no_progress(
    keepalives: int, seconds: float, clock: str, runs_out_at: float
) -> None:
    async def read() -> None:
        loop, source, stats = asyncio.get_running_loop(), PushedSource(), RunStats()

        class Slow:
            def take(self, _: list[bytes]) -> bool:
                stats.events, stats.keepalives, stats.handler_seconds = 1, keepalives, seconds
                return True

        working = Reader(Timeouts(first_event=0.6, idle=0.5, progress=0.7), Limits(), stats)
        working.taker = Slow()
        await working.open(source, Cursor())
        loop.call_later(0.4, source.arrive, b": a\n\n")
        with pytest.raises(ClockExpired) as caught:
            await working.read()
        assert caught.value.clock == clock
        assert runs_out_at <= loop.time() < runs_out_at + 0.05

    virtual_time.run(read())


def test_the_total_clock_counts_what_follows_the_end_too() -> None:
    async def drain() -> None:
        loop, source = asyncio.get_running_loop(), PushedSource()
        made = Reader(Timeouts(total=1.0), Limits(), RunStats())
        await made.open(source, Cursor())
        await asyncio.sleep(0.97)
        assert await made.drain() == 0
        assert 1.0 <= loop.time() < 1.05

    virtual_time.run(drain())
