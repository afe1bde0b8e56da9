"""A dispatcher explains itself: what is registered, what is called, and what never is."""

import re
from textwrap import dedent

import pytest

from streamkit import Completed, Disconnected, Dispatcher, Failed, Restarted, Run, StreamHandler, UsageError, on
from streamkit.dispatch import CallNext, Lane
from streamkit.events import (
    ContentPartDone,
    DeltaEvent,
    Event,
    FunctionCallArgumentsDelta,
    ItemEvent,
    OutputItemDone,
    OutputTextDelta,
    PartEvent,
    RefusalDelta,
    ToolProgressEvent,
    UnknownEvent,
)
from streamkit.outcome import Delivery, HandlerFailed


async def timing(event: Event, run: Run, call_next: CallNext) -> None:
    await call_next(event)


async def audit(event: Event, run: Run, call_next: CallNext) -> None:
    await call_next(event)


def count(event: Delivery) -> None: ...


def show(event: Delivery) -> None: ...


def store(event: Delivery) -> None: ...


def search(event: Delivery) -> None: ...


def is_long(event: OutputTextDelta) -> bool:
    return len(event.delta) > 10


def forgive(failure: HandlerFailed) -> bool:
    return True


class Audit(StreamHandler):
    async def on_failed(self, outcome: Failed | Disconnected) -> None: ...

    @on("response.output_item.done")
    def item(self, event: OutputItemDone) -> None: ...


def explained(dispatcher: Dispatcher) -> str:
    """What it says, with the names of this module as they would read in a program of one file."""
    return str(dispatcher.explain()).replace(f"{__name__}.", "app.")


def test_everything_that_was_registered_is_shown_and_all_that_is_called_for_an_event() -> None:
    tools = Dispatcher(on_error="log")
    tools.middleware(audit)
    tools.on(FunctionCallArgumentsDelta, tool="search")(search)
    dispatcher = Dispatcher()
    dispatcher.middleware(timing)
    dispatcher.on.any(count)
    dispatcher.once("response.output_text.delta", where=is_long)(show)
    lane = Lane(name="database", max_events=64, when_full="merge")
    dispatcher.on(OutputTextDelta, RefusalDelta, lane=lane, thread=True, on_error=forgive)(store)
    dispatcher.include(tools, Audit())
    assert explained(dispatcher) == dedent(
        """\
        Handlers
          middleware                                app.timing
          Event                                     app.count
          response.output_text.delta                app.show             where=is_long, once
          response.output_text.delta                app.store            lane 'database', thread, on_error=app.forgive
          response.refusal.delta
          included
            middleware                              app.audit            on_error='log'
            response.function_call_arguments.delta  app.search           tool='search', on_error='log'
          Failed                                    app.Audit.on_failed
          Disconnected
          response.output_item.done                 app.Audit.item

        Lanes
          lane 'database': max_events=64, when_full='merge'

        Called for
          response.output_text.delta              timing(count, show [where=is_long, once])
                                                  lane 'database': timing(store)
          response.refusal.delta                  timing(count)
                                                  lane 'database': timing(store)
          response.function_call_arguments.delta  timing(count, audit(search [tool='search']))
          response.output_item.done               timing(count, Audit.item)
          Event (71 events)                       timing(count)
          Failed                                  Audit.on_failed
          Disconnected                            Audit.on_failed"""
    )


def test_events_of_two_families_are_shown_by_both() -> None:
    dispatcher = Dispatcher()
    dispatcher.on(PartEvent)(show)
    dispatcher.on(DeltaEvent)(count)
    called = explained(dispatcher).partition("Called for\n")[2]
    assert re.search(r"^  PartEvent and DeltaEvent \(4 events\) +show, count$", called, re.MULTILINE)
    assert re.search(r"^  PartEvent \(9 events\) +show$", called, re.MULTILINE)
    assert re.search(r"^  DeltaEvent \(9 events\) +count$", called, re.MULTILINE)


def test_it_can_be_printed_and_looked_at() -> None:
    explanation = Dispatcher().explain()
    assert str(explanation) == repr(explanation) == "No handlers."
    assert explanation.warnings == ()


def test_a_lane_without_a_name_is_shown_with_its_key() -> None:
    dispatcher = Dispatcher()
    dispatcher.on(ItemEvent, lane=Lane(concurrency=4, key=lambda event: event.item_id))(store)
    assert "a lane without a name: concurrency=4, key=" in explained(dispatcher)


def test_what_is_wrong_with_the_lanes_is_told_as_by_a_run() -> None:
    dispatcher = Dispatcher()
    dispatcher.on(Event, lane=Lane(name="a"))(count)
    dispatcher.on(Event, lane=Lane(name="a", max_events=1))(store)
    with pytest.raises(UsageError, match="lanes named 'a'"):
        dispatcher.explain()


@pytest.mark.parametrize(
    ("selector", "filters", "reason"),
    [
        ("response.created", {"tool": "x"}, "response.created belongs to no output item"),
        (Completed, {"item_type": "message"}, "on_completed belongs to no output item"),
        (UnknownEvent, {"tool": "x"}, "UnknownEvent belongs to no output item"),
        (OutputTextDelta, {"tool": "x"}, "response.output_text.delta belongs to items of type 'message', "),
        (ContentPartDone, {"item_type": "mcp_call"}, "belongs to items of type 'message', 'reasoning', "),
        (FunctionCallArgumentsDelta, {"item_type": "mcp_call"}, "belongs to items of type 'function_call', "),
        ("response.shell_call_output_content.done", {"item_type": "shell_call"}, "type 'shell_call_output', "),
        ("response.reasoning_summary_text.delta", {"item_type": "message"}, "type 'reasoning', "),
        ("response.mcp_call.failed", {"tool": "x", "item_type": "function_call"}, "type 'mcp_call', "),
        ("response.web_search_call.searching", {"tool": "x"}, "type 'web_search_call', "),
        (OutputItemDone, {"tool": "x", "item_type": "message"}, "never fits"),
    ],
)
def test_a_filter_that_no_event_can_pass_is_warned_of(
    selector: type[Event], filters: dict[str, str], reason: str
) -> None:
    dispatcher = Dispatcher()
    dispatcher.on(selector, **filters)(search)
    (warning,) = dispatcher.explain().warnings
    assert warning.startswith(f"{__name__}.search is never called with ")
    assert all(f"{name}={value!r}" in warning for name, value in filters.items())
    assert reason in warning
    assert f"Warnings\n  {warning}" in str(dispatcher.explain())


@pytest.mark.parametrize(
    ("selector", "filters"),
    [
        (FunctionCallArgumentsDelta, {"tool": "x", "item_type": "function_call"}),
        ("response.custom_tool_call_input.done", {"tool": "x"}),
        ("response.mcp_call.failed", {"tool": "x", "item_type": "mcp_call"}),
        (OutputItemDone, {"item_type": "vendor:item"}),
        (OutputItemDone, {"item_type": "mcp_call", "tool": "x"}),
        (ItemEvent, {"tool": "x"}),
        (ToolProgressEvent, {"item_type": "web_search_call"}),
        (Event, {"item_type": "mcp_call"}),
        ("response.output_text.delta", {"item_type": "message"}),
    ],
)
def test_a_filter_that_some_event_can_pass_is_not(selector: type[Event], filters: dict[str, str]) -> None:
    dispatcher = Dispatcher()
    dispatcher.on(selector, **filters)(search)
    assert dispatcher.explain().warnings == ()


def test_a_lane_that_has_ended_before_its_handler_is_called_is_warned_of() -> None:
    dispatcher = Dispatcher()
    dispatcher.on(Completed, lane=Lane(name="late"))(store)
    dispatcher.on(Event, Completed, lane=Lane(name="in time"))(store)
    assert dispatcher.explain().warnings == (
        f"lane 'late' has no effect for {__name__}.store: on_completed is told outside of lanes",
    )


def test_a_key_that_no_event_has_is_warned_of() -> None:
    dispatcher = Dispatcher()
    dispatcher.on(ItemEvent, lane=Lane(name="odd", concurrency=2, key="itemid"))(store)
    dispatcher.on(ItemEvent, lane=Lane(concurrency=2, key="content_index"))(store)
    dispatcher.on(Event, Restarted, lane=Lane(concurrency=2, key="item_id"))(store)
    assert dispatcher.explain().warnings == (
        f"key='itemid' of lane 'odd' has no effect for {__name__}.store: ItemEvent has no such field",
    )


def test_lanes_without_a_handler_are_not_shown() -> None:
    dispatcher = Dispatcher()
    dispatcher.on_created(count)
    dispatcher.on_restarted(count)
    dispatcher.on("response.output_text.delta", lane=Lane(name="texts"))(store)
    assert str(dispatcher.explain()).count("lane 'texts': ") == 2, "its settings, and what it is called for"


def test_middleware_around_no_handler_of_an_event_is_warned_of() -> None:
    idle, outer = Dispatcher(), Dispatcher()
    idle.middleware(audit)
    idle.on_close(show)
    outer.middleware(timing)
    outer.include(idle)
    warnings = [f"middleware {__name__}.{name} is never called: " for name in ("timing", "audit")]
    assert [text.partition("its")[0] for text in outer.explain().warnings] == warnings
    idle.on.any(count)
    assert outer.explain().warnings == ()
