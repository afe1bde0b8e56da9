"""What any client on aiohttp pays: for reading alone, for deltas that are handled, for what streamkit is made of."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Literal

import aiohttp
from pydantic import BaseModel

from benchmarks.clients import Consume
from benchmarks.wire import Shape
from streamkit.accumulator import Accumulator
from streamkit.codec import decode
from streamkit.cursor import Cursor
from streamkit.events import OutputTextDelta
from streamkit.sse import Decoder


class _Delta(BaseModel):
    type: Literal["response.output_text.delta"]
    sequence_number: int
    item_id: str
    output_index: int
    content_index: int
    delta: str
    logprobs: list[object]


_VALIDATORS = {b"event: response.output_text.delta": _Delta.__pydantic_validator__.validate_json}


async def _handle(_: BaseModel) -> None: ...


def throwing_away(url: str) -> AbstractAsyncContextManager[Consume]:
    """Read the bytes and do nothing with them."""
    return _reading(url, _throw_away)


def floor(url: str) -> AbstractAsyncContextManager[Consume]:
    """Split the bytes at blank lines, validate each delta, await a handler; accumulate nothing."""
    return _reading(url, _deliver)


def one_loop(url: str) -> AbstractAsyncContextManager[Consume]:
    """Use streamkit's own decoder, codec, cursor and accumulator, and nothing else of it."""
    return _reading(url, _decode_and_deliver)


@asynccontextmanager
async def _reading(url: str, read: Callable[[aiohttp.StreamReader], Awaitable[None]]) -> AsyncGenerator[Consume]:
    async with _session() as session:

        async def consume(shape: Shape) -> None:
            async with session.post(f"{url}/responses", json=shape.request()) as response:
                await read(response.content)

        yield consume


async def _throw_away(content: aiohttp.StreamReader) -> None:
    async for _ in content.iter_any():
        pass


async def _decode_and_deliver(content: aiohttp.StreamReader) -> None:
    decoder, cursor, accumulator = Decoder(), Cursor(), Accumulator()
    async for chunk in content.iter_any():
        for frame in decoder.feed(chunk):
            event = decode(frame)
            if cursor.advance(event):
                accumulator.add(event)
                if type(event) is OutputTextDelta:
                    await _handle(event)


async def _deliver(content: aiohttp.StreamReader) -> None:
    pending = b""
    async for chunk in content.iter_any():
        *blocks, pending = (pending + chunk).split(b"\n\n")
        for block in blocks:
            name, _, data = block.partition(b"\ndata: ")
            validate = _VALIDATORS.get(name)
            if validate is not None:
                await _handle(validate(data))


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), headers={"Accept-Encoding": "identity"}, raise_for_status=True
    )
