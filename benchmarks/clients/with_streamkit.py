"""streamkit as it is meant to be used: everything typed and accumulated, one handler awaited for each delta."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from benchmarks.clients import Consume
from benchmarks.wire import Shape
from streamkit import Client, Dispatcher, Limits, Timeouts
from streamkit.events import OutputTextDelta

MAX_CONNECTIONS = 10_000
CONNECT_SECONDS = 60.0

dispatcher = Dispatcher()


@dispatcher.on("response.output_text.delta")
async def _handle(_: OutputTextDelta) -> None: ...


@asynccontextmanager
async def dispatching(url: str) -> AsyncGenerator[Consume]:
    """Dispatch every stream to the same dispatcher."""
    async with open_client(url) as client:

        async def consume(shape: Shape) -> None:
            await client.run(dispatcher, **shape.request())

        yield consume


def open_client(url: str) -> Client:
    """Return a client for thousands of streams at a time."""
    return Client(
        base_url=url, timeouts=Timeouts(connect=CONNECT_SECONDS), limits=Limits(max_connections=MAX_CONNECTIONS)
    )
