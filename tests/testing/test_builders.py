"""Events made by hand, and runs made of them."""

import pytest
from pydantic_core import to_json

from streamkit import (
    Completed,
    Disconnected,
    Dispatcher,
    Failed,
    Incomplete,
    Response,
    Run,
    StreamHandler,
    on,
)
from streamkit.codec import decode
from streamkit.events import Event, FunctionCallArgumentsDone, OutputItemDone, OutputTextDelta, UnknownEvent
from streamkit.sse import Frame
from streamkit.testing import SCENARIOS, builders, play
from streamkit.testing.builders import completed, function_call, item_done, message, run_events, text_delta

pytestmark = pytest.mark.anyio

ALL = [
    builders.created(),
    builders.text_delta("Hel"),
    builders.text_done("Hello"),
    builders.refusal_delta("No"),
    builders.refusal_done("No."),
    builders.reasoning_delta("Hm"),
    builders.arguments_delta('{"a'),
    builders.arguments_done({"a": 1}, name="f"),
    builders.item_added(function_call("f")),
    builders.item_done(message("Hello")),
    builders.completed("Hello", function_call("f", {"a": 1})),
    builders.incomplete("Hel"),
    builders.failed(),
    builders.error(),
]


@pytest.mark.parametrize("event", ALL, ids=lambda event: event.type)
def test_an_event_is_what_comes_out_of_the_codec(event: Event) -> None:
    again = decode(Frame(event.type, to_json(event.model_dump(mode="json"))))
    assert again == event


def test_every_hook_has_its_events() -> None:
    made = {event.type for event in ALL}
    assert made >= {
        "response.created",
        "response.output_text.delta",
        "response.output_text.done",
        "response.refusal.delta",
        "response.refusal.done",
        "response.reasoning_summary_text.delta",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.added",
        "response.output_item.done",
    }


async def test_handlers_get_the_very_events() -> None:
    got: list[Event] = []
    dispatcher = Dispatcher()
    dispatcher.on(Event)(got.append)
    events: list[Event] = [
        text_delta("Hel").model_copy(update={"synthetic": True}),
        UnknownEvent(type="vendor:event", data={"type": "vendor:event"}),
        completed("Hello"),
    ]
    outcome = await run_events(events, dispatcher)
    assert [id(event) for event in got] == [id(event) for event in events]
    assert isinstance(outcome, Completed)
    assert outcome.response.output_text == "Hello"


async def test_a_run_comes_with_them() -> None:
    texts: list[str] = []

    @on(OutputTextDelta)
    async def note(_: OutputTextDelta, run: Run) -> None:
        texts.append(run.text)

    await run_events([text_delta("Hel"), text_delta("lo")], note)
    assert texts == ["Hel", "Hello"]


async def test_named_methods_and_hooks_are_called() -> None:
    calls: list[object] = []

    class Audit(StreamHandler):
        async def on_function_call_arguments_done(self, event: FunctionCallArgumentsDone) -> None:
            calls.append((event.name, event.arguments))

        async def on_output_item_done(self, event: OutputItemDone) -> None:
            calls.append(event.item)

        async def on_completed(self, response: Response) -> None:
            calls.append(response.function_calls)

    call = function_call("f", {"a": 1}, call_id="call_1")
    await run_events([builders.arguments_done({"a": 1}, name="f"), item_done(call), completed(call)], Audit())
    assert calls == [("f", '{"a":1}'), call, [call]]


@pytest.mark.parametrize(
    ("events", "kind", "said"),
    [
        ([completed()], Completed, ""),
        ([builders.incomplete("Hel", reason="content_filter")], Incomplete, "content_filter"),
        ([builders.failed("too bad", code="c")], Failed, "too bad (code=c)"),
        ([builders.error("too bad", code="c")], Failed, "too bad (code=c)"),
        ([builders.created()], Disconnected, "the stream ended after 1 events"),
        ([], Disconnected, "scripted: answered, then closed the stream without sending a byte"),
    ],
)
async def test_the_outcome_is_that_of_a_run(events: list[Event], kind: type, said: str) -> None:
    outcome = await run_events(events)
    assert type(outcome) is kind
    assert said in str(getattr(outcome, "reason", getattr(outcome, "error", "")))


async def test_a_handlers_exception_comes_out_unchanged() -> None:
    @on(OutputTextDelta)
    def broken(_: OutputTextDelta) -> None:
        raise KeyError("oops")

    with pytest.raises(KeyError, match="oops"):
        await run_events([text_delta("Hel")], broken)


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_what_a_server_would_send_can_be_given_too(scenario: str) -> None:
    got: list[Event] = []
    dispatcher = Dispatcher()
    dispatcher.on(Event)(got.append)
    events = play(scenario)
    await run_events(events, dispatcher)
    assert [event.type for event in got] == [event["type"] for event in events]
