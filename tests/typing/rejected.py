"""What mypy and pyright reject, and with which error; checked by them and never run.

Every comment that expects an error is itself an error where the checker finds nothing to ignore.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true
# What only follows from an error is left out:
# pyright: reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUntypedFunctionDecorator=false, reportUnusedImport=false

from typing import assert_never

from streamkit import (  # type: ignore[attr-defined]
    CallNext,
    Client,
    Clint,  # pyright: ignore[reportAttributeAccessIssue]
    Completed,
    Disconnected,
    Dispatcher,
    Failed,
    HandlerFailed,
    Lane,
    Outcome,
    Response,
    Run,
    StreamHandler,
    StreamRun,
    on,
)
from streamkit.events import Event, McpCallFailed, OutputTextDelta, RefusalDelta, ResponseCreated

dispatcher = Dispatcher()

# Names that do not exist.
dispatcher.on("response.output_text.dleta")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
dispatcher.once("response.create")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
on("response.mcp_call.fail")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
on("response.created", "response.craeted")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
on()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
on(int)  # type: ignore[type-var]  # pyright: ignore[reportCallIssue, reportArgumentType]
on(OutputTextDelta, str)  # type: ignore[type-var]  # pyright: ignore[reportCallIssue, reportArgumentType]
on(Outcome)  # type: ignore[call-overload]
dispatcher.on_complete  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


# Annotations that do not fit the name.
@dispatcher.on("response.output_text.delta")  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
async def another_event(event: RefusalDelta) -> None: ...


@dispatcher.on(OutputTextDelta)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
async def another_class(event: RefusalDelta, run: Run) -> None: ...


@dispatcher.on(Event)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
def one_of_the_family(event: OutputTextDelta) -> None: ...


@on(OutputTextDelta, RefusalDelta)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
def one_of_two(event: OutputTextDelta) -> None: ...


@dispatcher.on("response.output_text.delta")  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
def too_many(event: OutputTextDelta, run: Run, more: str) -> None: ...


@dispatcher.on("response.output_text.delta")  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
def none_at_all() -> None: ...


@dispatcher.on  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
def without_parentheses(event: Event) -> None: ...


dispatcher.on("response.output_text.delta")(lambda event: event.text)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


# Options that do not exist, or with values of another type.
dispatcher.on("response.created", lanes=Lane())  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
dispatcher.on("response.created", lane="slow")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
dispatcher.on(ResponseCreated, thread="yes")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
dispatcher.on(ResponseCreated, on_error="ignore")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
dispatcher.on("response.output_text.delta", where=lambda event: event.text)  # type: ignore[call-overload]  # pyright: ignore[reportAttributeAccessIssue]
dispatcher.on("response.output_text.delta", where=lambda: True)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
Lane(when_full="burst")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@dispatcher.middleware  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
async def without_the_rest(event: Event, run: Run) -> None: ...


@dispatcher.middleware  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
async def with_a_result(event: Event, run: Run, call_next: CallNext) -> str:
    return "no"


class Chat:
    user = "ada"


chats = Dispatcher[Chat]()


@chats.on("response.created")  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
async def another_state(event: ResponseCreated, run: Run[int]) -> None: ...


@chats.middleware  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
async def around_another_state(event: Event, run: Run[int], call_next: CallNext) -> None: ...


@dispatcher.on("response.created")  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
async def a_state_where_there_is_none(event: ResponseCreated, run: Run[Chat]) -> None: ...


# Hooks get what they are for.
@dispatcher.on_completed  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
async def completed(event: Completed) -> None: ...


@dispatcher.on_failed  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
async def failed(outcome: Failed) -> None: ...


@dispatcher.on_error  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
def error(failure: Exception) -> None: ...


@dispatcher.on_close  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
def closed(outcome: Completed | Failed) -> None: ...


class Audit(StreamHandler):
    async def on_text_delta(self, event: RefusalDelta) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]

    async def on_completed(self, response: Response, run: Run) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]

    async def on_error(self, failure: HandlerFailed) -> str:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return "no"

    @on("response.mcp_call.failed")  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    async def broken(self, event: ResponseCreated) -> None: ...  # type: ignore[misc]

    @on("response.mcp_call.failed")  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    async def broken_with_run(self, event: McpCallFailed, run: str) -> None: ...  # type: ignore[misc]


dispatcher.include(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def iterated(run: StreamRun) -> None:
    async for event in run.events("response.output_text.delta"):
        event.text  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    run.events("response.output_text.dleta")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    run.events(Completed)  # type: ignore[type-var]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await run.dispatch("response.created")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    run.text = "mine"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


async def bounded(run: StreamRun) -> None:
    run.events("response.created", max_event=9)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    run.events(OutputTextDelta, when_full="burst")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    run.events(OutputTextDelta, where=lambda event: event.text)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    await run.wait("response.complete")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await run.wait("response.completed", timeout="3")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await run.wait("response.completed", max_events=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    (await run.wait("response.completed")).delta  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    run.on("response.created", lane=1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await run.dispatch(chats)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def with_a_state(client: Client) -> None:
    await client.run(chats, state=3, model="m")  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    async with client.stream(state=Chat(), model="m") as run:
        await run.dispatch(dispatcher)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        run.state.name  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


async def embedded(client: Client) -> int:
    return await client.run(dispatcher, model="m")  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


def some_outcomes(outcome: Outcome) -> None:
    match outcome:
        case Completed() | Failed() | Disconnected():
            pass
        case _:
            assert_never(outcome)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
