"""streamkit as it is meant to be used: everything typed and accumulated, one handler awaited."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from benchmarks.clients import Consume
from benchmarks.wire import Shape
from streamkit import Client, Dispatcher, Limits, Timeouts
from streamkit.events import OutputTextDelta, ResponseCompleted

MAX_CONNECTIONS = 10_000
CONNECT_SECONDS = 60.0

dispatcher = Dispatcher()
for_the_end = Dispatcher()


@dispatcher.on("response.output_text.delta")
async def _handle(_: OutputTextDelta) -> None: ...


@for_the_end.on("response.completed")
async def _handle_end(_: ResponseCompleted) -> None: ...


@asynccontextmanager
async def dispatching(url: str) -> AsyncGenerator[Consume]:
    """Dispatch every stream to the same dispatcher, whose handler wants every delta."""
    async with open_client(url) as client:
        yield _consume(client, dispatcher)


@asynccontextmanager
async def awaiting_the_end(url: str) -> AsyncGenerator[Consume]:
    """Dispatch every stream to the same dispatcher, whose handler wants nothing but the end."""
    async with open_client(url) as client:
        yield _consume(client, for_the_end)


def _consume(client: Client, handlers: Dispatcher) -> Consume:
    async def consume(shape: Shape) -> None:
        await client.run(handlers, **shape.request())

    return consume


def open_client(url: str) -> Client:
    """Return a client for thousands of streams at a time."""
    return Client(
        base_url=url, timeouts=Timeouts(connect=CONNECT_SECONDS), limits=Limits(max_connections=MAX_CONNECTIONS)
    )
