"""Conversations with tools over real sockets: what is executed, what is sent back, and what is known in the end."""

import asyncio
import gc
import json
import re
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from unittest.mock import AsyncMock

import pytest

from streamkit import (
    Cancelled,
    Client,
    Closed,
    Completed,
    Dispatcher,
    Failed,
    Ledger,
    Response,
    ResponseCancelledError,
    Run,
    ToolCall,
    ToolCalled,
    ToolReturned,
    TooManyRounds,
    UsageError,
)
from streamkit.errors import HandlerCancelled
from streamkit.events import Event, OutputItemDone, OutputTextDelta, ResponseCompleted, ResponseCreated
from streamkit.stages.smooth import smooth
from streamkit.testing import LocalServer, Script
from streamkit.tools.tool import InvalidArguments, custom_tool, tool
from streamkit.tools.toolbox import CallNotExecuted, UnknownTool

pytestmark = pytest.mark.anyio

TYPES = {"function_call_output", "custom_tool_call_output", "mcp_approval_response"}
SEARCH = {"type": "web_search"}
CASINO = {
    "type": "mcp",
    "server_label": "casino",
    "server_url": "https://example.com/mcp",
    "require_approval": "always",
}


@asynccontextmanager
async def serving(
    scenario: str | Callable[[Script], object], **options: Any
) -> AsyncIterator[tuple[LocalServer, Client]]:
    async with LocalServer(scenario=scenario, **options) as server, Client(base_url=server.url) as client:
        yield server, client


def calling(*calls: tuple[str, dict[str, Any]], rounds: int = 1) -> Callable[[Script], object]:
    """Return a scenario that makes calls in so many responses, and then repeats what it was told."""

    def scenario(script: Script) -> None:
        outputs = [item for item in inputs(script.request) if item.get("type") in TYPES]
        if len(outputs) >= rounds * len(calls):
            return script.text("; ".join(str(item["output"]) for item in outputs)).complete()
        for name, arguments in calls:
            script.function_call(name, arguments)
        return script.complete()

    return scenario


def inputs(request: Any) -> list[dict[str, Any]]:
    given = request.get("input")
    return [{"role": "user", "content": given}] if isinstance(given, str) else list(given)


def body_of(server: LocalServer, number: int) -> Any:
    return server.requests[number].body


def answers(server: LocalServer, number: int = 1) -> list[Any]:
    """Return what a request has sent back of the calls."""
    return [item for item in inputs(body_of(server, number)) if item.get("type") in TYPES]


def outputs(server: LocalServer, number: int = 1) -> list[str]:
    return [item["output"] for item in answers(server, number)]


class Kitchen:
    """Counts what is going on in its tools, and lets them finish when told to."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.running = 0
        self.most = 0
        self.finished: list[str] = []
        self.stopped: list[str] = []
        self.started = asyncio.Event()
        self.go_on = asyncio.Event()

    async def cook(self, dish: str) -> str:
        """Cook a dish."""
        self.begun.append(dish)
        self.running += 1
        self.most = max(self.most, self.running)
        self.started.set()
        try:
            await self.go_on.wait()
            self.finished.append(dish)
        except asyncio.CancelledError:
            self.stopped.append(dish)
            raise
        finally:
            self.running -= 1
        return f"{dish} is done"


@tool
async def get_weather(city: str) -> str:
    """Look the weather up."""
    return f"20 degrees in {city}"


async def no_tasks_are_left() -> bool:
    await asyncio.sleep(0)
    return not [task for task in asyncio.all_tasks() if task.get_name().startswith("streamkit.")]


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("scenario", ["function-call", "parallel-function-calls"])
async def test_calls_are_executed_and_the_answer_is_returned(scenario: str, *, early: bool) -> None:
    async with serving(scenario) as (server, client):
        response = await client.run(model="m", input="Hi", tools=[get_weather, SEARCH], early=early)
        first, second = body_of(server, 0), body_of(server, 1)
    assert "20 degrees in Paris" in response.output_text
    assert first["tools"] == second["tools"] == [get_weather.definition(), SEARCH]
    assert first["input"] == "Hi"
    assert second["previous_response_id"].startswith("resp_")
    count = 1 if scenario == "function-call" else 2
    assert [set(item) for item in second["input"]] == [{"type", "call_id", "output"}] * count


async def test_a_plain_function_is_a_tool_and_runs_in_a_thread_unless_it_is_async() -> None:
    threads = []

    def get_time(zone: str) -> dict[str, str]:
        threads.append(threading.current_thread())
        return {"zone": zone}

    async with serving(calling(("get_time", {"zone": "CET"}))) as (server, client):
        response = await client.run(model="m", input="Hi", tools=[get_time])
        assert body_of(server, 0)["tools"][0]["name"] == "get_time"
    assert response.output_text == '{"zone":"CET"}'
    assert threads[0] is not threading.current_thread()


async def test_a_custom_tool_gets_free_text() -> None:
    @custom_tool
    async def run_query(query: str) -> str:
        """Ask the database."""
        return f"asked: {query}"

    async with serving("custom-tool-call") as (server, client):
        await client.run(model="m", input="SELECT 1", tools=[run_query])
        (answer,) = answers(server)
    assert (answer["type"], answer["output"]) == ("custom_tool_call_output", "asked: SELECT 1")


async def test_without_storing_the_whole_conversation_is_sent_again() -> None:
    async with serving(calling(("get_weather", {"city": "Oslo"}), rounds=2)) as (server, client):
        await client.run(model="m", input="Hi", tools=[get_weather], store=False)
        last = body_of(server, 2)
    kinds = [item.get("type", item.get("role")) for item in last["input"]]
    assert kinds == ["user", *["function_call", "function_call_output"] * 2]
    assert "previous_response_id" not in last


async def test_a_chat_goes_on_too() -> None:
    async with serving("function-call") as (server, client):
        response = await client.run(
            api="chat", model="m", messages=[{"role": "user", "content": "Hi"}], tools=[get_weather]
        )
        roles = [message["role"] for message in body_of(server, 1)["messages"]]
    assert "20 degrees in Paris" in response.output_text
    assert roles == ["user", "assistant", "tool"]


async def test_a_forced_call_is_not_forced_again() -> None:
    async with serving("function-call") as (server, client):
        await client.run(model="m", input="Hi", tools=[get_weather], tool_choice="required")
        assert [body_of(server, number)["tool_choice"] for number in range(2)] == ["required", "auto"]


async def test_handlers_see_every_round_and_the_end_once() -> None:
    seen: list[tuple[str, int]] = []
    dispatcher = Dispatcher()

    @dispatcher.on(ResponseCreated, ResponseCompleted, Completed, Closed)
    async def keep(event: object, run: Run) -> None:
        seen.append((type(event).__name__, run.round))

    @dispatcher.on_tool_call
    async def called(call: ToolCall, run: Run) -> None:
        assert (call.status, call.round) == ("running", 1)
        assert run.ledger.get(call.call_id) is not None
        seen.append((f"call of {call.name}", run.round))

    @dispatcher.on_tool_result
    async def returned(call: ToolCall, run: Run) -> None:
        assert call.started is not None
        assert call.ended is not None
        seen.append((f"{call.status}: {call.output}", run.round))

    async with serving("function-call") as (_, client):
        await client.run(dispatcher, model="m", input="Hi", tools=[get_weather], early=False)
    assert seen == [
        *(("ResponseCreated", 1), ("ResponseCompleted", 1)),
        *(("call of get_weather", 1), ("succeeded: 20 degrees in Paris", 1)),
        *(("ResponseCreated", 2), ("ResponseCompleted", 2), ("Completed", 2), ("Closed", 2)),
    ]


@pytest.mark.parametrize("staged", [False, True])
async def test_an_iteration_and_views_go_through_all_rounds(*, staged: bool) -> None:
    stages = [smooth()] if staged else []
    async with (
        serving("parallel-function-calls") as (_, client),
        client.stream(model="m", input="Hi", tools=[get_weather], stages=stages) as run,
    ):
        texts, items = run.text_stream(), run.items()
        events = [event async for event in run]
        text = "".join([piece async for piece in texts])
        kinds = [item.type async for item in items]
        outcome = await run.outcome()
    assert isinstance(outcome, Completed)
    assert sum(isinstance(event, ResponseCompleted) for event in events) == 2
    assert text == outcome.response.output_text == run.text
    assert kinds == ["function_call", "function_call", "message"]
    assert [call.status for call in outcome.ledger] == ["succeeded", "succeeded"]
    assert run.stats.attempts == 2
    assert staged or run.stats.events == len(events)


async def test_a_call_starts_as_soon_as_it_is_whole_and_notices_come_while_the_stream_is_silent() -> None:
    seen: list[str] = []
    completed: list[Event] = []
    dispatcher = Dispatcher()

    @dispatcher.on_tool_result
    async def returned(call: ToolCall) -> None:
        seen.append(f"{call.output}, {'ended' if completed else 'silent'}")

    dispatcher.on(ResponseCompleted)(completed.append)

    def scenario(script: Script) -> None:
        if "function_call_output" in str(script.request):
            return script.text("Done").complete()
        script.function_call("get_weather", {"city": "Oslo"})
        # At this pace the end comes much later than the tool's result.
        return script.text("one two three").complete()

    async with serving(scenario, tokens_per_second=25) as (_, client):
        await client.run(dispatcher, model="m", input="Hi", tools=[get_weather])
    assert seen == ["20 degrees in Oslo, silent"]


async def test_without_early_a_call_waits_for_the_end_of_the_response() -> None:
    order: list[str] = []

    async def note() -> str:
        """Note that it runs."""
        order.append("tool")
        return ""

    dispatcher = Dispatcher()
    dispatcher.on(ResponseCompleted)(lambda _: order.append("completed"))

    def scenario(script: Script) -> None:
        if "function_call_output" in str(script.request):
            return script.text("Done").complete()
        return script.function_call("note", {}).text("one two three four five").complete()

    async with serving(scenario, tokens_per_second=200) as (_, client):
        await client.run(dispatcher, model="m", input="Hi", tools=[note], early=False)
        await client.run(dispatcher, model="m", input="Hi", tools=[note], restart="allowed")
    assert order == ["completed", "tool", "completed"] * 2


async def test_only_so_many_tools_run_at_the_same_time() -> None:
    kitchen = Kitchen()
    dishes = [("cook", {"dish": name}) for name in "abcde"]
    dispatcher = Dispatcher()

    @dispatcher.on_tool_call
    async def called(call: ToolCall) -> None:
        if len(kitchen.begun) == 2:
            kitchen.go_on.set()

    async with serving(calling(*dishes)) as (server, client):
        await client.run(dispatcher, model="m", input="Hi", tools=[kitchen.cook], max_parallel_tools=2)
        assert outputs(server) == [f"{name} is done" for name in "abcde"]
    assert (kitchen.most, sorted(kitchen.begun)) == (2, list("abcde"))


async def broken(city: str) -> str:
    """Fail."""
    raise RuntimeError(f"no weather in {city}")


@tool(timeout=0.01)
async def slow(city: str) -> str:
    """Take too long."""
    await asyncio.Event().wait()
    return city


async def cancelling(city: str) -> str:
    """Wait for something that is cancelled."""
    raise asyncio.CancelledError(city)


async def shapeless(city: str) -> object:
    """Return what is not JSON."""
    return object()


@pytest.mark.parametrize(
    ("function", "arguments", "text", "error"),
    [
        (get_weather, {"city": 7}, "Error: the arguments do not fit get_weather: city: ", InvalidArguments),
        (get_weather, {}, "Error: the arguments do not fit get_weather: city: Field required", InvalidArguments),
        (tool(broken), {"city": "Oslo"}, "Error: RuntimeError: no weather in Oslo", RuntimeError),
        (slow, {"city": "Oslo"}, "Error: the tool took too long", TimeoutError),
        (
            tool(cancelling),
            {"city": "Oslo"},
            "Error: the handler of the tool cancelling was cancelled",
            HandlerCancelled,
        ),
        (tool(shapeless), {"city": "Oslo"}, "Error: tool shapeless returned what is not JSON", UsageError),
        ("unknown", {}, "Error: there is no tool 'unknown'; there are: get_weather", UnknownTool),
    ],
)
class TestErrors:
    """Each kind of error, under each policy."""

    def prepared(self, function: Any, arguments: dict[str, Any]) -> tuple[Callable[[Script], object], list[Any]]:
        is_known = not isinstance(function, str)
        name = function.name if is_known else function
        return calling((name, arguments)), [function if is_known else get_weather]

    async def test_the_model_is_told(self, function: Any, arguments: dict[str, Any], text: str, error: type) -> None:
        scenario, tools = self.prepared(function, arguments)
        async with serving(scenario) as (server, client), client.stream(model="m", input="Hi", tools=tools) as run:
            outcome = await run.outcome()
            (output,) = outputs(server)
        assert output.startswith(text)
        assert isinstance(outcome, Completed)
        (call,) = outcome.ledger
        assert (call.status, call.error, call.output) == ("failed", error.__name__, output)

    async def test_it_is_raised(self, function: Any, arguments: dict[str, Any], text: str, error: type) -> None:
        scenario, tools = self.prepared(function, arguments)
        async with serving(scenario) as (server, client):
            async with client.stream(model="m", input="Hi", tools=tools, on_tool_error="raise") as run:
                with pytest.raises(error):
                    await run.dispatch()
            outcome = await run.outcome()
            assert len(server.requests) == 1
        assert isinstance(outcome, Cancelled)
        assert [(call.status, call.error, call.output) for call in outcome.ledger] == [("failed", error.__name__, None)]
        assert await no_tasks_are_left()

    async def test_a_function_says_what_the_model_is_told(
        self, function: Any, arguments: dict[str, Any], text: str, error: type
    ) -> None:
        scenario, tools = self.prepared(function, arguments)
        async with serving(scenario) as (server, client):
            await client.run(
                model="m",
                input="Hi",
                tools=tools,
                on_tool_error=lambda call, error: f"{call.name}: {type(error).__name__}",
            )
            (output,) = outputs(server)
        assert output.endswith(f": {error.__name__}")


async def test_a_call_that_only_the_caller_can_answer_ends_the_run() -> None:
    mine = {"type": "function", "name": "mine", "parameters": {"type": "object", "properties": {}}}
    kitchen = Kitchen()
    kitchen.go_on.set()
    async with serving(calling(("mine", {}), ("cook", {"dish": "soup"}))) as (server, client):
        async with client.stream(model="m", input="Hi", tools=[kitchen.cook, mine]) as run:
            outcome = await run.outcome()
        assert len(server.requests) == 1
    assert isinstance(outcome, Completed)
    assert [call.name for call in outcome.response.function_calls] == ["mine", "cook"]
    # What was begun early is finished, so that the caller has all that is to be known.
    assert [(call.name, call.output) for call in outcome.ledger] == [("cook", "soup is done")]


@pytest.mark.parametrize(
    ("verdict", "output", "status"),
    [
        (True, "20 degrees in Oslo", "succeeded"),
        (False, "The user did not allow this call, so it was not executed.", "refused"),
        ("Ask again tomorrow.", "Ask again tomorrow.", "refused"),
    ],
)
async def test_calls_wait_for_approval(verdict: bool | str, output: str, status: str) -> None:
    asked: list[ToolCall] = []

    async def approve(call: ToolCall) -> bool | str:
        asked.append(call)
        return verdict

    async with serving(calling(("get_weather", {"city": "Oslo"}))) as (server, client):
        async with client.stream(model="m", input="Hi", tools=[get_weather], approve=approve) as run:
            outcome = await run.outcome()
        assert outputs(server) == [output]
    assert [(call.name, call.arguments, call.started) for call in asked] == [("get_weather", '{"city":"Oslo"}', None)]
    (call,) = outcome.ledger
    assert (call.status, call.output) == (status, output)


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize(("verdict", "text"), [(True, "Thank you."), ("Too risky.", "You did not want")])
async def test_mcp_tools_wait_for_approval_too(verdict: bool | str, text: str, *, stored: bool) -> None:
    async def approve(call: ToolCall) -> bool | str:
        assert (call.name, call.server_label) == ("roll", "casino")
        return verdict

    async with serving("mcp") as (server, client):
        response = await client.run(model="m", input="Roll", tools=[CASINO], approve=approve, store=stored)
        (answer,) = answers(server)
    assert response.output_text.startswith(text)
    assert answer["approve"] is (verdict is True)
    assert answer.get("reason") == (None if verdict is True else verdict)


async def test_without_approve_an_mcp_request_is_left_to_the_caller() -> None:
    async with serving("mcp") as (server, client):
        response = await client.run(model="m", input="Roll", tools=[CASINO, get_weather])
        assert len(server.requests) == 1
    assert response.output[-1].type == "mcp_approval_request"


async def test_what_approve_raises_reaches_the_caller() -> None:
    async def approve(_: ToolCall) -> bool:
        raise LookupError("nobody is there")

    async with serving("function-call") as (_, client):
        with pytest.raises(LookupError, match="nobody"):
            await client.run(model="m", input="Hi", tools=[get_weather], approve=approve)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"approve": lambda _: True}, "approve must be an async function"),
        ({"on_tool_error": lambda *_: None}, "must return text for the model, and not None"),
        ({"on_tool_error": AsyncMock()}, "must return text for the model, and not <coroutine"),
    ],
    ids=["approve that is not async", "policy without an answer", "policy that is async"],
)
async def test_functions_of_the_wrong_kind_are_refused_in_words(options: dict[str, Any], message: str) -> None:
    async with serving(calling(("get_weather", {"town": "Oslo"}))) as (_, client):
        with pytest.raises(UsageError, match=message):
            await client.run(model="m", input="Hi", tools=[get_weather], **options)


async def test_of_several_errors_the_first_is_raised_and_none_is_complained_of() -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

    async def fail(why: str) -> None:
        raise LookupError(why)

    async def stop(why: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError(why)

    async with serving(calling(("stop", {"why": "second"}), ("fail", {"why": "first"}))) as (_, client):
        with pytest.raises(LookupError, match="first"):
            await client.run(model="m", input="Hi", tools=[stop, fail], on_tool_error="raise")
    gc.collect()
    assert not complaints


async def test_there_is_an_end_to_rounds() -> None:
    async with serving(calling(("get_weather", {"city": "Oslo"}), rounds=99)) as (server, client):
        async with client.stream(model="m", input="Hi", tools=[get_weather], max_rounds=3) as run:
            with pytest.raises(TooManyRounds, match="raise max_rounds") as caught:
                await run.dispatch()
        outcome = await run.outcome()
        assert len(server.requests) == 3
    assert isinstance(outcome, Cancelled)
    assert outcome.cause is caught.value
    assert (caught.value.response, caught.value.ledger) == (outcome.response, outcome.ledger)
    assert [call.round for call in outcome.ledger] == [1, 2], "nobody would be told of the third"


async def test_a_later_round_that_fails_is_the_outcome() -> None:
    def scenario(script: Script) -> None:
        if "function_call_output" in str(script.request):
            return script.error("server_error", "sorry").fail("server_error", "sorry")
        return script.function_call("get_weather", {"city": "Oslo"}).complete()

    async with serving(scenario) as (_, client), client.stream(model="m", input="Hi", tools=[get_weather]) as run:
        outcome = await run.outcome()
    assert isinstance(outcome, Failed)
    assert [call.status for call in outcome.ledger] == ["succeeded"]


async def test_cancelling_the_run_cancels_its_tools() -> None:
    kitchen = Kitchen()
    async with (
        serving(calling(("cook", {"dish": "soup"}), ("cook", {"dish": "rice"}))) as (_, client),
        client.stream(model="m", input="Hi", tools=[kitchen.cook]) as run,
    ):
        running = asyncio.create_task(run.dispatch())
        await kitchen.started.wait()
        run.cancel()
        with pytest.raises(ResponseCancelledError) as caught:
            await running
    assert sorted(kitchen.stopped) == sorted(kitchen.begun)
    assert {call.status for call in caught.value.outcome.ledger} == {"cancelled"}
    assert await no_tasks_are_left()


@pytest.mark.parametrize("steps", range(0, 60, 4))
async def test_a_cancellation_anywhere_leaves_nothing_and_the_ledger_tells(steps: int) -> None:
    kitchen = Kitchen()
    if steps % 8:
        kitchen.go_on.set()
    dishes = [("cook", {"dish": "soup"}), ("cook", {"dish": "rice"})]
    async with serving(calling(*dishes, rounds=2)) as (_, client):
        async with client.stream(model="m", input="Hi", tools=[kitchen.cook]) as run:
            task = asyncio.create_task(run.dispatch())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        outcome = await run.outcome()
        assert kitchen.running == 0
        assert await no_tasks_are_left()
    names = [json.loads(call.arguments)["dish"] for call in outcome.ledger]
    assert sorted(names) == sorted(kitchen.begun)
    by_status = {status: [c for c in outcome.ledger if c.status == status] for status in ("succeeded", "cancelled")}
    assert len(by_status["succeeded"]) == len(kitchen.finished)
    assert len(by_status["cancelled"]) == len(kitchen.stopped)


@pytest.mark.parametrize("number", range(1, 46, 4))
async def test_a_cancellation_at_any_delivery_leaves_nothing_either(number: int) -> None:
    deliveries = 0
    dispatcher, executed = Dispatcher(), list[str]()

    async def note(text: str) -> str:
        """Note a text."""
        executed.append(text)
        await asyncio.sleep(0)
        return text

    @dispatcher.on(Event, ToolCalled, ToolReturned)
    async def cancel(_: object, run: Run) -> None:
        nonlocal deliveries
        deliveries += 1
        if deliveries == number:
            run.cancel()

    async with serving(calling(("note", {"text": "a"}), ("note", {"text": "b"}), rounds=2)) as (_, client):
        async with client.stream(model="m", input="Hi", tools=[note], store=False) as run:
            with pytest.raises(ResponseCancelledError) as caught:
                await run.dispatch(dispatcher)
        assert await no_tasks_are_left()
    ledger = caught.value.outcome.ledger
    assert {call.status for call in ledger} <= {"succeeded", "cancelled"}
    assert [json.loads(call.arguments)["text"] for call in ledger] == executed


async def test_a_handler_that_fails_stops_the_tools() -> None:
    kitchen = Kitchen()
    dispatcher = Dispatcher()

    @dispatcher.on_tool_call
    async def called(_: ToolCall) -> None:
        raise ValueError("no")

    async with serving(calling(("cook", {"dish": "soup"}))) as (_, client):
        with pytest.raises(ValueError, match="no"):
            await client.run(dispatcher, model="m", input="Hi", tools=[kitchen.cook])
    assert kitchen.stopped == ["soup"]
    assert await no_tasks_are_left()


async def background(client: Client, **options: Any) -> str:
    """Begin a background response and leave it; return its id."""
    async with client.stream(model="m", input="Hi", background=True, **options) as run:
        event = await run.wait(ResponseCreated)
        assert event is not None
        assert event.response is not None
        assert event.response.id is not None
        return event.response.id


async def resumed(client: Client, response_id: str, **options: Any) -> Response:
    async with client.resume(response_id, **options) as run:
        return await run.dispatch()


async def test_a_resumed_response_goes_on_with_its_tools() -> None:
    async with serving("function-call") as (server, client):
        response_id = await background(client, tools=[get_weather.definition()])
        response = await resumed(client, response_id, tools=[get_weather])
        body = body_of(server, -1)
    assert "20 degrees in Paris" in response.output_text
    assert (body["model"], body["background"], body["previous_response_id"]) == ("m", True, response_id)


async def known(client: Client, response_id: str, **more: Any) -> Ledger:
    """Return a ledger that knows the call of a response."""
    async with client.resume(response_id) as run:
        (item,) = (await run.dispatch()).function_calls
    assert item.call_id is not None
    assert item.name is not None
    return Ledger([ToolCall(call_id=item.call_id, name=item.name, arguments=item.arguments, **more)])


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"status": "succeeded", "output": "12 degrees"}, "12 degrees"),
        ({"status": "failed", "output": "Error: no"}, "Error: no"),
        ({"status": "refused", "output": "No."}, "No."),
        ({"status": "cancelled"}, "Error: the call was interrupted and may have been executed; its result is unknown"),
        ({"status": "running"}, "Error: the call was interrupted and may have been executed; its result is unknown"),
    ],
)
async def test_a_call_in_the_ledger_is_never_executed_again(facts: dict[str, Any], told: str) -> None:
    kitchen = Kitchen()
    async with serving(calling(("cook", {"dish": "soup"}))) as (server, client):
        response_id = await background(client, tools=[tool(kitchen.cook).definition()])
        stored = await known(client, response_id, **facts)
        ledger = Ledger.from_json(stored.to_json())
        await resumed(client, response_id, tools=[kitchen.cook], ledger=ledger)
        assert outputs(server, -1) == [told]
    assert kitchen.begun == []


async def test_a_call_that_may_have_been_executed_is_raised_where_that_is_the_policy() -> None:
    async with serving(calling(("get_weather", {"city": "Oslo"}))) as (_, client):
        response_id = await background(client, tools=[get_weather.definition()])
        ledger = await known(client, response_id, status="running")
        with pytest.raises(CallNotExecuted, match="may have been executed"):
            await resumed(client, response_id, tools=[get_weather], ledger=ledger, on_tool_error="raise")


async def test_a_ledger_without_tools_is_refused() -> None:
    ledger = Ledger([ToolCall(call_id="call_1", name="cook", arguments="{}")])
    async with Client(base_url="http://127.0.0.1:1") as client:
        for take_up in (client.stream, partial(client.resume, "resp_1")):
            with pytest.raises(UsageError, match="give the same tools again"):
                take_up(ledger=ledger)
            take_up(ledger=Ledger())


async def test_the_ledger_of_a_run_that_broke_off_keeps_the_next_from_executing_twice() -> None:
    kitchen = Kitchen()
    async with serving(calling(("cook", {"dish": "soup"}))) as (server, client):
        async with client.stream(model="m", input="Hi", background=True, tools=[kitchen.cook]) as run:
            task = asyncio.create_task(run.dispatch())
            await kitchen.started.wait()
            response_id = run.response_id
            task.cancel()
            await asyncio.wait([task])
        assert response_id is not None
        broken_off = await run.outcome()
        await resumed(client, response_id, tools=[kitchen.cook], ledger=broken_off.ledger)
        assert "may have been executed" in outputs(server, -1)[0]
    assert kitchen.begun == ["soup"]


async def test_an_id_that_comes_again_is_executed_once() -> None:
    def scenario(script: Script) -> None:
        count = sum(item.get("type") == "function_call_output" for item in inputs(script.request))
        if count == 2:
            return script.text("Done").complete()
        dish = ["soup", "soup"][count] if "same" in str(script.request) else ["soup", "rice"][count]
        script.function_call("cook", {"dish": dish})
        script.complete()
        (call_id,) = re.findall(r"call_[0-9a-f]{32}", json.dumps(script.events[-1]))
        script.events[:] = json.loads(json.dumps(script.events).replace(call_id, "call_0"))
        return None

    kitchen = Kitchen()
    kitchen.go_on.set()
    async with serving(scenario) as (server, client):
        await client.run(model="m", input="the same", tools=[kitchen.cook], store=False)
        assert outputs(server, 2) == ["soup is done", "soup is done"]
        await client.run(model="m", input="another", tools=[kitchen.cook], store=False)
        assert outputs(server, -1)[1] == "Error: the call was not executed: its id 'call_0' belongs to an earlier call"
    assert kitchen.begun == ["soup", "soup"], "once in each run"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_rounds": 0}, "at least 1"),
        ({"max_parallel_tools": 0}, "at least 1"),
        ({"on_tool_error": "ignore"}, "on_tool_error must be"),
        ({"tools": [get_weather, get_weather]}, "two tools are called 'get_weather'"),
        ({"tools": [get_weather], "record": "x.jsonl"}, "one response"),
    ],
)
async def test_what_cannot_work_is_refused_before_anything_is_sent(options: dict[str, Any], message: str) -> None:
    async with serving("text") as (server, client):
        with pytest.raises(UsageError, match=message):
            client.stream(model="m", input="Hi", **options)
        assert server.requests == []


async def test_the_text_and_the_snapshot_are_those_of_the_round() -> None:
    texts: list[tuple[int, str]] = []
    dispatcher = Dispatcher()

    @dispatcher.on(OutputTextDelta, OutputItemDone)
    async def keep(_: Event, run: Run) -> None:
        texts.append((run.round, run.text))

    async with serving("function-call") as (_, client):
        response = await client.run(dispatcher, model="m", input="Hi", tools=[get_weather])
    assert texts[0] == (1, "")
    assert texts[-1] == (2, response.output_text)
