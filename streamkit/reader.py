"""Reading a source under the clocks: bytes in, frames out."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol, TypeVar, cast

from streamkit.clocks import Clocks, Timeouts
from streamkit.cursor import Cursor
from streamkit.errors import ResponseTooLarge, StreamkitError
from streamkit.limits import Limits
from streamkit.outcome import Opened
from streamkit.source import Chunks, PushedChunks, Source
from streamkit.sse import Decoder, Frame, blocks_in
from streamkit.stats import RunStats
from streamkit.watchdog import Watchdog

T = TypeVar("T")

BODY_HEAD_BYTES = 64 * 1024
"""How much of a body without any frame is kept, to find out what it is instead of an event stream."""


class Taker(Protocol):
    """Works on blocks as soon as they come, in the place of the task that waits for them."""

    def take(self, whole: bytes, /) -> bool:
        """Work on them; true where the task can wait on."""
        ...


class Reader:
    """Reads one source, on one connection after another.

    Args:
        timeouts: the clocks.
        limits: how much to accept.
        stats: where bytes and times are counted.

    Attributes:
        taker: if it is set, takes blocks that bytes complete while a task waits in ``read``.
        decoder: parses the blocks of the connection.
        has_frames: whether the connection has brought a frame.
        body_head: the first bytes of the body, as long as no frame has come.
    """

    __slots__ = (
        "_arrival",
        "_began",
        "_chunks",
        "_clocks",
        "_has_worked",
        "_is_unwatched",
        "_is_working",
        "_limits",
        "_loop",
        "_progress",
        "_pushed",
        "_stats",
        "_watchdog",
        "body_head",
        "decoder",
        "has_frames",
        "taker",
    )

    def __init__(self, timeouts: Timeouts, limits: Limits, stats: RunStats) -> None:
        self.taker: Taker | None = None
        self.has_frames = False
        self.body_head = b""
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self.decoder = Decoder(max_event_bytes=limits.max_event_bytes)
        self._began = self._loop.time()
        self._stats = stats
        stats.began_at = time.time()
        self._clocks = Clocks(timeouts, self._began)
        self._watchdog = Watchdog(self._clocks)
        self._chunks: Chunks | None = None
        self._pushed: PushedChunks | None = None
        self._arrival: asyncio.Future[None] | None = None
        self._has_worked = False
        self._is_working = False
        # Whether a clock may run out sooner than the watchdog knows.
        self._is_unwatched = False
        self._progress = 0

    def open(self, source: Source, cursor: Cursor) -> Awaitable[Opened]:
        """Open the source, or open it again behind the cursor; what was open before is closed.

        Raises:
            ServerError, TransportError: it does not open.
            Interrupted: ``interrupt`` was called meanwhile.
            UsageError: another task is waiting.
        """
        self._claim()
        self._stats.attempts += 1
        self._clocks.opening(self._loop.time())
        self._watchdog.close()
        return self._watchdog.wait_for(self._replace_chunks, source, cursor)

    async def read(self) -> bytes | None:
        """Wait for bytes and return the blocks they complete, in one piece; ``None`` where the bytes have ended.

        Each of the blocks in it is for the ``decoder`` to parse, in their order, or for nobody. It may be empty.

        Raises:
            TransportError: the bytes were cut off, or a clock ran out.
            FrameTooLarge, ResponseTooLarge: a limit is passed.
            Interrupted: ``interrupt`` was called meanwhile.
        """
        pushed = self._pushed
        if pushed is None:
            chunk = await self._pull()
        else:
            chunk = self._take(pushed)
            if chunk == b"":
                await self._watchdog.wait_for(self._wait_for_arrival)
                # What was taken meanwhile comes first, before the end above all.
                chunk = b"" if self._has_worked else pushed.take()
        return self._cut(chunk, self._clocks.received_at) if chunk else chunk

    def _cut(self, chunk: bytes, received: float) -> bytes:
        stats = self._stats
        stats.last_byte_after = received - self._began
        stats.chunks += 1
        stats.bytes += len(chunk)
        if stats.bytes > self._limits.max_response_bytes:
            raise ResponseTooLarge(self._limits.max_response_bytes)
        whole = self.decoder.cut(chunk)
        if not self.has_frames:
            self._look_at_head(chunk, whole)
        return whole

    def count_late(self, blocks: Iterable[bytes]) -> int:
        """Count frames that came after the end; ``[DONE]``, with which some servers say goodbye, is none."""
        frames = map(self.decoder.parse, blocks)
        return sum(frame is not None and frame.data != b"[DONE]" for frame in frames)

    async def rest(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call other than reading and wait for it; of the clocks, only the total one runs meanwhile.

        Raises:
            ClockExpired: the total clock ran out.
            Interrupted: ``interrupt`` was called meanwhile.
            UsageError: another task is waiting.
            Exception: what the call raises.
        """
        self._claim()
        self._clocks.resting()
        self._watchdog.close()
        return await self._watchdog.wait_for(self._without_chunks, call)

    async def ask(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a request for something else than a stream, under the clocks of an opening; raises as ``rest``."""
        self._claim()
        self._clocks.opening(self._loop.time())
        self._watchdog.close()
        return await self._watchdog.wait_for(call)

    async def _pull(self) -> bytes | None:
        assert self._chunks is not None
        try:
            return await self._watchdog.wait_for(self._chunks.__anext__)
        except StopAsyncIteration:
            return None

    def _take(self, pushed: PushedChunks) -> bytes | None:
        self._claim()
        chunk = pushed.take()
        if chunk != b"":
            now = self._loop.time()
            self._clocks.received(now)
            self._watchdog.keep_watch(now)
        return chunk

    async def _wait_for_arrival(self) -> None:
        self._arrival = arrival = self._loop.create_future()
        self._has_worked = False
        try:
            await arrival
        finally:
            # Where a handler of the end has had the rest read, that waits for the next one.
            if self._arrival is arrival:
                self._arrival = None

    # Long, for it is run for every read, and each function that it called would be, too.
    def _note_arrival(self) -> None:  # noqa: C901, PLR0912
        arrival, pushed, taker = self._arrival, self._pushed, self.taker
        if arrival is None or self._is_working or arrival.done():
            return
        if pushed is None or taker is None:
            arrival.set_result(None)
            return
        stats, clocks = self._stats, self._clocks
        # While its place is taken the task does not wait: neither for more bytes, nor to be interrupted.
        self._is_working = True
        try:
            while chunk := pushed.take():
                received, busy = self._loop.time(), stats.handler_seconds
                whole = self._cut(chunk, received)
                if whole and not taker.take(whole):
                    break
                until = received + stats.handler_seconds - busy
                progress = stats.events - stats.keepalives
                if progress > self._progress:
                    self._progress = progress
                    # What `received`, `progressed` and `waiting` would do.
                    clocks.last_byte = clocks.last_progress = until
                    clocks.awaits_first_event = False
                else:
                    clocks.received(received)
                    self.note_progress()
                    clocks.waiting(until)
                if self._is_unwatched:
                    self._is_unwatched = False
                    self._watchdog.keep_watch(until)
                if not pushed.has_more:
                    if self._is_working:
                        self._is_working = False
                        return
                    break
        except BaseException as error:  # noqa: BLE001 - the task that waits is the one to face it
            self._free_place()
            # Unless a handler has cancelled it.
            if not arrival.done():
                arrival.set_exception(_as_raised_in_a_task(error))
            return
        if chunk == b"" and self._is_working:
            self._is_working = False
            return
        self._free_place()
        if not arrival.done():
            self._has_worked = bool(chunk)
            arrival.set_result(None)

    def _claim(self) -> None:
        """Raise ``UsageError`` where another task is waiting; where this is called in its place, it waits no more."""
        self._free_place()
        self._watchdog.ensure_free()

    def _free_place(self) -> None:
        """While the place of the task that waits is taken, have that task wait no more."""
        if self._is_working:
            self._is_working = False
            self._watchdog.waiting = self._arrival = None

    def unterminated(self) -> Frame | None:
        """Return the frame that the end of the bytes cut off before its blank line."""
        return self.decoder.flush()

    def note_progress(self) -> None:
        """Tell the clocks what the frames of the last read were: events, and not only keepalives, or not."""
        stats = self._stats
        progress = stats.events - stats.keepalives
        if progress > self._progress:
            self._clocks.progressed()
            self._progress = progress
        elif stats.events:
            self._clocks.kept_alive()

    def expect_end(self) -> None:
        """Tell the clocks that the server reported an error, so that what still follows must follow soon."""
        self._clocks.expect_end()
        self._watchdog.close()
        self._is_unwatched = True

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self._loop.time() - self._began

    def note_end(self) -> None:
        """Tell the figures that the run ends now."""
        self._stats.ended_after = self.elapsed

    def ensure_free(self) -> None:
        """Raise ``UsageError`` where a task is waiting."""
        if not self._is_working:
            self._watchdog.ensure_free()

    def interrupt(self) -> None:
        """End the current wait with ``Interrupted``."""
        if not self._is_working:
            self._watchdog.interrupt()

    async def drain(self) -> int:
        """Read what follows the end of the response, for a short while, and return how many frames that were."""
        late = 0
        self.taker = None  # What follows the end is only counted.
        if self._chunks is None:
            return late
        self._clocks.linger(self._loop.time())
        self._watchdog.close()
        try:
            while (whole := await self.read()) is not None:
                late += self.count_late(blocks_in(whole))
        except StreamkitError:
            pass  # The response is whole; how its connection ends, or that it does not, changes nothing any more.
        return late

    async def close(self) -> None:
        """Close the source."""
        self._watchdog.close()
        await self._close_chunks()

    # What is waited for keeps the chunks itself, so that an interruption at any moment leaves them to be closed.
    async def _replace_chunks(self, source: Source, cursor: Cursor) -> Opened:
        await self._close_chunks()
        self._chunks = chunks = await source.open(cursor)
        # No isinstance(): of a protocol it takes longer than all the rest of this.
        if hasattr(chunks, "listen"):
            self._pushed = cast("PushedChunks", chunks)
            self._pushed.listen(self._note_arrival)
        self.decoder = Decoder(max_event_bytes=self._limits.max_event_bytes)
        self.has_frames = False
        self.body_head = b""
        return chunks.opened

    async def _without_chunks(self, call: Callable[[], Awaitable[T]]) -> T:
        await self._close_chunks()
        return await call()

    async def _close_chunks(self) -> None:
        if self._chunks is not None:
            await self._chunks.aclose()
            self._chunks = self._pushed = None

    def _look_at_head(self, chunk: bytes, whole: bytes) -> None:
        if self._stats.first_byte_after is None:
            self._stats.first_byte_after = self._stats.last_byte_after
        self.has_frames = any(map(self.decoder.parse, blocks_in(whole)))
        self.body_head = b"" if self.has_frames else (self.body_head + chunk)[:BODY_HEAD_BYTES]


def _as_raised_in_a_task(error: BaseException) -> BaseException:
    """Return an error as a coroutine would raise it; no future takes a ``StopIteration``."""
    if not isinstance(error, StopIteration):
        return error
    failure = RuntimeError("what was called in the place of a task raised StopIteration")
    failure.__cause__ = error
    return failure
