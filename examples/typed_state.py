"""Typed state: what belongs to one run travels with it, so that one dispatcher serves every user at once.

Run it with ``python examples/typed_state.py``. It brings its own server and needs no key.
"""

import asyncio
from dataclasses import dataclass, field
from time import perf_counter

from streamkit import CallNext, Client, Dispatcher, Outcome, Run
from streamkit.events import Event, FunctionCallArgumentsDelta, OutputItemDone
from streamkit.testing import LocalServer


@dataclass
class Chat:
    """The state of one run. Type checkers know it in every handler as ``run.state``."""

    user: str
    finished: list[str] = field(default_factory=list[str])
    location: str = ""
    seconds: float = 0.0


dispatcher = Dispatcher[Chat]()


@dispatcher.middleware
async def timing(event: Event, run: Run[Chat], call_next: CallNext) -> None:
    """Measure what the handlers of this dispatcher take."""
    began = perf_counter()
    await call_next(event)
    run.state.seconds += perf_counter() - began


@dispatcher.on("response.function_call_arguments.delta", tool="get_weather")
def preview(event: FunctionCallArgumentsDelta, run: Run[Chat]) -> None:
    """A filter by the tool's name, which the event itself does not carry."""
    run.state.location += event.delta


@dispatcher.on("response.output_item.done")
def keep(event: OutputItemDone, run: Run[Chat]) -> None:
    """Remember what this run has brought."""
    if event.item is not None:
        run.state.finished.append(event.item.type)


@dispatcher.on_close
def report(outcome: Outcome, run: Run[Chat]) -> None:
    """Called last, however the run ends."""
    chat = run.state
    print(f"{chat.user}: {type(outcome).__name__}, {chat.finished}, {chat.location or 'no call'}")
    print(f"{chat.user}: {chat.seconds * 1000:.2f} ms in handlers")


async def main() -> None:
    """Stream the answers to two users at the same time."""
    print(dispatcher.explain())
    async with LocalServer() as server, Client(base_url=server.url) as client, asyncio.TaskGroup() as group:
        for user, scenario in (("ada", "function-call"), ("grace", "reasoning")):
            run = client.run(dispatcher, state=Chat(user), model=f"scenario:{scenario}", input="Is it warm in Paris?")
            group.create_task(run)


if __name__ == "__main__":
    asyncio.run(main())
