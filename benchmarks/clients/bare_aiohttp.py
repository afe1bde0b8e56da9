"""What any client on aiohttp pays: for reading alone, and at the floor, where deltas are validated and handled too."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal

import aiohttp
from pydantic import BaseModel

from benchmarks.clients import Consume
from benchmarks.wire import Shape


class _Delta(BaseModel):
    type: Literal["response.output_text.delta"]
    sequence_number: int
    item_id: str
    output_index: int
    content_index: int
    delta: str
    logprobs: list[object]


_VALIDATORS = {b"event: response.output_text.delta": _Delta.__pydantic_validator__.validate_json}


async def _handle(_: _Delta) -> None: ...


@asynccontextmanager
async def throwing_away(url: str) -> AsyncGenerator[Consume]:
    """Read the bytes and do nothing with them."""
    async with _session() as session:

        async def consume(shape: Shape) -> None:
            async with session.post(f"{url}/responses", json=shape.request()) as response:
                async for _ in response.content.iter_any():
                    pass

        yield consume


@asynccontextmanager
async def floor(url: str) -> AsyncGenerator[Consume]:
    """Split the bytes at blank lines, validate each delta, await a handler; accumulate nothing."""
    async with _session() as session:

        async def consume(shape: Shape) -> None:
            async with session.post(f"{url}/responses", json=shape.request()) as response:
                await _deliver(response.content)

        yield consume


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
