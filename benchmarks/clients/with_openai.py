"""openai-python, both ways in which it streams a response, with its default HTTP client; one handler for each delta."""

from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import asynccontextmanager
from typing import Any

from openai import AsyncOpenAI

from benchmarks.clients import Consume
from benchmarks.wire import Shape


async def _handle(_: object) -> None: ...


@asynccontextmanager
async def creating(url: str) -> AsyncGenerator[Consume]:
    """``responses.create(stream=True)``: typed events, nothing accumulated."""
    async with _client(url) as client:

        async def consume(shape: Shape) -> None:
            await _deliver(await client.responses.create(stream=True, **shape.request()))

        yield consume


@asynccontextmanager
async def streaming(url: str) -> AsyncGenerator[Consume]:
    """``responses.stream()``: typed events and an accumulated response."""
    async with _client(url) as client:

        async def consume(shape: Shape) -> None:
            async with client.responses.stream(**shape.request()) as stream:
                await _deliver(stream)

        yield consume


def _client(url: str) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=url, api_key="benchmark", max_retries=0)


async def _deliver(events: AsyncIterable[Any]) -> None:
    async for event in events:
        if event.type == "response.output_text.delta":
            await _handle(event)
