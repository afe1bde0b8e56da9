"""A source that a test pushes bytes into; who reads it is told when they have come, or asks for them."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Self

from streamkit.cursor import Cursor
from streamkit.outcome import Opened
from streamkit.source import Chunks

OPENED = Opened(url="pushed:", status=200, headers={"content-type": "text/event-stream"}, request_id="req_1")


class PushedSource:
    """What is pushed arrives in a callback of the event loop, as from a socket.

    Args:
        tells: whether its chunks tell that bytes have come; else they can only be asked.
    """

    def __init__(self, *, tells: bool = True) -> None:
        self.came: Callable[[], None] | None = None
        self.open_count = 0
        self._tells = tells
        self._chunks: deque[bytes] = deque()
        self._end: Exception | None = None
        self._told = asyncio.Event()
        self._emptied = asyncio.Event()

    async def open(self, _: Cursor) -> Chunks:
        self.open_count += 1
        self._end = None
        return _Telling(self) if self._tells else _Asked(self)

    async def push(self, *chunks: bytes) -> None:
        """Have bytes arrive together, and wait until they were taken and more is asked for, or nothing more is."""
        self._emptied.clear()
        asyncio.get_running_loop().call_soon(self.arrive, *chunks)
        await self._emptied.wait()

    async def end(self, error: Exception | None = None) -> None:
        """Have the bytes end, or break off with an error."""
        asyncio.get_running_loop().call_soon(self._arrive_at_end, error or StopAsyncIteration())

    def arrive(self, *chunks: bytes) -> None:
        """Have bytes arrive right now."""
        self._chunks.extend(chunks)
        self._tell()

    @property
    def has_more(self) -> bool:
        if self._chunks or self._end is not None:
            return True
        self._emptied.set()
        return False

    def take(self) -> bytes | None:
        if self._chunks:
            return self._chunks.popleft()
        self._emptied.set()
        if self._end is None:
            return b""
        if isinstance(self._end, StopAsyncIteration):
            return None
        raise self._end

    async def ask(self) -> bytes:
        while (chunk := self.take()) == b"":
            self._told.clear()
            await self._told.wait()
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    def close(self) -> None:
        self.open_count -= 1
        self.came = None
        self._emptied.set()

    def _arrive_at_end(self, end: Exception) -> None:
        self._end = end
        self._tell()

    def _tell(self) -> None:
        self._told.set()
        if self.came is not None:
            self.came()
        if not self.open_count:
            self._emptied.set()


class _Asked:
    opened = OPENED

    def __init__(self, source: PushedSource) -> None:
        self._source = source

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        return await self._source.ask()

    async def aclose(self) -> None:
        self._source.close()


class _Telling(_Asked):
    def take(self) -> bytes | None:
        return self._source.take()

    @property
    def has_more(self) -> bool:
        return self._source.has_more

    def listen(self, came: Callable[[], None]) -> None:
        self._source.came = came
