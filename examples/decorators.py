"""Decorate functions: each is called for the events that it names.

Run it with ``python examples/decorators.py``. It brings its own server and needs no key.
"""

import asyncio

from streamkit import Client, Dispatcher, Outcome, Response, Run
from streamkit.events import OutputTextDelta, ReasoningSummaryTextDone, ToolProgressEvent
from streamkit.testing import LocalServer

dispatcher = Dispatcher()


@dispatcher.on_created
async def begin(response: Response) -> None:
    """A lifecycle hook gets the response."""
    print(f"[{response.model} begins]")


@dispatcher.on("response.reasoning_summary_text.done")
async def think(event: ReasoningSummaryTextDone) -> None:
    """A wire name picks one event."""
    print(f"[it thought: {event.text.splitlines()[0]}]")


@dispatcher.on("response.output_text.delta")
def show(event: OutputTextDelta) -> None:
    """Functions that do not wait for anything need not be ``async``."""
    print(event.delta, end="", flush=True)


@dispatcher.on(ToolProgressEvent)
async def follow(event: ToolProgressEvent, run: Run) -> None:
    """A base class picks a family of events; a second parameter is the run."""
    print(f"[{event.type}, after {len(run.text)} characters]")


@dispatcher.on_close
async def end(outcome: Outcome) -> None:
    """This is called last, however the run ends."""
    print(f"\n[{type(outcome).__name__}]")


async def main() -> None:
    """Stream two answers through the same handlers."""
    async with LocalServer(tokens_per_second=60) as server, Client(base_url=server.url) as client:
        for scenario in ("reasoning", "web-search"):
            response = await client.run(dispatcher, model=f"scenario:{scenario}", input="How do event streams work?")
            print(f"[{response.usage.output_tokens if response.usage else '?'} tokens]\n")


if __name__ == "__main__":
    asyncio.run(main())
