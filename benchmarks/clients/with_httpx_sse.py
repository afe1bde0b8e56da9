"""httpx with httpx-sse: frames parsed as JSON and nothing more, one handler awaited for each delta."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx
from httpx_sse import aconnect_sse

from benchmarks.clients import Consume
from benchmarks.wire import Shape


async def _handle(_: object) -> None: ...


@asynccontextmanager
async def untyped(url: str) -> AsyncGenerator[Consume]:
    """Parse every frame, leave it a dictionary."""
    async with httpx.AsyncClient(timeout=None) as client:

        async def consume(shape: Shape) -> None:
            async with aconnect_sse(client, "POST", f"{url}/responses", json=shape.request()) as source:
                source.response.raise_for_status()
                async for frame in source.aiter_sse():
                    event = json.loads(frame.data)
                    if event["type"] == "response.output_text.delta":
                        await _handle(event)

        yield consume
