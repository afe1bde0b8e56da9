"""The bare ``on`` marks functions and changes nothing else about them."""

import functools
from typing import Any

import pytest

from streamkit import Dispatcher, UsageError, on
from streamkit.dispatch.on import marks_of
from streamkit.dispatch.selection import Selection
from streamkit.events import Event, OutputTextDelta, RefusalDelta, ResponseCreated, UnknownEvent
from tests.dispatch.support import send

pytestmark = pytest.mark.anyio


def test_a_marked_function_comes_back_unchanged() -> None:
    async def show(event: OutputTextDelta) -> None: ...

    assert on("response.output_text.delta")(show) is show
    assert marks_of(show) == (Selection((OutputTextDelta,)),)


def test_a_registered_function_comes_back_unchanged_and_unmarked() -> None:
    dispatcher = Dispatcher()

    async def show(event: OutputTextDelta) -> None: ...

    assert dispatcher.on("response.output_text.delta")(show) is show
    assert dispatcher.once(OutputTextDelta)(show) is show
    assert dispatcher.on_close(print) is print
    assert marks_of(show) == ()


def test_marks_add_up() -> None:
    @on("response.created")
    @on.raw("vendor:thing")
    def show(event: Event) -> None: ...

    assert marks_of(show) == (Selection((UnknownEvent,), unknown_type="vendor:thing"), Selection((ResponseCreated,)))


async def test_marking_registers_nothing() -> None:
    calls: list[Event] = []

    @on(Event)
    def show(event: Event) -> None:
        calls.append(event)

    await send(Dispatcher(), OutputTextDelta(delta="a"))
    assert calls == []


def test_marks_survive_a_decorator_that_wraps() -> None:
    @on("response.created")
    def show(event: ResponseCreated) -> None: ...

    @functools.wraps(show)
    def louder(event: ResponseCreated) -> None: ...

    on("response.refusal.delta")(louder)
    assert marks_of(louder) == (Selection((ResponseCreated,)), Selection((RefusalDelta,)))
    assert marks_of(show) == (Selection((ResponseCreated,)),)


class Greeter:
    def hello(self, event: ResponseCreated) -> None: ...


@pytest.mark.parametrize("function", [print, Greeter().hello, [].append], ids=["builtin", "bound", "bound builtin"])
def test_what_cannot_be_marked_is_a_usage_error(function: Any) -> None:
    with pytest.raises(UsageError, match=r"cannot mark .*; register it with dispatcher.on\(...\)"):
        on("response.created")(function)


async def test_raw_names_select_one_type_of_unknown_event() -> None:
    dispatcher = Dispatcher()
    calls: list[tuple[str, str]] = []
    dispatcher.on.raw("vendor:a")(lambda event: calls.append(("on", event.type)))
    dispatcher.once.raw("vendor:b")(lambda event: calls.append(("once", event.type)))
    dispatcher.on(UnknownEvent)(lambda event: calls.append(("all", event.type)))
    await send(dispatcher, *(UnknownEvent(type=f"vendor:{letter}", data={}) for letter in "abb"))
    assert calls == [
        ("on", "vendor:a"),
        ("all", "vendor:a"),
        ("once", "vendor:b"),
        ("all", "vendor:b"),
        ("all", "vendor:b"),
    ]
