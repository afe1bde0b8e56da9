"""Function calls that type checkers must accept, with the types that they must find."""

from typing import assert_type

from streamkit import Client, Dispatcher, Ledger, Run, StreamHandler, ToolCall, ToolCalled, ToolReturned, on
from streamkit.dispatch.arguments import ArgumentsChange
from streamkit.events import Event, OutputTextDelta
from streamkit.iteration import EventIterator
from streamkit.tools.tool import custom_tool, tool
from streamkit.tools.toolbox import AnyTool

dispatcher = Dispatcher()


@tool(timeout=10)
async def get_weather(city: str) -> str:
    return city


@custom_tool
def run_query(query: str) -> list[int]:
    return [len(query)]


def plain(city: str, run: Run) -> int:
    return len(city) + run.round


assert_type(run_query("SELECT 1"), list[int])


@dispatcher.on_arguments("get_weather", path="city", where=lambda change: change.kind == "grew")
def show(change: ArgumentsChange) -> None:
    print(change.text)


@dispatcher.on_tool_call
async def begin(call: ToolCall, run: Run) -> None:
    print(call.name, run.ledger.get(call.call_id))


class Watcher(StreamHandler):
    async def on_tool_result(self, call: ToolCall) -> None:
        assert_type(call.output, str | None)

    @on.arguments("get_weather")
    def grow(self, change: ArgumentsChange, run: Run) -> None:
        print(change.path, run.round)


async def approve(call: ToolCall) -> bool | str:
    return call.name == "plain" or "no"


async def main(client: Client, ledger: Ledger) -> None:
    tools: list[AnyTool] = [get_weather, run_query, plain, {"type": "web_search"}]
    await client.run(model="m", tools=[get_weather, run_query, plain, {"type": "web_search"}])
    await client.run(dispatcher, Watcher(), model="m", input="Hi", tools=tools, max_rounds=3, approve=approve)
    async with client.stream(
        model="m", tools=[plain], ledger=ledger, on_tool_error=lambda call, error: str(error)
    ) as run:
        assert_type(run.events(OutputTextDelta, ToolCalled), EventIterator[OutputTextDelta | ToolCalled])
        assert_type(run.events(Event, ToolReturned), EventIterator[Event | ToolReturned])
        assert_type((await run.outcome()).ledger, tuple[ToolCall, ...])
