"""Ask a server that only speaks Chat Completions, with the handlers that serve every other server.

Run it with ``python examples/chat_server.py``. It brings its own server and needs no key. To ask another server, set
``OPENAI_BASE_URL`` and ``OPENAI_MODEL``, and ``OPENAI_API_KEY`` if it wants one.
"""

import asyncio
import os
from contextlib import AsyncExitStack

from streamkit import Client, Dispatcher
from streamkit.chat import ChatChunk
from streamkit.events import OutputTextDelta, ReasoningTextDelta, ResponseCompleted
from streamkit.testing import LocalServer

dispatcher = Dispatcher()


@dispatcher.on(ReasoningTextDelta, OutputTextDelta)
def show(event: ReasoningTextDelta | OutputTextDelta) -> None:
    """The events are those of the Responses API."""
    print(event.delta, end="", flush=True)


@dispatcher.on(ResponseCompleted)
def tell_cost(event: ResponseCompleted) -> None:
    """So is the usage."""
    if event.response.usage:
        print(f"\n[{event.response.usage.output_tokens} tokens]")


@dispatcher.on(ChatChunk)
def tell_reason(chunk: ChatChunk) -> None:
    """What only the chunks tell can be had as well."""
    for choice in chunk.choices:
        if choice.finish_reason:
            print(f"\n[finish reason: {choice.finish_reason}]", end="")


async def main() -> None:
    """Stream an answer."""
    model = os.environ.get("OPENAI_MODEL", "scenario:reasoning")
    async with AsyncExitStack() as stack:
        base_url = os.environ.get("OPENAI_BASE_URL")
        if base_url is None:
            server = await stack.enter_async_context(LocalServer(tokens_per_second=60))
            base_url = server.url
        client = await stack.enter_async_context(Client(base_url=base_url))
        await client.run(dispatcher, api="chat", model=model, input="How do event streams work?")


if __name__ == "__main__":
    asyncio.run(main())
