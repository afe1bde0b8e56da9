"""Subclass the base handler: what belongs together, with the state it shares, in one class.

Run it with ``python examples/base_handler.py``. It brings its own server and needs no key.
"""

import asyncio

from streamkit import Client, Outcome, Response, Run, StreamHandler, on
from streamkit.events import FunctionCallArgumentsDelta, OutputItemAdded, OutputItemDone
from streamkit.items import FunctionCall
from streamkit.testing import LocalServer


class ToolWatcher(StreamHandler):
    """Shows function calls as the model writes them, and keeps those that are whole."""

    def __init__(self) -> None:
        self.calls: list[FunctionCall] = []

    async def on_output_item_added(self, event: OutputItemAdded) -> None:
        """Say which function it is: the name comes before the arguments."""
        if isinstance(event.item, FunctionCall):
            print(f"{event.item.name} ", end="")

    async def on_function_call_arguments_delta(self, event: FunctionCallArgumentsDelta) -> None:
        """Show the arguments, which are JSON, as they grow."""
        print(event.delta, end="", flush=True)

    @on("response.output_item.done")
    async def keep(self, event: OutputItemDone, run: Run) -> None:
        """Decorate methods for every other event, and wherever the run is wanted too."""
        if isinstance(event.item, FunctionCall):
            print(f"  <- call {event.item.call_id} of {run.response_id}")
            self.calls.append(event.item)

    async def on_completed(self, response: Response) -> None:
        """The response is whole."""
        print(f"{len(response.function_calls)} calls in {response.id}")


class StrictWatcher(ToolWatcher):
    """Handlers are inherited, and ``super()`` works as everywhere."""

    async def on_close(self, outcome: Outcome) -> None:
        """Check in the end that nothing was cut off."""
        unfinished = [call.name for call in self.calls if call.status != "completed"]
        print(f"{type(outcome).__name__}, unfinished calls: {unfinished}")


async def main() -> None:
    """Let the server call functions, and watch."""
    watcher = StrictWatcher()
    async with LocalServer(tokens_per_second=30) as server, Client(base_url=server.url) as client:
        await client.run(watcher, model="scenario:parallel-function-calls", input="Is it warm in Paris and in Tokyo?")


if __name__ == "__main__":
    asyncio.run(main())
