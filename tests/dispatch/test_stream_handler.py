"""The base handler: which of its methods are called for what."""

import re
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

import pytest
from pydantic import BaseModel

from streamkit import (
    Closed,
    Completed,
    Disconnected,
    Dispatcher,
    Failed,
    HandlerFailed,
    Incomplete,
    Outcome,
    Response,
    Run,
    StreamHandler,
    UsageError,
    on,
)
from streamkit.dispatch.hooks import HOOKS
from streamkit.dispatch.table import NOBODY
from streamkit.errors import ConnectionLost, ServerError
from streamkit.events import (
    EVENTS,
    Event,
    FunctionCallArgumentsDelta,
    FunctionCallArgumentsDone,
    McpCallFailed,
    OutputItemAdded,
    OutputItemDone,
    OutputTextDelta,
    OutputTextDone,
    ReasoningDelta,
    ReasoningSummaryTextDelta,
    ReasoningTextDelta,
    RefusalDelta,
    RefusalDone,
    ResponseCreated,
)
from streamkit.outcome import Delivery
from tests.dispatch.support import StillRun, send

pytestmark = pytest.mark.anyio

T = TypeVar("T")

RESPONSE = Response()
DELTA = OutputTextDelta(delta="a")
CREATED = ResponseCreated(response=RESPONSE)
BROKEN = McpCallFailed()
FAILED = Failed(response=RESPONSE, error=ServerError("oh"))
DISCONNECTED = Disconnected(response=RESPONSE, error=ConnectionLost("gone"))
FAILURE = HandlerFailed(handler="h", event=DELTA, error=ValueError())


class Base(StreamHandler):
    """Writes down which of its methods is called with what."""

    def __init__(self) -> None:
        self.calls: list[Any] = []


def including(*handlers: StreamHandler) -> Dispatcher:
    dispatcher = Dispatcher()
    dispatcher.include(*handlers)
    return dispatcher


def overriding(name: str) -> Base:
    """Return a handler in which one method is overridden."""

    async def method(self: Base, subject: object) -> None:
        self.calls.append(subject)

    return type("Overriding", (Base,), {name: method})()


EVERYTHING: list[Delivery] = [
    CREATED,
    DELTA,
    *(model.model_construct() for model in EVENTS.values() if model not in {ResponseCreated, OutputTextDelta}),
    Completed(response=RESPONSE),
    Incomplete(response=RESPONSE, reason="r"),
    FAILED,
    DISCONNECTED,
    FAILURE,
    Closed(outcome=FAILED),
]


@pytest.mark.parametrize(
    ("name", "subjects"),
    [
        ("on_created", [RESPONSE]),
        ("on_text_delta", [OutputTextDelta]),
        ("on_text_done", [OutputTextDone]),
        ("on_refusal_delta", [RefusalDelta]),
        ("on_refusal_done", [RefusalDone]),
        ("on_reasoning_delta", [ReasoningTextDelta, ReasoningDelta, ReasoningSummaryTextDelta]),
        ("on_function_call_arguments_delta", [FunctionCallArgumentsDelta]),
        ("on_function_call_arguments_done", [FunctionCallArgumentsDone]),
        ("on_output_item_added", [OutputItemAdded]),
        ("on_output_item_done", [OutputItemDone]),
        ("on_completed", [RESPONSE]),
        ("on_incomplete", [RESPONSE]),
        ("on_failed", [FAILED, DISCONNECTED]),
        ("on_error", [FAILURE]),
        ("on_close", [FAILED]),
    ],
)
async def test_a_named_method_hears_of_its_events_and_of_nothing_else(name: str, subjects: list[object]) -> None:
    handler = overriding(name)
    await send(including(handler), *EVERYTHING)
    assert handler.calls == [
        next(event for event in EVERYTHING if type(event) is subject) if isinstance(subject, type) else subject
        for subject in subjects
    ]


def test_every_hook_is_a_documented_method_of_the_base_class() -> None:
    methods = {name for name in vars(StreamHandler) if name.startswith("on_")}
    assert methods == HOOKS.keys()
    assert all(getattr(StreamHandler, name).__doc__ for name in methods)


def test_the_lifecycle_hooks_of_a_dispatcher_are_methods_of_the_base_class_too() -> None:
    hooks = {name for name in vars(Dispatcher) if name.startswith("on_")} - {"on_arguments", "on_partial"}
    assert hooks <= HOOKS.keys()
    assert hooks == {
        *("on_created", "on_completed", "on_incomplete", "on_failed", "on_error", "on_close"),
        *("on_reconnecting", "on_restarted", "on_moderated", "on_tool_call", "on_tool_result"),
    }


async def test_methods_that_are_not_overridden_are_not_registered() -> None:
    assert list(StreamHandler().handlers()) == []
    dispatcher = including(StreamHandler())
    assert all(dispatcher.table()[type(subject)] is NOBODY for subject in EVERYTHING)


async def test_the_methods_of_the_base_class_do_nothing_and_can_be_called() -> None:
    for name in HOOKS:
        assert await getattr(StreamHandler(), name)(None) is None


class Audit(Base):
    async def on_text_delta(self, event: OutputTextDelta) -> None:
        self.calls.append("Audit.on_text_delta")

    @on("response.mcp_call.failed")
    async def broken(self, event: McpCallFailed, run: Run) -> None:
        self.calls.append(("Audit.broken", run))

    @on(Event)
    def everything(self, event: Event) -> None:
        self.calls.append(f"Audit.everything {event.type}")

    def _helper(self) -> None:
        raise AssertionError("not a handler")


async def test_named_methods_come_before_marked_ones_and_those_of_the_base_first() -> None:
    class Loud(Audit):
        @on(OutputTextDelta)
        def later(self, event: OutputTextDelta) -> None:
            self.calls.append("Loud.later")

        async def on_text_delta(self, event: OutputTextDelta) -> None:
            await super().on_text_delta(event)
            self.calls.append("Loud.on_text_delta")

    handler = Loud()
    await send(including(handler), DELTA)
    assert handler.calls == [
        "Audit.on_text_delta",
        "Loud.on_text_delta",
        "Audit.everything response.output_text.delta",
        "Loud.later",
    ]


async def test_marked_methods_get_the_run() -> None:
    handler, run = Audit(), StillRun()
    await send(including(handler), BROKEN, run=run)
    assert handler.calls == [("Audit.broken", run), "Audit.everything response.mcp_call.failed"]


async def test_an_override_keeps_the_mark_and_replaces_the_function() -> None:
    class Quiet(Audit):
        async def broken(self, event: McpCallFailed, run: Run) -> None:
            self.calls.append("Quiet.broken")

        def everything(self, event: Event) -> None: ...

    handler = Quiet()
    await send(including(handler), BROKEN)
    assert handler.calls == ["Quiet.broken"]


async def test_an_override_with_a_mark_of_its_own_replaces_the_mark() -> None:
    class Moved(Audit):
        @on("response.created")
        def everything(self, event: Event) -> None:
            self.calls.append("Moved.everything")

    handler = Moved()
    await send(including(handler), CREATED, BROKEN, run=(run := StillRun()))
    assert handler.calls == ["Moved.everything", ("Audit.broken", run)]


async def test_handlers_mix() -> None:
    class Mixin:
        calls: ClassVar[list[object]]

        @on("response.created")
        def mixed_in(self, event: ResponseCreated) -> None:
            self.calls.append("Mixin.mixed_in")

        def on_press(self) -> None:
            raise AssertionError("not a handler")

    class Other(Base):
        async def on_text_delta(self, event: OutputTextDelta) -> None:
            self.calls.append("Other.on_text_delta")

    class Both(Mixin, Other, Audit):
        pass

    handler = Both()
    await send(including(handler), CREATED, DELTA)
    assert handler.calls == [
        "Audit.everything response.created",
        "Mixin.mixed_in",
        "Other.on_text_delta",
        "Audit.everything response.output_text.delta",
    ]


async def test_static_and_class_methods_can_be_marked_on_either_side() -> None:
    calls: list[str] = []

    class Methods(StreamHandler):
        @staticmethod
        @on(OutputTextDelta)
        def static(event: OutputTextDelta) -> None:
            calls.append("static")

        @on(OutputTextDelta)
        @staticmethod
        def static_too(event: OutputTextDelta) -> None:
            calls.append("static_too")

        @classmethod
        @on(OutputTextDelta)
        def of_class(cls, event: OutputTextDelta) -> None:
            calls.append("of_class")

    await send(including(Methods()), DELTA)
    assert calls == ["static", "static_too", "of_class"]


async def test_a_named_method_may_be_synchronous_and_may_take_the_run() -> None:
    class Synchronous(Base):
        def on_text_delta(self, event: OutputTextDelta, run: Run | None = None) -> None:  # type: ignore[override]
            self.calls.append((event, run))

    handler, run = Synchronous(), StillRun()
    await send(including(handler), DELTA, run=run)
    assert handler.calls == [(DELTA, run)]


async def test_a_named_method_that_is_marked_for_the_same_is_called_once() -> None:
    class Twice(Base):
        @on("response.output_text.delta")
        @on(OutputTextDelta)
        async def on_text_delta(self, event: OutputTextDelta) -> None:
            self.calls.append(event)

    handler = Twice()
    await send(including(handler), DELTA)
    assert handler.calls == [DELTA]


async def test_a_named_method_can_be_marked_for_something_else_too() -> None:
    class More(Base):
        @on("response.refusal.delta")
        async def on_text_delta(self, event: OutputTextDelta | RefusalDelta) -> None:
            self.calls.append(event.delta)

    handler = More()
    await send(including(handler), DELTA, RefusalDelta(delta="b"))
    assert handler.calls == ["a", "b"]


async def test_an_instance_included_twice_is_called_twice_and_two_instances_once_each() -> None:
    one, other = Audit(), Audit()
    await send(including(one, other, one), CREATED)
    assert (len(one.calls), len(other.calls)) == (2, 1)


async def test_on_error_swallows_where_it_returns_true() -> None:
    class Tolerant(Base):
        async def on_error(self, failure: HandlerFailed) -> bool:
            self.calls.append(failure.error)
            return isinstance(failure.error, ValueError)

        @on(Event)
        def fail(self, event: Event) -> None:
            raise ValueError if event is DELTA else KeyError

    handler = Tolerant()
    with pytest.raises(KeyError):
        await send(including(handler), DELTA, CREATED)
    assert [type(error) for error in handler.calls] == [ValueError, KeyError]


async def test_a_handler_may_be_abstract_and_generic() -> None:
    class Abstract(Base, ABC, Generic[T]):
        @on(OutputTextDelta)
        @abstractmethod
        def text(self, event: OutputTextDelta) -> None: ...

    class Concrete(Abstract[int]):
        def text(self, event: OutputTextDelta) -> None:
            self.calls.append(event)

    handler = Concrete()
    await send(including(handler), DELTA)
    assert handler.calls == [DELTA]


class Model(BaseModel, StreamHandler):
    """A handler that is a pydantic model as well: looking for its methods must not touch deprecated attributes."""

    texts: list[str] = []

    async def on_text_delta(self, event: OutputTextDelta) -> None:
        self.texts.append(event.delta)


async def test_a_handler_may_be_a_pydantic_model() -> None:
    handler = Model()
    await send(including(handler), DELTA)
    assert handler.texts == ["a"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("on_text_detla", " (did you mean 'on_text_delta'?)"),
        ("on_complete", " (did you mean 'on_completed'?)"),
        ("on_click", ""),
    ],
)
def test_a_method_named_like_a_hook_that_is_none_is_a_usage_error(name: str, hint: str) -> None:
    with pytest.raises(
        UsageError, match=re.escape(f"Overriding.{name} would never be called{hint}; mark it with @on(...)")
    ):
        including(overriding(name))


async def test_an_attribute_named_like_a_hook_is_left_alone() -> None:
    class Timed(Base):
        on_time = True

    await send(including(Timed()), DELTA)


def test_a_method_with_a_wrong_signature_is_a_usage_error() -> None:
    class Wrong(StreamHandler):
        @on("response.created")
        def created(self) -> None: ...

    with pytest.raises(UsageError, match=r"Wrong.created\(\) -> None must take \(event\) or \(event, run\)"):
        including(Wrong())


async def test_on_close_gets_the_outcome() -> None:
    class Closing(Base):
        async def on_close(self, outcome: Outcome) -> None:
            self.calls.append(outcome)

    handler = Closing()
    await send(including(handler), Closed(outcome=DISCONNECTED))
    assert handler.calls == [DISCONNECTED]
