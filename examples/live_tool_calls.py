"""Tools that run here, with their arguments shown while the model still writes them.

Run it with ``python examples/live_tool_calls.py``. It brings its own server and needs no key.
"""

import asyncio

from streamkit import Client, Dispatcher, Run, ToolCall, tool
from streamkit.dispatch.arguments import ArgumentsChange
from streamkit.events import OutputTextDelta
from streamkit.testing import LocalServer, Script

dispatcher = Dispatcher()


@tool(timeout=10)
async def plan_trip(city: str, sights: list[str]) -> str:
    """Plan a day in a city.

    Args:
        city: where to go.
        sights: what to see, in this order.
    """
    await asyncio.sleep(0.2)
    return f"A day in {city}: {', then '.join(sights)}."


@dispatcher.on_arguments("plan_trip", path="city")
def show_city(change: ArgumentsChange) -> None:
    """Show the city letter by letter."""
    if change.kind == "started":
        print("going to ", end="")
    print(change.text, end="\n" if change.kind == "finished" else "", flush=True)


@dispatcher.on_arguments("plan_trip", path="sights[*]", where=lambda change: change.kind == "finished")
def show_sight(change: ArgumentsChange) -> None:
    """Show each sight as soon as it is whole, long before the call is."""
    print(f"  - {change.value}")


@dispatcher.on_tool_call
def show_call(call: ToolCall, run: Run) -> None:
    """Say that the tool begins to run."""
    print(f"[round {run.round}: {call.name} runs]")


@dispatcher.on_tool_result
def show_result(call: ToolCall) -> None:
    """Say what came of it."""
    print(f"[{call.status}: {call.output}]")


@dispatcher.on(OutputTextDelta)
def show_text(event: OutputTextDelta) -> None:
    """Show the answer."""
    print(event.delta, end="", flush=True)


def travel_agent(script: Script) -> None:
    """Play a model that calls the tool once, and then answers."""
    if script.request.get("previous_response_id"):
        script.text("Your day is planned. Take good shoes.").complete()
    else:
        script.function_call("plan_trip", {"city": "Reykjavík", "sights": ["the harbour", "the old pool"]}).complete()


async def main() -> None:
    """Let the model plan a day, and watch."""
    server = LocalServer(scenario=travel_agent, tokens_per_second=20)
    async with server, Client(base_url=server.url) as client:
        await client.run(dispatcher, model="gpt-5", input="Plan a day for me.", tools=[plan_trip])
    print()


if __name__ == "__main__":
    asyncio.run(main())
