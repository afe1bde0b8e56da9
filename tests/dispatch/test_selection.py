"""What selectors name, and what is said of those that name nothing."""

import re
from typing import Any, get_args

import pytest

from streamkit import Completed, Dispatcher, Outcome, StreamHandler, UsageError, on
from streamkit.dispatch.selection import Selection, select, select_iterable, select_raw
from streamkit.events import EVENTS, Event, ItemEvent, OutputTextDelta, RefusalDelta, ResponseCreated, UnknownEvent
from streamkit.outcome import Closed, HandlerFailed, Opened


@pytest.mark.parametrize("name", EVENTS)
def test_a_wire_name_selects_its_class(name: str) -> None:
    assert select((name,)) == Selection((EVENTS[name],))


@pytest.mark.parametrize(
    "model",
    [Event, ItemEvent, OutputTextDelta, UnknownEvent, Opened, HandlerFailed, Closed, *get_args(Outcome)],
)
def test_a_class_selects_itself(model: type) -> None:
    assert select((model,)) == Selection((model,))


def test_several_selectors_are_kept_in_order() -> None:
    selection = select(("response.refusal.delta", OutputTextDelta, Closed))
    assert selection.classes == (RefusalDelta, OutputTextDelta, Closed)


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        (
            "response.output_text.dleta",
            "(did you mean 'response.output_text.delta'?); events without",
        ),
        ("response.text.delta", "(did you mean 'response.output_text.delta'?)"),
        ("output_text.delta", "(did you mean 'response.output_text.delta'?)"),
        ("Response.Created", "(did you mean 'response.created'?)"),
        ("errors", "(did you mean 'error'?)"),
        ("vendor:thing", "no event named 'vendor:thing'; events without a model are selected with on.raw(name)"),
        ("", "no event named ''"),
        (int, "cannot route by <class 'int'>: expected a wire name or an event, notice or outcome class"),
        (3, "cannot route by 3"),
        (None, "cannot route by None"),
        (Outcome, "cannot route by streamkit.outcome.Completed |"),
        (StreamHandler, "cannot route by <class"),
        (OutputTextDelta(delta="a"), "cannot route by OutputTextDelta("),
        (lambda event: None, "; write on(...) with parentheses"),
    ],
)
def test_what_names_nothing_is_a_usage_error(selector: Any, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        select((selector,))
    with pytest.raises(UsageError, match=re.escape(message)):
        Dispatcher().on("response.created", selector)


def test_nothing_at_all_is_a_usage_error() -> None:
    register: Any = on
    with pytest.raises(UsageError, match="name at least one event"):
        register()


def test_forgotten_parentheses_are_a_usage_error() -> None:
    register: Any = Dispatcher().on

    async def show(event: OutputTextDelta) -> None: ...

    with pytest.raises(UsageError, match=r"write on.* with parentheses"):
        register(show)


def test_a_raw_name_selects_unknown_events() -> None:
    assert select_raw("vendor:thing") == Selection((UnknownEvent,), unknown_type="vendor:thing")


def test_a_raw_name_that_has_a_model_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"has a model, ResponseCreated: select it with on\('response.created'\)"):
        select_raw("response.created")


def test_events_are_selected_without_notices_and_outcomes() -> None:
    assert select_iterable(("response.created", ItemEvent)) == (ResponseCreated, ItemEvent)
    with pytest.raises(UsageError, match="Completed does not come among the events; register a handler for it"):
        select_iterable((Event, Completed))
