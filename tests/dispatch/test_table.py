"""The compiled table: who is called for a class, inline or by which lane."""

from typing import Any, get_args

import pytest

from streamkit import Closed, Completed, Dispatcher, HandlerFailed, Lane, UsageError
from streamkit.dispatch.handler import Handler
from streamkit.dispatch.table import NOBODY, Chain, LaneRoute, Step, handlers_in
from streamkit.events import (
    DeltaEvent,
    Event,
    ItemEvent,
    OutputTextDelta,
    RefusalDelta,
    ResponseCompleted,
    ResponseCreated,
)
from streamkit.outcome import EventsDropped, HandlerBlocked, Notice, Opened, Outcome, Restarted
from tests.dispatch.support import TEXT


def named(name: str) -> Any:
    def handle(_: object) -> None: ...

    handle.__qualname__ = name
    return handle


def names(steps: tuple[Step, ...]) -> list[Any]:
    """The handlers' names, those in a chain as a list of their own."""
    return [names(step.steps) if isinstance(step, Chain) else step.name.rpartition(".")[2] for step in steps]


async def through(event: Event, run: Any, call_next: Any) -> None: ...


def test_what_nobody_wants_has_the_route_of_nobody(dispatcher: Dispatcher) -> None:
    dispatcher.middleware(through)
    dispatcher.on("response.completed")(print)
    table = dispatcher.table()
    assert table[OutputTextDelta] is NOBODY
    assert table[ResponseCompleted] is not NOBODY


def test_a_route_is_worked_out_once(dispatcher: Dispatcher) -> None:
    dispatcher.on(TEXT)(print)
    table = dispatcher.table()
    assert table[OutputTextDelta] is table[OutputTextDelta]
    assert dispatcher.table() is table


def test_families_of_events_meet_their_members(dispatcher: Dispatcher) -> None:
    dispatcher.on(DeltaEvent)(named("family"))
    dispatcher.on(TEXT, RefusalDelta)(named("several"))
    dispatcher.on.any(named("any"))
    table = dispatcher.table()
    assert names(table[RefusalDelta].inline) == ["family", "several", "any"]
    assert names(table[ResponseCompleted].inline) == ["any"]


def test_handlers_with_a_lane_are_apart_from_those_inline(dispatcher: Dispatcher) -> None:
    slow, audit = Lane(name="slow"), Lane()
    dispatcher.on(TEXT)(named("inline"))
    dispatcher.on(TEXT, lane=slow)(named("first"))
    dispatcher.on(TEXT, lane=audit)(named("second"))
    dispatcher.on(TEXT, lane=Lane(name="slow"))(named("third"))
    route = dispatcher.table()[OutputTextDelta]
    assert names(route.inline) == ["inline"]
    assert [(lane, names(steps)) for lane, steps, _ in route.lanes] == [(slow, ["first", "third"]), (audit, ["second"])]


def test_middleware_makes_chains_of_what_is_inside(dispatcher: Dispatcher) -> None:
    included, plain = Dispatcher(), Dispatcher()
    included.middleware(through)
    for part, name in ((dispatcher, "outer"), (included, "inner"), (plain, "plain")):
        part.on(Event, Opened)(named(name))
    included.on(TEXT, lane=Lane())(named("lane"))
    dispatcher.include(included, plain)
    table = dispatcher.table()
    assert names(table[OutputTextDelta].inline) == ["outer", ["inner"], "plain"]
    assert names(table[OutputTextDelta].lanes[0][1]) == [["lane"]]
    assert names(table[Opened].inline) == ["outer", "inner", "plain"]


INLINE = (*get_args(Outcome), Closed, HandlerBlocked, EventsDropped)


@pytest.mark.parametrize("model", [*get_args(Notice), *get_args(Outcome)])
def test_what_is_told_about_lanes_or_after_them_is_told_inline(dispatcher: Dispatcher, model: type[Any]) -> None:
    if model is HandlerFailed:
        return
    dispatcher.on(model, lane=Lane())(named("handler"))
    route = dispatcher.table()[model]
    assert names(route.inline) == (["handler"] if model in INLINE else [])
    assert len(route.lanes) == (model not in INLINE)


@pytest.mark.parametrize("model", [Restarted, ResponseCreated])
def test_every_lane_is_told_of_a_beginning_so_that_nothing_is_merged_across_it(
    dispatcher: Dispatcher, model: type[Any]
) -> None:
    lane = Lane(when_full="merge")
    dispatcher.on(TEXT, lane=lane)(print)
    assert dispatcher.table()[model].lanes == (LaneRoute(lane, (), joins_item=False),)


@pytest.mark.parametrize("options", [{"tool": "search"}, {"item_type": "mcp_call"}, {"where": bool}, {}])
def test_a_lane_joins_events_with_their_items_where_a_handler_asks(
    dispatcher: Dispatcher, options: dict[str, Any]
) -> None:
    included = Dispatcher()
    included.middleware(through)
    lane = Lane()
    included.on(ItemEvent, lane=lane, **options)(print)
    dispatcher.on(ItemEvent, lane=lane)(print)
    dispatcher.include(included)
    (route,) = dispatcher.table()[OutputTextDelta].lanes
    assert route.joins_item == ("tool" in options or "item_type" in options)


def test_lanes_of_one_name_must_be_set_alike_wherever_they_are(dispatcher: Dispatcher) -> None:
    included = Dispatcher()
    included.on(TEXT, lane=Lane(name="x", drain_timeout=1))(print)
    dispatcher.on(TEXT, lane=Lane(name="x"))(print)
    dispatcher.table()
    dispatcher.include(included)
    with pytest.raises(UsageError, match="the same settings everywhere"):
        dispatcher.table()


def test_handlers_are_listed_in_the_order_of_their_registration(dispatcher: Dispatcher) -> None:
    included = Dispatcher()
    dispatcher.on(TEXT)(named("a"))
    dispatcher.include(included)
    dispatcher.on(Completed)(named("c"))
    included.on(TEXT)(named("b"))
    handlers: tuple[Handler, ...] = tuple(handlers_in(dispatcher.branch()))
    assert names(handlers) == ["a", "b", "c"]
