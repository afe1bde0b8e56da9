"""Many streams at once: one client, one dispatcher, and a run for each.

Run it with ``python examples/many_streams.py``. It brings its own server and needs no key.
"""

import asyncio
import time
from collections import Counter

from streamkit import Client, Completed, Dispatcher
from streamkit.events import Event
from streamkit.testing import LocalServer

STREAMS = 200

events: Counter[str] = Counter()
dispatcher = Dispatcher()


@dispatcher.on(Event)
def count(event: Event) -> None:
    """Called for every event of every stream; all of it happens in one thread."""
    events[event.type] += 1


@dispatcher.on(Completed)
def finish(_: Completed) -> None:
    """Outcomes are routed like events."""
    events["completed runs"] += 1


async def main() -> None:
    """Start all streams together and wait for the last."""
    started = time.perf_counter()
    async with (
        LocalServer(tokens_per_second=50) as server,
        Client(base_url=server.url) as client,
        asyncio.TaskGroup() as group,
    ):
        for number in range(STREAMS):
            group.create_task(client.run(dispatcher, model="any", input=f"I am stream {number}."))
    seconds = time.perf_counter() - started
    print(f"{events['completed runs']} of {STREAMS} streams completed in {seconds:.1f} s")
    for name, number in events.most_common(3):
        print(f"{number:>7} {name}")


if __name__ == "__main__":
    asyncio.run(main())
