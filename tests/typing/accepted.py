"""What mypy and pyright accept and infer, checked by them and never run."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Literal, assert_never, assert_type

from streamkit import (
    CallNext,
    Cancelled,
    Client,
    Closed,
    Completed,
    Disconnected,
    Dispatcher,
    Failed,
    HandlerFailed,
    Incomplete,
    Lane,
    Moderated,
    Opened,
    Outcome,
    ParsedResponse,
    Response,
    Restarted,
    Run,
    StreamHandler,
    StreamRun,
    UnfinishedResponse,
    on,
)
from streamkit.dispatch.on import Decorator
from streamkit.errors import ServerError, StreamkitError
from streamkit.events import (
    EVENTS,
    DeltaEvent,
    Event,
    FunctionCallArgumentsDone,
    ItemEvent,
    McpCallFailed,
    OutputItemDone,
    OutputTextDelta,
    OutputTextDone,
    ReasoningDelta,
    ReasoningSummaryTextDelta,
    ReasoningTextDelta,
    RefusalDelta,
    ResponseCompleted,
    ResponseCreated,
    UnknownEvent,
)
from streamkit.items import FunctionCall
from streamkit.iteration import EventIterator

dispatcher = Dispatcher()

# What a decorator is for follows from what is named.
assert_type(dispatcher.on("response.output_text.delta"), Decorator[OutputTextDelta])
assert_type(dispatcher.once("response.created"), Decorator[ResponseCreated])
assert_type(on("response.mcp_call.failed"), Decorator[McpCallFailed, Any])
assert_type(on(OutputTextDelta), Decorator[OutputTextDelta, Any])
assert_type(on(ItemEvent), Decorator[ItemEvent, Any])
assert_type(on(Event), Decorator[Event, Any])
assert_type(on(Completed), Decorator[Completed, Any])
assert_type(on(Opened), Decorator[Opened, Any])
assert_type(dispatcher.on_moderated, Decorator[Moderated])
assert_type(on(OutputTextDelta, RefusalDelta), Decorator[OutputTextDelta | RefusalDelta, Any])
assert_type(on(OutputTextDelta, Closed, Failed), Decorator[OutputTextDelta | Closed | Failed, Any])
assert_type(on(EVENTS["error"]), Decorator[Event, Any])
assert_type(on.raw("vendor:event"), Decorator[UnknownEvent, Any])


@dispatcher.on("response.output_text.delta")
async def event_alone(event: OutputTextDelta) -> None:
    assert_type(event.delta, str)


@dispatcher.on("response.output_text.delta")
async def event_and_run(event: OutputTextDelta, run: Run) -> None:
    assert_type(run.text, str)
    assert_type(run.state, SimpleNamespace)
    assert_type(run.snapshot(), Response)


@dispatcher.on("response.output_text.delta")
def synchronous(event: OutputTextDelta) -> int:
    return len(event.delta)


@dispatcher.on("response.output_text.delta")
def with_an_optional_run(event: OutputTextDelta, run: Run | None = None) -> None: ...


@dispatcher.on("response.output_text.delta")
def with_a_wider_class(event: DeltaEvent) -> None: ...


@dispatcher.on("response.output_text.delta", "response.refusal.delta", Closed)
async def names_and_classes(event: OutputTextDelta | RefusalDelta | Closed, run: Run) -> None: ...


@on(OutputTextDelta, OutputTextDone)
async def several_classes(event: OutputTextDelta | OutputTextDone) -> None:
    if event.type == "response.output_text.delta":
        assert_type(event, OutputTextDelta)
    else:
        assert_type(event, OutputTextDone)


@on.raw("vendor:event")
def unknown(event: UnknownEvent) -> None:
    event.data.items()


# What a handler asks for besides its event; a condition gets the event that is named.
@dispatcher.on("response.output_text.delta", lane=Lane(when_full="merge"), where=lambda event: bool(event.delta))
async def in_a_lane(event: OutputTextDelta) -> None: ...


@dispatcher.on(FunctionCallArgumentsDone, tool="search", on_error="log")
def of_a_tool(event: FunctionCallArgumentsDone) -> None: ...


@dispatcher.on(
    ItemEvent, item_type="mcp_call", thread=True, on_error=lambda failure: isinstance(failure.error, OSError)
)
def in_a_thread(event: ItemEvent) -> None: ...


@dispatcher.once(OutputTextDelta, RefusalDelta, where=lambda event: len(event.delta) > 1)
def either(event: OutputTextDelta | RefusalDelta) -> None: ...


@dispatcher.on.any
def everything(event: Event, run: Run) -> None: ...


assert_type(dispatcher.on.any, Decorator[Event])
assert_type(on.raw("vendor:event", lane=Lane(name="slow")), Decorator[UnknownEvent, Any])


@dispatcher.middleware
async def timing(event: Event, run: Run, call_next: CallNext) -> None:
    await call_next(event)


class Chat:
    def __init__(self, user: str) -> None:
        self.user = user


# The state of a dispatcher's runs is what its handlers see.
chats = Dispatcher[Chat]()


async def around_whatever_state(event: Event, run: Run[object], call_next: CallNext) -> None:
    await call_next(event)


dispatcher.middleware(around_whatever_state)
chats.middleware(around_whatever_state)


class Around:
    async def __call__(self, event: Event, run: Run[Chat], call_next: CallNext) -> None: ...


chats.middleware(Around())


@chats.on("response.output_text.delta")
async def with_its_state(event: OutputTextDelta, run: Run[Chat]) -> None:
    assert_type(run.state, Chat)
    assert_type(run.state.user, str)


@chats.on_completed
def with_its_state_too(response: Response, run: Run[Chat]) -> None: ...


@chats.on(ResponseCreated)
def with_whatever_state(event: ResponseCreated, run: Run[object]) -> None: ...


@on("response.created")
def marked_for_its_state(event: ResponseCreated, run: Run[Chat]) -> None: ...


chats.include(marked_for_its_state)


# A decorated function is still the function.
assert_type(synchronous(OutputTextDelta(delta="a")), int)
dispatcher.include(several_classes, unknown, Dispatcher())
dispatcher.off(synchronous)

lines: list[str] = []
dispatcher.on("response.output_text.delta")(lambda event: lines.append(event.delta))
dispatcher.on("response.output_text.delta")(lambda event, run: print(event.delta, run.response_id))
dispatcher.on(Event)(print)


# The lifecycle hooks say what they give.
assert_type(dispatcher.on_created, Decorator[Response])
assert_type(dispatcher.on_completed, Decorator[Response])
assert_type(dispatcher.on_incomplete, Decorator[Response])
assert_type(dispatcher.on_failed, Decorator[Failed | Disconnected])
assert_type(dispatcher.on_error, Decorator[HandlerFailed])


@dispatcher.on_completed
async def completed(response: Response, run: Run) -> None:
    assert_type(response.output_text, str)
    assert_type(response.function_calls, list[FunctionCall])


@dispatcher.on_failed
async def failed(outcome: Failed | Disconnected) -> None:
    assert_type(outcome.error, ServerError | StreamkitError)


@dispatcher.on_error
def swallow(failure: HandlerFailed) -> bool:
    return isinstance(failure.error, ValueError)


@dispatcher.on_close
def closed(outcome: Outcome) -> None:
    assert_type(meaning(outcome), str)


def meaning(outcome: Outcome) -> str:
    """A match that leaves one outcome out is an error."""
    match outcome:
        case Completed():
            return outcome.response.output_text
        case Incomplete():
            return outcome.reason
        case Failed():
            return str(outcome.error.code)
        case Cancelled():
            return str(outcome.cause)
        case Disconnected():
            return str(outcome.error)
        case _:
            assert_never(outcome)


class Audit(StreamHandler):
    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    async def on_text_delta(self, event: OutputTextDelta) -> None:
        await super().on_text_delta(event)
        assert_type(event.delta, str)

    async def on_reasoning_delta(self, event: ReasoningSummaryTextDelta | ReasoningTextDelta | ReasoningDelta) -> None:
        assert_type(event.delta, str)

    async def on_completed(self, response: Response, run: Run | None = None) -> None:
        assert_type(run, Run | None)

    async def on_error(self, failure: HandlerFailed) -> bool:
        return True

    @on("response.mcp_call.failed")
    async def broken(self, event: McpCallFailed, run: Run) -> str:
        return self.prefix

    @on(FunctionCallArgumentsDone, OutputItemDone)
    def finished(self, event: FunctionCallArgumentsDone | OutputItemDone) -> int:
        return 1


class LouderAudit(Audit):
    async def on_text_delta(self, event: DeltaEvent) -> None: ...

    async def broken(self, event: McpCallFailed, run: Run) -> str:
        return await super().broken(event, run)


audit = LouderAudit("! ")
assert_type(audit.finished(FunctionCallArgumentsDone(arguments="{}")), int)
dispatcher.include(audit, audit.finished)


async def embedded(session_text: str) -> None:
    async with Client() as client:
        assert_type(await client.run(dispatcher, audit, several_classes, model="m", input=session_text), ParsedResponse)
        async with client.stream(model="m", input=session_text) as run:
            assert_type(run, StreamRun[SimpleNamespace, ParsedResponse])
            assert_type(await run.opened(), Opened)
            assert_type(await run.outcome(), Outcome)
            assert_type(await run.dispatch(dispatcher), ParsedResponse)


async def embedded_with_a_state(client: Client) -> None:
    assert_type(await client.run(chats, state=Chat("ada"), model="m", input="i"), ParsedResponse[None])
    async with client.stream(state=Chat("ada"), model="m", input="i") as run:
        assert_type(run, StreamRun[Chat, ParsedResponse[None]])
        assert_type(run.state, Chat)
        assert_type(await run.dispatch(chats, with_whatever_state), ParsedResponse[None])
        assert_type(run.on("response.created"), Decorator[ResponseCreated, Chat])
        run.on(OutputTextDelta, lane=Lane())(with_its_state)
        run.once(ResponseCreated)(with_whatever_state)
        run.off(with_whatever_state)


async def waited(run: StreamRun) -> None:
    assert_type(await run.wait("response.completed"), ResponseCompleted)
    assert_type(await run.wait(OutputTextDelta, where=lambda event: event.delta == "!", timeout=3), OutputTextDelta)
    assert_type(await run.wait(ItemEvent, timeout=None), ItemEvent)


async def iterated(run: StreamRun) -> None:
    async for event in run:
        assert_type(event, Event)
        if isinstance(event, OutputTextDelta):
            assert_type(event, OutputTextDelta)
    async for delta in run.events("response.output_text.delta"):
        assert_type(delta, OutputTextDelta)
        assert_type(delta.type, Literal["response.output_text.delta"])
    async for of_item in run.events(ItemEvent):
        assert_type(of_item.output_index, int | None)
    async for either in run.events(OutputTextDelta, ResponseCompleted):
        assert_type(either, OutputTextDelta | ResponseCompleted)
        if isinstance(either, ResponseCompleted):
            assert_type(either.response, Response)
        else:
            assert_type(either, OutputTextDelta)
    assert_type(run.events(OutputTextDelta, RefusalDelta, Event), EventIterator[OutputTextDelta | RefusalDelta | Event])
    assert_type(run.events("response.output_text.delta", RefusalDelta), EventIterator[Event])
    bounded = run.events("response.output_text.delta", max_events=9, max_bytes=99, when_full="merge")
    assert_type(bounded, EventIterator[OutputTextDelta])
    assert_type(run.events(OutputTextDelta, where=lambda event: event.delta > ""), EventIterator[OutputTextDelta])
    assert_type(run.events(Event, Restarted, when_full="drop"), EventIterator[Event | Restarted])
    await bounded.aclose()
    assert_type(run.events(OutputTextDelta, Moderated), EventIterator[OutputTextDelta | Moderated])


async def caught(run: StreamRun, handler: Callable[[Response], None]) -> None:
    try:
        handler(await run.dispatch())
    except UnfinishedResponse as error:
        assert_type(error.outcome, Outcome)
        assert_type(error.response, Response)
