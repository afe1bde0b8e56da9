"""The shortest program that reads a response: takes the stream as its argument, and prints its CPU time in seconds."""

import asyncio
import sys
import time
from typing import Self

from streamkit import Dispatcher, Opened, StreamRun
from streamkit.cursor import Cursor
from streamkit.events import OutputTextDelta


class Memory:
    """A source, and the one chunk that it opens to."""

    opened = Opened(url="memory:", headers={})

    def __init__(self, chunk: bytes) -> None:
        self._chunks = [chunk]

    async def open(self, cursor: Cursor) -> Self:
        """Return the chunk."""
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._chunks:
            raise StopAsyncIteration
        return self._chunks.pop()

    async def aclose(self) -> None:
        """Nothing is held."""


async def main(stream: bytes) -> None:
    """Read the stream with one handler."""
    dispatcher = Dispatcher()
    texts: list[str] = []

    @dispatcher.on("response.output_text.delta")
    async def keep(event: OutputTextDelta) -> None:
        texts.append(event.delta)

    async with StreamRun(Memory(stream)) as run:
        response = await run.dispatch(dispatcher)
    assert response.output_text == "".join(texts) != ""


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1].encode()))
    print(time.process_time())
